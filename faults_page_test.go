package kafka_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// theFaults are those that docs/faults.md owes a row.
var theFaults = []string{
	"Broker killed", "Broker frozen", "Controller lost", "Coordinator moved", "Brokers refuse",
	"Consumer killed", "Consumer frozen", "Consumer terminated",
	"Members come and go amid a backlog", "Members come and go during retries", "Members come and go during dead letters",
	"Dead letter topic without leaders", "Dead letter topic refuses the size",
	"Partitions added", "Topic deleted and made again", "Offsets out of range", "Transactions aborted", "Gaps of compaction",
	"Clocks astray", "Headers forged",
	"Handler panics", "Handler hangs", "Handler ignores its context", "Handler sleeps past every timeout", "Queue full for minutes",
	"Credentials expired or rotated", "Wrong authority", "Wrong server name", "Certificate expired",
}

// Every fault has a row of docs/faults.md, every row tests that exist, and every test of integration/faults its row.
func TestFaultsPageIsComplete(t *testing.T) {
	source := testSource(t)
	files := map[string][]string{} // by the test functions in them
	for path, text := range source {
		for _, name := range testFunctions(text) {
			files[name] = append(files[name], path)
		}
	}
	listed := map[string]bool{} // test functions
	var rows []string
	for i, line := range strings.Split(readText(t, "docs/faults.md"), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if !strings.HasPrefix(line, "| ") || cells[0] == "Fault" {
			continue
		}
		if len(cells) != 4 {
			t.Errorf("docs/faults.md:%d: %d cells, want fault, injection, behaviour, tests", i+1, len(cells))
			continue
		}
		rows = append(rows, cells[0])
		tests := regexp.MustCompile("`(Test[^`]+)`").FindAllStringSubmatch(cells[3], -1)
		if len(tests) == 0 {
			t.Errorf("docs/faults.md:%d: %s has no test", i+1, cells[0])
		}
		for _, test := range tests {
			path := strings.Split(test[1], "/")
			listed[path[0]] = true
			if why := missing(source, files[path[0]], path); why != "" {
				t.Errorf("docs/faults.md:%d: %s: %s", i+1, test[1], why)
			}
		}
	}
	for _, fault := range theFaults {
		if !slices.Contains(rows, fault) {
			t.Errorf("docs/faults.md has no row for %q", fault)
		}
	}
	for _, path := range goFiles(t, "integration/faults", true) {
		for _, name := range testFunctions(source[path]) {
			if !listed[name] {
				t.Errorf("docs/faults.md does not name %s of %s", name, path)
			}
		}
	}
}

// testSource returns the source that tests are made of, by path.
func testSource(t *testing.T) map[string]string {
	t.Helper()
	source := map[string]string{}
	for _, pattern := range []string{
		"*_test.go", "*/*_test.go", "*/*/*_test.go", "internal/conformance/*.go",
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no files of %s: %v", pattern, err)
		}
		for _, path := range paths {
			source[path] = readText(t, path)
		}
	}
	return source
}

var testFunction = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(t \*testing\.T\)`)

func testFunctions(source string) (names []string) {
	for _, match := range testFunction.FindAllStringSubmatch(source, -1) {
		names = append(names, match[1])
	}
	return names
}

// missing says what of a test's path does not exist: its function, or a name of a subtest in the file of the function or, for
// the promises, in their package.
func missing(source map[string]string, files, path []string) string {
	var near strings.Builder
	for file, text := range source {
		if slices.Contains(files, file) {
			near.WriteString(text)
		} else if strings.HasPrefix(path[0], "TestPromises") && strings.HasPrefix(file, "internal/conformance/") {
			near.WriteString(text)
		}
	}
	if near.String() == "" {
		return "no such function"
	}
	for _, subtest := range path[1:] {
		if !strings.Contains(near.String(), `"`+subtest+`"`) && !strings.Contains(near.String(), `"`+strings.ReplaceAll(subtest, "_", " ")+`"`) {
			return "no subtest " + subtest
		}
	}
	return ""
}
