package faults

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skeji/kafka"
)

// Handlers that panic, or end their goroutine, cost a dead letter each; all else is handled, in order.
func TestHandlersThatPanicOrExit(t *testing.T) {
	t.Parallel()
	for name, concurrency := range map[string]int{"OneLane": 1, "Lanes": 8} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScenario(t, 3, nil)
			s.seed(600, 30, func(i int) fate { return []fate{good, panics, flaky, exits}[i%4] })
			cfg := s.config()
			cfg.Concurrency = concurrency
			m := s.join(cfg, comesTo)
			s.drained()
			m.mustStop()
			s.judgeClean()
			if n := len(s.history.Letters); n != 300 {
				t.Errorf("%d letters, want 300", n)
			}
		})
	}
}

// A handler that sleeps for longer than SessionTimeout and RebalanceTimeout keeps its partition: heartbeats don't wait for it.
func TestAHandlerThatSleepsPastEveryTimeout(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newScenario(t, 3, nil)
			s.seed(90, 9, func(int) fate { return good })
			cfg := s.config()
			cfg.GroupProtocol = kafka.GroupProtocol(protocol)
			cfg.SessionTimeout, cfg.RebalanceTimeout, cfg.DrainTimeout = 10*time.Second, 10*time.Second, 2*time.Second
			m := s.join(cfg, func(_ context.Context, msg kafka.Message[event]) error {
				if msg.Offset == 3 {
					time.Sleep(14 * time.Second) // that long is the fault
				}
				return nil
			})
			s.drained()
			m.mustStop()
			s.judgeClean()
			if len(m.losses) > 0 {
				t.Error("partitions were lost")
			}
		})
	}
}

// A handler that hangs is named, and stops its own partition alone; at the end it is cancelled, and its record comes again.
func TestAHandlerThatHangs(t *testing.T) {
	t.Parallel()
	s := newScenario(t, 3, nil)
	s.seed(300, 30, func(int) fate { return good })
	cfg := s.config()
	cfg.DrainTimeout, cfg.StallTimeout = time.Second, time.Second
	m := s.join(cfg, func(ctx context.Context, msg kafka.Message[event]) error {
		if msg.Partition == 0 && msg.Offset == 5 {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	})
	s.until("the other partitions are done", func() bool { return s.leftOutside(0) == 0 })
	s.until("the health names it", func() bool {
		return strings.Contains(strings.Join(m.consumer.Health().Problems, "\n"), s.topic+"-0")
	})
	if err := m.stop(); !errors.Is(err, kafka.ErrDrainTimeout) || !strings.Contains(err.Error(), s.topic+"-0") {
		t.Errorf("Start returned %v, want ErrDrainTimeout of %s-0", err, s.topic)
	}
	next := s.join(s.config(), comesTo)
	s.drained()
	next.mustStop()
	s.judgeClean()
}

// A handler that ignores its context holds a handover up for DrainTimeout, no longer; another member then has the record too, and
// what the first one makes of it counts for nothing.
func TestAHandlerThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	s := newScenario(t, 1, nil)
	s.seed(100, 10, func(int) fate { return good })
	cfg := s.config()
	cfg.DrainTimeout = time.Second
	release, hanging := make(chan struct{}), make(chan struct{})
	deaf := s.join(cfg, func(_ context.Context, msg kafka.Message[event]) error {
		if msg.Offset == 20 {
			close(hanging)
			<-release
		}
		return nil
	})
	s.await("the handler hangs", hanging)
	err := deaf.stop()
	if !errors.Is(err, kafka.ErrDrainTimeout) {
		t.Errorf("Start returned %v, want ErrDrainTimeout", err)
	}
	s.excuse(deaf.number) // its record is in hand twice: that is what ignoring the context does
	next := s.join(s.config(), comesTo)
	s.drained()
	committed := s.committedAt(0)
	close(release)
	s.until("the late handler returns", func() bool { return s.handledBy(deaf.number) == 21 })
	next.mustStop()
	if at := s.committedAt(0); at != committed {
		t.Errorf("committed %d, then %d", committed, at)
	}
	s.judge()
}

func (s *scenario) committedAt(partition int32) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits[partition]
}

// leftOutside counts the records of other partitions that are not committed.
func (s *scenario) leftOutside(partition int32) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.history.Records {
		if r.Partition != partition && s.commits[r.Partition] <= r.Offset {
			n++
		}
	}
	return n
}
