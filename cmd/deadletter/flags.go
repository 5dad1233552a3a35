package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"

	"github.com/skeji/kafka/internal/variable"
)

// usageError is a mistake in the arguments or in the environment: what to change is in its text.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func mistake(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// parse takes flags before and after the topic, as people write them.
func parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err}
		}
		if flags.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
}

// theTopic is the one dead letter topic that is named, or that of the services' own variable.
func theTopic(command string, rest []string) (string, error) {
	switch {
	case len(rest) > 1:
		return "", mistake("%q is too much: one topic at a time", rest[1])
	case len(rest) == 1:
		return rest[0], nil
	}
	if topic := variable.Get("KAFKA_CONSUMER_DLQ_TOPIC"); topic != "" {
		return topic, nil
	}
	return "", mistake("which dead letter topic? Name it, as in: deadletter %s dlq-orders; deadletter ls lists them", command)
}

// moment is a flag's time: RFC 3339, a time as the tables have it, a day, or how long ago.
func moment(now time.Time, text string) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago.Abs()), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("want a time such as 2026-11-25T14:00, a day such as 2026-11-25, or how long ago, such as 90m")
}

// textFlag takes no empty text: the zero value of an option means no limit, and a variable that a script forgot to set would mean all.
func textFlag(flags *flag.FlagSet, name string, to *string) {
	flags.Func(name, "", func(text string) error {
		if text == "" {
			return errors.New("an empty text, which would mean everything: leave the flag out for that")
		}
		*to = text
		return nil
	})
}

// countFlag takes a number from least on.
func countFlag(flags *flag.FlagSet, name string, least int64, to *int64) {
	flags.Func(name, "", func(text string) error {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < least {
			return fmt.Errorf("want a whole number from %d on", least)
		}
		*to = n
		return nil
	})
}

// shownFlag is -n, how many are shown; 0 is all.
func shownFlag(flags *flag.FlagSet, usual int64) *int64 {
	countFlag(flags, "n", 0, &usual)
	return &usual
}
