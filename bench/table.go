package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// column is one figure of a sample.
type column struct {
	title   string
	value   func(sample) float64
	compare bool // with the baseline, as a ratio
}

const (
	recordsPerSecond = "records/s"
	p99              = "p99 ms"
)

var (
	rateColumn    = column{recordsPerSecond, func(s sample) float64 { return s.result.Rate }, true}
	cpuColumn     = column{"CPU s", func(s sample) float64 { return s.CPU }, false}
	cpuEachColumn = column{"CPU µs/record", func(s sample) float64 { return s.CPUEach }, true}
	allocsColumn  = column{"allocs/record", func(s sample) float64 { return s.Allocs }, true}
	peakColumn    = column{"peak MB", func(s sample) float64 { return s.Peak }, false}
	startColumn   = column{"start s", func(s sample) float64 { return s.Start }, false}

	consumingColumns  = []column{rateColumn, cpuColumn, cpuEachColumn, allocsColumn, peakColumn, startColumn}
	publishingColumns = consumingColumns
	slowColumns       = []column{
		rateColumn,
		{"ceiling", func(s sample) float64 { return s.Ceiling }, false},
		{"% of it", func(s sample) float64 { return s.result.Rate / s.Ceiling * 100 }, false},
		{"records", func(s sample) float64 { return float64(s.Batch.Records) }, false},
		cpuColumn, cpuEachColumn, allocsColumn,
	}
	latencyColumns = []column{
		{"p50 ms", func(s sample) float64 { return s.P50 }, true},
		{p99, func(s sample) float64 { return s.P99 }, true},
		{"p99.9 ms", func(s sample) float64 { return s.P999 }, true},
		{"messages/s", func(s sample) float64 { return s.result.Rate }, false},
		cpuColumn, cpuEachColumn, allocsColumn,
	}
)

// table is the workload's Markdown: medians, the range of what is plotted, and the medians of the rounds' ratios to the baseline.
func table(w workload, list []series) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n%s\n\n", w.name, w.about)
	header, rule := []string{"contender"}, []string{"---"}
	add := func(title string) { header, rule = append(header, title), append(rule, "---:") }
	for _, c := range w.columns {
		add(c.title)
		if c.title == w.plotted {
			add("from–to")
		}
		if c.compare {
			add("ratio")
		}
	}
	line(&b, header)
	line(&b, rule)
	base := series{}
	if i := slices.IndexFunc(list, func(s series) bool { return s.contender.name == baseline && s.failure == nil }); i >= 0 {
		base = list[i]
	}
	for _, s := range list {
		if s.failure == nil {
			line(&b, row(w, s, base))
		}
	}
	b.WriteByte('\n')
	for _, s := range list {
		if s.failure != nil {
			fmt.Fprintf(&b, "**%s failed**: %s\n\n", s.contender.name, strings.Join(strings.Fields(s.failure.Error()), " "))
		}
	}
	return b.String()
}

func row(w workload, s, base series) []string {
	cells := []string{s.contender.name}
	for _, c := range w.columns {
		values := s.values(c)
		all := slices.Collect(maps.Values(values))
		cells = append(cells, figure(median(all)))
		if c.title == w.plotted {
			cells = append(cells, figure(slices.Min(all))+"–"+figure(slices.Max(all)))
		}
		if c.compare {
			cells = append(cells, ratio(median(ratios(values, base.values(c)))))
		}
	}
	return cells
}

func line(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// figure prints three digits or more, and groups thousands.
func figure(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case math.Abs(v) < 10:
		return fmt.Sprintf("%.2f", v)
	case math.Abs(v) < 100:
		return fmt.Sprintf("%.1f", v)
	}
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func ratio(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}

// settings is a table of what each contender was told.
func settings(list []contender) string {
	var b strings.Builder
	b.WriteString("## Settings\n\n")
	line(&b, []string{"contender", "version", "side by side", "consuming", "publishing"})
	line(&b, []string{"---", "---", "---:", "---", "---"})
	for _, c := range list {
		publishing := c.producing
		if publishing == "" {
			publishing = "takes no part"
		}
		line(&b, []string{c.name, c.module + " " + c.version(), fmt.Sprint(c.lanes), c.consuming, publishing})
	}
	return b.String()
}
