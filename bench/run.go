package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

const connectPatience = 10 * time.Second

// run measures everything and returns the report. A contender that fails takes no further part in its workload; the others go
// on, and the error tells of it.
func run(ctx context.Context, o options) (report string, panels []panel, err error) {
	reach, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	k, err := connect(reach, o.brokers, "bench-"+time.Now().UTC().Format("20060102-150405"))
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	about, err := k.about(reach)
	if err != nil {
		return "", nil, err
	}

	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmark\n\n%s, %s/%s, %d CPUs, shared with %s. Medians of %d round(s). "+
		"A ratio is to %s, raw franz-go with encoding/json, in the same round.\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), about, o.rounds, baseline)
	var failures []error
	for _, w := range o.workloads {
		list := measureWorkload(ctx, k, w, o)
		if ctx.Err() != nil {
			failures = append(failures, context.Cause(ctx))
			break
		}
		for _, s := range list {
			if s.failure != nil {
				failures = append(failures, fmt.Errorf("%s: %s: %w", w.name, s.contender.name, s.failure))
			}
		}
		b.WriteString(table(w, list))
		panels = append(panels, newPanel(w, list))
	}
	b.WriteString(settings(o.contenders))
	return b.String(), panels, errors.Join(failures...)
}

// measureWorkload lets each contender have its turn once in every round, so that what the machine does meanwhile meets all.
func measureWorkload(ctx context.Context, k *cluster, w workload, o options) []series {
	var list []series
	for _, c := range o.contenders {
		if c.takesPartIn(w) {
			list = append(list, series{contender: c, rounds: map[int]sample{}})
		}
	}
	for round := range o.rounds {
		for _, i := range turns(len(list), round) {
			s := &list[i]
			if s.failure != nil || ctx.Err() != nil {
				continue
			}
			taken, err := take(ctx, k, w, s.contender)
			if err != nil {
				s.failure = fmt.Errorf("round %d: %w", round+1, err)
				fmt.Fprintf(os.Stderr, "%s, %s: %v\n", w.name, s.contender.name, s.failure)
				continue
			}
			s.rounds[round] = taken
			fmt.Fprintf(os.Stderr, "%s, round %d of %d, %s: %s\n", w.name, round+1, o.rounds, s.contender.name, short(w, taken))
		}
	}
	return list
}

func take(ctx context.Context, k *cluster, w workload, c contender) (sample, error) {
	j, err := w.job(ctx, k, c)
	if err != nil {
		return sample{}, err
	}
	r, err := runJob(ctx, j)
	if err != nil {
		return sample{}, err
	}
	if w.check != nil {
		err = w.check(ctx, k, j)
	}
	return sample{j, r}, err
}

func short(w workload, s sample) string {
	var parts []string
	for _, c := range w.columns {
		parts = append(parts, c.title+" "+figure(c.value(s)))
	}
	return strings.Join(parts, ", ")
}
