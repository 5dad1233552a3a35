FUZZTIME ?= 20s

# Modules with code: the root, and each folder that has a go.mod. tools/ has none: it pins versions.
MODULES := . $(filter-out tools/,$(dir $(wildcard */go.mod */*/go.mod)))
STATICCHECK := go tool -modfile=$(CURDIR)/tools/go.mod staticcheck

.NOTPARALLEL:
.PHONY: help test unit integration chaos simulate codes plants check fmt vet fix staticcheck tidy deps alerts bench compare fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: unit integration ## all tests, with the race detector

unit: ## the tests that need nothing but Go
	go test -race ./...
	cd middleware/tracing && go test -race ./...
	cd codec/jsonv2 && go test -race ./...
	cd codec/protobuf && go test -race ./...
	cd codec/avro && go test -race ./...
	cd codec/schemaregistry && go test -race ./...
	cd cmd/deadletter && go test -race ./...
	cd bench && go test ./...

# -count=1: a result from the cache says nothing about the broker that is there now.
# No package list: only then does go test show which broker served, or that none did.
integration: ## the tests that need a broker: from Docker, or else KAFKA_BROKERS
	cd integration && go test -race -count=1 -timeout 20m
	cd kafkatest/container && go test -race -count=1

# It needs three brokers that it may break: integration/doc.go says how to name them. SEED=n replays a schedule.
chaos: ## a million records while brokers and consumers are killed and frozen: an hour or so
	cd integration && go test -count=1 -v -timeout 3h ./chaos -long $(if $(SEED),-seed $(SEED))

# The build tag is franz-go's: its locks don't stop virtual time then.
SEEDS ?= 1000

simulate: ## SEEDS (1000) seeds of members, brokers and answers that go wrong, in virtual time
	go test -count=1 -tags synctests ./internal/simulation -run '^TestSimulation$$' -v -timeout 60m -seeds $(SEEDS) $(if $(SEED),-seed $(SEED))

codes: ## every error code of Kafka on every kind of request, at every point of a consumer's life, in virtual time
	go test -count=1 -tags synctests . -run '^(TestEveryErrorCode|TestAHandover.*|TestASession.*|TestNoPeriodic.*|TestARemoved.*|TestPeriodicCommits.*)$$' -v -timeout 20m

plants: ## plant bugs into the library, one at a time, and see each caught
	go test -count=1 ./internal/simulation -run '^TestPlantedBugsAreCaught$$' -v -timeout 60m -plants

check: fmt vet fix staticcheck tidy deps test ## everything a change must pass

fmt:
	@out=$$(gofmt -l .) && if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi

vet:
	@set -e; for m in $(MODULES); do (cd $$m && echo "go vet in $$m" && go vet ./...); done
	@go vet -tags synctests . ./internal/simulation

fix:
	@set -e; for m in $(MODULES); do (cd $$m && echo "go fix in $$m" && go fix -diff ./...); done

staticcheck:
	@set -e; for m in $(MODULES); do (cd $$m && echo "staticcheck in $$m" && $(STATICCHECK) ./...); done
	@$(STATICCHECK) -tags synctests . ./internal/simulation

tidy:
	@set -e; for m in $(MODULES) tools; do (cd $$m && echo "go mod tidy in $$m" && go mod tidy -diff); done

# Who uses the library must not inherit what its tests, or what others use of it, need.
deps:
	@graph=$$(go mod graph) && if echo "$$graph" | grep -e testcontainers -e opentelemetry -e go-json-experiment -e twmb/avro -e franz-go/pkg/sr -e protocompile; then \
		echo "that is in the root module's graph"; exit 1; fi
	@deps=$$(go list -deps . ./topics ./deadletter) && if echo "$$deps" | grep -e prometheus -e yaml -e protobuf; then \
		echo "that is linked into services that don't ask for it"; exit 1; fi

alerts: ## the alert rules and their tests, with Prometheus' promtool
	cd deploy/prometheus && promtool check rules alerts.yaml && promtool test rules alerts_test.yaml

bench: ## the root module's benchmarks
	go test -run '^$$' -bench . -benchmem ./...

compare: ## this library and other clients, side by side on the broker of KAFKA_BROKERS: an hour or less
	cd bench && go run .

fuzz: ## each fuzz target of the root module, for FUZZTIME (20s)
	@set -e; pkgs=$$(go list ./...); for pkg in $$pkgs; do \
		list=$$(go test -list '^Fuzz' $$pkg); \
		for target in $$(echo "$$list" | grep '^Fuzz'); do \
			echo "$$target in $$pkg"; \
			.ci/fuzz "$$target" $(FUZZTIME) $$pkg; \
		done; \
	done
