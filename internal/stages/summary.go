package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// estimates is the sum of what the stages take.
func estimates(stages []stage) (sum time.Duration) {
	for _, s := range stages {
		sum += s.estimate
	}
	return sum
}

// printTable prints each stage's seconds and how it ended.
func printTable(out io.Writer, stages []stage, results []result) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "stage\tseconds\testimate\tstate")
	total := 0.0
	for _, r := range results {
		total += r.Seconds
		text := string(r.State)
		if r.Why != "" && r.State != failed { // what failed comes last, with its output
			text += ": " + r.Why
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%s\n", r.Name, r.Seconds, estimateOf(stages, r.Name).Seconds(), text)
	}
	fmt.Fprintf(w, "all\t%.0f\t%.0f\n", total, estimates(stages).Seconds())
	w.Flush()
	if left := missing(stages, results); len(left) > 0 {
		fmt.Fprintln(out, "not run:", names(left))
	}
}

// missing returns the stages without a result.
func missing(stages []stage, results []result) []stage {
	return slices.DeleteFunc(slices.Clone(stages), func(s stage) bool {
		return slices.ContainsFunc(results, func(r result) bool { return r.Name == s.name })
	})
}

func estimateOf(stages []stage, name string) time.Duration {
	for _, s := range stages {
		if s.name == name {
			return s.estimate
		}
	}
	return 0
}

// names lists stages for a message.
func names(stages []stage) string {
	var all []string
	for _, s := range stages {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}

// printFailures prints the ends of the failed stages' outputs.
func printFailures(out io.Writer, results []result) {
	for _, r := range results {
		if r.State == failed {
			fmt.Fprintf(out, "\nFAILED: %s: %s\n%s\n", r.Name, r.Why, r.Digest)
		}
	}
}

// markdown is the summary of a long run, as a section of a page.
func markdown(p *progress, stages []stage, results []result) string {
	var b strings.Builder
	kafka := p.Kafka
	if kafka == "" {
		kafka = "of unknown version"
	}
	fmt.Fprintf(&b, "Commit `%s`, begun %s, %s, Kafka %s, %s/%s with %d cores.\n\n", p.Commit, p.Began.UTC().Format(time.DateOnly),
		runtime.Version(), kafka, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	fmt.Fprintln(&b, "| stage | state | seconds | key figures |")
	fmt.Fprintln(&b, "|---|---|---:|---|")
	total := 0.0
	for _, r := range results {
		total += r.Seconds
		text := string(r.State)
		if r.State != passed {
			text = "**" + text + "**: " + r.Why
		}
		if r.Commit != p.Commit {
			text += fmt.Sprintf(" (at `%s`)", r.Commit)
		}
		lines, _ := figures(r)
		fmt.Fprintf(&b, "| %s | %s | %.0f | %s |\n", r.Name, cell(text), r.Seconds, cell(strings.Join(lines, "<br>")))
	}
	fmt.Fprintf(&b, "| all | | %.0f | |\n", total)
	for _, r := range results {
		if _, rows := figures(r); len(rows) > 0 {
			fmt.Fprintf(&b, "\n%s:\n\n%s\n", r.Name, strings.Join(rows, "\n"))
		}
	}
	if left := missing(stages, results); len(left) > 0 {
		fmt.Fprintf(&b, "\nNot run: %s.\n", names(left))
	}
	return b.String()
}

// figures are a stage's key lines, apart from those that are the rows of a table.
func figures(r result) (lines, rows []string) {
	for _, line := range r.Keys {
		if strings.HasPrefix(line, "|") {
			rows = append(rows, line)
		} else {
			lines = append(lines, line)
		}
	}
	return lines, rows
}

// cell is text that does not end a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\t", " ").Replace(text)
}
