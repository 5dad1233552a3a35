package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// The group has committed an offset, and then the records from there on are deleted, up to some that are left. What
// AutoOffsetReset says is what happens: the records left are handled, or only those to come, or Start ends.
func TestOffsetsOutOfRange(t *testing.T) {
	t.Parallel()
	const committed, deleted, stored = 5, 60, 100

	// outOfRange leaves offsets 60 to 99, and returns those records.
	outOfRange := func(t *testing.T) (s *scenario, left []*kgo.Record) {
		t.Helper()
		s = newScenario(t, 1, nil)
		s.produce(s.recordsFor(0, "k", committed)...)
		first := s.join(s.config(), comesTo)
		s.drained()
		first.mustStop()
		rest := s.recordsFor(0, "k", stored-committed)
		s.put(s.client, rest...)
		s.deleteUpTo(deleted)
		return s, rest[deleted-committed:]
	}

	t.Run("Earliest", func(t *testing.T) {
		t.Parallel()
		s, left := outOfRange(t)
		s.stored(left...)
		cfg := s.config()
		cfg.AutoOffsetReset = "earliest"
		m := s.join(cfg, comesTo)
		s.drained()
		m.mustStop()
		s.judgeClean()
		s.toldThatDeleted(committed, deleted)
	})

	t.Run("Latest", func(t *testing.T) {
		t.Parallel()
		s, _ := outOfRange(t)
		cfg := s.config()
		cfg.AutoOffsetReset = "latest"
		m := s.join(cfg, comesTo)
		// What is published before the member has found the end may be behind it.
		var later []*kgo.Record
		s.until("it handles what is new", func() bool {
			r := s.recordsFor(0, "k", 1)
			s.put(s.client, r...)
			later = append(later, r...)
			return s.handled() > committed
		})
		s.mu.Lock()
		first := s.history.Attempts[committed].Place.Offset
		s.mu.Unlock()
		for _, r := range later {
			if r.Offset >= first {
				s.stored(r)
			}
		}
		s.toldThatDeleted(committed, first)
		if first < stored {
			t.Errorf("offset %d is handled, want none below %d", first, stored)
		}
		s.produce(s.recordsFor(0, "k", 20)...)
		s.drained()
		m.mustStop()
		s.judgeClean()
	})

	t.Run("None", func(t *testing.T) {
		t.Parallel()
		s, _ := outOfRange(t)
		cfg := s.config()
		cfg.AutoOffsetReset = "none"
		err := s.join(cfg, comesTo).wait()
		if !errors.Is(err, kerr.OffsetOutOfRange) || !strings.Contains(err.Error(), s.topic+"-0") {
			t.Errorf("Start returned %v, want OFFSET_OUT_OF_RANGE of %s-0", err, s.topic)
		}
		s.judgeClean() // the committed offset is what it was
	})
}

// Records are deleted that a running consumer has not fetched yet: it goes on behind them, without a second attempt at anything.
func TestRecordsDeletedAheadOfAConsumer(t *testing.T) {
	t.Parallel()
	const stored, deleted = 200, 150
	s := newScenario(t, 1, nil)
	records := s.recordsFor(0, "k", stored)
	for _, r := range records {
		r.Headers = []kgo.RecordHeader{{Key: "fill", Value: make([]byte, 2000)}} // few are fetched in advance
		s.put(s.client, r)                                                       // a batch each: a fetch returns whole ones
	}
	gate := make(chan struct{})
	cfg := s.config()
	cfg.MaxQueuedRecords, cfg.MaxQueuedBytes = 20, 64<<10
	cfg.Options = append(cfg.Options, kgo.FetchMaxBytes(32<<10), kgo.FetchMaxPartitionBytes(16<<10))
	m := s.join(cfg, func(ctx context.Context, _ kafka.Message[event]) error {
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	s.until("a record is in hand", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.history.Attempts) == 1 })
	s.deleteUpTo(deleted)
	close(gate)
	s.until("the last one is handled", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.history.Attempts[len(s.history.Attempts)-1].Place.Offset == stored-1
	})
	s.mu.Lock()
	for _, r := range records { // those fetched before they were deleted were handled, and are to have been handled once
		fetched := false
		for _, a := range s.history.Attempts {
			fetched = fetched || a.Place.Offset == r.Offset
		}
		if !fetched && r.Offset >= deleted {
			t.Errorf("offset %d was there and is not handled", r.Offset)
		}
		if fetched {
			s.mu.Unlock()
			s.stored(r)
			s.mu.Lock()
		}
	}
	handled := len(s.history.Records)
	s.mu.Unlock()
	s.drained()
	m.mustStop()
	s.judgeClean()
	if handled == stored {
		t.Error("all records were handled: none was deleted ahead")
	}
	t.Logf("%d of %d records handled; %d were deleted", handled, stored, deleted)
	s.toldThatDeleted(int64(handled-(stored-deleted)), deleted)
}

// toldThatDeleted fails the test if the log does not name the records that nobody will handle.
func (s *scenario) toldThatDeleted(from, to int64) {
	s.t.Helper()
	attrs := fmt.Sprintf("topic=%s partition=0 from=%d to=%d", s.topic, from, to)
	if !s.log.holds(slog.LevelError, attrs) {
		s.t.Errorf("no error is logged with %s", attrs)
	}
}

func (s *scenario) deleteUpTo(offset int64) {
	s.t.Helper()
	upTo := kadm.Offsets{}
	upTo.AddOffset(s.topic, 0, offset, -1)
	s.until("the records are deleted", func() bool {
		deleted, err := s.admin.DeleteRecords(s.t.Context(), upTo)
		if err = errors.Join(err, deleted.Error()); err != nil && !errors.Is(err, kerr.RequestTimedOut) { // a follower was busy
			s.t.Fatal(err)
		}
		return err == nil
	})
}
