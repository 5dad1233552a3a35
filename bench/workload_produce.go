package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	callers        = 64      // goroutines that publish and wait
	waitingRecords = 200_000 // a tenth of a second for each thousand, where a round trip takes 6 ms
)

func publishInBackground(records int) workload {
	return publishing("produce-async", throughput, records,
		"%s messages are published from one goroutine without waiting for each, then flushed. Time runs from the making of the client to the last acknowledgement.")
}

func publishAndWait(records int) workload {
	return publishing("produce-sync", blocking, min(records, waitingRecords),
		fmt.Sprintf("%%s messages are published by %d goroutines, each of which waits for its message to be acknowledged. Time runs from the making of the client.", callers))
}

func publishing(name string, m mode, records int, about string) workload {
	want := newBatch(uniformKeys, records)
	return workload{
		name: name, family: name,
		about:   fmt.Sprintf(about+" The topic, of %d partitions, is new; what it holds is read and checked afterwards.", figure(float64(records)), partitions),
		columns: publishingColumns,
		plotted: recordsPerSecond,
		job: func(ctx context.Context, k *cluster, c contender) (job, error) {
			topic, err := k.newTopic(ctx, name, partitions)
			return job{Contender: c.name, Kind: publish, Mode: m, Brokers: k.brokers, Topic: topic, Batch: want}, err
		},
		check: func(ctx context.Context, k *cluster, j job) error {
			return k.verify(ctx, j.Topic, want)
		},
	}
}

// measurePublishing runs in the child.
func measurePublishing(ctx context.Context, j job, c contender) (result, error) {
	before, err := read()
	if err != nil {
		return result{}, err
	}
	p, err := c.newPublisher(producing{brokers: j.Brokers, topic: j.Topic, mode: j.Mode})
	if err != nil {
		return result{}, err
	}
	defer p.close()
	started := time.Now()
	if j.Mode == blocking {
		err = publishFromMany(ctx, p, j.Batch)
	} else {
		err = publishFromOne(ctx, p, j.Batch)
	}
	if err := errors.Join(err, p.flush(ctx)); err != nil {
		return result{}, err
	}
	ended := time.Now()
	after, err := read()
	if err != nil {
		return result{}, err
	}
	r := result{Start: started.Sub(before.at).Seconds(), Seconds: ended.Sub(before.at).Seconds()}
	r.Rate = float64(j.Batch.Records) / r.Seconds
	r.fill(before, after, j.Batch.Records)
	return r, nil
}

func publishFromOne(ctx context.Context, p publisher, b batch) error {
	customer := b.Keys.sequence()
	for i := range b.Records {
		if err := p.publish(ctx, newOrder(i, customer(i), fixedTime)); err != nil {
			return err
		}
	}
	return nil
}

// publishFromMany gives each goroutine every 64th message.
func publishFromMany(ctx context.Context, p publisher, b batch) error {
	var group sync.WaitGroup
	var failed firstError
	for first := range callers {
		group.Go(func() {
			for i := first; i < b.Records && failed.get() == nil; i += callers {
				failed.note(p.publish(ctx, newOrder(i, i%customers, fixedTime)))
			}
		})
	}
	group.Wait()
	return failed.get()
}
