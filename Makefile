# All modules but tools/, which pins versions and has no code. go.work names them.
MODULES = $(shell go list -m -f '{{.Dir}}')
# A program that tools/ pins, compiled if need be.
tool = $$(GOWORK=off go -C tools tool -n $(1))

# The race detector needs a C compiler.
COMPILER := $(shell command -v $$(go env CC))
RACE ?= $(if $(COMPILER),-race)

# The build tag is franz-go's: its locks don't stop virtual time then.
VIRTUAL := -tags synctests

.NOTPARALLEL:
.PHONY: help test check integration prove chaos simulate codes plants mutate alerts bench compare fuzz vulncheck \
	fmt vet fix staticcheck tidy deps needs

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -short: integration/ runs the tests that take seconds; make integration runs them all.
test: needs ## all tests, a line for each package as it ends: four minutes on two cores
	@env -u KAFKA_TEST_CLUSTER_CONTROL $(call tool,gotestsum) --format standard-quiet -- $(RACE) -short -timeout 60m work

needs:
	@go version
	$(if $(COMPILER),,@echo 'NO RACE DETECTOR: it needs a C compiler, and there is no $(shell go env CC); install gcc to run as CI does')
	@[ -n "$$KAFKA_BROKERS" ] || { [ "$$KAFKA_TEST_CONTAINERS" != off ] && docker info >/dev/null 2>&1; } || \
		echo 'NO BROKER: without Docker or KAFKA_BROKERS, the tests of integration/ and kafkatest/container are skipped'

check: fmt vet fix staticcheck tidy deps test ## everything a change must pass

# -count=1: a result from the cache says nothing about the broker that is there now.
PACKAGES ?= ./integration ./kafkatest/container
FORMAT ?= testname

integration: needs ## the tests that need a broker, all of them: from Docker, or else KAFKA_BROKERS
	@$(call tool,gotestsum) --format $(FORMAT) -- $(RACE) -count=1 -timeout 60m $(PACKAGES) $(FLAGS)

prove: ## everything, whole: hours. Ctrl-C stops it, and make prove continues; FRESH=1 starts over
	@.ci/run $(if $(FRESH),-fresh) $(if $(CONTINUE),-continue) prove

# It needs three brokers that it may break: integration/doc.go says how to name them. SEED=n replays a schedule.
chaos: ## a million records while brokers and consumers are killed and frozen: an hour or so
	go test -count=1 -v -timeout 3h ./integration/chaos -long $(if $(SEED),-seed $(SEED))

SEEDS ?= 1000
FROM ?= 1

simulate: ## SEEDS (1000) seeds FROM (1) of members, brokers and faults, in virtual time; SEED=n runs one
	go test -count=1 $(VIRTUAL) ./internal/simulation -run '^TestSimulation$$' -v -timeout 120m \
		$(if $(SEED),-seed $(SEED),-from $(FROM) -seeds $(SEEDS))

codes: ## every error code of Kafka on every kind of request, in virtual time; PART=3/8 takes a part, ALL=1 more cases
	go test -count=1 $(VIRTUAL) . -timeout 120m -v \
		-run '^(TestEveryErrorCode|TestAPartOfTheCodes|TestAHandover.*|TestASession.*|TestNoPeriodic.*|TestARemoved.*|TestPeriodicCommits.*)$$' \
		$(if $(PART),-part $(PART)) $(if $(ALL),-codes)

plants: ## put bugs into the library, one at a time, and see each caught; FLAGS="-run handover" takes some
	go run ./internal/plants $(FLAGS)

mutate: ## how many small changes of code the tests of small packages notice
	.ci/mutate

alerts: ## the alert rules and their tests, with Prometheus' promtool
	cd deploy/prometheus && promtool check rules alerts.yaml && promtool test rules alerts_test.yaml

bench: ## the root module's benchmarks; FLAGS="-benchtime 1x" runs each once
	go test -run '^$$' -bench . -benchmem $(FLAGS) ./...

compare: ## this library and other clients, side by side on the broker of KAFKA_BROKERS: an hour or less
	cd bench && go run .

FUZZTIME ?= 20s

fuzz: ## each fuzz target of each module, for FUZZTIME (20s)
	@go run ./internal/stages fuzz $(FUZZTIME)

vulncheck: ## known vulnerabilities in what the modules call
	@set -e; scan=$(call tool,govulncheck); for m in $(MODULES); do echo "govulncheck in $$m"; GOWORK=off $$scan -C $$m ./...; done

fmt:
	@out=$$(gofmt -l .) && if [ -n "$$out" ]; then echo "not gofmt'ed:"; echo "$$out"; exit 1; fi

vet:
	go vet work
	go vet $(VIRTUAL) . ./internal/simulation

fix:
	go fix -diff work

staticcheck:
	@echo staticcheck work
	@$(call tool,staticcheck) work
	@$(call tool,staticcheck) $(VIRTUAL) . ./internal/simulation

# Each module by itself: the workspace would hide a requirement that is missing or too old.
tidy:
	@set -e; for m in $(MODULES) tools; do echo "go mod tidy and go build in $$m"; \
		GOWORK=off go -C $$m mod tidy -diff; GOWORK=off go -C $$m build -o /dev/null ./...; done

# Who uses the library must not inherit what its tests, or what others use of it, need.
deps: export GOWORK = off
deps:
	@graph=$$(go mod graph) && if echo "$$graph" | grep -e testcontainers -e opentelemetry -e go-json-experiment -e twmb/avro -e franz-go/pkg/sr -e protocompile; then \
		echo "that is in the root module's graph"; exit 1; fi
	@deps=$$(go list -deps . ./topics ./deadletter) && if echo "$$deps" | grep -e prometheus -e yaml -e protobuf; then \
		echo "that is linked into services that don't ask for it"; exit 1; fi
