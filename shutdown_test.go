package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// hush makes brokers silent, as if they were frozen: they take what is sent and never answer.
type hush struct{ on atomic.Bool }

func (h *hush) dial(b *bubble) kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := b.network.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return hushed{conn, h}, nil
	})
}

// dialDead hushes dead:9092 alone. It leads to the broker, as every address does.
func (h *hush) dialDead(b *bubble) kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := b.network.DialContext(ctx, network, "127.0.0.1:9092")
		if err == nil && address == "dead:9092" {
			return hushed{conn, h}, nil
		}
		return conn, err
	})
}

type hushed struct {
	net.Conn
	hush *hush
}

func (c hushed) Write(request []byte) (int, error) {
	if c.hush.on.Load() {
		return len(request), nil
	}
	return c.Conn.Write(request)
}

// Promise 7. Brokers that don't answer hold shutdown up for some seconds, not for their own timeouts.
func TestSilentBrokersDontHoldShutdownUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name             string
		joined, finished bool // whether brokers fall silent after the member has joined; whether it then has something to commit
		limit            time.Duration
	}{
		{"before the group is joined", false, false, kafka.LeaveTimeout},
		{"with nothing in hand", true, false, kafka.LeaveTimeout + kafka.CommitTimeout},
		{"with a finished record", true, true, kafka.LeaveTimeout + kafka.CommitTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				var brokers hush
				cfg := b.consumer()
				cfg.CommitInterval = time.Hour
				cfg.Options = []kgo.Opt{brokers.dial(b)}
				if test.finished {
					b.seed(0, 1)
				}
				if !test.joined {
					b.cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
						brokers.on.Store(true)
						return nil, nil, false
					})
				}
				_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
				time.Sleep(15 * time.Second)
				brokers.on.Store(true)
				began := time.Now()
				err := stop()
				if took := time.Since(began); took > test.limit+time.Second {
					t.Errorf("Start returned after %v, want %v at most", took, test.limit)
				}
				if failed := err != nil && strings.Contains(err.Error(), "the last commit failed"); failed != test.finished {
					t.Errorf("Start returned %v; the last commit could not succeed: %t", err, test.finished)
				}
			})
		})
	}
}

// A handler that is slow, but within DrainTimeout, keeps its time.
func TestLeavingInTimeDoesNotCutTheDrainShort(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		busy := make(chan struct{})
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			close(busy)
			time.Sleep(25 * time.Second)
			return nil
		})
		<-busy
		if err := stop(); err != nil || b.committed(0) != 1 {
			t.Errorf("Start returned %v, committed %d", err, b.committed(0))
		}
	})
}

// Start ends while a handover is under way: what the kept partitions have in hand is finished and committed as well, and
// nothing new is begun meanwhile.
func TestAHandoverUnderWayCostsNoCommit(t *testing.T) {
	t.Parallel()
	for delay := 30; delay < 42; delay++ { // wherever the handover is by then
		inBubble(t, func(t *testing.T, b *bubble) {
			b.seed(0, 100)
			b.seed(1, 6)
			cfg := b.consumer()
			cfg.CommitInterval, cfg.DrainTimeout, cfg.MaxQueuedRecords = time.Hour, 20*time.Second, 10
			var mu sync.Mutex
			finished := map[int32]int64{}
			_, stop := b.start(cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
				time.Sleep(19 * time.Second)
				mu.Lock()
				defer mu.Unlock()
				if ctx.Err() == nil {
					finished[msg.Partition] = msg.Offset + 1
				}
				return nil
			})
			time.Sleep(time.Minute + time.Duration(delay)*time.Second)
			other := b.consumer()
			other.CommitInterval = time.Hour
			b.start(other, func(ctx context.Context, _ kafka.Message[numbered]) error {
				<-ctx.Done()
				return ctx.Err()
			})
			for range 600 {
				if b.revoked.Load() > 0 {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			began := time.Now()
			err := stop()
			if took := time.Since(began); err != nil || took > 20*time.Second {
				t.Errorf("%d s: Start returned %v after %v", delay, err, took)
			}
			mu.Lock()
			done := maps.Clone(finished)
			mu.Unlock()
			for partition, end := range done {
				if at := b.committed(partition); at != end {
					t.Errorf("%d s: partition %d is finished to %d and committed to %d", delay, partition, end, at)
				}
			}
		})
	}
}

// A handler outlasts the drain of a partition that is being handed over while Start is asked to end: Start names the
// partition, though it was taken away before the end began.
func TestAHandoverThatTimesOutAtTheEndIsNamed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		b.seed(1, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DrainTimeout = time.Hour, 20*time.Second
		release := make(chan struct{})
		defer close(release)
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			<-release
			return nil
		})
		time.Sleep(time.Minute)
		other := b.consumer()
		other.CommitInterval = time.Hour
		b.start(other, func(context.Context, kafka.Message[numbered]) error { return nil })
		for b.revoked.Load() == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		err := stop()
		if !errors.Is(err, kafka.ErrDrainTimeout) || !strings.Contains(err.Error(), "orders-0") || !strings.Contains(err.Error(), "orders-1") {
			t.Errorf("Start returned %v, want both partitions in it", err)
		}
	})
}

// Promise 3. A record that fails for good while Start ends is not swallowed.
func TestARecordThatFailsDuringShutdownIsNamed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.DisableDeadLetters, cfg.CommitInterval = true, time.Hour
		busy := make(chan struct{})
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			close(busy)
			time.Sleep(5 * time.Second)
			return kafka.NewPermanentError("never", nil)
		})
		<-busy
		if failed, ok := errors.AsType[*kafka.RecordError](stop()); !ok || failed.Offset != 0 || b.committed(0) != -1 {
			t.Errorf("Start returned %v, committed %d; want the record's error and nothing", failed, b.committed(0))
		}
	})
}

// Promise 6, KIP-848. A commit that comes with the epoch before is tried again with the one that the member hears of.
func TestAHandoversCommitIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]*kerr.Error{
		"new epoch": kerr.StaleMemberEpoch, "too few replicas": kerr.NotEnoughReplicasAfterAppend, "a coordinator that loads": kerr.CoordinatorLoadInProgress,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 10)
				cfg := b.consumer()
				cfg.GroupProtocol, cfg.CommitInterval = "consumer", time.Hour
				_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
				time.Sleep(time.Minute)
				refuses := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: "orders", Err: refusal, Count: 3})
				if err := stop(); err != nil || b.committed(0) != 10 || refuses.Hits() != 3 {
					t.Errorf("Start returned %v; committed %d after %d refusals", err, b.committed(0), refuses.Hits())
				}
			})
		})
	}
}

// Promise 7. nil means committed.
func TestALastCommitThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(time.Minute)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: -1})
		if err := stop(); !errors.Is(err, kerr.GroupAuthorizationFailed) || !strings.Contains(err.Error(), "redelivered") {
			t.Errorf("Start returned %v, want the refusal and what follows from it", err)
		}
	})
}

func TestWaitingForPartitionsIsSaid(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		held := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(time.Minute)
		if b.log.count(slog.LevelWarn, "topic=orders", "group=group", "session_timeout=45s") != 1 {
			t.Errorf("the log does not say why nothing happens:\n%s", b.log.String())
		}
		held.Remove()
		time.Sleep(time.Minute)
		if err := stop(); err != nil || b.assigned.Load() != 1 {
			t.Errorf("Start returned %v:\n%s", err, b.log.String())
		}
	})
}

func TestAnIdleMemberSaysSo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		handle := func(context.Context, kafka.Message[numbered]) error { return nil }
		var stops []func() error
		notes := func() int { return b.log.count(slog.LevelInfo, "topic=orders", "group=group", "!partitions") }
		before := 0
		for range 3 { // for two partitions
			before = notes()
			_, stop := b.start(cfg, handle)
			stops = append(stops, stop)
			time.Sleep(time.Minute)
		}
		if lines := notes() - before; lines != 2 { // it joins, and has nothing
			t.Errorf("the third member says nothing:\n%s", &b.log)
		}
		for _, stop := range stops {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
