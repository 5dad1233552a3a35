package main

import (
	"fmt"
)

// growth drains ten times as much of one thing after another: what costs more than ten times as much does not scale.
func growth(records int) []workload {
	base := newBatch(uniformKeys, max(records/10, customers))
	more, keys, wide := newBatch(uniformKeys, 10*base.Records), newBatch(manyKeys, base.Records), base
	wide.Partitions *= 10
	return []workload{
		growing("growth", base, ""),
		growing("growth-records", more, "Ten times the records of growth."),
		growing("growth-keys", keys, "Ten times the keys of growth."),
		growing("growth-partitions", wide, "Ten times the partitions of growth."),
	}
}

func growing(name string, want batch, how string) workload {
	w := drain(want)
	w.name, w.family = name, "growth"
	w.about = fmt.Sprintf("%s %s records, %d partitions, keys: %s.", how, figure(float64(want.Records)), want.Partitions, want.Keys)
	return w
}
