package main

import (
	"context"
	"slices"
)

// workload is one thing that contenders are compared in.
type workload struct {
	name    string
	family  string // contenders name it
	about   string // for the report
	columns []column
	plotted string // the title of the column that the plot shows
	// job prepares one measurement, and check, which may be nil, looks at what it left.
	job   func(ctx context.Context, k *cluster, c contender) (job, error)
	check func(ctx context.Context, k *cluster, j job) error
}

// workloads are all there are, in the report's order.
func workloads(records int) []workload {
	list := append([]workload{drain(newBatch(uniformKeys, records))}, growth(records)...)
	list = append(list, slow(records)...)
	return append(list, publishInBackground(records), publishAndWait(records), endToEnd(records))
}

// sample is one measurement of a contender.
type sample struct {
	job
	result
}

// series is a contender's samples by round.
type series struct {
	contender contender
	rounds    map[int]sample
	failure   error
}

// values are what the column says of each round.
func (s series) values(c column) map[int]float64 {
	values := map[int]float64{}
	for round, sample := range s.rounds {
		values[round] = c.value(sample)
	}
	return values
}

func (c contender) takesPartIn(w workload) bool { return slices.Contains(c.workloads, w.family) }
