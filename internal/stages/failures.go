package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A failed stage may have printed ten thousand lines. Whoever reads the last lines of a run finds there what failed,
// and not the logs around it.

const (
	linesOfTest  = 6   // the last ones of a failed test
	linesOfStage = 25  // the last ones of a stage where no test failed
	lineLength   = 400 // in bytes
	maxTests     = 20
)

var (
	current = regexp.MustCompile(`^=== (?:RUN|NAME|CONT) +(\S+)`)                // go test -v
	verdict = regexp.MustCompile(`^ *--- (FAIL|PASS|SKIP): (\S+)`)               // go test
	section = regexp.MustCompile(`^=== (FAIL|SKIP|PASS): \S+ (\S+) \(`)          // gotestsum's summary
	said    = regexp.MustCompile(`^ +[A-Za-z0-9_]+_test\.go:[0-9]+: `)           // t.Log, t.Error and so on
	crash   = regexp.MustCompile(`^\s*(panic:|fatal error:|WARNING: DATA RACE)`) // the end of the process
	logged  = regexp.MustCompile(`: member-[0-9]+ \(| level=(DEBUG|INFO|WARN|ERROR) `)
)

// digest returns the last lines that each failed test of a stage's output said, without its logs; where no test failed,
// the output's last lines.
func digest(output string) string {
	const process = "the process"
	lines := map[string][]string{}
	var failures []string
	fail := func(name string) {
		if !slices.Contains(failures, name) {
			failures = append(failures, name)
		}
	}
	test := ""
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case crash.MatchString(line):
			lines[process] = append(lines[process], line)
			fail(process)
			continue
		case current.MatchString(line):
			test = current.FindStringSubmatch(line)[1]
			continue
		}
		for _, header := range []*regexp.Regexp{verdict, section} {
			if match := header.FindStringSubmatch(line); match != nil {
				test = match[2]
				if match[1] == "FAIL" {
					fail(test)
				}
			}
		}
		if said.MatchString(line) && !logged.MatchString(line) && !slices.Contains(lines[test], line) {
			lines[test] = append(lines[test], line)
		}
	}
	if len(failures) == 0 {
		return last(strings.Split(strings.TrimSpace(output), "\n"), linesOfStage)
	}
	var text strings.Builder
	for _, name := range failures[:min(len(failures), maxTests)] {
		fmt.Fprintf(&text, "%s:\n", name)
		if len(lines[name]) > 0 {
			fmt.Fprintln(&text, last(lines[name], linesOfTest))
		}
	}
	if more := len(failures) - maxTests; more > 0 {
		fmt.Fprintf(&text, "and %d more failures\n", more)
	}
	return strings.TrimRight(text.String(), "\n")
}

func last(lines []string, n int) string {
	lines = slices.Clone(lines[max(0, len(lines)-n):])
	for i, line := range lines {
		if len(line) > lineLength {
			lines[i] = line[:lineLength] + "…"
		}
	}
	return strings.Join(lines, "\n")
}
