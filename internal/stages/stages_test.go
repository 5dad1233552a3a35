package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheTableIsSound(t *testing.T) {
	for _, m := range []mode{modeCI, modeProve} {
		p, err := newPlan(m, "../..")
		if err != nil {
			t.Fatal(err)
		}
		p.changed = []string{"partition.go"} // the most there is to do
		stages := table(p)
		seen := map[string]bool{}
		optional := false
		for _, s := range stages {
			if seen[s.name] {
				t.Errorf("%s: two stages are named %q", m, s.name)
			}
			seen[s.name] = true
			if m == modeProve && s.optional {
				t.Errorf("prove: %s is optional", s.name)
			}
			if optional && !s.optional {
				t.Errorf("%s: %s must run, and stands behind what need not", m, s.name)
			}
			optional = s.optional
			if len(s.commands) > 0 && s.estimate <= 0 {
				t.Errorf("%s: %s has no estimate", m, s.name)
			}
		}
		if sum := estimates(stages); m == modeCI && sum > 30*time.Minute {
			t.Errorf("ci takes %v on a quiet machine", sum)
		}
	}
}

func TestFuzzTargetsOfAllModulesAreFound(t *testing.T) {
	targets, err := fuzzTargets("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []fuzzTarget{{"./internal/engine", "FuzzTracker"}, {"./codec/schemaregistry", "FuzzDecode"}, {"./codec/avro", "FuzzDecode"}} {
		if !slices.Contains(targets, want) {
			t.Errorf("%v is missing from %v", want, targets)
		}
	}
	if got, want := targets[0].command(20*time.Second).String(), ".ci/fuzz "+targets[0].name+" 20s ."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPartsCoverEverything(t *testing.T) {
	var all []int
	for i := range 23 {
		all = append(all, i)
	}
	var together []int
	for pick := range uint64(4) {
		p := plan{pick: pick}
		together = append(together, everyNth(all, p.part(4), 4)...)
	}
	slices.Sort(together)
	if !slices.Equal(together, all) {
		t.Errorf("four parts have %v together", together)
	}
}

func TestThePickFollowsFromTheCommit(t *testing.T) {
	const commit = "3bce1ec0123456789abcdef0123456789abcdef0"
	if got, want := pickOf(commit), uint64(0x3bce1ec012345678); got != want {
		t.Errorf("the pick of %s is %x, want %x", commit, got, want)
	}
	for _, text := range []string{"", "3bce1ec", "no hash at all, but long"} {
		if got := pickOf(text); got != 0 {
			t.Errorf("the pick of %q is %x, want 0", text, got)
		}
	}
}

func TestWhatChangedRunsWhole(t *testing.T) {
	targets := []fuzzTarget{{".", "FuzzA"}, {".", "FuzzB"}, {"./codec/avro", "FuzzC"}, {"./topics", "FuzzD"}}
	p := plan{mode: modeCI, fuzz: targets, changed: []string{"codec/avro/avro.go", "topics/topics_test.go", "topics/README.md"}}
	if all := p.fuzzing(1); len(all) != len(targets) || all[0].name != "FuzzC" {
		t.Errorf("of all, what changed is not first: %v", all)
	}
	for pick := range uint64(4) {
		if p.pick = pick; !slices.Contains(p.fuzzing(4), targets[2]) {
			t.Errorf("part %d lacks what changed: %v", pick, p.fuzzing(4))
		}
	}
	if p.core() {
		t.Error("a codec's test counts as code of the root package")
	}
	for _, file := range []string{"partition.go", "go.mod"} {
		if p.changed = []string{file}; !p.core() {
			t.Errorf("%s does not count as code of the root package", file)
		}
	}
	if p.changed = []string{"partition_test.go"}; p.core() {
		t.Error("a test counts as code of the root package")
	}
	small, large := table(plan{mode: modeCI}), table(plan{mode: modeCI, changed: []string{"partition.go"}})
	for _, name := range []string{"more seeds", "codes"} {
		if estimateOf(large, name) <= estimateOf(small, name) {
			t.Errorf("%s takes %v though the root package changed", name, estimateOf(large, name))
		}
	}
}

func TestCommandsCanBeCopiedToAShell(t *testing.T) {
	c := run("make plants", "ONLY=it's|that", "A=").with("B=c d")
	if got, want := c.String(), `B='c d' make plants 'ONLY=it'\''s|that' A=`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDigestNamesWhatFailed(t *testing.T) {
	output := `=== RUN   TestGood
    good_test.go:1: that is well
--- PASS: TestGood (0.00s)
=== RUN   TestBad
=== RUN   TestBad/part
    bad_test.go:3: member-3 (consumer): a log
    bad_test.go:4: want 1, got 2
--- FAIL: TestBad (0.00s)
    --- FAIL: TestBad/part (0.00s)
` + strings.Repeat("a log of another process\n", 50)
	got := digest(output)
	for _, want := range []string{"TestBad/part:\n    bad_test.go:4: want 1, got 2", "TestBad:\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("the digest lacks %q:\n%s", want, got)
		}
	}
	for _, no := range []string{"TestGood", "that is well", "a log"} {
		if strings.Contains(got, no) {
			t.Errorf("the digest has %q:\n%s", no, got)
		}
	}
	summary := "ok  \tpkg\t1s\n\n=== Failed\n=== FAIL: integration TestLate (3.00s)\n    late_test.go:9: never came\n\nDONE 3 tests, 1 failure in 3.1s\n"
	if got := digest(summary); got != "TestLate:\n    late_test.go:9: never came" {
		t.Errorf("of gotestsum's summary:\n%s", got)
	}
	if got := digest("one\ntwo\npanic: no\n\ngoroutine 1\n"); !strings.Contains(got, "panic: no") {
		t.Errorf("of a panic:\n%s", got)
	}
	if got := digest(strings.Repeat("x\n", 100) + "cannot compile\n"); !strings.HasSuffix(got, "cannot compile") || strings.Count(got, "\n") >= linesOfStage {
		t.Errorf("where no test failed:\n%s", got)
	}
}

func TestExportedVariables(t *testing.T) {
	got := exported("started\nexport A=1 B=x:2\n\nexport C=3\n")
	if want := []string{"A=1", "B=x:2", "C=3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestChooseStages(t *testing.T) {
	stages := []stage{{name: "a"}, {name: "b c"}, {name: "d"}}
	got, err := choose(stages, "b c, a")
	if err != nil || names(got) != "b c, a" {
		t.Errorf("got %s, %v", names(got), err)
	}
	if _, err := choose(stages, "e"); err == nil || !strings.Contains(err.Error(), "a, b c, d") {
		t.Errorf("an unknown stage: %v", err)
	}
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 5 * time.Minute: "5m", 65 * time.Minute: "1h5m", 61*time.Second + 400*time.Millisecond: "1m1s", 0: "0s",
		100 * time.Second: "1m40s", time.Hour + time.Second: "1h0m1s",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
