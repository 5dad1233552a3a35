package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// runner runs stages, one after another.
type runner struct {
	root     string
	logs     string // the folder of the stages' output
	commit   string
	out      io.Writer
	clusters *clusters
	began    time.Time
	deadline time.Time // zero: none
	goesOn   bool      // after a stage that failed
	now      func() time.Time

	// of the stages that ran to their end and say something about the machine's speed
	estimated, took time.Duration
}

var errDeadline = errors.New("the deadline was reached")

// run runs the stages that have no result yet, and hands each result to report as soon as it is there. It ends early
// when ctx does, and after a failure unless the runner goes on.
func (r *runner) run(ctx context.Context, stages []stage, report func(result)) {
	for i, s := range stages {
		res := r.stage(ctx, s, stages[i+1:])
		report(res)
		if !slices.ContainsFunc(stages[i+1:], func(s stage) bool { return s.needs == needClusters || s.needs == needBroker }) {
			r.stopClusters() // they keep the processors busy even when nobody asks them anything
		}
		if res.State == interrupted || res.State == failed && !r.goesOn {
			return
		}
	}
}

// stage runs one stage; rest is what follows it.
func (r *runner) stage(ctx context.Context, s stage, rest []stage) result {
	res := result{Name: s.name, Commit: r.commit}
	if why := r.skips(s, rest); why != "" {
		res.State, res.Why = skipped, why
		r.headline("%s: SKIPPED: %s", s.name, why)
		return res
	}
	r.headline("%s (about %s)", s.name, short(s.estimate))

	if s.optional && !r.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, r.deadline.Add(-r.reserved(rest)), errDeadline)
		defer cancel()
	}
	log, err := os.Create(filepath.Join(r.logs, strings.ReplaceAll(s.name, " ", "-")+".log"))
	if err != nil {
		res.State, res.Why = failed, err.Error()
		return res
	}
	defer log.Close()
	began := r.now()
	env, err := r.provide(s)
	if err == nil {
		began = r.now() // starting brokers is no part of the stage
		for _, c := range s.commands {
			fmt.Fprintf(r.out, "$ %s\n", c)
			if err = c.execute(ctx, r.root, env, io.MultiWriter(r.out, log)); err != nil {
				err = fmt.Errorf("%s: %w", c, err)
				break
			}
		}
	}
	res.Seconds = r.now().Sub(began).Seconds()
	output, _ := os.ReadFile(log.Name())
	r.judge(ctx, s, &res, err, output)
	if res.State == passed && !s.once {
		r.estimated += s.estimate
		r.took += res.took()
	}
	return res
}

// judge sets the state of a stage that ran.
func (r *runner) judge(ctx context.Context, s stage, res *result, err error, output []byte) {
	for line := range bytes.Lines(output) {
		if s.key != nil && s.key.Match(line) {
			res.Keys = append(res.Keys, strings.TrimSpace(string(line)))
		}
	}
	switch {
	case err == nil:
		res.State = passed
	case errors.Is(err, errDeadline):
		res.State, res.Why = cutShort, fmt.Sprintf("stopped at the deadline, after %s", short(res.took()))
	case ctx.Err() != nil:
		res.State, res.Why = interrupted, "stopped by a signal"
	case s.unavailable != nil && s.unavailable.Match(output):
		res.State, res.Why = skipped, "out of reach: "+string(s.unavailable.Find(output))
	default:
		res.State, res.Why = failed, err.Error()
		res.Digest = digest(string(output))
	}
	if res.State != passed {
		r.headline("%s: %s: %s", s.name, strings.ToUpper(string(res.State)), res.Why)
	}
}

// skips says why a stage does not run now; empty: it runs.
func (r *runner) skips(s stage, rest []stage) string {
	switch {
	case len(s.commands) == 0:
		return "it has no command"
	case s.needs == needClusters && r.clusters.control == "":
		return "it needs brokers that it may break; KAFKA_CONTROL names no program that starts them"
	case s.needs == needBroker && r.clusters.control == "" && os.Getenv("KAFKA_BROKERS") == "" && !dockerAnswers():
		return "no KAFKA_CONTROL, no KAFKA_BROKERS, and Docker does not answer"
	case s.needs == needDocker && r.clusters.control == "" && !dockerAnswers():
		return "Docker does not answer"
	case s.needs == needPromtool:
		if _, err := exec.LookPath("promtool"); err != nil {
			return "promtool is not installed"
		}
	}
	if s.optional && !r.deadline.IsZero() {
		left := r.deadline.Sub(r.now()) - r.reserved(rest)
		if needed := r.scaled(s.estimate); needed > left {
			return fmt.Sprintf("it takes about %s on this machine now, and %s are left before the deadline", short(needed), short(max(0, left)))
		}
	}
	return ""
}

// slowness is how many times longer than estimated the stages have taken so far; at least 1.
func (r *runner) slowness() float64 {
	if r.estimated <= 0 {
		return 1
	}
	return max(1, float64(r.took)/float64(r.estimated))
}

func (r *runner) scaled(estimate time.Duration) time.Duration {
	return time.Duration(float64(estimate) * r.slowness())
}

// reserved is the time that the mandatory stages among these take.
func (r *runner) reserved(rest []stage) (sum time.Duration) {
	for _, s := range rest {
		if !s.optional {
			sum += r.scaled(s.estimate)
		}
	}
	return sum
}

// provide starts what a stage needs, and returns the environment that says where it is.
func (r *runner) provide(s stage) ([]string, error) {
	switch {
	case s.needs == needDocker:
		return r.clusters.docker()
	case (s.needs == needClusters || s.needs == needBroker) && r.clusters.control != "":
		if len(r.clusters.env) == 0 {
			began := r.now()
			if err := r.clusters.start(); err != nil {
				return nil, err
			}
			fmt.Fprintf(r.out, "started Kafka %s in %s:\n  %s\n", r.clusters.version, short(r.now().Sub(began)), strings.Join(r.clusters.env, "\n  "))
		}
		return r.clusters.env, nil
	case s.needs == needBroker:
		return nil, nil
	}
	// No other stage may find a broker.
	return []string{"KAFKA_BROKERS", "KAFKA_TEST_CLUSTER_CONTROL", "KAFKA_TEST_CONTAINERS=off"}, nil
}

func (r *runner) stopClusters() {
	if err := r.clusters.stop(); err != nil {
		fmt.Fprintln(r.out, "stop the brokers:", err)
	}
}

func (r *runner) headline(format string, args ...any) {
	fmt.Fprintf(r.out, "\n=== %5d s  %s\n", int(r.now().Sub(r.began).Seconds()), fmt.Sprintf(format, args...))
}

// short is a duration without fractions of a second, and without zeros at its end.
func short(d time.Duration) string {
	text := d.Round(time.Second).String()
	return zeros.ReplaceAllString(text, "$1")
}

var zeros = regexp.MustCompile(`([hm])0[ms](?:0s)?$`)
