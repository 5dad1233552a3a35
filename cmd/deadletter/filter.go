package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// filterFlags adds the flags that say which letters are meant, and returns where they go.
func filterFlags(flags *flag.FlagSet) *deadletter.Filter {
	var filter deadletter.Filter
	now := time.Now()
	classFlag(flags, &filter.Classes)
	listFlag(flags, "source", &filter.Sources)
	listFlag(flags, "group", &filter.Groups)
	textFlag(flags, "key", &filter.Key)
	textFlag(flags, "error", &filter.Error)
	momentFlag(flags, "since", now, &filter.Since)
	momentFlag(flags, "until", now, &filter.Until)
	partitionFlag(flags, &filter.Partitions)
	countFlag(flags, "from-offset", 0, &filter.FromOffset)
	return &filter
}

func stateFlag(flags *flag.FlagSet, state *deadletter.State) {
	flags.Func("state", "", func(text string) error {
		*state = deadletter.State(text)
		switch *state {
		case deadletter.Pending, deadletter.Redriven, deadletter.All:
			return nil
		}
		return fmt.Errorf("want %s, %s or %s", deadletter.Pending, deadletter.Redriven, deadletter.All)
	})
}

func listFlag(flags *flag.FlagSet, name string, list *[]string) {
	flags.Func(name, "", func(text string) error {
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item == "" {
				return fmt.Errorf("an empty name, which would mean nothing or everything")
			}
			*list = append(*list, item)
		}
		return nil
	})
}

// classFlag takes names that a letter's class may have: those of this library, and exceptions'. A typing error would mean no letter.
func classFlag(flags *flag.FlagSet, classes *[]string) {
	known := []string{string(kafka.ClassTransient), string(kafka.ClassPermanent), string(kafka.ClassParked)}
	flags.Func("class", "", func(text string) error {
		for name := range strings.SplitSeq(text, ",") {
			if name = strings.TrimSpace(name); !slices.Contains(known, name) && !strings.Contains(name, ".") {
				return fmt.Errorf("want %s, or the full name of an exception", strings.Join(known, ", "))
			}
			*classes = append(*classes, name)
		}
		return nil
	})
}

func partitionFlag(flags *flag.FlagSet, partitions *[]int32) {
	flags.Func("partition", "", func(text string) error {
		for item := range strings.SplitSeq(text, ",") {
			n, err := strconv.ParseInt(strings.TrimSpace(item), 10, 32)
			if err != nil || n < 0 {
				return fmt.Errorf("want numbers of partitions, such as 0 or 0,3")
			}
			*partitions = append(*partitions, int32(n))
		}
		return nil
	})
}

func momentFlag(flags *flag.FlagSet, name string, now time.Time, when *time.Time) {
	flags.Func(name, "", func(text string) (err error) {
		*when, err = moment(now, text)
		return err
	})
}

// outputFlag is -o. It returns whether JSON is asked for.
func outputFlag(flags *flag.FlagSet) *bool {
	asJSON := false
	flags.Func("o", "", func(text string) error {
		if text != "table" && text != "json" {
			return fmt.Errorf("want table or json")
		}
		asJSON = text == "json"
		return nil
	})
	return &asJSON
}
