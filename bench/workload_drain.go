package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// drain consumes a backlog with a handler that does nothing.
func drain(want batch) workload {
	return workload{
		name: "drain", family: "drain",
		about: fmt.Sprintf("%s records in %d partitions are consumed, decoded and committed by a new group. The handler does nothing. "+
			"Time runs from the first record to the last; joining the group is told apart. CPU and allocations are of all, joining too.", figure(float64(want.Records)), want.Partitions),
		columns: consumingColumns,
		plotted: recordsPerSecond,
		job: func(ctx context.Context, k *cluster, c contender) (job, error) {
			return consumingJob(ctx, k, c, want)
		},
	}
}

func consumingJob(ctx context.Context, k *cluster, c contender, want batch) (job, error) {
	topic, err := k.topicWith(ctx, want)
	return job{Contender: c.name, Kind: consume, Brokers: k.brokers, Topic: topic, Group: k.newGroup(), Batch: want}, err
}

const closePatience = time.Minute

// measureConsuming runs in the child. The measurement ends with the last record; the contender goes on until its commits are
// there, which are part of the job.
func measureConsuming(ctx context.Context, j job, c contender) (result, error) {
	t := newTally(j.Batch, 0)
	handle := t.add
	if j.Delay > 0 {
		handle = func(o order) {
			time.Sleep(j.Delay)
			t.add(o)
		}
	}
	before, err := read()
	if err != nil {
		return result{}, err
	}
	running := startConsuming(ctx, j, c, handle)
	if err := running.wait(t.done); err != nil {
		return result{}, fmt.Errorf("%w, with %d records handled of %d", err, t.count.Load(), j.Batch.Records)
	}
	after, err := read()
	if err != nil {
		return result{}, err
	}
	err = awaitCommitted(ctx, j.Brokers, j.Group, j.Topic)
	if err := errors.Join(err, running.stop(), t.check()); err != nil {
		return result{}, err
	}
	r := result{Start: t.firstAt().Sub(before.at).Seconds(), Seconds: t.last.Sub(t.firstAt()).Seconds()}
	r.Rate = float64(j.Batch.Records) / r.Seconds
	r.fill(before, after, j.Batch.Records)
	return r, nil
}

// consumption is a contender that consumes, until it is stopped.
type consumption struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan error
}

var errStopped = errors.New("stopped")

func startConsuming(ctx context.Context, j job, c contender, handle func(order)) consumption {
	ctx, cancel := context.WithCancelCause(ctx)
	running := consumption{ctx, cancel, make(chan error, 1)}
	go func() {
		running.ended <- c.consume(ctx, consuming{brokers: j.Brokers, topic: j.Topic, group: j.Group, handle: handle, fail: cancel})
	}()
	return running
}

// wait returns nil once done is closed, and an error if the contender ends before.
func (c consumption) wait(done chan struct{}) error {
	select {
	case <-done:
		return nil
	case err := <-c.ended:
		return fmt.Errorf("ended early: %w", errors.Join(err, context.Cause(c.ctx)))
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// stop ends the contender as a shutdown would.
func (c consumption) stop() error {
	c.cancel(errStopped)
	select {
	case err := <-c.ended:
		return err
	case <-time.After(closePatience):
		return fmt.Errorf("not closed after %v", closePatience)
	}
}
