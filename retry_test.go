package kafka

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoffStaysWithinItsDoublingBound(t *testing.T) {
	for _, test := range []struct{ first, most time.Duration }{
		{500 * time.Millisecond, 30 * time.Second}, // the defaults
		{1, 1},
		{1, time.Nanosecond * 1000},
		{time.Second, time.Second},
		{time.Hour, 24 * time.Hour},
		{100 * 365 * 24 * time.Hour, 200 * 365 * 24 * time.Hour}, // overflows at the third attempt
		{1 << 62, math.MaxInt64},
		{time.Second, math.MaxInt64}, // no maximum
		{1<<33 + 1, time.Hour},       // whose bits come round again, small, at attempt 32
	} {
		bound := test.first
		for attempt := 1; attempt <= 1000; attempt++ {
			for range 20 {
				if got := backoff(attempt, test.first, test.most); got < 0 || got > bound {
					t.Fatalf("backoff from %v to %v after attempt %d is %v, want 0 to %v", test.first, test.most, attempt, got, bound)
				}
			}
			if bound > test.most/2 {
				bound = test.most
			} else {
				bound *= 2
			}
		}
	}
}

// Each wait is anything up to the bound, and the bound does double.
func TestBackoffIsFullJitter(t *testing.T) {
	const samples = 2000 // a fair backoff misses a quarter of its range once in 10^249 runs
	first, most := time.Second, 30*time.Second
	for attempt, bound := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 5: 16 * time.Second, 6: most, 33: most, 64: most, 65: most, 1000: most,
	} {
		var quarters [4]int
		distinct := map[time.Duration]bool{}
		for range samples {
			d := backoff(attempt, first, most)
			distinct[d] = true
			quarters[min(3, d*4/bound)]++
		}
		for quarter, n := range quarters {
			if n == 0 {
				t.Errorf("after attempt %d no wait of %d is in quarter %d of %v: %v", attempt, samples, quarter+1, bound, quarters)
			}
		}
		if len(distinct) < samples/2 {
			t.Errorf("after attempt %d, %d waits had %d lengths", attempt, samples, len(distinct))
		}
	}
}

func TestBackoffDoesNotFallWhenItsBoundOverflows(t *testing.T) {
	for attempt := 10; attempt <= 200; attempt++ {
		var longest time.Duration
		for range 200 { // all in the lower half: once in 2^200 runs
			longest = max(longest, backoff(attempt, 1<<33+1, time.Hour))
		}
		if longest < 30*time.Minute {
			t.Errorf("after attempt %d the longest of 200 waits is %v, want some in the upper half of 1h", attempt, longest)
		}
	}
}

// over tells, in a bubble, whether a time.After is due.
func over(timer <-chan time.Time) bool {
	select {
	case <-timer:
		return true
	default:
		return false
	}
}

func TestWaitSleepsUntilItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		just, late := time.After(time.Hour-1), time.After(time.Hour+1)
		if !wait(time.Hour, make(chan struct{})) {
			t.Error("wait says that it was stopped")
		}
		if !over(just) {
			t.Error("wait came back early")
		}
		if over(late) {
			t.Error("wait came back late")
		}
	})
}

func TestWaitEndsOnStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		result := make(chan bool)
		late := time.After(time.Hour)
		go func() { result <- wait(1000*time.Hour, stop) }()
		synctest.Wait() // it waits
		select {
		case <-result:
			t.Fatal("wait does not wait")
		default:
		}
		close(stop)
		if <-result {
			t.Error("wait says that its time was over")
		}
		if over(late) {
			t.Error("wait went on after stop")
		}
	})
}

// A worker that was told to stop starts no further attempt, however short its wait.
func TestWaitHeedsAnEarlierStop(t *testing.T) {
	stop := make(chan struct{})
	close(stop)
	for _, d := range []time.Duration{-1, 0, 1, time.Hour} {
		for range 100 { // a select picks at random
			if wait(d, stop) {
				t.Fatalf("wait(%v) goes on after stop", d)
			}
		}
	}
	if !wait(0, make(chan struct{})) || !wait(-1, make(chan struct{})) {
		t.Error("no wait says that it was stopped")
	}
}
