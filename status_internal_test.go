package kafka

import (
	"testing"
	"time"
)

// Queued records say that a worker stands still only if it had time to see them.
func TestARecordForAnIdleWorkerIsNoStandstill(t *testing.T) {
	began := time.Now()
	s := newStatus(began)
	later := began.Add(time.Hour)
	s.fetched(10, 0, later)
	if !s.idleSince.Equal(later) || s.lag(5) != 5 {
		t.Errorf("idle since %v, lag %d; want %v and 5", s.idleSince, s.lag(5), later)
	}
	s.fetched(10, 2, later.Add(time.Hour)) // it does not take what is there
	if !s.idleSince.Equal(later) {
		t.Errorf("idle since %v, want %v", s.idleSince, later)
	}
}
