// Command stages runs the checks of this repository, one stage after another. It is run in the repository's root:
//
//	go run ./internal/stages ci              what a change must pass; .ci/run does this
//	go run ./internal/stages prove           everything, whole: hours; make prove does this
//	go run ./internal/stages list [prove]    the stages, with their commands and estimates
//	go run ./internal/stages fuzz 20s        each fuzz target of each module for a while
//
// Of what is large, such as the simulation's seeds, mode ci takes a part that the commit's hash picks; each command is
// printed, and can be repeated by hand. It stops at the first failure. It skips optional stages that would not end
// before its deadline: 75 minutes after its start, or after CI_DEADLINE, a duration such as 40m. CI_BASE names the
// commit to compare with: what changed since then runs whole.
//
// Mode prove goes on after a failure. Stopped by Ctrl-C, it continues the next time; its state is in .prove.
//
// KAFKA_CONTROL names the program that starts Kafka clusters; see clusters. Without it, stages that need one are
// skipped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	defaultDeadline = 75 * time.Minute
	stateFolder     = ".prove"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := start(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nstages:", err)
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	only        string
	fresh, goOn bool
}

func start(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("stages", flag.ContinueOnError)
	flags.StringVar(&o.only, "only", "", "run these stages alone, a list with commas")
	flags.BoolVar(&o.fresh, "fresh", false, "prove: forget what an earlier run has done")
	flags.BoolVar(&o.goOn, "continue", false, "prove: go on though the commit is another one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch words := flags.Args(); {
	case slices.Equal(words, []string{"ci"}):
		return ci(ctx, o)
	case slices.Equal(words, []string{"prove"}):
		return prove(ctx, o)
	case slices.Equal(words, []string{"list"}):
		return list(modeCI)
	case slices.Equal(words, []string{"list", "prove"}):
		return list(modeProve)
	case len(words) == 2 && words[0] == "fuzz":
		return fuzz(ctx, words[1])
	}
	return errors.New("usage: stages [-only LIST] [-fresh] [-continue] ci | prove | list [prove] | fuzz DURATION")
}

// choose returns the stages that only names; all of them if it is empty.
func choose(stages []stage, only string) (chosen []stage, err error) {
	if only == "" {
		return stages, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(stages, func(s stage) bool { return s.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("there is no stage %q; there are: %s", name, names(stages))
		}
		chosen = append(chosen, stages[i])
	}
	return chosen, nil
}

// newRunner returns a runner, and the stages to run. The runner's clusters are to be stopped.
func newRunner(p plan, only, folder string) (*runner, []stage, error) {
	stages, err := choose(table(p), only)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, nil, err
	}
	return &runner{
		root: ".", logs: folder, commit: p.commit, out: os.Stdout, began: time.Now(), now: time.Now,
		clusters: newClusters(os.Getenv("KAFKA_CONTROL"), folder),
	}, stages, nil
}

func ci(ctx context.Context, o options) error {
	p, err := newPlan(modeCI, ".")
	if err != nil {
		return err
	}
	limit := defaultDeadline
	if text := os.Getenv("CI_DEADLINE"); text != "" {
		if limit, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("CI_DEADLINE: %w", err)
		}
	}
	folder, err := os.MkdirTemp("", "stages-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	r, stages, err := newRunner(p, o.only, folder)
	if err != nil {
		return err
	}
	defer r.stopClusters()
	r.deadline = r.began.Add(limit)
	fmt.Println(p.describe())
	fmt.Printf("%d stages, about %s on a quiet machine; optional ones end after %s\n", len(stages), short(estimates(stages)), limit)

	var results []result
	r.run(ctx, stages, func(res result) { results = append(results, res) })
	r.stopClusters()
	printTable(os.Stdout, stages, results)
	printFailures(os.Stdout, results)
	return verdictOf(results)
}

func prove(ctx context.Context, o options) error {
	p, err := newPlan(modeProve, ".")
	if err != nil {
		return err
	}
	folder, err := filepath.Abs(stateFolder)
	if err != nil {
		return err
	}
	r, stages, err := newRunner(p, o.only, folder)
	if err != nil {
		return err
	}
	defer r.stopClusters()
	r.goesOn = true
	done, err := loadProgress(folder, p.commit, o.fresh, o.goOn, time.Now())
	if err != nil {
		return err
	}
	left := done.unfinished(stages)
	fmt.Println(p.describe())
	fmt.Printf("%d stages, about %s on a quiet machine with two cores", len(stages), short(estimates(stages)))
	if len(left) < len(stages) {
		fmt.Printf("; %d are left, about %s", len(left), short(estimates(left)))
	}
	fmt.Println("\nCtrl-C stops; the next run continues at the stage that was stopped")

	var latest []result
	r.run(ctx, left, func(res result) {
		latest = append(latest, res)
		if version := r.clusters.version; version != "" {
			done.Kafka = version
		}
		if err := done.record(res); err != nil {
			fmt.Println("the progress is not saved:", err)
		}
	})
	r.stopClusters()

	results := done.inOrder(stages, latest)
	text := markdown(done, stages, results)
	path := filepath.Join(folder, "summary.md")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	fmt.Printf("\n%s\nThis summary is in %s, and each stage's output beside it.\n", text, path)
	printFailures(os.Stdout, results)
	return verdictOf(results)
}

// verdictOf returns an error if a stage failed or was interrupted.
func verdictOf(results []result) error {
	var bad []string
	for _, r := range results {
		if r.State == failed || r.State == interrupted {
			bad = append(bad, fmt.Sprintf("%s: %s", r.Name, r.State))
		}
	}
	if len(bad) > 0 {
		return errors.New(strings.Join(bad, ", "))
	}
	return nil
}

func list(m mode) error {
	p, err := newPlan(m, ".")
	if err != nil {
		return err
	}
	stages := table(p)
	fmt.Println(p.describe())
	for _, s := range stages {
		kind := ""
		if s.optional {
			kind = ", optional"
		}
		if s.needs != needNothing {
			kind += ", needs " + string(s.needs)
		}
		fmt.Printf("%s (about %s%s)\n", s.name, short(s.estimate), kind)
		for _, c := range s.commands {
			fmt.Println("   ", c)
		}
	}
	fmt.Println("all: about", short(estimates(stages)))
	return nil
}

// fuzz fuzzes each target of each module for a while.
func fuzz(ctx context.Context, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	targets, err := fuzzTargets(".")
	if err != nil {
		return err
	}
	for _, target := range targets {
		c := target.command(d)
		fmt.Println("$", c)
		if err := c.execute(ctx, ".", nil, os.Stdout); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	return nil
}
