package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

func loadRoot(t *testing.T) *library {
	t.Helper()
	l, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// textOf returns what the files hold whose paths match.
func textOf(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no file matches %s: %v", pattern, err)
	}
	var all bytes.Buffer
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// TestEveryPlantFindsItsPlace checks the table against the library, its tests and its promises.
func TestEveryPlantFindsItsPlace(t *testing.T) {
	l := loadRoot(t)
	tests, promises := textOf(t, "*_test.go")+textOf(t, "internal/engine/*_test.go"), textOf(t, "internal/conformance/*.go")
	verdicts := textOf(t, "internal/ledger/judge.go")
	hasSubtest := func(name string) bool { return strings.Contains(promises, strconv.Quote(name)+",") }
	names := map[string]bool{}
	for _, p := range plants {
		if names[p.name] {
			t.Errorf("two plants are named %q", p.name)
		}
		names[p.name] = true
		if _, _, err := l.apply(p); err != nil {
			t.Error(err)
		}
		if !hasSubtest(p.promise) {
			t.Errorf("plant %q: TestPromises has no subtest %q: change the promise in internal/plants/table.go", p.name, p.promise)
		}
		if (p.test == "") == (len(p.findings) == 0) {
			t.Errorf("plant %q: want either a test or findings of the simulation", p.name)
		}
		test, subtest, hasSlash := strings.Cut(p.test, "/")
		if test != "" && !strings.Contains(tests, "func "+test+"(t *testing.T)") || hasSlash && !hasSubtest(subtest) {
			t.Errorf("plant %q: the library has no test %s: change the test in internal/plants/table.go", p.name, p.test)
		}
		for _, finding := range p.findings {
			if !strings.Contains(verdicts, strconv.Quote(strings.ToLower(finding))) {
				t.Errorf("plant %q: internal/ledger has no verdict %q: change it in internal/plants/table.go", p.name, finding)
			}
		}
	}
}

// TestPlantsDoNotDependOnFormatting finds them in files of other names, with more blank lines and broken calls.
func TestPlantsDoNotDependOnFormatting(t *testing.T) {
	dir := t.TempDir()
	for name, text := range loadRoot(t).text {
		text = regexp.MustCompile(`(?m)^\t+return`).ReplaceAll(text, []byte("\n\t// comment\n$0"))
		text = regexp.MustCompile(`(?m)^(\t.*\()(p\.|t\.|c\.|ctx, )(.*)$`).ReplaceAll(text, []byte("$1\n$2 /* comment */ $3"))
		moved := filepath.Join(dir, filepath.Dir(name), "moved_"+filepath.Base(name))
		if err := os.MkdirAll(filepath.Dir(moved), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(moved, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reformatted, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plants {
		if _, _, err := reformatted.apply(p); err != nil {
			t.Error(err)
		}
	}
}

const sample = `package sample

type queue[T any] struct{ items []T }

func (q *queue[T]) add(items ...T) {
	q.items = append(q.items, items...)
	q.note()
	q.note()
}

func (q *queue[T]) note() {}
`

// TestAPlantNeedsExactlyOnePlace checks that no place and several places are errors, and that a plant changes nothing
// else.
func TestAPlantNeedsExactlyOnePlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sample.go"), []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ function, find, replace, want string }{
		{"queue.add", "append(q.items,\n\titems...)", "nil", ""},
		{"queue.add", "q.items = append(q.items, items...)", "", ""},
		{"queue.add", "append(q.items, items)", "nil", `queue.add in sample.go has 0 matches of "append(q.items, items)", want 1`},
		{"queue.add", "q.note()", "", `has 2 matches of "q.note()", want 1`},
		{"queue.remove", "q.note()", "", "has 0 functions queue.remove, want 1"},
		{"queue.add", "q.note(", "", `pattern "q.note(" does not parse`},
		{"queue.add", "q.note(); q.note()", "", "2 statements, want 1"},
		{"queue.add", "append(q.items, items...)", "if", "does not parse with"},
	} {
		file, text, err := l.apply(plant{name: "sample", function: c.function, find: c.find, replace: c.replace})
		switch {
		case c.want == "":
			old := strings.Join(strings.Fields(c.find), " ")
			if want := strings.Replace(sample, old, c.replace, 1); err != nil || file != "sample.go" || string(text) != want {
				t.Errorf("%s: %v, %s\n%s", c.find, err, file, text)
			}
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `plant "sample"`) ||
			!strings.Contains(err.Error(), "table.go"):
			t.Errorf("%s: the error is %v, want %q", c.find, err, c.want)
		}
	}
	more := []byte("package sample\n\nfunc (q queue[T]) note() {}\n")
	if err := os.WriteFile(filepath.Join(dir, "more.go"), more, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = load(dir); err != nil {
		t.Fatal(err)
	}
	_, _, err = l.apply(plant{function: "queue.note", find: "q"})
	if err == nil || !strings.Contains(err.Error(), "has 2 functions queue.note, want 1") {
		t.Errorf("two functions: %v", err)
	}
}

func TestOptionsChoosePlants(t *testing.T) {
	files := map[string]string{}
	for i, p := range plants {
		files[p.name] = []string{"commit.go", "lanes.go"}[i%2]
	}
	chosen := func(o options) string {
		t.Helper()
		list, err := choose(o, files)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range list {
			names = append(names, p.name)
		}
		return strings.Join(names, "; ")
	}
	if n := strings.Count(chosen(options{}), "; ") + 1; n != len(plants) {
		t.Errorf("%d plants without options, want all %d", n, len(plants))
	}
	if got := chosen(options{names: "^commits one"}); got != "commits one record too far" {
		t.Errorf("by name: %s", got)
	}
	three := options{pick: 3, seed: "one", narrowed: true}
	if got := chosen(three); strings.Count(got, "; ") != 2 || got != chosen(three) {
		t.Errorf("three by seed: %s, and then %s", got, chosen(three))
	}
	met := map[string]bool{}
	for seed := range 100 {
		for name := range strings.SplitSeq(chosen(options{pick: 3, seed: strconv.Itoa(seed), narrowed: true}), "; ") {
			met[name] = true
		}
	}
	if len(met) != len(plants) {
		t.Errorf("a hundred seeds choose %d of %d plants", len(met), len(plants))
	}
	got := chosen(options{touched: "README.md\ncommit.go, docs/faults.md", narrowed: true})
	if n := strings.Count(got, "; ") + 1; n != (len(plants)+1)/2 {
		t.Errorf("touched commit.go: %s", got)
	}
	if got := chosen(options{touched: "internal/commit.go", narrowed: true}); got != "" {
		t.Errorf("a file of another package selects %s", got)
	}
	if _, err := choose(options{pick: 1}, files); err == nil {
		t.Error("-pick without -seed is no error")
	}
}

// TestOnlyTheExpectedFailureCounts: any other would prove nothing about the plant.
func TestOnlyTheExpectedFailureCounts(t *testing.T) {
	const report = "    replay with -seed 7: {}\n        LOST 2:\n            0@3\n--- FAIL: TestSimulation (1s)\n"
	simulated, tested := plant{findings: []string{"REORDERED", "LOST"}}, plant{test: "TestPromises/Poison"}
	if got := simulated.caughtBy(report); got != "simulation, seed 7: lost" {
		t.Errorf("the simulation found it: %q", got)
	}
	if got := (plant{findings: []string{"REORDERED"}}).caughtBy(report); got != "" {
		t.Errorf("the simulation found something else: %q", got)
	}
	if got := tested.caughtBy("    --- FAIL: TestPromises/Poison (0.1s)\n"); got != tested.test {
		t.Errorf("the test failed: %q", got)
	}
	if got := tested.caughtBy("    --- FAIL: TestPromises/PoisonOfAnotherKind (0.1s)\n"); got != "" {
		t.Errorf("another test failed: %q", got)
	}
}

func TestAMissedPlantIsAnError(t *testing.T) {
	list := []plant{{name: "one", promise: "Order"}, {name: "two", promise: "Order"}}
	var table, progress bytes.Buffer
	results := tryAll(list, 2, func(p plant) result {
		if p.name == "two" {
			return result{plant: p, err: errors.New("TestTwo passed")}
		}
		return result{plant: p, caught: "TestOne"}
	}, &progress)
	if err := report(results, &table); err == nil || err.Error() != "1 of 2 planted bugs were not caught" {
		t.Error(err)
	}
	for _, row := range []string{
		"| one | Order | TestOne | 0 |", "| two | Order | NOT CAUGHT | 0 |", "1 of 2 planted bugs caught",
	} {
		if !strings.Contains(table.String(), row) {
			t.Errorf("the table lacks %s:\n%s", row, table.String())
		}
	}
	if !strings.Contains(progress.String(), "TestTwo passed") {
		t.Errorf("the progress lacks the reason: %s", progress.String())
	}
}
