//go:build synctests

package simulation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/ledger"
)

// member is a consumer, and the network between it and the brokers.
type member struct {
	w       *world
	number  int
	cancel  context.CancelFunc
	done    chan struct{} // Start has returned, and the consumer is closed
	leaving bool          // asked to end
	crashed bool          // for the others it is gone, and what it does is not noted any more

	// world.mu guards these.
	excuses []int64
	ended   int64
}

func (w *world) join() {
	m := &member{w: w, number: len(w.members), done: make(chan struct{})}
	w.mu.Lock()
	w.members = append(w.members, m)
	w.changes++
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go m.live(ctx)
}

// live starts consumers, one after another if need be, until ctx ends.
func (m *member) live(ctx context.Context) {
	defer close(m.done)
	defer func() {
		m.w.mu.Lock()
		defer m.w.mu.Unlock()
		if m.ended == 0 {
			m.ended = time.Now().UnixNano()
		}
	}()
	for ctx.Err() == nil {
		err := m.consume(ctx)
		if err == nil {
			continue
		}
		m.w.mu.Lock()
		wrong := m.w.healthy && !m.crashed && !errors.Is(err, kafka.ErrDrainTimeout)
		m.excuses = append(m.excuses, time.Now().UnixNano())
		m.w.mu.Unlock()
		if wrong {
			m.w.Errorf("member %d ended while nothing was broken: %v", m.number, err)
		}
		m.w.log.Info("a member ended", "member", m.number, "error", err)
		select {
		case <-time.After(time.Second): // whoever runs it starts it again
		case <-ctx.Done():
		}
	}
}

func (m *member) consume(ctx context.Context) error {
	cfg := kafka.NewConsumerConfig(topic, group)
	cfg.ClientConfig = m.w.connection(m.dial)
	cfg.Logger = m.w.log.With("member", m.number)
	cfg.ClientID, cfg.AutoOffsetReset, cfg.MaxRetries = m.end(), "none", maxRetries
	cfg.GroupProtocol, cfg.Concurrency, cfg.MaxQueuedRecords = kafka.GroupProtocol(m.w.plan.protocol), m.w.plan.concurrency, m.w.plan.queued
	cfg.DrainTimeout, cfg.SessionTimeout, cfg.CommitInterval = m.w.plan.drain, m.w.plan.session, m.w.plan.commit
	if m.w.plan.guarded {
		cfg.FloodGuard = kafka.FloodGuardConfig{Mode: kafka.FloodGuardPause, Letters: 1, Window: time.Second, Pause: 2 * time.Second}
	}
	consumer, err := kafka.NewConsumer(cfg, handle)
	if err != nil {
		return err
	}
	defer consumer.Close()
	consumer.Use(m.notes(), kafka.ConsumerHooks{
		RetryScheduled: func(_ context.Context, r *kgo.Record, _ kafka.Retry) { m.heldBack(r) },
		FloodChanged:   m.flood,
		PartitionsLost: func(string, []int32) { m.excuse() },
		OffsetsCommitted: func(err error) {
			if err != nil {
				m.excuse()
			}
		},
	})
	return consumer.Start(ctx)
}

// heldBack notes that an attempt was not the last after all: the flood guard keeps its letter back.
func (m *member) heldBack(r *kgo.Record) {
	w, place := m.w, ledger.Place{Partition: r.Partition, Offset: r.Offset}
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.crashed {
		return
	}
	for i := range slices.Backward(w.history.Attempts) {
		if a := &w.history.Attempts[i]; a.Member == m.number && a.Place == place {
			a.Outcome = ledger.Failed
			return
		}
	}
}

func (m *member) flood(f kafka.Flood) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if f.State == kafka.FloodPaused {
		m.w.floods++
	}
}

func (m *member) excuse() {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.excuses = append(m.excuses, time.Now().UnixNano())
}

// notes notes each attempt, before its end can have consequences.
func (m *member) notes() kafka.ConsumerMiddleware {
	return func(next kafka.HandlerFunc) kafka.HandlerFunc {
		return func(ctx context.Context, r *kafka.Record) (err error) {
			w, place := m.w, ledger.Place{Partition: r.Partition, Offset: r.Offset}
			w.mu.Lock()
			if m.crashed {
				w.mu.Unlock()
				return next(ctx, r)
			}
			index := len(w.history.Attempts)
			w.history.Attempts = append(w.history.Attempts, ledger.Attempt{Member: m.number, Place: place, Began: time.Now().UnixNano()})
			w.mu.Unlock()
			exited := true
			defer func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				if m.crashed {
					return
				}
				a := &w.history.Attempts[index]
				a.Ended, a.Outcome = time.Now().UnixNano(), ledger.Final
				taken := ctx.Err() != nil
				switch {
				case taken && (err != nil || exited), kafka.ClassOf(err) == kafka.ClassTransient && r.Attempt <= maxRetries:
					a.Outcome = ledger.Failed
				case taken: // in vain, perhaps
					m.excuses = append(m.excuses, time.Now().UnixNano())
				}
			}()
			err = next(ctx, r)
			exited = false
			return err
		}
	}
}

// working returns the members that were not asked to end.
func (w *world) working() (working []*member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		if !m.leaving && !m.crashed {
			working = append(working, m)
		}
	}
	return working
}

// leave asks the member to end, and does not wait.
func (m *member) leave() {
	m.w.mu.Lock()
	m.leaving = true
	m.w.changes++
	m.w.mu.Unlock()
	m.cancel()
}

// crash cuts the member off for ever. The process it would have been is gone.
func (m *member) crash() {
	m.w.mu.Lock()
	m.crashed = true
	m.ended = time.Now().UnixNano()
	m.excuses = append(m.excuses, m.ended)
	m.w.changes++
	m.w.mu.Unlock()
	m.w.wires.cut(m.end())
	m.cancel()
}

// end is the member's name for the network and for the brokers.
func (m *member) end() string { return fmt.Sprint("member-", m.number) }

func (m *member) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return m.w.wires.dial(ctx, &m.w.network, m.end(), network, address)
}
