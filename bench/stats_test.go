package main

import (
	"math"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("the median of %v is %v, not %v", c.values, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("%v became %v", before, c.values)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
}

func TestPercentile(t *testing.T) {
	var sorted []float64
	for i := range 1000 {
		sorted = append(sorted, float64(i+1))
	}
	for p, want := range map[float64]float64{0: 1, 50: 500, 99: 990, 99.9: 999, 100: 1000} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("p%v is %v, not %v", p, got, want)
		}
	}
	if got := percentile([]float64{3}, 99.9); got != 3 {
		t.Errorf("p99.9 of one value is %v", got)
	}
	if got := percentile(nil, 50); !math.IsNaN(got) {
		t.Errorf("p50 of nothing is %v", got)
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	got := ratios(map[int]float64{0: 10, 1: 40, 2: 90}, map[int]float64{0: 10, 1: 20, 3: 5})
	slices.Sort(got)
	if !slices.Equal(got, []float64{1, 2}) {
		t.Errorf("%v", got)
	}
}

func TestEachContenderHasOneTurnARoundAndIsFirstInOne(t *testing.T) {
	for n := 1; n <= 8; n++ {
		firsts := map[int]bool{}
		for round := range n {
			order := turns(n, round)
			firsts[order[0]] = true
			slices.Sort(order)
			for i, turn := range order {
				if i != turn {
					t.Fatalf("round %d of %d contenders: %v", round, n, order)
				}
			}
		}
		if len(firsts) != n {
			t.Errorf("of %d contenders, %d were first in %d rounds", n, len(firsts), n)
		}
	}
}

func TestTheCeilingIsOfLanesOrKeysOrTheHottestKey(t *testing.T) {
	uniform := batch{Records: 10_000, Hottest: 10}
	for name, c := range map[string]struct {
		b     batch
		lanes int
		want  float64
	}{
		"one lane":        {uniform, 1, 100},
		"lanes":           {uniform, 12, 1200},
		"keys":            {uniform, 5000, 100_000},
		"the hottest key": {batch{Records: 10_000, Hottest: 2000}, 5000, 500},
	} {
		if got := ceiling(c.b, c.lanes, 10_000_000); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%s: %v records/s, not %v", name, got, c.want)
		}
	}
}
