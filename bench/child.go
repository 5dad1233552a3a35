package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// Each measurement has a process of its own, so that none inherits another's heap, goroutines or connections. It is this
// program with childFlag and a job, and prints its result as one line of JSON.
const (
	childFlag   = "-child"
	jobTimeout  = 5 * time.Minute
	lastWords   = 10 * time.Second // for a child to say that its time is over
	stderrLimit = 4 << 10
)

// job is one measurement.
type job struct {
	Contender string
	Kind      kind
	Mode      mode // of publishing
	Brokers   []string
	Topic     string
	Group     string
	Batch     batch
	Delay     time.Duration // of the handler
	Rate      float64       // messages per second; 0 is as many as go
	Warm      int           // messages before the measurement
	Ceiling   float64       // records per second that the job allows at most; 0 if it sets no limit
}

type kind string

const (
	consume kind = "consume"
	publish kind = "publish"
	flow    kind = "flow" // publish and consume
)

// runJob runs the job in a child. Its error says why there is no result.
func runJob(ctx context.Context, j job) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout+lastWords)
	defer cancel()
	program, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	encoded, err := json.Marshal(j)
	if err != nil {
		return result{}, err
	}
	var stdout, stderr bytes.Buffer
	child := exec.CommandContext(ctx, program, childFlag, string(encoded))
	child.Stdout, child.Stderr = &stdout, &stderr
	child.WaitDelay = time.Second
	if err := child.Run(); err != nil {
		return result{}, fmt.Errorf("%w: %s", err, stderr.Bytes()[max(0, stderr.Len()-stderrLimit):])
	}
	var r result
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return result{}, fmt.Errorf("the child said %q: %w", stdout.Bytes(), err)
	}
	if r.Error != "" {
		return result{}, errors.New(r.Error)
	}
	return r, nil
}

// childMain is main in a child.
func childMain(encoded string) {
	r, err := measure(encoded)
	if err != nil {
		r.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func measure(encoded string) (result, error) {
	var j job
	if err := json.Unmarshal([]byte(encoded), &j); err != nil {
		return result{}, err
	}
	c, found := findContender(j.Contender)
	if !found {
		return result{}, fmt.Errorf("there is no contender %q", j.Contender)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), jobTimeout, fmt.Errorf("not done in %v", jobTimeout))
	defer cancel()
	runtime.GC()
	switch j.Kind {
	case consume:
		return measureConsuming(ctx, j, c)
	case publish:
		return measurePublishing(ctx, j, c)
	case flow:
		return measureLatency(ctx, j, c)
	}
	return result{}, fmt.Errorf("there is no job of kind %q", j.Kind)
}
