package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Queued records say that a worker stands still only if it had time to see them.
func TestARecordForAnIdleWorkerIsNoStandstill(t *testing.T) {
	began := time.Now()
	s := newStatus(began)
	later := began.Add(time.Hour)
	s.fetched([]*kgo.Record{{Offset: 5}, {Offset: 6}}, 10, 0, later)
	if !s.idleSince.Equal(later) || s.lag() != 5 {
		t.Errorf("idle since %v, lag %d; want %v and 5", s.idleSince, s.lag(), later)
	}
	s.fetched([]*kgo.Record{{Offset: 7}}, 10, 2, later.Add(time.Hour)) // it does not take what is there
	if !s.idleSince.Equal(later) {
		t.Errorf("idle since %v, want %v", s.idleSince, later)
	}
}
