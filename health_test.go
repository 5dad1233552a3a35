package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

func ignore1(context.Context, kafka.Message[numbered]) error { return nil }

// wantHealth fails unless the consumer is in that state.
func wantHealth(t *testing.T, consumer *kafka.Consumer[numbered], state kafka.State, live, ready bool) kafka.Health {
	t.Helper()
	h := consumer.Health()
	if h.State != state || h.Live() != live || h.Ready() != ready {
		t.Errorf("state %s, live %t (%s), ready %t (%s); want %s, %t, %t", h.State, h.Live(), h.NotLive, h.Ready(), h.NotReady, state, live, ready)
	}
	return h
}

func TestHealthFollowsAConsumersLife(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		release := make(chan struct{})
		consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error {
			<-release
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		wantHealth(t, consumer, kafka.StateNew, true, false)
		held := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(ctx) }()
		time.Sleep(aLongTime)
		wantHealth(t, consumer, kafka.StateJoining, true, false) // a restart would not help
		held.Remove()
		time.Sleep(time.Minute)
		if h := wantHealth(t, consumer, kafka.StateRunning, true, true); len(h.Partitions) != 2 || h.Partitions[0].Activity != kafka.ActivityHandling || h.Partitions[0].Offset != 0 {
			t.Errorf("health says %+v", h)
		}
		cancel()
		time.Sleep(time.Second)
		wantHealth(t, consumer, kafka.StateEnding, true, false)
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		wantHealth(t, consumer, kafka.StateEnded, true, false)
		_ = consumer.Close()

		never, err := kafka.NewConsumer(cfg, ignore1)
		if err != nil {
			t.Fatal(err)
		}
		_ = never.Close()
		wantHealth(t, never, kafka.StateEnded, true, false)
	})
}

// Members beyond the number of partitions are there to step in.
func TestAMemberWithoutPartitionsIsHealthy(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		idle := 0
		var consumers []*kafka.Consumer[numbered]
		for range 3 {
			consumer, stop := b.start(cfg, ignore1)
			defer stop()
			consumers = append(consumers, consumer)
			time.Sleep(time.Minute)
		}
		for _, consumer := range consumers {
			if h := wantHealth(t, consumer, kafka.StateRunning, true, true); len(h.Partitions) == 0 {
				idle++
			}
		}
		if idle != 1 {
			t.Errorf("%d members are idle, want 1", idle)
		}
	})
}

func TestAMemberThatLostItsPartitionsIsNotReady(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		consumer, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
		held := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
		time.Sleep(time.Minute)
		wantHealth(t, consumer, kafka.StateJoining, true, false)
		held.Remove()
		time.Sleep(time.Minute)
		wantHealth(t, consumer, kafka.StateRunning, true, true)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAHandlerThatNeverReturnsIsNotLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 3)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.StallTimeout, cfg.DrainTimeout = time.Hour, time.Minute, time.Second
		cfg.FailLivenessAfter = 5 * time.Minute
		release := make(chan struct{})
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			<-release
			return nil
		})
		time.Sleep(4 * time.Minute)
		wantHealth(t, consumer, kafka.StateRunning, true, true)
		time.Sleep(2 * time.Minute)
		if h := wantHealth(t, consumer, kafka.StateRunning, false, true); !strings.Contains(h.NotLive, "orders-0") || !strings.Contains(h.NotLive, "offset 0") {
			t.Errorf("not live: %s", h.NotLive)
		}
		if b.log.count(slog.LevelError, "topic=orders", "group=group", "reason=orders-0: …") != 1 {
			t.Errorf("the log does not say once that it is not live:\n%s", b.log.String())
		}
		lines := b.log.all()
		close(release)
		time.Sleep(time.Minute)
		wantHealth(t, consumer, kafka.StateRunning, true, true)
		if b.log.all() != lines+1 {
			t.Errorf("the log does not say that it is live again:\n%s", b.log.String())
		}
		_ = stop()
	})
}

// Waiting is no standstill, however long: a restart would only begin it again.
func TestBackoffAndOutagesAreLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 3)
		b.seed(1, 3)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-orders", Err: kerr.InvalidRecord, Count: -1})
		consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Partition == 0 {
				return kafka.NewTransientError("away", nil).WithRetryAfter(24 * time.Hour)
			}
			return kafka.NewPermanentError("never", nil)
		})
		time.Sleep(2 * aLongTime)
		h := wantHealth(t, consumer, kafka.StateRunning, true, true)
		if h.Partitions[0].Activity != kafka.ActivityBackoff || h.Partitions[1].Activity != kafka.ActivityDeadLetter {
			t.Errorf("health says %+v", h.Partitions)
		}
		if len(h.Problems) != 1 || !strings.Contains(h.Problems[0], "orders-1 offset 0: since 2000-01-01T00:00:00Z dead letter topic dlq-orders refuses it: ") {
			t.Errorf("problems: %q", h.Problems)
		}
		if _, err := json.Marshal(h); err != nil {
			t.Error(err)
		}
		outage.Remove()
		time.Sleep(2 * aLongTime)
		h = wantHealth(t, consumer, kafka.StateRunning, true, true)
		if len(h.Problems) > 0 || h.Partitions[1].Activity != kafka.ActivityIdle || time.Since(h.Partitions[1].LastProgress) > 2*aLongTime {
			t.Errorf("the outage is over, and health says %+v", h)
		}
		if p := h.Partitions[0]; time.Since(p.LastProgress) < 4*aLongTime {
			t.Errorf("no record was settled, and the last progress was at %v", p.LastProgress)
		}
		_ = stop()
	})
}

// Brokers that don't answer are a problem, and none that a restart mends.
func TestUnreachableBrokersAreAProblemAndLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		consumer, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		b.cluster.Close()
		time.Sleep(20 * time.Minute)
		h := consumer.Health()
		if !h.Live() || len(h.Problems) == 0 || !strings.Contains(strings.Join(h.Problems, "\n"), "localhost:9092") {
			t.Errorf("live %t (%s), problems %q", h.Live(), h.NotLive, h.Problems)
		}
		_ = stop()
	})
}

// How long a handler takes, or a batch waits to fill, is no matter of liveness unless it is asked for.
func TestLongHandlersAndBatchesThatWaitAreLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 3)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DrainTimeout = time.Hour, time.Second
		consumer, stop := b.start(cfg, func(ctx context.Context, _ kafka.Message[numbered]) error {
			<-ctx.Done()
			return ctx.Err()
		})
		for range 4 {
			time.Sleep(10 * time.Minute)
			wantHealth(t, consumer, kafka.StateRunning, true, true)
		}
		_ = stop()
	})
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxBatchWait = time.Hour, 30*time.Minute
		var handled atomic.Int32
		consumer, err := kafka.NewBatchConsumer(cfg, func(context.Context, []kafka.Message[numbered]) error {
			handled.Add(1)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := b.run(consumer)
		for range 29 {
			time.Sleep(time.Minute)
			wantHealth(t, consumer.Consumer, kafka.StateRunning, true, true)
		}
		if n := handled.Load(); n != 0 {
			t.Errorf("%d batches before their time", n)
		}
		time.Sleep(2 * time.Minute)
		if n := handled.Load(); n != 1 {
			t.Errorf("%d batches, want 1", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAPollLoopThatStandsStillIsNotLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		blocked := make(chan struct{})
		consumer, err := kafka.NewConsumer(cfg, ignore1)
		if err != nil {
			t.Fatal(err)
		}
		consumer.Use(kafka.ConsumerHooks{FetchingRewound: func(string, int32, int64, int64) { <-blocked }}) // as hooks must not
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(ctx) }()
		b.seed(0, 10)
		time.Sleep(2 * 10 * time.Minute) // idle for long
		wantHealth(t, consumer, kafka.StateRunning, true, true)
		kafka.CoreOf(consumer).Assigned(0).Client().SetOffsets(map[string]map[int32]kgo.EpochOffset{"orders": {0: {Epoch: -1, Offset: 0}}})
		time.Sleep(10 * time.Minute)
		if h := wantHealth(t, consumer, kafka.StateRunning, false, true); !strings.Contains(h.NotLive, "poll loop") {
			t.Errorf("not live: %s", h.NotLive)
		}
		cancel()
		time.Sleep(time.Second)
		wantHealth(t, consumer, kafka.StateEnding, true, false) // though the loop has not noticed yet
		close(blocked)
		<-ended
		_ = consumer.Close()
	})
}

// A partition that comes back waits for the handler that its last worker left behind.
func TestAPartitionBlockedForLongIsNotLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.FailLivenessAfter = time.Hour, 5*time.Minute
		release := make(chan struct{})
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			<-release // whatever the context says
			return nil
		})
		time.Sleep(time.Second)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
		time.Sleep(time.Minute)
		if h := wantHealth(t, consumer, kafka.StateRunning, true, true); h.Partitions[0].Activity != kafka.ActivityBlocked || h.Partitions[0].Offset != -1 {
			t.Errorf("health says %+v", h.Partitions)
		}
		time.Sleep(10 * time.Minute)
		if h := wantHealth(t, consumer, kafka.StateRunning, false, true); !strings.Contains(h.NotLive, "orders-0: blocked") {
			t.Errorf("not live: %s", h.NotLive)
		}
		close(release)
		time.Sleep(time.Minute)
		wantHealth(t, consumer, kafka.StateRunning, true, true)
		_ = stop()
	})
}

// A handover keeps the loop from polling, for as long as DrainTimeout. A restart in the middle of it would be no help.
func TestALongDrainIsLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		b.seed(1, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.StallTimeout = time.Hour, time.Second
		first, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			time.Sleep(time.Minute)
			return nil
		})
		time.Sleep(35 * time.Second)
		_, stopSecond := b.start(cfg, ignore1)
		time.Sleep(20 * time.Second)
		if h := wantHealth(t, first, kafka.StateRunning, true, true); len(h.Partitions) != 1 {
			t.Errorf("no handover is under way: %+v", h)
		}
		time.Sleep(5 * time.Minute)
		_, _ = stop(), stopSecond()
	})
}

// What was refused once, and then not any more, is over.
func TestAPermissionThatCameBackIsNoProblem(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		consumer, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: kerr.TopicAuthorizationFailed, Count: 2})
		time.Sleep(10 * time.Second)
		if h := consumer.Health(); len(h.Problems) != 1 || !strings.Contains(h.Problems[0], "TOPIC_AUTHORIZATION_FAILED") {
			t.Errorf("problems %q", h.Problems)
		}
		b.seed(0, 50)
		time.Sleep(time.Minute)
		if h := consumer.Health(); len(h.Problems) > 0 {
			t.Errorf("it consumes, and the problems are %q", h.Problems)
		}
		_ = stop()
	})
}

// Queues that stay full are not polled for, and the loop is alive all the same.
func TestAFullBudgetIsLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 500)
		b.seed(1, 500)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxQueuedRecords = time.Hour, 100
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			return kafka.NewTransientError("away", nil).WithRetryAfter(24 * time.Hour)
		})
		time.Sleep(2 * aLongTime)
		if h := wantHealth(t, consumer, kafka.StateRunning, true, true); h.Partitions[0].QueuedRecords == 0 {
			t.Errorf("nothing is queued: %+v", h.Partitions)
		}
		_ = stop()
	})
}

func TestAConsumerThatFailedIsNotLive(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.DisableDeadLetters, cfg.MaxRetries, cfg.CommitInterval = true, kafka.NoRetries, time.Hour
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return kafka.NewPermanentError("MARK", nil) })
		time.Sleep(time.Minute)
		if h := wantHealth(t, consumer, kafka.StateEnded, false, false); !strings.Contains(h.NotLive, "orders-0 offset 0") || strings.Contains(h.NotLive, "MARK") {
			t.Errorf("not live: %s", h.NotLive)
		}
		_ = stop()
		missing := b.consumer()
		missing.Topic = "missing"
		atTheDoor, err := kafka.NewConsumer(missing, ignore1)
		if err != nil {
			t.Fatal(err)
		}
		_ = atTheDoor.Start(t.Context())
		wantHealth(t, atTheDoor, kafka.StateEnded, false, false)
		_ = atTheDoor.Close()
	})
}

// Lag is known where records come, and where none do.
func TestLagIsKnownWithoutFetches(t *testing.T) {
	t.Parallel()
	for _, reset := range []string{"earliest", "latest"} {
		t.Run(reset, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 100)
				cfg := b.consumer()
				cfg.CommitInterval, cfg.AutoOffsetReset, cfg.MaxQueuedRecords = time.Hour, kafka.OffsetReset(reset), 20
				release := make(chan struct{})
				consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
					if msg.Offset >= 90 {
						<-release
					}
					return nil
				})
				lags := func() (at [2]int64) {
					for _, p := range consumer.Health().Partitions {
						at[p.Partition] = p.Lag
					}
					return at
				}
				time.Sleep(time.Minute)
				lags() // from now on somebody asks
				time.Sleep(20 * time.Second)
				want := [2]int64{10, 0}
				if reset == "latest" {
					want[0] = 0
				}
				if got := lags(); got != want {
					t.Errorf("lags %v, want %v", got, want)
				}
				b.seed(0, 200) // of which few are fetched
				time.Sleep(time.Minute)
				lags()
				time.Sleep(20 * time.Second)
				want[0] += 200
				if got := lags(); got != want {
					t.Errorf("lags %v, want %v", got, want)
				}
				close(release)
				time.Sleep(time.Minute)
				if got := lags(); got != [2]int64{} {
					t.Errorf("lags %v, want none", got)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A member that begins with nothing to read has the lag of what its group has committed.
func TestLagOfAnIdleMemberIsThatOfItsGroup(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 100)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		consumer, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		if at := consumer.Health().Partitions[0].Lag; at != -1 {
			t.Errorf("lag %d before anything is known, want -1", at)
		}
		time.Sleep(20 * time.Second)
		if at := consumer.Health().Partitions[0].Lag; at != 0 {
			t.Errorf("lag %d, want 0: all is committed", at)
		}
		_ = stop()
	})
}

// A member that begins at a time, and fetches nothing yet, has no lag of what is older.
func TestLagOfAnIdleMemberBeginsAtStartFrom(t *testing.T) {
	t.Parallel()
	for reset, hours := range map[string]time.Duration{"earliest": time.Hour, "latest": -time.Hour} {
		t.Run(reset, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 100)
				cfg := b.consumer()
				cfg.CommitInterval, cfg.AutoOffsetReset, cfg.StartFrom = time.Hour, kafka.OffsetReset(reset), time.Now().Add(hours)
				network := &damaged{dial: b.network.DialContext, text: []byte("none"), takes: 50 * time.Millisecond}
				cfg.Options = []kgo.Opt{kgo.Dialer(network.DialContext)}
				b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.UnknownServerError, Count: -1})
				consumer, stop := b.start(cfg, ignore1)
				time.Sleep(time.Minute)
				consumer.Health() // from now on somebody asks
				time.Sleep(20 * time.Second)
				want := int64(0)
				if hours < 0 {
					want = 100
				}
				if at := consumer.Health().Partitions[0].Lag; at != want {
					t.Errorf("lag %d, want %d", at, want)
				}
				_ = stop()
			})
		})
	}
}

// What was guessed before the group's offsets came is corrected, and so is what retention has overtaken.
func TestLagFollowsWhatTheGroupAndTheLogSay(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 100)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		_ = stop()
		lag := func(consumer *kafka.Consumer[numbered]) int64 {
			for range 4 {
				consumer.Health() // somebody looks
				time.Sleep(20 * time.Second)
			}
			return consumer.Health().Partitions[0].Lag
		}
		late := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnstableOffsetCommit, Count: -1})
		consumer, stop := b.start(cfg, ignore1)
		lag(consumer)
		late.Remove()
		if at := lag(consumer); at != 0 {
			t.Errorf("all is committed, and the lag %d", at)
		}
		_ = stop()

		b.seed(0, 400)
		client := b.raw()
		defer client.Close()
		var until kadm.Offsets
		until.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 500})
		if _, err := kadm.NewClient(client).DeleteRecords(t.Context(), until); err != nil {
			t.Fatal(err)
		}
		consumer, stop = b.start(cfg, ignore1)
		if at := lag(consumer); at != 0 {
			t.Errorf("the partition is empty, and the lag %d", at)
		}
		_ = stop()
	})
}

// Members ask for their own partitions, and of several leaders one may be away.
func TestLagAsksForWhatIsItsOwn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		if err := errors.Join(b.cluster.MoveTopicPartition("orders", 0, 0), b.cluster.MoveTopicPartition("orders", 1, 1)); err != nil {
			t.Fatal(err)
		}
		away := b.cluster.LeaderFor("orders", 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.ConnectTimeout = time.Hour, 5*time.Second
		consumer, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		var most atomic.Int32
		b.cluster.ControlKey(int16(kmsg.ListOffsets), func(request kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			for _, topic := range request.(*kmsg.ListOffsetsRequest).Topics {
				most.Store(max(most.Load(), int32(len(topic.Partitions))))
			}
			if b.cluster.CurrentNode() == away {
				return nil, errors.New("no answer"), true
			}
			return nil, nil, false
		})
		for range 4 {
			consumer.Health()
			time.Sleep(20 * time.Second)
		}
		if h := consumer.Health(); h.Partitions[0].Lag != 0 || h.Partitions[1].Lag != -1 {
			t.Errorf("lags %d and %d, want 0 and unknown", h.Partitions[0].Lag, h.Partitions[1].Lag)
		}
		_ = stop()
	}, kfake.NumBrokers(2), kfake.Ports(9092, 9093))
}

// Where nobody asks, brokers are not asked either.
func TestLagCostsNothingUnasked(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		consumer, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		asked := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Observe: true, Count: -1})
		time.Sleep(aLongTime)
		if n := asked.Hits(); n != 0 {
			t.Errorf("%d questions", n)
		}
		consumer.Health()
		time.Sleep(aLongTime)
		if n := asked.Hits(); n == 0 || n > 20 {
			t.Errorf("%d questions after one look at the health, want a minute's", n)
		}
		_ = stop()
	})
}

func TestHealthHandlerAnswersProbes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		running, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		fresh, err := kafka.NewConsumer(cfg, ignore1)
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.Close()
		synctest.Wait() // a new client goes on asking for a moment
		asked := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata, kmsg.ListOffsets, kmsg.OffsetFetch, kmsg.ApiVersions}, Observe: true, Count: -1})
		get := func(handler http.Handler, method, path string, want int) string {
			t.Helper()
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(method, path, nil))
			if answer.Code != want {
				t.Errorf("%s %s: %d, want %d: %s", method, path, answer.Code, want, answer.Body)
			}
			return answer.Body.String()
		}
		all, one := kafka.HealthHandler(running, fresh), kafka.HealthHandler(running)
		get(all, "GET", "/livez", 200)
		get(all, "GET", "/readyz", 503) // one of them is not
		get(one, "HEAD", "/readyz", 200)
		get(one, "POST", "/livez", 405)
		get(one, "GET", "/other", 404)
		get(kafka.HealthHandler(), "GET", "/readyz", 200)
		if body := get(all, "GET", "/readyz", 503); strings.TrimSpace(body) != `{"ok":false}` {
			t.Errorf("the answer to whoever may ask is %s", body)
		}
		details := kafka.HealthDetails(running, fresh)
		get(details, "POST", "/healthz", 405)
		body := get(details, "GET", "/healthz", 503)
		var answer struct {
			OK        bool
			Consumers []kafka.Health
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.OK || len(answer.Consumers) != 2 ||
			answer.Consumers[1].NotReady != "not started" || len(answer.Consumers[0].Partitions) != 2 {
			t.Errorf("the answer is %s (%v)", body, err)
		}
		if n := asked.Hits(); n != 0 {
			t.Errorf("the probes made %d requests", n)
		}
		_ = stop()
		time.Sleep(time.Second) // so long an answer is given again
		get(one, "GET", "/livez", 200)
		get(one, "GET", "/readyz", 503)
	})
}

// reporter counts how often it is asked.
type reporter struct{ asked int }

func (r *reporter) Health() kafka.Health {
	r.asked++
	return kafka.Health{}
}

// Who asks often costs nothing: consumers are asked once a second.
func TestProbesAskConsumersOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, handler := range map[string]func(...kafka.HealthReporter) http.Handler{"/livez": kafka.HealthHandler, "/readyz": kafka.HealthHandler, "/healthz": kafka.HealthDetails} {
			var r reporter
			h := handler(&r)
			for range 50 {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", name, nil))
				time.Sleep(100 * time.Millisecond)
			}
			if r.asked != 5 {
				t.Errorf("%s: asked %d times in 5 s", name, r.asked)
			}
		}
	})
}
