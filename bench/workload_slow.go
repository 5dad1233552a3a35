package main

import (
	"context"
	"fmt"
	"time"
)

const (
	slowSeconds = 5 // what a measurement takes at its ceiling
	slowRecords = 300_000
)

// slow consumes with a handler that waits, as one does that asks another service. What counts is how many records are handled
// side by side without breaking the order of a key.
func slow(records int) []workload {
	var list []workload
	for _, delay := range []time.Duration{time.Millisecond, 10 * time.Millisecond} {
		for _, k := range []keys{uniformKeys, zipfKeys} {
			list = append(list, slowHandler(min(records, slowRecords), delay, k))
		}
	}
	return list
}

func slowHandler(records int, delay time.Duration, k keys) workload {
	return workload{
		name: fmt.Sprintf("slow-%v-%s", delay, k), family: "slow",
		about: fmt.Sprintf("The handler sleeps %v. %d keys, %s. Each contender consumes as many records as its ceiling lets it in %d s, %s at most. "+
			"The ceiling is min(keys, records side by side)/%v, or what the key with the most records allows.", delay, customers, k, slowSeconds, figure(float64(records)), delay),
		columns: slowColumns,
		plotted: recordsPerSecond,
		job: func(ctx context.Context, cl *cluster, c contender) (job, error) {
			want := newBatch(k, records)
			// Fewer for those that would take long, rounded so that keys have equal shares. The hottest key's share hardly depends on it.
			if n := int(ceiling(want, c.lanes, delay)*slowSeconds) / customers * customers; n < records {
				want = newBatch(k, max(n, customers))
			}
			j, err := consumingJob(ctx, cl, c, want)
			j.Delay, j.Ceiling = delay, ceiling(want, c.lanes, delay)
			return j, err
		},
	}
}

// ceiling is the most records per second that lanes can handle, each one after another, when those of a key share one.
func ceiling(b batch, lanes int, delay time.Duration) float64 {
	atOnce := float64(min(customers, lanes))
	sharedByHottest := float64(b.Records) / float64(b.Hottest) // as many lanes could be busy all the time
	return min(atOnce, sharedByHottest) / delay.Seconds()
}
