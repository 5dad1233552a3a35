package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/skeji/kafka/deadletter"
)

// stats counts letters by what went wrong.
func stats(flags *flag.FlagSet) action {
	filter := filterFlags(flags)
	stateFlag(flags, &filter.State)
	var by []string
	flags.Func("by", "", func(text string) error {
		for name := range strings.SplitSeq(text, ",") {
			if _, ok := countsBy[name]; !ok {
				return errors.New("want class, error, source, group or hour, or several with commas")
			}
			by = append(by, name)
		}
		return nil
	})
	limit := shownFlag(flags, 10)
	asJSON := outputFlag(flags)
	return func(ctx context.Context, s streams, rest []string) error {
		topic, err := theTopic("stats", rest)
		if err != nil {
			return err
		}
		if by == nil {
			by = []string{"class", "error", "source", "group"}
		}
		client, err := connect(s)
		if err != nil {
			return err
		}
		defer client.Close()
		counted, err := deadletter.ReadStats(ctx, client, topic, *filter)
		if err != nil {
			return err
		}
		if *asJSON {
			return printStatsJSON(s, topic, counted, by, *limit)
		}
		if counted.Letters == 0 {
			fmt.Fprintln(s.err, none(*filter))
			return nil
		}
		return printStats(s, topic, counted, by, *limit)
	}
}

// countsBy are the views of Stats, by the names that --by takes.
var countsBy = map[string]func(deadletter.Stats) []deadletter.Count{
	"class":  func(s deadletter.Stats) []deadletter.Count { return s.ByClass },
	"error":  func(s deadletter.Stats) []deadletter.Count { return s.ByError },
	"source": func(s deadletter.Stats) []deadletter.Count { return s.BySource },
	"group":  func(s deadletter.Stats) []deadletter.Count { return s.ByGroup },
	"hour":   func(s deadletter.Stats) []deadletter.Count { return s.ByHour },
}

func printStats(s streams, topic string, counted deadletter.Stats, by []string, limit int64) error {
	fmt.Fprintf(s.out, "%s: %s, failed from %s to %s\n", printable(topic), letters(counted.Letters), local(counted.Oldest), local(counted.Newest))
	if counted.ByClass[0].Value == "" && counted.ByError[0].Value == "" && len(counted.ByClass) == 1 && len(counted.ByError) == 1 {
		fmt.Fprintln(s.err, "none of these records says what went wrong: is this a dead letter topic?")
	}
	for _, note := range []struct {
		count int64
		text  string
	}{
		{counted.Redriven, "of them were sent back"},
		{counted.CameBack, "of them had been sent back before"},
		{counted.Unreadable, "of them don't say where they came from: redrive needs --to for those"},
		{counted.Unsealed, "of them are not sealed with KAFKA_CONTROL_KEY, and may be forged: redrive needs --unsealed for those"},
	} {
		if note.count > 0 {
			fmt.Fprintf(s.out, "  %s %s\n", grouped(note.count), note.text)
		}
	}
	for _, name := range by {
		counts, rest := cut(countsBy[name](counted), limit)
		fmt.Fprintln(s.out)
		table := newTable(s.out)
		table.row("LETTERS", "SHARE", "OLDEST", "NEWEST", strings.ToUpper(name))
		for _, c := range counts {
			share := fmt.Sprintf("%.0f%%", 100*float64(c.Letters)/float64(counted.Letters))
			table.row(grouped(c.Letters), share, local(c.Oldest), local(c.Newest), orNone(s.fit(c.Value, 100)))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		if rest > 0 {
			fmt.Fprintf(s.out, "and %s more: -n 0 shows all\n", grouped(int64(rest)))
		}
	}
	return nil
}

// cut returns the first counts, and how many there are beyond them.
func cut(counts []deadletter.Count, limit int64) ([]deadletter.Count, int) {
	if limit > 0 && int64(len(counts)) > limit {
		return counts[:limit], len(counts) - int(limit)
	}
	return counts, 0
}

// statsJSON is the line with the totals.
type statsJSON struct {
	Topic      string `json:"topic"`
	Letters    int64  `json:"letters"`
	Redriven   int64  `json:"redriven"`
	CameBack   int64  `json:"cameBack"`
	Unreadable int64  `json:"unreadable"`
	Unsealed   int64  `json:"unsealed"`
	Bytes      int64  `json:"bytes"`
	Marks      int64  `json:"marks"`
	Oldest     string `json:"oldest,omitempty"`
	Newest     string `json:"newest,omitempty"`
}

// countJSON is the line of a count.
type countJSON struct {
	By      string `json:"by"`
	Value   string `json:"value"`
	Letters int64  `json:"letters"`
	Oldest  string `json:"oldest,omitempty"`
	Newest  string `json:"newest,omitempty"`
	Example string `json:"example,omitempty"`
}

func printStatsJSON(s streams, topic string, counted deadletter.Stats, by []string, limit int64) error {
	err := printJSON(s.out, statsJSON{
		topic, counted.Letters, counted.Redriven, counted.CameBack, counted.Unreadable, counted.Unsealed, counted.Bytes, counted.Marks,
		optional(counted.Oldest), optional(counted.Newest),
	})
	for _, name := range by {
		counts, _ := cut(countsBy[name](counted), limit)
		for _, c := range counts {
			err = errors.Join(err, printJSON(s.out, countJSON{name, c.Value, c.Letters, optional(c.Oldest), optional(c.Newest), c.Example}))
		}
	}
	return err
}
