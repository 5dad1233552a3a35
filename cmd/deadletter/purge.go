package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/skeji/kafka/deadletter"
)

// purge deletes letters.
func purge(flags *flag.FlagSet) action {
	var opts deadletter.PurgeOptions
	flags.BoolVar(&opts.Redriven, "redriven", false, "")
	momentFlag(flags, "before", time.Now(), &opts.Before)
	flags.BoolVar(&opts.Unsealed, "unsealed", false, "")
	all := flags.Bool("all", false, "")
	partitionFlag(flags, &opts.Partitions)
	flags.BoolVar(&opts.AnyTopic, "any-topic", false, "")
	dryRun := flags.Bool("dry-run", false, "")
	yes := flags.Bool("yes", false, "")
	asJSON := outputFlag(flags)
	audit := auditFlags(flags)
	return func(ctx context.Context, s streams, rest []string) error {
		topic, err := theTopic("purge", rest)
		if err != nil {
			return err
		}
		switch some := opts.Redriven || !opts.Before.IsZero(); {
		case *all && some:
			return mistake("--all is more than --redriven or --before: want one")
		case !*all && !some:
			return mistake("up to where? Want --redriven, --before TIME or --all")
		case opts.Unsealed && !opts.Redriven:
			return mistake("--unsealed is for --redriven: --before and --all delete letters without a seal, too")
		}
		client, err := connect(s)
		if err != nil {
			return err
		}
		defer client.Close()
		opts.Audit = *audit
		opts.Audit.Logger = s.auditLog()
		plan, err := deadletter.PlanPurge(ctx, client, topic, opts)
		if errors.Is(err, deadletter.ErrNotDeadLetters) {
			return adviseAnyTopic(err)
		}
		if err != nil {
			return err
		}
		deletes := !*dryRun && plan.Letters > 0
		if deletes && !*yes {
			if err := confirm(ctx, s, question(plan)); err != nil {
				return err
			}
		}
		if deletes {
			if err := plan.Do(ctx, client); err != nil {
				return err
			}
		}
		if *asJSON {
			return printJSON(s.out, purgeJSON{plan, deletes})
		}
		printPurge(s, plan, *dryRun)
		if plan.Letters == 0 && opts.Redriven {
			fmt.Fprintln(s.err, "every partition begins with a letter that is pending, is not sealed, or went back and still parks its key: nothing behind it can be deleted alone. --before TIME deletes such letters too")
		}
		return nil
	}
}

func question(plan deadletter.Purge) string {
	text := fmt.Sprintf("Delete %s of %s, written from %s to %s?", letters(plan.Letters), printable(plan.Topic), local(plan.Oldest), local(plan.Newest))
	if plan.Pending > 0 {
		text += fmt.Sprintf(" %s of them are PENDING and will be lost.", grouped(plan.Pending))
	}
	return text
}

// purgeJSON is what was planned, and whether it was done.
type purgeJSON struct {
	deadletter.Purge
	Deleted bool `json:"deleted"`
}

func printPurge(s streams, plan deadletter.Purge, dryRun bool) {
	verb := "deleted"
	if dryRun {
		verb = "would be deleted"
	}
	s.count(plan.Letters, verb)
	if plan.Pending > 0 {
		s.count(plan.Pending, "of them pending, not sent back")
	}
}
