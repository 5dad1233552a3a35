package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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

// seedKeys puts n records into partition 0 of orders, in turn for each of the keys: {"n":0} is the first of its key.
func (b *bubble) seedKeys(n, keys int) {
	b.t.Helper()
	client := b.raw()
	defer client.Close()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: "orders", Key: fmt.Append(nil, i%keys), Value: fmt.Appendf(nil, `{"n":%d}`, i/keys)}
	}
	if err := client.ProduceSync(b.t.Context(), records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// perKey fails for a record that is not the next of its key.
type perKey struct {
	t    *testing.T
	mu   sync.Mutex
	next map[string]int
}

func newPerKey(t *testing.T) *perKey { return &perKey{t: t, next: map[string]int{}} }

func (k *perKey) done(msg kafka.Message[numbered]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if msg.Value.N != k.next[msg.Key] {
		k.t.Errorf("key %s: record %d is done, want %d", msg.Key, msg.Value.N, k.next[msg.Key])
	}
	k.next[msg.Key]++
}

// Promise 5. Keys that wait for another attempt cost no goroutine, and no more memory than the queues' bound.
func TestThousandsOfKeysAsleepCostOnlyTheirRecords(t *testing.T) {
	const keys, records = 3000, 9000
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seedKeys(records, keys)
		cfg := b.consumer()
		cfg.Concurrency, cfg.MaxQueuedRecords = 16, 4*keys
		done := newPerKey(t)
		var handled, failed atomic.Int32
		before := runtime.NumGoroutine()
		consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Value.N == 0 && msg.Attempt == 1 {
				failed.Add(1)
				return kafka.NewTransientError("busy", nil).WithRetryAfter(5 * time.Minute)
			}
			done.done(msg)
			handled.Add(1)
			return nil
		})
		time.Sleep(time.Minute)
		if failed.Load() != keys || handled.Load() != 0 {
			t.Errorf("%d keys are asleep, %d records handled; want %d and 0", failed.Load(), handled.Load(), keys)
		}
		if more := runtime.NumGoroutine() - before; more > 60 {
			t.Errorf("%d goroutines more than before, for %d keys", more, keys)
		}
		if p := consumer.Health().Partitions[0]; p.RecordsInHand != keys || p.Activity != kafka.ActivityBackoff || p.Offset != 0 || p.QueuedBytes > cfg.WithDefaults().MaxQueuedBytes {
			t.Errorf("health: %+v", p)
		}
		time.Sleep(10 * time.Minute)
		if err := stop(); err != nil || handled.Load() != records || b.committed(0) != records {
			t.Errorf("Start returned %v; %d handled, committed %d; want %d", err, handled.Load(), b.committed(0), records)
		}
		if held := kafka.CoreOf(consumer).Held(); held != 0 {
			t.Errorf("the budget holds %d of nothing", held)
		}
	})
}

// The distance between the first record that is not done and the others is bounded.
func TestOneKeyThatWaitsLetsOthersGoAheadSoFar(t *testing.T) {
	t.Parallel()
	const records = kafka.MaxAhead + 20_000
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seedKeys(records, 100)
		cfg := b.consumer()
		cfg.Concurrency, cfg.MaxQueuedRecords = 4, 1_000_000
		done := newPerKey(t)
		var handled atomic.Int32
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Offset == 5 && msg.Attempt == 1 {
				return kafka.NewTransientError("busy", nil).WithRetryAfter(2 * time.Minute)
			}
			done.done(msg)
			handled.Add(1)
			return nil
		})
		time.Sleep(time.Minute)
		// Of the records from the fifth on, those of its key wait for it.
		if n, want := handled.Load(), int32(5+kafka.MaxAhead-kafka.MaxAhead/100); n < want-100 || n > want+100 {
			t.Errorf("%d handled while one waits, want about %d", n, want)
		}
		if at := b.committed(0); at != 5 {
			t.Errorf("committed %d, want 5", at)
		}
		time.Sleep(aLongTime)
		if err := stop(); err != nil || handled.Load() != records || b.committed(0) != records {
			t.Errorf("Start returned %v; %d handled, committed %d; want %d", err, handled.Load(), b.committed(0), records)
		}
	})
}

// Promise 3. A record that fails for good, without a dead letter topic, is not passed by its key's next, and every record that
// was begun is told the end of.
func TestNothingFollowsARecordThatFailsForGood(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seedKeys(200, 20)
		cfg := b.consumer()
		cfg.Concurrency, cfg.DisableDeadLetters, cfg.MaxRetries = 8, true, 1
		done := newPerKey(t)
		var begun, settled, left atomic.Int32
		consumer, err := kafka.NewConsumer(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			switch {
			case msg.Key == "3" && msg.Value.N == 2:
				return errors.New("declined")
			case msg.Key == "4" && msg.Value.N == 1: // asleep when that ends Start
				return kafka.NewTransientError("busy", nil).WithRetryAfter(time.Hour)
			}
			time.Sleep(time.Second)
			done.done(msg)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		consumer.Use(kafka.ConsumerHooks{
			RecordBegun: func(ctx context.Context, _ *kgo.Record) context.Context { begun.Add(1); return ctx },
			RecordSettled: func(_ context.Context, _ *kgo.Record, s kafka.Settlement) {
				settled.Add(1)
				if s.Outcome == kafka.OutcomeLeft {
					left.Add(1)
				}
			},
		})
		err = consumer.Start(t.Context())
		var failed *kafka.RecordError
		if !errors.As(err, &failed) || failed.Offset != 43 || failed.Attempts != 2 {
			t.Errorf("Start returned %v", err)
		}
		_ = consumer.Close()
		if done.next["3"] != 2 || done.next["4"] != 1 || b.committed(0) != 24 {
			t.Errorf("key 3 went to %d, key 4 to %d, committed %d; want 2, 1 and 24", done.next["3"], done.next["4"], b.committed(0))
		}
		if begun.Load() != settled.Load() || left.Load() != 2 {
			t.Errorf("%d records begun, %d settled, %d of them left; want 2 left", begun.Load(), settled.Load(), left.Load())
		}
		if held := kafka.CoreOf(consumer).Held(); held != 0 {
			t.Errorf("the budget holds %d of nothing", held)
		}
	})
}

// Promise 6. What is in hand and what is asleep when the partition is lost counts for nothing.
func TestLostLanesCommitNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records, keys = 60, 20
		b.seedKeys(records, keys)
		cfg := b.consumer()
		cfg.Concurrency = 8
		var lost atomic.Bool
		var again atomic.Int32
		_, stop := b.start(cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
			switch {
			case lost.Load():
				again.Add(1)
			case msg.Offset == 2:
				return kafka.NewTransientError("busy", nil).WithRetryAfter(time.Hour)
			case msg.Offset%2 == 1:
				<-ctx.Done()
				if cause := context.Cause(ctx); !errors.Is(cause, kafka.ErrPartitionLost) {
					t.Errorf("the cause is %v", cause)
				}
			}
			return nil
		})
		time.Sleep(30 * time.Second)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
		lost.Store(true)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		const told = 7 // 0, and what was done of 4 to 14 beside the eight in hand: said by the periodic commit before the loss
		if b.committed(0) != records || again.Load() != records-told {
			t.Errorf("committed %d, %d handled after the loss; want %d and %d", b.committed(0), again.Load(), records, records-told)
		}
	})
}

// Promise 3. While the dead letter topic is out of reach, keys that are good go on with the workers that are left.
func TestADLQOutageLeavesTheOtherLanes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records, keys = 100, 10
		b.seedKeys(records, keys)
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-orders", Err: kerr.NotEnoughReplicas, Count: -1})
		cfg := b.consumer()
		cfg.Concurrency = 2
		done := newPerKey(t)
		var bad, others atomic.Int32
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			done.done(msg)
			if msg.Offset == 13 {
				bad.Add(1)
				return kafka.NewPermanentError("never", nil)
			}
			others.Add(1)
			return nil
		})
		time.Sleep(aLongTime)
		if bad.Load() != 1 || others.Load() != records-9 || b.committed(0) != 13 {
			t.Errorf("the bad record was handled %d times, %d others, committed %d; want 1, %d, 13", bad.Load(), others.Load(), b.committed(0), records-9)
		}
		outage.Remove()
		time.Sleep(aLongTime)
		if err := stop(); err != nil || bad.Load() != 1 || others.Load() != records-1 || b.letters() != 1 || b.committed(0) != records {
			t.Errorf("after it Start returned %v; %d, %d, %d letters, committed %d", err, bad.Load(), others.Load(), b.letters(), b.committed(0))
		}
	})
}

// Brokers that take no metadata, or less than the default, cost redeliveries and nothing else.
func TestProgressThatBrokersRefuseIsNotTold(t *testing.T) {
	t.Parallel()
	for _, refused := range []bool{false, true} {
		inBubble(t, func(t *testing.T, b *bubble) {
			const records, keys, stuck = 100, 10, 20
			b.seedKeys(records, keys)
			cfg := b.consumer()
			cfg.Concurrency, cfg.CommitInterval = 4, time.Hour // see bubble
			first, stopFirst := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
				if msg.Offset == stuck {
					return kafka.NewTransientError("busy", nil).WithRetryAfter(time.Hour)
				}
				return nil
			})
			time.Sleep(time.Minute)
			if refused {
				b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.OffsetMetadataTooLarge, Count: 1})
			}
			if err := stopFirst(); err != nil || b.committed(0) != stuck {
				t.Fatalf("Start returned %v, committed %d; want %d", err, b.committed(0), stuck)
			}
			if kafka.CoreOf(first).ProgressRefused() != refused {
				t.Errorf("refused: %v, remembered: %v", refused, !refused)
			}
			var again atomic.Int32
			_, stopSecond := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { again.Add(1); return nil })
			time.Sleep(time.Minute)
			want := int32(records/keys - stuck/keys) // the rest of one key
			if refused {
				want = records - stuck
			}
			if err := stopSecond(); err != nil || again.Load() != want || b.committed(0) != records {
				t.Errorf("Start returned %v; %d handled by the second member, committed %d; want %d and %d", err, again.Load(), b.committed(0), want, records)
			}
		})
	}
}

// A member that hands a partition on before it has fetched all that earlier owners were ahead tells that, too.
func TestProgressOutlivesAMemberThatDoesLittle(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records, keys = 100, 10
		b.seedKeys(records, keys)
		cfg := b.consumer()
		cfg.Concurrency, cfg.CommitInterval, cfg.MaxQueuedRecords = 4, time.Hour, 8
		var mu sync.Mutex
		times := map[int64]int{}
		member := func(stuck func(offset int64) bool) {
			_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
				if stuck(msg.Offset) {
					return kafka.NewTransientError("busy", nil).WithRetryAfter(time.Hour)
				}
				mu.Lock()
				times[msg.Offset]++
				mu.Unlock()
				return nil
			})
			time.Sleep(time.Minute)
			if err := stop(); err != nil {
				t.Errorf("Start returned %v", err)
			}
		}
		cfg.MaxQueuedRecords = 1000
		member(func(offset int64) bool { return offset == 20 }) // all but one key
		cfg.MaxQueuedRecords = 8                                // it fetches little,
		member(func(offset int64) bool { return offset == 30 }) // and is stuck soon
		member(func(offset int64) bool { return false })        // the rest
		for offset := range int64(records) {
			if times[offset] != 1 {
				t.Errorf("offset %d was handled %d times", offset, times[offset])
			}
		}
		if b.committed(0) != records {
			t.Errorf("committed %d", b.committed(0))
		}
	})
}
