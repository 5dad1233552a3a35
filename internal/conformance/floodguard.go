package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeji/kafka"
)

// Promise 4, where it is not the records that are bad: a dead database does not empty a topic into its dead letters.
func (s Suite) outage(t *testing.T) {
	const records, keys, letters, probes = 2000, 20, 10, 5
	topic := s.topic(t, 4, nil)
	s.seed(t, topic, records, keys)
	cfg := s.config(topic, topic)
	cfg.FloodGuard = kafka.FloodGuardConfig{Mode: kafka.FloodGuardPause, Letters: letters, Pause: 100 * time.Millisecond}
	var down atomic.Bool
	down.Store(true)
	handled := newLedger()
	consumer := newConsumer(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
		if down.Load() {
			return errors.New("connection refused")
		}
		handled.add(msg)
		return nil
	})
	told := &floodLog{}
	consumer.Use(told)
	m := run(t, consumer)
	eventually(t, "two pauses did not help", func() bool { return told.count(kafka.FloodPaused) >= 3 })
	eventually(t, "it is not ready, and says why", func() bool { h := consumer.Health(); return !h.Ready() && h.Live() && h.Flood != kafka.FloodNone })
	down.Store(false)
	eventually(t, "everything is committed", func() bool { return sum(s.committed(t, topic, topic)) == records })
	eventually(t, "it is ready again", func() bool { h := consumer.Health(); return h.Ready() && h.Flood == kafka.FloodNone })
	m.mustStop()
	n := int(s.count(t, "dlq-"+topic))
	if most := letters - 1 + told.count(kafka.FloodProbing)*probes; n > most || n < letters-1 {
		t.Errorf("%d dead letters, want %d, and at most %d more for the probes", n, letters-1, most-letters+1)
	}
	judgeWithLetters(t, handled.all(), records, n)
}

// The same for one member of a group: its pause stops neither a rebalance nor the members that can work.
func (s Suite) pausedMember(t *testing.T, protocol string) {
	const records, keys, letters = 2000, 20, 10
	topic := s.topic(t, 4, nil)
	s.seed(t, topic, records, keys)
	cfg := s.config(topic, topic)
	cfg.GroupProtocol = kafka.GroupProtocol(protocol)
	cfg.FloodGuard = kafka.FloodGuardConfig{Mode: kafka.FloodGuardPause, Letters: letters, Pause: time.Hour}
	consumer := newConsumer(s, t, cfg, func(context.Context, kafka.Message[event]) error { return errors.New("connection refused") })
	told := &floodLog{}
	consumer.Use(told)
	first := run(t, consumer)
	eventually(t, "the first member pauses", func() bool { return told.count(kafka.FloodPaused) == 1 })

	// Another process reaches its database: it gets its share of the partitions, then all of them.
	handled := newLedger()
	healthy := newConsumer(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
		handled.add(msg)
		return nil
	})
	second := run(t, healthy)
	eventually(t, "two partitions are handed over", func() bool { return len(healthy.Health().Partitions) == 2 })
	if !consumer.Health().Live() || consumer.Health().Ready() {
		t.Errorf("the first member's health: %+v", consumer.Health())
	}
	first.mustStop() // with ErrDrainTimeout, if the pause held it up
	eventually(t, "everything is committed", func() bool { return sum(s.committed(t, topic, topic)) == records })
	second.mustStop()
	n := int(s.count(t, "dlq-"+topic))
	if n != letters-1 {
		t.Errorf("%d dead letters, want %d", n, letters-1)
	}
	judgeWithLetters(t, handled.all(), records, n)
}

// judgeWithLetters fails unless each record was handled once, in its key's order, or is one of the letters.
func judgeWithLetters(t *testing.T, entries []entry, records, letters int) {
	t.Helper()
	if len(entries) != records-letters {
		t.Errorf("%d handled and %d dead letters, want %d in all", len(entries), letters, records)
	}
	latest := map[string]int{}
	for _, e := range entries {
		if seq, seen := latest[e.event.Key]; seen && e.event.Seq <= seq {
			t.Errorf("%s: %d is handled after %d", e.event.Key, e.event.Seq, seq)
		}
		latest[e.event.Key] = e.event.Seq
	}
}

// floodLog notes what the flood guard says.
type floodLog struct {
	mu     sync.Mutex
	states map[kafka.FloodState]int
}

// ForConsumer notes it for one consumer.
func (l *floodLog) ForConsumer(kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	return nil, kafka.ConsumerHooks{FloodChanged: func(f kafka.Flood) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.states == nil {
			l.states = map[kafka.FloodState]int{}
		}
		l.states[f.State]++
	}}
}

func (l *floodLog) count(state kafka.FloodState) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.states[state]
}
