package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// redriveOptions is what redrive's flags say.
type redriveOptions struct {
	deadletter.RedriveOptions
	yes    bool
	asJSON bool
}

func redriveFlags(flags *flag.FlagSet) *redriveOptions {
	o := &redriveOptions{}
	flags.BoolVar(&o.DryRun, "dry-run", false, "")
	flags.Int64Var(&o.Max, "max", 0, "")
	flags.Float64Var(&o.Rate, "rate", 0, "")
	flags.BoolVar(&o.yes, "yes", false, "")
	listFlag(flags, "allow", &o.Destinations)
	flags.StringVar(&o.To, "to", "", "")
	flags.StringVar(&o.Group, "for", "", "")
	flags.IntVar(&o.MaxRedrives, "max-redrives", 3, "")
	flags.DurationVar(&o.Wait, "wait", 0, "")
	return o
}

// redrive sends letters back.
func redrive(flags *flag.FlagSet) action {
	opts := redriveFlags(flags)
	asJSON := outputFlag(flags)
	filter := filterFlags(flags)
	return func(ctx context.Context, s streams, rest []string) error {
		topic, err := theTopic(rest)
		if err != nil {
			return err
		}
		switch {
		case opts.Max < 0, !(opts.Rate >= 0), opts.Wait < 0: // nor NaN
			return mistake("--max, --rate and --wait: want 0 or more")
		case opts.MaxRedrives == 0:
			return mistake("--max-redrives is 0, which would leave every letter: want 1 or more, or -1 for no limit")
		}
		opts.asJSON, opts.Filter = *asJSON, *filter
		client, err := connect(s)
		if err != nil {
			return err
		}
		defer client.Close()
		if !opts.DryRun && !opts.yes {
			if agreed, err := ask(ctx, s, client, topic, *opts); !agreed || err != nil {
				return err
			}
		}
		return send(ctx, s, client, topic, *opts)
	}
}

// ask counts what would be sent, and asks whether it is to be.
func ask(ctx context.Context, s streams, client *kafka.Client, topic string, opts redriveOptions) (agreed bool, err error) {
	if !s.inTerminal { // counting may take long
		return false, confirm(ctx, s, "It would send letters of "+topic+" back.")
	}
	counting := opts.RedriveOptions
	counting.DryRun, counting.Rate = true, 0
	result, err := runWithProgress(ctx, s, client, topic, "counting", counting)
	if err != nil {
		return false, err
	}
	if result.Sent == 0 {
		return false, tellResult(ctx, s, topic, result, opts, nil)
	}
	fmt.Fprintf(s.err, "%s of %s would go back:\n", letters(result.Sent), printable(topic))
	for _, name := range slices.Sorted(maps.Keys(result.Sources)) {
		fmt.Fprintf(s.err, "  %s to %s\n", grouped(result.Sources[name]), printable(name))
	}
	tellLeft(s, result)
	return true, confirm(ctx, s, "Send them?")
}

// send sends them, or says what would be sent.
func send(ctx context.Context, s streams, client *kafka.Client, topic string, opts redriveOptions) error {
	left := leftTeller{s: s, asJSON: opts.asJSON}
	opts.OnLeft = left.tell
	verb := "redrive"
	if opts.DryRun {
		verb = "counting"
	}
	result, err := runWithProgress(ctx, s, client, topic, verb, opts.RedriveOptions)
	if errors.Is(err, deadletter.ErrRunning) || errors.Is(err, deadletter.ErrDestination) {
		return err // nothing was begun, so that there is no result
	}
	left.end()
	return errors.Join(left.failed, tellResult(ctx, s, topic, result, opts, err))
}

func runWithProgress(ctx context.Context, s streams, client *kafka.Client, topic, verb string, opts deadletter.RedriveOptions) (deadletter.Result, error) {
	bar := progress{console: s.err, verb: verb}
	opts.OnProgress = func(p deadletter.Progress) {
		if opts.Max > 0 && opts.Max < p.Total {
			bar.tell(p.Sent, opts.Max)
		} else {
			bar.tell(p.Read, p.Total)
		}
	}
	defer s.err.end()
	result, err := deadletter.Redrive(ctx, client, topic, opts)
	return result, explain(err, topic, opts)
}

// explain adds what to do.
func explain(err error, topic string, opts deadletter.RedriveOptions) error {
	named := len(opts.Destinations) > 0 || opts.To != ""
	switch {
	case errors.Is(err, deadletter.ErrRunning):
		return fmt.Errorf("%w: wait for its end with --wait 10m, or end it", err)
	case errors.Is(err, deadletter.ErrDestination), errors.Is(err, kafka.ErrTopicMissing) && !named:
		return fmt.Errorf("%w: letters go where the name %s says, unless --allow TOPIC,... says where they may go; "+
			"deadletter stats %s --by source tells where they are from", err, topic, topic)
	}
	return err
}

// leftTeller names letters that are not sent: all in JSON, the first ones to a person.
type leftTeller struct {
	s      streams
	asJSON bool
	told   map[deadletter.Reason]int
	failed error
}

const leftTold = 10 // of each reason, so that they don't bury the result

func (t *leftTeller) tell(l deadletter.Letter, why deadletter.Reason) {
	if t.asJSON {
		line := newLetterJSON(l)
		line.Left = string(why)
		t.failed = errors.Join(t.failed, printJSON(t.s.out, line))
		return
	}
	if t.told == nil {
		t.told = map[deadletter.Reason]int{}
	}
	if t.told[why]++; t.told[why] <= leftTold {
		fmt.Fprintf(t.s.err, "left, %s: %s, from %s\n", why, printable(place(l)), origin(l))
	}
}

func (t *leftTeller) end() {
	for _, why := range slices.Sorted(maps.Keys(t.told)) {
		if more := t.told[why] - leftTold; more > 0 {
			fmt.Fprintf(t.s.err, "left, %s: and %s more; -o json names all\n", why, grouped(int64(more)))
		}
	}
}

// resultJSON is the last line of a redrive.
type resultJSON struct {
	Topic    string                      `json:"topic"`
	DryRun   bool                        `json:"dryRun"`
	Sent     int64                       `json:"sent"`
	SentTo   map[string]int64            `json:"sentTo,omitempty"`
	Left     map[deadletter.Reason]int64 `json:"leftByReason,omitempty"`
	Filtered int64                       `json:"filtered"` // pending, not meant
	Repeated int64                       `json:"repeated"` // may have been sent twice, at most
	Complete bool                        `json:"complete"`
	Seconds  float64                     `json:"seconds"`
	Error    string                      `json:"error,omitempty"`
}

const goOn = "the same command goes on where this one was: what was sent is not sent again"

// tellResult says what was done, and returns what makes the exit code.
func tellResult(ctx context.Context, s streams, topic string, r deadletter.Result, opts redriveOptions, err error) error {
	if opts.asJSON {
		line := resultJSON{
			Topic: topic, DryRun: opts.DryRun, Sent: r.Sent, SentTo: r.Sources, Left: r.Left, Filtered: r.Filtered, Repeated: r.Repeated,
			Complete: r.Complete, Seconds: r.Elapsed.Seconds(),
		}
		if err != nil {
			line.Error = err.Error()
		}
		if err := printJSON(s.out, line); err != nil {
			return err
		}
	} else if err == nil || r.Sent > 0 {
		printResult(s, r, opts.DryRun)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintf(s.err, "interrupted, %s; %s\n", printable(err.Error()), goOn)
		return errPartly
	case err != nil && r.Sent > 0:
		return fmt.Errorf("%w; %s", err, goOn)
	case err != nil:
		return err
	case len(r.Left) > 0:
		tellLeft(s, r)
		return errPartly
	}
	return nil
}

func printResult(s streams, r deadletter.Result, dryRun bool) {
	verb := "sent"
	if dryRun {
		verb = "would be sent"
	}
	s.count(r.Sent, verb)
	for _, name := range slices.Sorted(maps.Keys(r.Sources)) {
		s.count(r.Sources[name], "  to "+printable(name))
	}
	for _, why := range slices.Sorted(maps.Keys(r.Left)) {
		s.count(r.Left[why], "left: "+string(why))
	}
	if r.Repeated > 0 {
		s.count(r.Repeated, "at most sent twice, since the run before was killed")
	}
	if r.Complete && r.Filtered > 0 {
		s.count(r.Filtered, "pending, and not asked for")
	} else if !r.Complete {
		fmt.Fprintln(s.err, "not all letters were looked at: deadletter stats counts what is pending")
	}
	if !dryRun && r.Sent > 0 {
		fmt.Fprintf(s.err, "in %v\n", r.Elapsed.Round(time.Millisecond))
	}
}

// advice is what to do about a letter that is left.
var advice = map[deadletter.Reason]string{
	deadletter.LeftHopLimit:    "they came back --max-redrives times: what stops them is not repaired, see deadletter peek; a higher --max-redrives sends them all the same",
	deadletter.LeftDestination: "their topic is not allowed or not there: --allow TOPIC,... allows topics, --to TOPIC sends all to one",
	deadletter.LeftUnreadable:  "nothing says where they came from: --to TOPIC sends them to one topic",
	deadletter.LeftGroup:       "their group has no members and no offsets any more, and others pass over them: start its consumers first, or name who gets them with --for GROUP",
	deadletter.LeftTooLarge:    "their topic refuses them: raise its max.message.bytes",
}

func tellLeft(s streams, r deadletter.Result) {
	for _, why := range slices.Sorted(maps.Keys(r.Left)) {
		fmt.Fprintf(s.err, "%s are left, %s: %s\n", grouped(r.Left[why]), why, advice[why])
	}
}
