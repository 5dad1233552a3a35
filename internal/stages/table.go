package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// The shares of what is too large to run whole for each change.
const (
	wholeSeeds  = 1000 // of the simulation, which make prove runs
	firstSeeds  = 24   // run for every change
	moreSeeds   = 60   // run when there is time
	coreSeeds   = 200  // the same, when the root package changed
	codeParts   = 8
	coreParts   = 4 // of the error codes, when the root package changed
	fuzzParts   = 4
	somePlants  = 3
	ciFuzzTime  = 10 * time.Second
	allFuzzTime = 2 * time.Minute
)

// Estimates were measured on two cores; see stage.estimate.
const (
	perSeed      = 250 * time.Millisecond
	seedsStart   = 15 * time.Second // to compile them
	allCodes     = 10 * time.Minute // each code for one length of time
	allPlants    = 3 * time.Minute
	perFuzz      = 5 * time.Second  // to start a target, besides its time
	fuzzStart    = 90 * time.Second // to compile everything for fuzzing
	exampleLimit = 10 * time.Minute // a hang must not eat the whole run
)

// table returns the stages of a mode in their order: from cheap to dear, and what must run before what may be skipped.
func table(p plan) []stage {
	stages := []stage{
		{name: "compile", estimate: time.Minute, once: true, commands: []command{run("go build work")}},
		{name: "format", estimate: 2 * time.Second, commands: []command{run("make fmt")}},
		{name: "vet", estimate: 35 * time.Second, once: true, commands: []command{run("make vet")}},
		{name: "fix", estimate: 20 * time.Second, once: true, commands: []command{run("make fix")}},
		{name: "staticcheck", estimate: time.Minute, once: true, commands: []command{run("make staticcheck")}},
		{name: "modules", estimate: 15 * time.Second, once: true, commands: []command{run("make tidy deps")}},
		{name: "alert rules", estimate: 5 * time.Second, needs: needPromtool, commands: []command{run("make alerts")}},
		{name: "tests", estimate: 3 * time.Minute, key: closing, commands: []command{run("make test")}},
		{name: "benchmarks run", estimate: time.Minute, commands: []command{run("make bench", "FLAGS=-benchtime 1x")}}, // once each: that they can
		{name: "quick start", estimate: 15 * time.Second, commands: []command{quickStart()}},
		{name: "three services", estimate: 30 * time.Second, commands: []command{
			run("go run ./examples/all").limited(exampleLimit),
		}},
	}
	if p.mode == modeProve {
		return append(stages, whole(p)...)
	}
	stages = append(stages, required(p)...)
	for _, s := range sampled(p) {
		s.optional = true
		stages = append(stages, s)
	}
	return stages
}

// required are the stages with brokers that every change must pass, and the first seeds.
//
// They run without the race detector: make test has had it, and it slows down what competes with the brokers.
func required(p plan) []stage {
	return append([]stage{seeds("first seeds", p, firstSeeds)}, withBrokers(3*time.Minute, "RACE=", "")...)
}

// withBrokers are the stages that both modes run on brokers. race is an argument of make, and flags are those of the
// integration tests.
func withBrokers(integration time.Duration, race, flags string) []stage {
	return []stage{
		{name: "integration", estimate: integration, needs: needBroker, key: closing, commands: []command{
			run("make integration PACKAGES=./integration " + race + " " + flags),
		}},
		{name: "quick start on a broker", estimate: 5 * time.Second, needs: needClusters, commands: []command{quickStart()}},
		{name: "faults", estimate: 3 * time.Minute, needs: needClusters, key: closing, commands: []command{breaking("./integration/faults")}},
		{name: "container", estimate: time.Minute, needs: needDocker, key: closing, commands: []command{
			run("make integration PACKAGES=./kafkatest/container " + race),
		}},
	}
}

// sampled are the optional stages for a change. They take a part of what is large, and a larger one when the root
// package changed.
func sampled(p plan) []stage {
	seedsMore, parts := moreSeeds, codeParts
	if p.core() {
		seedsMore, parts = coreSeeds, coreParts
	}
	return []stage{
		// First, since the brokers, which keep half of a processor busy even when nobody asks them anything, are stopped
		// after it.
		{name: "chaos", estimate: 2 * time.Minute, needs: needClusters, key: chaosVerdict, commands: []command{breaking("./integration/chaos")}},
		plantsOf(p),
		{name: "codes", estimate: allCodes / time.Duration(parts), key: closing, commands: []command{
			run(fmt.Sprintf("make codes PART=%d/%d", p.part(parts)+1, parts)),
		}},
		seeds("more seeds", p, seedsMore),
		fuzzing(p.fuzzing(fuzzParts), ciFuzzTime),
	}
}

// whole are the same stages for make prove, and those that it alone has.
func whole(p plan) []stage {
	stages := []stage{
		{name: "long tests", estimate: 2 * time.Minute, key: closing, commands: []command{
			run("go test -race -count=1 -timeout 60m . ./internal/engine -run", longTests, "-long"),
		}},
	}
	stages = append(stages, withBrokers(8*time.Minute, "", "FLAGS=-long")...)
	return append(stages, []stage{
		{name: "chaos", estimate: 20 * time.Minute, needs: needClusters, key: chaosVerdict, commands: []command{run("make chaos")}},
		{name: "simulation", estimate: seedsStart + wholeSeeds*perSeed, key: simulated, commands: []command{
			run(fmt.Sprintf("make simulate SEEDS=%d", wholeSeeds)),
		}},
		{name: "codes", estimate: 4 * allCodes, key: closing, commands: []command{run("make codes ALL=1")}},
		plantsOf(p),
		mutations(),
		fuzzing(p.fuzz, allFuzzTime),
		{name: "vulnerabilities", estimate: 90 * time.Second, key: vulnerable, unavailable: noNetwork, commands: []command{run("make vulncheck")}},
	}...)
}

// longTests are those of the two packages that -long makes longer.
const longTests = "^(TestTrackerInEveryOrder|TestParkedKeysKeepTheirOrderWhateverHappens|TestThousandsOfRequestsWaitAtOnce)$"

func quickStart() command { return run("go run ./examples/quickstart").limited(exampleLimit) }

// breaking runs the tests of a package that breaks brokers. Each test says what it went through.
func breaking(pkg string) command {
	return run("make integration RACE= FORMAT=standard-verbose PACKAGES="+pkg, "FLAGS=-parallel 8")
}

// seeds runs n seeds of the simulation, which are the commit's part of those that make prove runs.
func seeds(name string, p plan, n int) stage {
	from := 1 + n*p.part(wholeSeeds/n)
	return stage{name: name, estimate: seedsStart + time.Duration(n)*perSeed, key: simulated, commands: []command{
		run(fmt.Sprintf("make simulate FROM=%d SEEDS=%d", from, n)),
	}}
}

// plantsOf puts bugs into the library and sees each caught: for a change, a few that its commit picks, and all in files
// that the change touched.
func plantsOf(p plan) stage {
	s := stage{name: "plants", estimate: allPlants, key: plantRows, commands: []command{run("make plants")}}
	if p.mode == modeProve {
		return s
	}
	line := fmt.Sprintf("go run ./internal/plants -pick %d -seed %s -touched", somePlants, p.commit)
	s.commands = []command{run(line, strings.Join(p.changedCode("."), " "))}
	if !p.core() {
		s.estimate = allPlants / 5
	}
	return s
}

// mutations is the mutation tester.
func mutations() stage {
	return stage{name: "mutations", estimate: 20 * time.Minute, key: tableRows, commands: []command{run("make mutate")}}
}

func fuzzing(targets []fuzzTarget, d time.Duration) stage {
	s := stage{name: "fuzzing", estimate: fuzzStart + time.Duration(len(targets))*(d+perFuzz)}
	for _, target := range targets {
		s.commands = append(s.commands, target.command(d))
	}
	return s
}

// What the summary quotes.
var (
	closing      = regexp.MustCompile(`^DONE \d+ tests|^ok  \t`)
	tableRows    = regexp.MustCompile(`^\|`)
	plantRows    = regexp.MustCompile(`^\||^\d+ of \d+ planted`)
	simulated    = regexp.MustCompile(`\d+ seeds, \d+ simulated hours`)
	chaosVerdict = regexp.MustCompile(`: calm: members|brokers killed \d+, frozen|records? .*(lost|redelivered|reordered)|ended within`)
	vulnerable   = regexp.MustCompile(`^(No vulnerabilities|Your code is affected)`)
	noNetwork    = regexp.MustCompile(`dial tcp[^\n]*|no such host|TLS handshake timeout|fetching vulnerabilities[^\n]*`)
)
