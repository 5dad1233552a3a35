package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"strings"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// peekValue is how many characters of a value a person wants to see at once.
const peekValue = 2000

// peek shows letters whole.
func peek(flags *flag.FlagSet) action {
	filter := filterFlags(flags)
	stateFlag(flags, &filter.State)
	limit := shownFlag(flags, 5)
	full := flags.Bool("full", false, "")
	asJSON := outputFlag(flags)
	return func(ctx context.Context, s streams, rest []string) error {
		topic, err := theTopic("peek", rest)
		if err != nil {
			return err
		}
		client, err := connect(s)
		if err != nil {
			return err
		}
		defer client.Close()
		cut := peekValue
		if *full {
			cut = math.MaxInt
		}
		count := 0
		more, err := eachLetter(ctx, client, topic, *filter, *limit, func(l deadletter.Letter) error {
			count++
			if *asJSON {
				line := newLetterJSON(l)
				line.addContent(l)
				return printJSON(s.out, line)
			}
			_, err := fmt.Fprintln(s.out, describe(l, cut))
			return err
		})
		if err == nil && more {
			fmt.Fprintf(s.err, "the first %d; there are more: -n 0 shows all, deadletter stats counts them\n", *limit)
		} else if err == nil && count == 0 {
			fmt.Fprintln(s.err, none(*filter))
		}
		return err
	}
}

// describe is a letter for a person to read.
func describe(l deadletter.Letter, cut int) string {
	var b strings.Builder
	line := func(name, text string) { fmt.Fprintf(&b, "  %-9s %s\n", name, text) }
	o := l.Origin
	fmt.Fprintf(&b, "%s, %s\n", printable(place(l)), stateOf(l))
	if l.Unsealed {
		line("TROUBLE", "not sealed with KAFKA_CONTROL_KEY: whoever may write to this topic may have made all of this up")
	}
	if l.Err != nil {
		line("TROUBLE", printable(l.Err.Error()))
	}
	line("error", orNone(printable(o.Message)))
	line("class", orNone(printable(string(o.Class)))+tried(l))
	line("failed", local(o.FailedAt)+inGroup(o.Group))
	line("from", origin(l)+published(o))
	if o.HeadersCut > 0 {
		line("cut", fmt.Sprintf("%d headers of the record are lost", o.HeadersCut))
	}
	if l.Pointer {
		line("record", "not in this letter, which only says where it is: for share groups, brokers copy it if the group's errors.deadletterqueue.copy.record.enable is true")
	} else {
		line("key", readable(l.Key, cut))
		line("value", readable(l.Value, cut))
	}
	name := "headers"
	for _, h := range l.Headers {
		if l.Err != nil || !strings.HasPrefix(h.Key, ownHeaders) { // which else have been told above
			line(name, printable(h.Key)+": "+readable(h.Value, cut))
			name = ""
		}
	}
	return b.String()
}

// ownHeaders is what all headers of this library's letters begin with.
const ownHeaders = "__dlq.errors."

func tried(l deadletter.Letter) (text string) {
	switch n, ok := tries(l); {
	case ok && n == 0:
		text = ", never tried"
	case ok:
		text = fmt.Sprintf(", tried %s", times(n))
	}
	if n := l.Origin.Redrives; n > 0 {
		text += fmt.Sprintf(", sent back %s before", times(n))
	}
	return text
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func inGroup(group string) string {
	if group == "" {
		return ""
	}
	return " in group " + printable(group)
}

func published(o kafka.DeadLetter) string {
	if o.Timestamp.IsZero() {
		return ""
	}
	return ", published " + local(o.Timestamp)
}
