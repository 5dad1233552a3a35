package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
)

// Promise 6. A partition that was lost is another member's: its handler is cancelled and nothing is committed.
func TestLostPartitionIsCancelledAndCommitsNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 3)
		causes := make(chan error, 1)
		var calls atomic.Int32
		_, stop := b.start(b.consumer(), func(ctx context.Context, msg kafka.Message[numbered]) error {
			if calls.Add(1) == 1 {
				<-ctx.Done()
				if at := b.committed(0); at != -1 {
					t.Errorf("committed %d while the first record was in hand", at)
				}
				causes <- context.Cause(ctx)
				return nil // it may even claim to be done
			}
			return nil
		})
		synctest.Wait()
		time.Sleep(time.Second)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
		if cause := <-causes; !errors.Is(cause, kafka.ErrPartitionLost) {
			t.Errorf("the handler's context ended with %v, want ErrPartitionLost", cause)
		}
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		if n := calls.Load(); n != 4 {
			t.Errorf("the handler was called %d times, want 4: the lost record comes again", n)
		}
		if at := b.committed(0); at != 3 {
			t.Errorf("committed %d, want 3", at)
		}
	})
}

// Promise 6. A handler that ignores its context and finishes late counts for nothing, and no other handler has its
// record in hand before it returns.
func TestLateCompletionIsFenced(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		release := make(chan struct{})
		var running, calls atomic.Int32
		cfg := b.consumer()
		consumer, stop := b.start(cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
			if running.Add(1) > 1 {
				t.Error("two handlers have one record in hand")
			}
			defer running.Add(-1)
			if calls.Add(1) == 1 {
				<-release
				return nil
			}
			time.Sleep(time.Minute) // time for a commit that must not come
			if at := b.committed(0); at != -1 {
				t.Errorf("committed %d: the completion came after the partition was lost", at)
			}
			return nil
		})
		time.Sleep(time.Second)
		lost := kafka.CoreOf(consumer).Assigned(0)
		for range 2 {
			b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
			time.Sleep(time.Minute) // lost, and assigned again
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%d handlers, want 1", n)
		}
		close(release)
		time.Sleep(time.Second)
		lost.Mark() // by who has seen it assigned, and comes late
		time.Sleep(2 * time.Minute)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		if calls.Load() != 2 || b.committed(0) != 1 {
			t.Errorf("%d calls, committed %d; want 2 and 1", calls.Load(), b.committed(0))
		}
	})
}

// Promise 3. While the dead letter topic is out of reach its partition waits, the verdict stands, and the others go on.
func TestDLQOutageRepeatsOnlyTheWrite(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 3)
		b.seed(1, 100)
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-orders", Err: kerr.NotEnoughReplicas, Count: -1})
		var bad, others atomic.Int32
		_, stop := b.start(b.consumer(), func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Partition == 0 && msg.Offset == 1 {
				bad.Add(1)
				return kafka.NewPermanentError("never", nil)
			}
			others.Add(1)
			return nil
		})
		time.Sleep(aLongTime)
		if bad.Load() != 1 || others.Load() != 101 {
			t.Errorf("during the outage the bad record was handled %d times and %d others; want 1 and 101", bad.Load(), others.Load())
		}
		if b.committed(0) != 1 || b.committed(1) != 100 {
			t.Errorf("committed %d and %d, want 1 and 100", b.committed(0), b.committed(1))
		}
		if b.log.count(slog.LevelError, "partition=0", "offset=1", "dlq_topic=dlq-orders", "attempt", "error") == 0 {
			t.Error("the outage was not logged")
		}
		outage.Remove()
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		if bad.Load() != 1 || b.letters() != 1 || b.committed(0) != 3 {
			t.Errorf("after it: handled %d times, %d letters, committed %d; want 1, 1, 3", bad.Load(), b.letters(), b.committed(0))
		}
	})
}

// Promise 5. The queues' records and bytes stay below their bound, however many partitions stand still.
func TestQueuesStayBelowTheirBound(t *testing.T) {
	t.Parallel()
	const partitions, perPartition = 12, 2000
	inBubble(t, func(t *testing.T, b *bubble) {
		if err := b.cluster.CreateTopic("many", partitions, nil); err != nil {
			t.Fatal(err)
		}
		cfg := b.consumer()
		cfg.Topic, cfg.MaxQueuedRecords, cfg.MaxQueuedBytes = "many", 1000, 1<<20
		client, err := kafka.NewClient(cfg.ClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Abort()
		producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "many"})
		if err != nil {
			t.Fatal(err)
		}
		for i := range partitions * perPartition {
			producer.PublishAsync(t.Context(), kafka.Message[numbered]{Value: numbered{i}}, nil)
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}

		var done [partitions]atomic.Int32
		var holdsMost func(partition int32) bool
		started, release := make(chan struct{}), make(chan struct{})
		consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			<-started
			// All but one stand still. The odd ones first work off a good third of what they held when they were paused.
			for msg.Partition != 7 && (msg.Partition%2 == 0 || !holdsMost(msg.Partition)) {
				select {
				case <-release:
					return nil
				case <-time.After(time.Second):
				}
			}
			done[msg.Partition].Add(1)
			return nil
		})
		core := kafka.CoreOf(consumer)
		holdsMost = func(partition int32) bool { return core.Assigned(partition).HoldsMost() }
		close(started)
		var most int64
		for range 3000 {
			time.Sleep(100 * time.Millisecond)
			most = max(most, core.Held())
		}
		want := int64(0)
		for _, info := range b.cluster.PartitionInfos("many") {
			if info.Partition == 7 {
				want = info.HighWatermark
			}
		}
		if got := int64(done[7].Load()); got != want || want < 100 {
			t.Errorf("the partition that works got %d of its %d records", got, want)
		}
		t.Logf("most held: %.0f%% of the bound", 100*float64(most)/float64(cfg.MaxQueuedBytes))
		if most > cfg.MaxQueuedBytes+partitions*(core.PerRecord()+100) { // single records are polled once all that is held stands still
			t.Errorf("queues held %d, want at most %d", most, cfg.MaxQueuedBytes)
		}
		close(release)
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		var committed int64
		for _, commit := range b.cluster.GroupInfo("group").Commits["many"] {
			committed += commit.Offset
		}
		if committed != partitions*perPartition {
			t.Errorf("committed %d, want %d", committed, partitions*perPartition)
		}
		if core.Held() != 0 || core.Limit() != cfg.MaxQueuedBytes/2 {
			t.Errorf("at the end %d is held and the limit is %d, want 0 and %d", core.Held(), core.Limit(), cfg.MaxQueuedBytes/2)
		}
	})
}

// Promise 7. A handler that outlasts DrainTimeout sees its context end with the cause, and Start says what it left.
func TestDrainTimeoutCancelsWithItsCause(t *testing.T) {
	t.Parallel()
	for _, heeds := range []bool{true, false} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.seed(0, 5)
			busy, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			cfg := b.consumer()
			cfg.DisableDeadLetters, cfg.MaxRetries = true, kafka.NoRetries // so that any verdict would end Start with another error
			consumer, stop := b.start(cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
				once.Do(func() { close(busy) })
				if !heeds {
					<-release
					return nil
				}
				<-ctx.Done()
				if cause := context.Cause(ctx); !errors.Is(cause, kafka.ErrDrainTimeout) {
					t.Errorf("the cause is %v, want ErrDrainTimeout", cause)
				}
				return ctx.Err()
			})
			<-busy
			began := time.Now()
			err := stop()
			if !errors.Is(err, kafka.ErrDrainTimeout) || !strings.Contains(err.Error(), "orders-0") {
				t.Errorf("Start returned %v, want ErrDrainTimeout and the partition", err)
			}
			if took := time.Since(began); took > kafka.DefaultDrainTimeout+time.Second { // the bubble's clock, not the machine's
				t.Errorf("shutdown took %v", took)
			}
			close(release)
			synctest.Wait()
			if held := kafka.CoreOf(consumer).Held(); held != 0 {
				t.Errorf("the queue still holds %d", held)
			}
			if b.committed(0) > 0 || b.letters() != 0 {
				t.Errorf("committed %d, %d letters; want nothing", b.committed(0), b.letters())
			}
		})
	}
}

// Promise 7. A dead cluster does not keep a service from ending.
func TestShutdownEndsWithoutBrokers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 5)
		handled := make(chan struct{}, 5)
		_, stop := b.start(b.consumer(), func(context.Context, kafka.Message[numbered]) error {
			handled <- struct{}{}
			return nil
		})
		for range 5 {
			<-handled
		}
		b.cluster.Close()
		began := time.Now()
		_ = stop()
		if took := time.Since(began); took > kafka.DefaultDrainTimeout {
			t.Errorf("shutdown took %v with nothing in hand", took)
		}
	})
}

// Promise 2. Retries wait as long as they are asked to, or a jittered backoff within its bound.
func TestRetriesWaitInPlace(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 2)
		var attempts []time.Time
		var order []int64
		cfg := b.consumer()
		cfg.MaxRetries = 4
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			order = append(order, msg.Offset)
			if msg.Offset > 0 {
				return nil
			}
			attempts = append(attempts, time.Now())
			if msg.Attempt == 2 {
				return kafka.NewTransientError("busy", nil).WithRetryAfter(7 * time.Second)
			}
			return errors.New("down")
		})
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		if len(attempts) != 5 || len(order) != 6 || order[5] != 1 {
			t.Fatalf("%d attempts in the order of offsets %v", len(attempts), order)
		}
		for i, bound := range []time.Duration{500 * time.Millisecond, 7 * time.Second, 2 * time.Second, 4 * time.Second} {
			if waited := attempts[i+1].Sub(attempts[i]); waited > bound || i == 1 && waited != bound {
				t.Errorf("waited %v before attempt %d, bound %v", waited, i+2, bound)
			}
		}
		if b.letters() != 1 || b.committed(0) != 2 {
			t.Errorf("%d letters, committed %d; want 1 and 2", b.letters(), b.committed(0))
		}
	})
}

// Promise 8. A group that will never have this member says so.
func TestJoinThatCanNeverSucceedEndsStart(t *testing.T) {
	t.Parallel()
	for _, refusal := range []*kerr.Error{kerr.InconsistentGroupProtocol, kerr.InvalidSessionTimeout, kerr.GroupMaxSizeReached} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Err: refusal, Count: -1})
			consumer, err := kafka.NewConsumer(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			defer consumer.Close()
			if err := consumer.Start(context.Background()); !errors.Is(err, refusal) || !strings.Contains(err.Error(), "group group") {
				t.Errorf("Start returned %v, want %v", err, refusal)
			}
		})
	}
}

// Promise 8. franz-go would fall back to the classic protocol, with a balancer that revokes everything.
func TestGroupProtocolThatBrokersDoNotSpeakEndsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.GroupProtocol = "consumer"
		consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		if err := consumer.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "KIP-848") {
			t.Errorf("Start returned %v", err)
		}
	}, kfake.MaxVersions(kversion.V3_4_0()))
}

// Errors that go away are waited out, and nothing is handled twice.
func TestPassingFaultsPass(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 500
		b.seed(0, records)
		for _, fault := range []kfake.Fault{
			{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: 5},
			{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorNotAvailable, Count: 5},
		} {
			b.cluster.Fault(fault)
		}
		seen := map[int64]int{}
		_, stop := b.start(b.consumer(), func(_ context.Context, msg kafka.Message[numbered]) error {
			seen[msg.Offset]++
			time.Sleep(10 * time.Millisecond)
			return nil
		})
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		for offset, times := range seen {
			if times != 1 {
				t.Errorf("offset %d was handled %d times", offset, times)
			}
		}
		if len(seen) != records || b.committed(0) != records {
			t.Errorf("%d handled, committed %d; want %d", len(seen), b.committed(0), records)
		}
	})
}

func TestStartTwiceAndUseAfterStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		consumer, stop := b.start(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(time.Second)
		if err := consumer.Start(context.Background()); !errors.Is(err, kafka.ErrStarted) {
			t.Errorf("the second Start returned %v, want ErrStarted", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("Use after Start does not panic")
				}
			}()
			consumer.Use(kafka.ConsumerMiddleware(func(next kafka.HandlerFunc) kafka.HandlerFunc { return next }))
		}()
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
	})
}

// Promise 5. A partition that was paused and then lost is fetched again when it comes back.
func TestAPauseDoesNotOutliveTheAssignment(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 500
		b.seed(0, records)
		cfg := b.consumer()
		cfg.MaxQueuedRecords = 100
		var unstuck atomic.Bool
		var handled atomic.Int32
		consumer, stop := b.start(cfg, func(ctx context.Context, _ kafka.Message[numbered]) error {
			if !unstuck.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			handled.Add(1)
			return nil
		})
		time.Sleep(time.Minute)
		if !consumer.Health().Partitions[0].Paused {
			t.Fatal("the partition that stands still is not paused: the test proves nothing")
		}
		unstuck.Store(true)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		if n := handled.Load(); n != records {
			t.Errorf("%d records handled, want %d", n, records)
		}
	})
}

// Promise 6. A record that its partition's drain interrupts is no failure: its member goes on, the next owner handles it.
func TestInterruptedAttemptIsNoFailure(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 5)
		b.seed(1, 5)
		cfg := b.consumer()
		cfg.DisableDeadLetters, cfg.MaxRetries = true, kafka.NoRetries // so that a failure would end Start
		cfg.CommitInterval = time.Hour                                 // see bubble
		var interrupted, handled atomic.Int32
		slow := func(ctx context.Context, msg kafka.Message[numbered]) error {
			if msg.Value.N == 0 {
				select {
				case <-ctx.Done():
					interrupted.Add(1)
					return ctx.Err()
				case <-time.After(5 * time.Minute):
				}
			}
			handled.Add(1)
			return nil
		}
		_, stopFirst := b.start(cfg, slow)
		time.Sleep(10 * time.Second)
		_, stopSecond := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			handled.Add(1)
			return nil
		})
		time.Sleep(10 * time.Minute)
		if interrupted.Load() != 1 || handled.Load() != 10 {
			t.Errorf("%d interrupted, %d handled; want 1 and 10", interrupted.Load(), handled.Load())
		}
		for _, stop := range []func() error{stopFirst, stopSecond} {
			if err := stop(); err != nil {
				t.Errorf("Start returned %v", err)
			}
		}
	})
}

// A record that was finished after its context ended, but in time to be committed, was not left behind.
func TestFinishedInTheGraceIsNotUnfinished(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 5)
		busy := make(chan struct{}, 5)
		_, stop := b.start(b.consumer(), func(ctx context.Context, _ kafka.Message[numbered]) error {
			busy <- struct{}{}
			<-ctx.Done()
			return nil
		})
		<-busy
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		if at := b.committed(0); at != 1 {
			t.Errorf("committed %d, want 1", at)
		}
	})
}

// Promise 3. Letters that fit their topic one by one keep all their headers, however many are written at once.
func TestLettersDoNotShareABatch(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		limit := "100000"
		for topic, partitions := range map[string]int32{"large": 8, "dlq-large": 1} {
			if err := b.cluster.CreateTopic(topic, partitions, map[string]string{"max.message.bytes": limit}); err != nil {
				t.Fatal(err)
			}
		}
		client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(b.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for partition := range int32(8) {
			record := &kgo.Record{Topic: "large", Partition: partition, Value: make([]byte, 60_000)}
			if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		cfg := b.consumer()
		cfg.Topic, cfg.DLQTopic, cfg.Compression = "large", "dlq-large", "none"
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		client.AddConsumeTopics("dlq-large")
		for letters := 0; letters < 8; {
			for _, r := range client.PollFetches(t.Context()).Records() {
				letters++
				if letter, _ := parseDeadLetter(r.Headers); letter.Message == "" {
					t.Errorf("the letter of partition %d has lost its message", letter.Partition)
				}
			}
		}
	})
}
