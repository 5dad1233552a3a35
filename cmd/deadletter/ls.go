package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// ls lists dead letter topics, or the letters of one.
func ls(flags *flag.FlagSet) action {
	filter := filterFlags(flags)
	stateFlag(flags, &filter.State)
	limit := shownFlag(flags, 20)
	asJSON := outputFlag(flags)
	return func(ctx context.Context, s streams, rest []string) error {
		if len(rest) > 1 {
			return mistake("%q is too much: one topic at a time", rest[1])
		}
		client, err := connect(s)
		if err != nil {
			return err
		}
		defer client.Close()
		if len(rest) == 0 {
			return listTopics(ctx, s, client, *asJSON)
		}
		return listLetters(ctx, s, client, rest[0], *filter, *limit, *asJSON)
	}
}

// topicJSON is a topic as a line of JSON.
type topicJSON struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Records    int64  `json:"recordsAtMost"`
	Pending    int64  `json:"pendingAtMost"` // from the first pending letter on
	Newest     string `json:"newest,omitempty"`
	Running    bool   `json:"running"` // a redrive is
	Error      string `json:"error,omitempty"`
}

func listTopics(ctx context.Context, s streams, client *kafka.Client, asJSON bool) error {
	topics, err := deadletter.Topics(ctx, client)
	if err != nil {
		return err
	}
	var failed error
	table := newTable(s.out)
	if !asJSON && len(topics) > 0 {
		table.row("TOPIC", "PARTITIONS", "RECORDS", "PENDING", "NEWEST", "REDRIVE")
	}
	for _, topic := range topics {
		if topic.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", topic.Name, topic.Err))
		}
		if asJSON {
			line := topicJSON{
				Topic: topic.Name, Partitions: topic.Partitions, Records: topic.Records, Pending: topic.Unsettled,
				Newest: optional(topic.Newest), Running: topic.Running,
			}
			if topic.Err != nil {
				line.Error = topic.Err.Error()
			}
			if err := printJSON(s.out, line); err != nil {
				return err
			}
			continue
		}
		running := "-"
		if topic.Running {
			running = "running"
		}
		table.row(printable(topic.Name), topic.Partitions, atMost(topic.Records), atMost(topic.Unsettled), local(topic.Newest), running)
	}
	if len(topics) == 0 {
		fmt.Fprintln(s.err, "no topic is named like a dead letter topic (dlq-*, dlq.*, *-dlq, *.dlq, *-dlt, *.DLT): name yours, as in: deadletter stats TOPIC")
	}
	failed = errors.Join(table.Flush(), failed)
	warnOfRetryTopics(ctx, s, client)
	return failed
}

func atMost(n int64) string {
	if n == 0 {
		return "0"
	}
	return "up to " + grouped(n)
}

// tableRows is after how many rows a table is printed, and the next one begins: a topic may have more letters than fit into memory.
const tableRows = 1000

func listLetters(ctx context.Context, s streams, client *kafka.Client, topic string, filter deadletter.Filter, limit int64, asJSON bool) error {
	table := newTable(s.out)
	count := 0
	more, err := eachLetter(ctx, client, topic, filter, limit, func(l deadletter.Letter) error {
		if asJSON {
			return printJSON(s.out, newLetterJSON(l))
		}
		if count%tableRows == 0 {
			if err := table.Flush(); err != nil {
				return err
			}
			table.row("PARTITION", "OFFSET", "FAILED", "CLASS", "FROM", "GROUP", "TRIES", "BACK", "STATE", "ERROR")
		}
		count++
		o := l.Origin
		table.row(l.Partition, l.Offset, local(o.FailedAt), orNone(printable(string(o.Class))), origin(l), orNone(printable(o.Group)),
			triesText(l), o.Redrives, stateText(l), s.fit(failure(l), 80))
		return nil
	})
	if err = errors.Join(table.Flush(), err); err == nil && more {
		fmt.Fprintf(s.err, "the first %d; there are more: -n 0 shows all, deadletter stats counts them\n", limit)
	} else if err == nil && count == 0 && !asJSON {
		fmt.Fprintln(s.err, none(filter))
	}
	return err
}

// eachLetter calls show for the letters that the filter means, limit of them at most unless that is 0. It says whether there are more.
func eachLetter(ctx context.Context, client *kafka.Client, topic string, filter deadletter.Filter, limit int64, show func(deadletter.Letter) error) (more bool, err error) {
	shown := int64(0)
	for letter, err := range deadletter.List(ctx, client, topic, filter) {
		if err != nil {
			return false, err
		}
		if limit > 0 && shown == limit {
			return true, nil
		}
		shown++
		if err := show(letter); err != nil {
			return false, err
		}
	}
	return false, nil
}

// none says that a topic has no such letters, and where there may be some.
func none(filter deadletter.Filter) string {
	if filter.State == deadletter.All {
		return "no such letters"
	}
	if filter.State == deadletter.Redriven {
		return "no such letters that were sent back"
	}
	return "no such letters are pending; --state all shows those that were sent back, too"
}
