package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
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

// told notes what hooks were told, in order.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (n *told) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *told) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := n.lines
	n.lines = nil
	return lines
}

// hooks are all there are. Each asks for the consumer's health, which no lock may hold up.
func (n *told) hooks(health func() kafka.Health) kafka.ConsumerHooks {
	say := func(format string, args ...any) {
		health()
		n.add(format, args...)
	}
	partitions := func(what string) func(string, []int32) {
		return func(_ string, ids []int32) { say("%s %v", what, slices.Sorted(slices.Values(ids))) }
	}
	return kafka.ConsumerHooks{
		RecordBegun: func(ctx context.Context, r *kgo.Record) context.Context {
			say("%d begun", r.Offset)
			return context.WithValue(ctx, tag{}, r.Offset)
		},
		RetryScheduled: func(ctx context.Context, r *kgo.Record, retry kafka.Retry) {
			say("%d retried after attempt %d in %v: %v (tag %v)", r.Offset, retry.Attempt, retry.Wait, retry.Err, ctx.Value(tag{}))
		},
		RecordSettled: func(ctx context.Context, r *kgo.Record, s kafka.Settlement) {
			say("%d %s %s after %d: %v (tag %v)", r.Offset, s.Outcome, s.Class, s.Attempts, s.Err, ctx.Value(tag{}))
		},
		DeadLetters: func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				next(ctx, r, func(err error) {
					say("letter to %s of group %s after %d: %v (tag %v)", r.Topic, r.Group, r.Attempt, err != nil, ctx.Value(tag{}))
					done(err)
				})
			}
		},
		PartitionsAssigned: partitions("assigned"), PartitionsRevoked: partitions("revoked"), PartitionsLost: partitions("lost"),
		OffsetsCommitted: func(err error) { say("committed: %v", err) },
		FetchingPaused:   func(_ string, id int32) { say("paused %d", id) },
		FetchingResumed:  func(_ string, id int32) { say("resumed %d", id) },
		FetchingRewound:  func(_ string, id int32, from, to int64) { say("rewound %d from %d to %d", id, from, to) },
		Stalled: func(s kafka.Stall) {
			say("stalled %s-%d offset %d attempt %d for %v", s.Topic, s.Partition, s.Offset, s.Attempt, s.For)
		},
	}
}

type tag struct{}

// asking is a plugin that asks for the health at once.
type asking struct{ n *told }

func (a asking) ForConsumer(info kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	info.Health()
	return nil, a.n.hooks(info.Health)
}

// run starts a consumer that tells.
func (n *told) run(b *bubble, cfg kafka.ConsumerConfig, handle kafka.Handler[numbered]) (consumer *kafka.Consumer[numbered], stop func() error) {
	b.t.Helper()
	return b.start(cfg, handle, asking{n})
}

func wantTold(t *testing.T, n *told, want ...string) {
	t.Helper()
	if got := n.take(); !slices.Equal(got, want) {
		t.Errorf("the hooks were told\n%q\nwant\n%q", got, want)
	}
}

func TestHooksAreToldWhatBecomesOfARecord(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var n told
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxRetries = time.Hour, 1
		_, stop := n.run(b, cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
			if ctx.Value(tag{}) != msg.Offset {
				t.Errorf("the handler's context lacks what the hook put into it")
			}
			switch msg.Offset {
			case 1:
				if msg.Attempt == 1 {
					return kafka.NewTransientError("away", nil).WithRetryAfter(time.Second)
				}
			case 2:
				return kafka.NewBusinessError("declined", nil)
			case 3:
				return kafka.NewPermanentError("never", nil)
			case 4:
				return kafka.NewTransientError("away", nil).WithRetryAfter(time.Second)
			}
			return nil
		})
		time.Sleep(time.Minute)
		wantTold(t, &n, "assigned [0 1]")
		b.seed(0, 5)
		time.Sleep(time.Minute)
		wantTold(t, &n,
			"0 begun", "0 handled  after 1: <nil> (tag 0)",
			"1 begun", "1 retried after attempt 1 in 1s: away (tag 1)", "1 handled  after 2: <nil> (tag 1)",
			"2 begun", "2 rejected business after 1: declined (tag 2)",
			"3 begun", "letter to dlq-orders of group group after 1: false (tag 3)", "3 dead_lettered permanent after 1: never (tag 3)",
			"4 begun", "4 retried after attempt 1 in 1s: away (tag 4)", "letter to dlq-orders of group group after 2: false (tag 4)",
			"4 dead_lettered transient after 2: away (tag 4)")
		if err := stop(); err != nil {
			t.Error(err)
		}
		wantTold(t, &n, "revoked [0 1]", "committed: <nil>")
	})
}

func TestHooksAreToldOfRecordsThatAreLeft(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var n told
		b.seed(0, 1)
		b.seed(1, 1)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := n.run(b, cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
			if msg.Partition == 0 {
				return kafka.NewTransientError("away", nil).WithRetryAfter(time.Hour)
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		time.Sleep(10 * time.Second)
		n.take()
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
		time.Sleep(10 * time.Second)
		got := n.take()
		slices.Sort(got)
		want := []string{
			"0 begun", "0 begun", "0 left  after 1: partition lost (tag 0)", "0 left transient after 1: away (tag 0)",
			"0 retried after attempt 1 in 1h0m0s: away (tag 0)", "assigned [0 1]", "lost [0 1]",
		}
		for i, line := range got { // whatever class the context's error has
			if line == "0 left transient after 1: partition lost (tag 0)" {
				got[i] = want[2]
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("the hooks were told\n%q\nwant\n%q", got, want)
		}
		_ = stop()
	})
}

func TestHooksAreToldOfFailedCommitsAndLetters(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var n told
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.RetryBackoff, cfg.RetryBackoffMax = aLongTime, aLongTime
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-orders", Err: kerr.PolicyViolation, Count: 1})
		_, stop := n.run(b, cfg, func(context.Context, kafka.Message[numbered]) error { return kafka.NewPermanentError("never", nil) })
		time.Sleep(2 * aLongTime)
		got := n.take()
		for _, want := range []string{
			"letter to dlq-orders of group group after 1: true (tag 0)", "letter to dlq-orders of group group after 1: false (tag 0)", "committed: <nil>",
		} {
			if !slices.Contains(got, want) {
				t.Errorf("told %q, want %q among them", got, want)
			}
		}
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: 1})
		b.seed(0, 1)
		time.Sleep(2 * aLongTime)
		got = n.take()
		failed := slices.ContainsFunc(got, func(line string) bool {
			return len(line) > len("committed: ") && line != "committed: <nil>" && line[:len("committed: ")] == "committed: "
		})
		if !failed {
			t.Errorf("nothing was told of the commit that failed: %q", got)
		}
		_ = stop()
	})
}

func TestHooksAreToldOfPausesAndRewinds(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var n told
		b.seed(0, 500)
		cfg := b.consumer()
		cfg.MaxQueuedRecords, cfg.CommitInterval = 100, time.Hour
		release := make(chan struct{})
		consumer, stop := n.run(b, cfg, func(context.Context, kafka.Message[numbered]) error {
			<-release
			return nil
		})
		time.Sleep(30 * time.Second) // not long enough for a stall
		if got := n.take(); !slices.Equal(got, []string{"assigned [0 1]", "0 begun", "paused 0"}) {
			t.Errorf("told %q", got)
		}
		if p := consumer.Health().Partitions[0]; !p.Paused || p.Lag != 500 || p.QueuedRecords == 0 || p.QueuedBytes == 0 || p.RecordsInHand != 1 {
			t.Errorf("health says %+v", p)
		}
		close(release)
		time.Sleep(time.Minute)
		if got := n.take(); !slices.Contains(got, "resumed 0") {
			t.Errorf("told %q", got)
		}
		if at := consumer.Health().Partitions[0]; at.Lag != 0 {
			t.Errorf("all is handled, and the lag %d", at.Lag)
		}
		// What an offset out of range does, or a leader that lost records.
		consuming := kafka.CoreOf(consumer).Assigned(0).Client()
		consuming.SetOffsets(map[string]map[int32]kgo.EpochOffset{"orders": {0: {Epoch: -1, Offset: 490}}})
		time.Sleep(time.Minute)
		if got := n.take(); !slices.Contains(got, "rewound 0 from 500 to 490") || b.log.count(slog.LevelError, "from=500", "to=490") != 1 {
			t.Errorf("told %q", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStallsAreNamedAgainAsTheyDouble(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var n told
		b.seed(1, 2)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.StallTimeout = time.Hour, time.Minute
		release := make(chan struct{})
		consumer, stop := n.run(b, cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Attempt == 1 {
				return kafka.NewTransientError("away", nil).WithRetryAfter(aLongTime) // which is no stall
			}
			if msg.Offset == 0 {
				<-release
			}
			return nil
		})
		time.Sleep(aLongTime + time.Second)
		n.take()
		time.Sleep(4*time.Minute + 30*time.Second)
		for _, line := range []string{"stalled orders-1 offset 0 attempt 2 for 1m", "stalled orders-1 offset 0 attempt 2 for 2m", "stalled orders-1 offset 0 attempt 2 for 4m"} {
			if got := n.take(); len(got) == 0 || got[0][:len(line)] != line {
				t.Fatalf("told %q, want %q", got, line)
			} else {
				n.lines = got[1:]
			}
		}
		if got := n.take(); len(got) > 0 {
			t.Errorf("told %q beyond", got)
		}
		if b.log.count(slog.LevelWarn, "partition=1", "offset=0", "running") != 3 {
			t.Errorf("the log says %s", b.log.String())
		}
		if h := consumer.Health(); !h.Partitions[1].Stalled || len(h.Problems) != 1 || h.Partitions[1].Attempt != 2 || !h.Live() {
			t.Errorf("health says %+v", h)
		}
		close(release)
		time.Sleep(time.Minute)
		if h := consumer.Health(); h.Partitions[1].Stalled || len(h.Problems) > 0 {
			t.Errorf("health still says %+v", h)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// The next attempt begins a count of its own.
func TestAStallEndsWithItsAttempt(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var n told
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.StallTimeout = time.Hour, time.Minute
		consumer, stop := n.run(b, cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			time.Sleep(3 * time.Minute)
			if msg.Attempt == 1 {
				return kafka.NewTransientError("away", nil).WithRetryAfter(time.Minute)
			}
			return nil
		})
		time.Sleep(3*time.Minute + 30*time.Second)
		if h := consumer.Health(); len(h.Problems) > 0 || h.Partitions[0].Stalled || h.Partitions[0].Activity != kafka.ActivityBackoff {
			t.Errorf("in backoff, health says %+v", h)
		}
		n.take()
		time.Sleep(2 * time.Minute)
		if got := n.take(); len(got) != 1 || !strings.HasPrefix(got[0], "stalled orders-0 offset 0 attempt 2 for 1m") {
			t.Errorf("told %q", got)
		}
		time.Sleep(5 * time.Minute) // there is no next record to put it right
		if h := consumer.Health(); len(h.Problems) > 0 || h.Partitions[0].Stalled {
			t.Errorf("it is over, and health says %+v", h)
		}
		_ = stop()
	})
}

// connections counts what a client's hooks are told.
type connections struct{ told }

func (c *connections) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	c.add("connected: %v", err)
}
func (c *connections) OnClientClosed(*kgo.Client) { c.add("closed") }

func TestClientHooksReachEachClient(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var all []*connections
		var clients []*kgo.Client
		maker := func(client *kgo.Client) kgo.Hook {
			clients = append(clients, client)
			all = append(all, &connections{})
			return all[len(all)-1]
		}
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		consumer.Use(kafka.ConsumerHooks{Client: maker})
		consumer.Use(kafka.ConsumerHooks{Client: func(*kgo.Client) kgo.Hook { return nil }}) // wants nothing
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = consumer.Close()
		if len(clients) != 2 || clients[0] == clients[1] {
			t.Fatalf("%d clients, want two", len(clients))
		}
		if got := all[0].take(); !slices.Equal(got[len(got)-1:], []string{"closed"}) {
			t.Errorf("of the first client %q", got)
		}
		if got := all[1].take(); len(got) < 2 || got[0] != "connected: <nil>" || got[len(got)-1] != "closed" {
			t.Errorf("of the consuming client %q", got)
		}
	})
}

// KAFKA_ENABLE_MIDDLEWARE=false is for logging, metrics and tracing, whose plugins ask: hooks of the user's own stay.
func TestHooksStayWhenMiddlewareIsDisabled(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DisableMiddleware = time.Hour, true
		var settled atomic.Int32
		asks := &infoKeeper{}
		_, stop := b.start(cfg, never, kafka.ConsumerHooks{RecordSettled: func(context.Context, *kgo.Record, kafka.Settlement) { settled.Add(1) }}, asks)
		time.Sleep(aLongTime)
		_ = stop()
		if settled.Load() != 1 || !asks.disabled {
			t.Errorf("told of %d records; disabled is %t", settled.Load(), asks.disabled)
		}
	})
}

// infoKeeper notes what a plugin is told.
type infoKeeper struct{ disabled bool }

func (k *infoKeeper) ForConsumer(info kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	k.disabled = info.DisableMiddleware
	return nil, kafka.ConsumerHooks{}
}

func (k *infoKeeper) ForProducer(info kafka.ProducerInfo) (kafka.ProducerMiddleware, kafka.ProducerHooks) {
	k.disabled = info.DisableMiddleware
	return nil, kafka.ProducerHooks{}
}
