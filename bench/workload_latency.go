package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	latencySeconds = 20
	probeRecords   = 200_000
	warmRecords    = customers // every key, and so every partition, once
	lowestRate     = 100
)

// endToEnd measures the time from publishing to handling, at a rate that leaves the machine nine tenths of its time.
func endToEnd(records int) workload {
	var rate float64 // the same for all, measured before the first
	return workload{
		name: "latency", family: "latency",
		about: fmt.Sprintf("Messages are published at a fixed rate and consumed in the same process. The rate is a tenth of what %s publishes and consumes "+
			"at once when nothing holds it back, measured first. For %d s, or %s messages. "+
			"A message's time runs from when it was due to be published to its handler.", baseline, latencySeconds, figure(float64(records))),
		columns: latencyColumns,
		plotted: p99,
		job: func(ctx context.Context, k *cluster, c contender) (job, error) {
			if rate == 0 {
				top, err := probe(ctx, k, min(records, probeRecords))
				if err != nil {
					return job{}, fmt.Errorf("measure the most that goes: %w", err)
				}
				rate = max(top/10, lowestRate)
			}
			n := min(records, int(rate*latencySeconds))
			return flowJob(ctx, k, c.name, n, rate)
		},
	}
}

func flowJob(ctx context.Context, k *cluster, contender string, records int, rate float64) (job, error) {
	topic, err := k.newTopic(ctx, "latency", partitions)
	return job{
		Contender: contender, Kind: flow, Mode: latency, Brokers: k.brokers, Topic: topic, Group: k.newGroup(),
		Batch: newBatch(uniformKeys, warmRecords+records), Rate: rate, Warm: warmRecords,
	}, err
}

// probe returns how many messages per second the baseline publishes and consumes.
func probe(ctx context.Context, k *cluster, records int) (float64, error) {
	j, err := flowJob(ctx, k, baseline, records, 0)
	if err != nil {
		return 0, err
	}
	r, err := runJob(ctx, j)
	return r.Rate, err
}

// measureLatency runs in the child.
func measureLatency(ctx context.Context, j job, c contender) (result, error) {
	t := newTally(j.Batch, j.Warm)
	times := make([]float64, j.Batch.Records) // in milliseconds, in the order of handling
	var next atomic.Int64
	running := startConsuming(ctx, j, c, func(o order) {
		if i := int(next.Add(1)) - 1; i < len(times) {
			times[i] = time.Since(o.Created).Seconds() * 1e3
		}
		t.add(o)
	})
	p, err := c.newPublisher(producing{brokers: j.Brokers, topic: j.Topic, mode: j.Mode})
	if err != nil {
		return result{}, err
	}
	defer p.close()
	if err := publishFromOne(ctx, p, batch{Keys: j.Batch.Keys, Records: j.Warm}); err != nil {
		return result{}, err
	}
	if err := running.wait(t.reached); err != nil {
		return result{}, fmt.Errorf("warm up: %w", err)
	}

	before, err := read()
	if err != nil {
		return result{}, err
	}
	if err := publishAtRate(ctx, p, j); err != nil {
		return result{}, err
	}
	if err := running.wait(t.done); err != nil {
		return result{}, fmt.Errorf("%w, with %d records handled of %d", err, t.count.Load(), j.Batch.Records)
	}
	after, err := read()
	if err != nil {
		return result{}, err
	}
	err = errors.Join(p.flush(ctx), awaitCommitted(ctx, j.Brokers, j.Group, j.Topic))
	if err := errors.Join(err, running.stop(), t.check()); err != nil {
		return result{}, err
	}
	records := j.Batch.Records - j.Warm
	r := result{Seconds: t.last.Sub(before.at).Seconds()}
	r.Rate = float64(records) / r.Seconds
	r.fill(before, after, records)
	settled := times[j.Warm+min(int(j.Rate), records/10):] // without the first second, when batches find their size
	slices.Sort(settled)
	r.P50, r.P99, r.P999 = percentile(settled, 50), percentile(settled, 99), percentile(settled, 99.9)
	return r, nil
}

const tick = time.Millisecond // of the pacing: Go's timers are not finer

// publishAtRate publishes what is due, each millisecond. A message that a slow publisher holds up is late from when it was due.
func publishAtRate(ctx context.Context, p publisher, j job) error {
	customer := j.Batch.Keys.sequence()
	for i := range j.Warm {
		customer(i)
	}
	start := time.Now()
	for i := j.Warm; i < j.Batch.Records; i++ {
		due := time.Now()
		if j.Rate > 0 {
			due = start.Add(time.Duration(float64(i-j.Warm) / j.Rate * float64(time.Second)).Truncate(tick))
			time.Sleep(time.Until(due)) // which returns at once when it is past
		}
		if err := p.publish(ctx, newOrder(i, customer(i), due)); err != nil {
			return err
		}
	}
	return nil
}
