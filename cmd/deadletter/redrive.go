package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	countFlag(flags, "max", 1, &o.Max)
	flags.Func("rate", "", func(text string) (err error) {
		if o.Rate, err = strconv.ParseFloat(text, 64); err != nil || !(o.Rate > 0) { // nor NaN
			return errors.New("want a number of letters a second, such as 100 or 0.5")
		}
		return nil
	})
	flags.BoolVar(&o.yes, "yes", false, "")
	listFlag(flags, "allow", &o.Destinations)
	textFlag(flags, "to", &o.To)
	textFlag(flags, "for", &o.Group)
	flags.Func("max-redrives", "", func(text string) (err error) {
		if o.MaxRedrives, err = strconv.Atoi(text); err != nil || o.MaxRedrives == 0 || o.MaxRedrives < -1 {
			return errors.New("want 1 or more, or -1 for no limit")
		}
		return nil
	})
	flags.Func("wait", "", func(text string) (err error) {
		if o.Wait, err = time.ParseDuration(text); err != nil || o.Wait <= 0 {
			return errors.New("want how long, such as 30s or 10m")
		}
		return nil
	})
	flags.BoolVar(&o.AnyTopic, "any-topic", false, "")
	flags.BoolVar(&o.Unsealed, "unsealed", false, "")
	flags.BoolVar(&o.NoTransactions, "no-transactions", false, "")
	return o
}

// redrive sends letters back.
func redrive(flags *flag.FlagSet) action {
	opts := redriveFlags(flags)
	asJSON := outputFlag(flags)
	filter := filterFlags(flags)
	audit := auditFlags(flags)
	return func(ctx context.Context, s streams, rest []string) error {
		topic, err := theTopic("redrive", rest)
		if err != nil {
			return err
		}
		if opts.To != "" && opts.Destinations != nil {
			return mistake("--to sends all letters to one topic, --allow lets them go where they came from: want one of the two")
		}
		opts.asJSON, opts.Filter, opts.Audit = *asJSON, *filter, *audit
		opts.Audit.Logger = s.auditLog()
		client, err := connect(s)
		if err != nil {
			return err
		}
		defer client.Close()
		if !opts.DryRun && !opts.yes {
			if opts.Only, err = ask(ctx, s, client, topic, *opts); opts.Only == nil || err != nil {
				return err
			}
		}
		return send(ctx, s, client, topic, *opts)
	}
}

// ask counts what would be sent, and asks whether it is to be. It returns the letters that it has counted, or nil if there are none.
func ask(ctx context.Context, s streams, client *kafka.Client, topic string, opts redriveOptions) (counted *deadletter.Selection, err error) {
	if !s.inTerminal { // counting may take long
		return nil, confirm(ctx, s, "It would send letters of "+topic+" back.")
	}
	counting := opts.RedriveOptions
	counting.DryRun, counting.Rate = true, 0
	result, err := runWithProgress(ctx, s, client, topic, "counting", counting)
	if err != nil {
		return nil, err
	}
	if result.Sent == 0 {
		return nil, tellResult(ctx, s, topic, result, opts, nil)
	}
	fmt.Fprintf(s.err, "%s of %s would go back:\n", letters(result.Sent), printable(topic))
	for _, where := range whereTo(result) {
		fmt.Fprintf(s.err, "  %s %s\n", grouped(where.letters), where.text)
	}
	tellLeft(s, result)
	return result.Selection, confirm(ctx, s, "Send them?")
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
	if errors.Is(err, deadletter.ErrRunning) || isMistake(err) {
		return err // nothing was begun, so that there is no result
	}
	left.end()
	return errors.Join(left.failed, tellResult(ctx, s, topic, result, opts, err))
}

func runWithProgress(ctx context.Context, s streams, client *kafka.Client, topic, verb string, opts deadletter.RedriveOptions) (deadletter.Result, error) {
	bar := progress{console: s.err, verb: verb}
	opts.OnProgress = func(p deadletter.Progress) {
		if opts.Max > 0 && opts.Max < p.Total {
			bar.tell(p.Sent, opts.Max, p.Sent)
		} else {
			bar.tell(p.Read, p.Total, p.Sent)
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
	case errors.Is(err, deadletter.ErrGroup):
		return fmt.Errorf("%w: is the name right? Else start its consumers first", err)
	case errors.Is(err, deadletter.ErrNotDeadLetters):
		return adviseAnyTopic(err)
	case errors.Is(err, deadletter.ErrNoTransactions):
		return fmt.Errorf("%w: --no-transactions does without; deadletter redrive -h says what that costs", err)
	case errors.Is(err, kafka.ErrTopicMissing) && strings.Contains(err.Error(), "topic "+topic+":"):
		return fmt.Errorf("%w: deadletter ls lists those that there are", err)
	case errors.Is(err, deadletter.ErrDestination), errors.Is(err, kafka.ErrTopicMissing) && !named:
		return fmt.Errorf("%w: letters go where the name %s says, unless --allow TOPIC,... says where they may go; "+
			"deadletter stats %s --by source tells where they are from", err, topic, topic)
	}
	return err
}

// adviseAnyTopic is about [deadletter.ErrNotDeadLetters].
func adviseAnyTopic(err error) error {
	return fmt.Errorf("%w: --any-topic takes it all the same", err)
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
	SentFor  map[string]int64            `json:"sentFor,omitempty"` // by group; "" is everybody
	Left     map[deadletter.Reason]int64 `json:"leftByReason,omitempty"`
	Filtered int64                       `json:"filtered"` // pending, not meant
	Repeated int64                       `json:"repeated"` // may have been sent twice, at most
	Deleted  int64                       `json:"deleted"`  // meanwhile, by others
	Complete bool                        `json:"complete"`
	Seconds  float64                     `json:"seconds"`
	Error    string                      `json:"error,omitempty"`
}

const goOn = "the same command goes on where this one was: what was sent is not sent again"

// tellResult says what was done, and returns what makes the exit code.
func tellResult(ctx context.Context, s streams, topic string, r deadletter.Result, opts redriveOptions, err error) error {
	if opts.asJSON {
		line := resultJSON{
			Topic: topic, DryRun: opts.DryRun, Sent: r.Sent, SentTo: r.Sources, SentFor: r.Groups, Left: r.Left, Filtered: r.Filtered,
			Repeated: r.Repeated, Deleted: r.Deleted, Complete: r.Complete, Seconds: r.Elapsed.Seconds(),
		}
		if err != nil {
			line.Error = err.Error()
		}
		if err := printJSON(s.out, line); err != nil {
			return err
		}
	} else if err == nil || r.Sent > 0 {
		printResult(s, r, opts)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		fmt.Fprintf(s.err, "interrupted, %s; %s\n", printable(err.Error()), goOn)
		return errPartly
	case err != nil && r.Sent > 0:
		return fmt.Errorf("%w; %s", err, goOn)
	case err != nil:
		return err
	case len(r.Left) > 0, r.Deleted > 0:
		tellLeft(s, r)
		return errPartly
	}
	return nil
}

// portion is how many letters go somewhere.
type portion struct {
	letters int64
	text    string
}

// whereTo says which topics letters go to, and which groups they are for.
func whereTo(r deadletter.Result) (all []portion) {
	for _, name := range slices.Sorted(maps.Keys(r.Sources)) {
		all = append(all, portion{r.Sources[name], "to " + printable(name)})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Groups)) {
		reader := "for group " + printable(name)
		if name == "" {
			reader = "for every group"
		}
		all = append(all, portion{r.Groups[name], reader})
	}
	return all
}

func printResult(s streams, r deadletter.Result, opts redriveOptions) {
	verb := "sent"
	if opts.DryRun {
		verb = "would be sent"
	}
	s.count(r.Sent, verb)
	for _, where := range whereTo(r) {
		s.count(where.letters, "  "+where.text)
	}
	for _, why := range slices.Sorted(maps.Keys(r.Left)) {
		s.count(r.Left[why], "left: "+string(why))
	}
	if r.Repeated > 0 {
		s.count(r.Repeated, "at most sent twice, since the run before was killed")
	}
	if r.Deleted > 0 {
		s.count(r.Deleted, "were deleted meanwhile, and not sent")
	}
	switch {
	case r.Complete && r.Filtered > 0:
		s.count(r.Filtered, "pending, and not asked for")
	case !r.Complete && r.Sent == opts.Max:
		fmt.Fprintln(s.err, "that is --max; deadletter stats counts what is pending")
	case !r.Complete:
		fmt.Fprintln(s.err, "not all letters were looked at: deadletter stats counts what is pending")
	}
	if !opts.DryRun && r.Sent > 0 {
		fmt.Fprintf(s.err, "in %v\n", r.Elapsed.Round(time.Millisecond))
	}
}

// advice is what to do about a letter that is left.
var advice = map[deadletter.Reason]string{
	deadletter.LeftHopLimit:    "they came back --max-redrives times: what stops them is not repaired, see deadletter peek; a higher --max-redrives sends them all the same",
	deadletter.LeftDestination: "their topic is not allowed or not there: --allow TOPIC,... allows topics, --to TOPIC sends all to one",
	deadletter.LeftUnreadable:  "nothing says where they came from: --to TOPIC sends them to one topic",
	deadletter.LeftGroup:       "their group has neither members that read the topic nor offsets of it, and others pass over them: start its consumers first, or name who gets them with --for GROUP",
	deadletter.LeftPointer:     "brokers copy no records into letters of share groups unless the group's errors.deadletterqueue.copy.record.enable is true: set it, so that later letters can go back; deadletter peek says where these records are",
	deadletter.LeftUnsealed:    "no key of KAFKA_CONTROL_KEY has sealed them: they are of a service without that key, of before there was one, of another tool, or forged; look at them with deadletter peek, and --unsealed sends them all the same",
	deadletter.LeftTooLarge:    "their topic refuses them, however they are compressed: raise its max.message.bytes",
}

func tellLeft(s streams, r deadletter.Result) {
	for _, why := range slices.Sorted(maps.Keys(r.Left)) {
		fmt.Fprintf(s.err, "%s are left, %s: %s\n", grouped(r.Left[why]), why, advice[why])
	}
}
