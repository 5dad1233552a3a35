package main

import (
	"math"
	"slices"
)

// median is NaN of nothing.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile is the smallest of the sorted values that p percent of them don't exceed. NaN of nothing.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(p*float64(len(sorted))/100 - 1e-9)) // 99.9 has no exact float
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// ratios compares round by round, so that what else the machine does meets both alike.
func ratios(values, baseline map[int]float64) []float64 {
	var list []float64
	for round, value := range values {
		if base, ok := baseline[round]; ok && base != 0 {
			list = append(list, value/base)
		}
	}
	return list
}
