package kafka

import (
	"math"
	"math/rand/v2"
	"time"
)

// backoff returns how long to wait after the given failed attempt, counted from 1: a random part of a bound that doubles
// from first up to most. Full jitter keeps many consumers that failed together from coming back together.
func backoff(attempt int, first, most time.Duration) time.Duration {
	bound := most
	if shift := attempt - 1; first <= most>>shift { // so that the other shift does not overflow
		bound = first << shift
	}
	return rand.N(min(bound, math.MaxInt64-1) + 1)
}

// wait sleeps, and returns false if stop closed before the time was over.
func wait(d time.Duration, stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	default:
	}
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}
