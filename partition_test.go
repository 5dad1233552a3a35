package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"github.com/twmb/franz-go/pkg/kadm"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// produce puts records into orders, each into the partition it names.
func (b *bubble) produce(records ...*kgo.Record) {
	b.t.Helper()
	client := b.raw()
	defer client.Close()
	for _, r := range records {
		r.Topic = "orders"
		if err := client.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
			b.t.Fatal(err)
		}
	}
}

// raw is a client that is not ours.
func (b *bubble) raw(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(b.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	return client
}

// largeValue is JSON of at least so many bytes.
func largeValue(bytesAtLeast int) []byte {
	return append(bytes.Repeat([]byte(" "), bytesAtLeast), `{"n":1}`...)
}

// Handlers and middleware may do with a record what they like: its letter, its offset and its memory's account are those of
// the record as it was fetched.
func TestWhatIsDoneToARecordStaysWithTheAttempt(t *testing.T) {
	for _, plugins := range [][]kafka.ConsumerPlugin{nil, {kafka.ConsumerMiddleware(defacing)}} {
		testWhatIsDoneToARecord(t, plugins)
	}
}

// defacing is middleware that does to records what it can.
func defacing(next kafka.HandlerFunc) kafka.HandlerFunc {
	return func(ctx context.Context, r *kafka.Record) error {
		r.Value, r.Key = bytes.TrimSpace(r.Value), nil // as decryption does
		err := next(ctx, r)
		r.Topic, r.Partition, r.Offset, r.Headers = "", 7, 1<<40, nil
		return err
	}
}

func testWhatIsDoneToARecord(t *testing.T, plugins []kafka.ConsumerPlugin) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 300
		var all []*kgo.Record
		for range records {
			all = append(all, &kgo.Record{Key: []byte("key"), Value: largeValue(10_000), Headers: headers("a", "1", "secret", "2", "c", "3")})
		}
		b.produce(all...)
		cfg := b.consumer()
		cfg.MaxQueuedBytes, cfg.MaxQueuedRecords, cfg.MaxRetries, cfg.RetryBackoff = 1<<20, 100, 1, time.Millisecond
		var handled atomic.Int32
		consumer, err := kafka.NewConsumer(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			handled.Add(1)
			if len(msg.Headers) != 3 {
				t.Errorf("attempt %d sees what another left behind: %v", msg.Attempt, msg.Headers)
			}
			msg.Headers = slices.DeleteFunc(msg.Headers, func(h kgo.RecordHeader) bool { return h.Key == "secret" })
			return kafka.NewTransientError("never", nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		consumer.Use(plugins...)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(ctx) }()
		time.Sleep(aLongTime)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = consumer.Close()
		if n := handled.Load(); n != 2*records || b.committed(0) != records || b.letters() != records {
			t.Errorf("%d attempts, committed %d, %d letters; want %d, %d, %[4]d", n, b.committed(0), b.letters(), 2*records, records)
		}
		if held := kafka.CoreOf(consumer).Held(); held != 0 {
			t.Errorf("the budget holds %d bytes of nothing", held)
		}
		reader := b.raw(kgo.ConsumeTopics("dlq-orders"))
		defer reader.Close()
		letter := reader.PollRecords(t.Context(), 1).Records()[0]
		if secret, _ := lastHeader(letter.Headers, "secret"); secret != "2" || string(letter.Key) != "key" || len(letter.Value) < 10_000 {
			t.Errorf("the letter is not its record: key %q, %d bytes, headers %v", letter.Key, len(letter.Value), letter.Headers)
		}
	})
}

// Middleware may keep what it gets: a cache, or a handler that it gave up on.
func TestMiddlewareMayKeepItsRecord(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 50
		b.seed(0, records)
		consumer, err := kafka.NewConsumer(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		var kept []*kafka.Record
		consumer.Use(kafka.ConsumerMiddleware(func(next kafka.HandlerFunc) kafka.HandlerFunc {
			return func(ctx context.Context, r *kafka.Record) error {
				kept = append(kept, r)
				return next(ctx, r)
			}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(ctx) }()
		time.Sleep(aLongTime)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = consumer.Close()
		for i, r := range kept {
			if r.Offset != int64(i) {
				t.Fatalf("the record kept at offset %d has become that at %d", i, r.Offset)
			}
		}
		if len(kept) != records {
			t.Errorf("%d kept, want %d", len(kept), records)
		}
	})
}

// fmt gives up on it, too.
type evilError struct{}

func (evilError) Error() string { panic(evilError{}) }

func TestAnErrorWithoutATextCostsOneLetter(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 4)
		_, stop := b.start(b.consumer(), func(_ context.Context, msg kafka.Message[numbered]) error {
			switch msg.Offset {
			case 1:
				return evilError{}
			case 2:
				panic(evilError{})
			}
			return nil
		})
		time.Sleep(aLongTime)
		if err := stop(); err != nil || b.committed(0) != 4 || b.letters() != 2 {
			t.Errorf("Start returned %v; committed %d, %d letters; want 4 and 2", err, b.committed(0), b.letters())
		}
	})
}

// Promise 5. A poll of records that are far larger than those before it may use up the memory of all; the partitions that
// don't stand still go on.
func TestLargeRecordsThatStandStillStopNobodyElse(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var all []*kgo.Record
		for range 40 {
			all = append(all, &kgo.Record{Value: largeValue(100_000)})
		}
		b.produce(all...)
		cfg := b.consumer()
		cfg.MaxQueuedBytes, cfg.MaxQueuedRecords = 1<<20, 100_000
		var others atomic.Int32
		consumer, stop := b.start(cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
			if msg.Partition == 0 {
				<-ctx.Done()
				return ctx.Err()
			}
			others.Add(1)
			return nil
		})
		time.Sleep(time.Minute)
		if room := kafka.CoreOf(consumer).Room(); room > 0 {
			t.Fatalf("the queues have room for %d bytes: nothing is tested", room)
		}
		b.seed(1, 100)
		time.Sleep(aLongTime)
		if n := others.Load(); n != 100 {
			t.Errorf("the other partition got %d of 100", n)
		}
		cfg.DrainTimeout = time.Second
		_ = stop()
	})
}

// The brokers' refusal of one committed offset must not leave its partition out for good.
func TestARefusedCommittedOffsetIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for _, refusal := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.UnknownServerError} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.seed(0, 10)
			b.seed(1, 10)
			b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Topic: "orders", Partitions: []int32{0}, Err: refusal, Count: 1})
			var handled atomic.Int32
			_, stop := b.start(b.consumer(), func(context.Context, kafka.Message[numbered]) error {
				handled.Add(1)
				return nil
			})
			time.Sleep(aLongTime)
			if err := stop(); err != nil || handled.Load() != 20 {
				t.Errorf("%v once: Start returned %v and handled %d of 20", refusal, err, handled.Load())
			}
		})
	}
}

// One that is refused for good, by whatever error, ends Start instead of joining for ever.
func TestACommittedOffsetThatIsRefusedForGoodEndsStart(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"classic", "consumer"} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.seed(0, 10)
			refused := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Topic: "orders", Partitions: []int32{0}, Err: kerr.UnknownServerError, Count: -1})
			cfg := b.consumer()
			cfg.GroupProtocol, cfg.CommitInterval = kafka.GroupProtocol(protocol), time.Hour
			consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err = consumer.Start(t.Context())
			took := time.Since(began)
			wantFault(t, err, "group group", "committed offset of orders-0", "UNKNOWN_SERVER_ERROR")
			if took < kafka.DefaultAuthFailureTimeout || took > 2*kafka.DefaultAuthFailureTimeout || refused.Hits() > 100 {
				t.Errorf("%s: Start ended after %v and %d questions", protocol, took, refused.Hits())
			}
			_ = consumer.Close()
		})
	}
}

// It is what brokers say of anything that they did not foresee.
func TestUnknownServerErrorsAreNotTheEnd(t *testing.T) {
	t.Parallel()
	for _, key := range []kmsg.Key{kmsg.Fetch, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.OffsetFetch, kmsg.ListOffsets, kmsg.OffsetCommit} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.seed(0, 3)
			b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: kerr.UnknownServerError, Count: 1})
			_, stop := b.start(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return nil })
			time.Sleep(aLongTime)
			if err := stop(); err != nil || b.committed(0) != 3 {
				t.Errorf("%s: Start returned %v, committed %d", key.Name(), err, b.committed(0))
			}
		})
	}
}

// These options would commit what is not handled, or consume the consumer's own dead letters, whatever else is set.
func TestOptionsThatCantBeUndoneAreRefused(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		for name, option := range map[string]kgo.Opt{
			"TransactionalID": kgo.TransactionalID("x"), "ConsumeRegex": kgo.ConsumeRegex(), "DisableIdempotentWrite": kgo.DisableIdempotentWrite(),
		} {
			cfg := b.consumer()
			cfg.Options = append(cfg.Options, option)
			_, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
			wantFault(t, err, "Options", name)
		}
	})
}

// What a transaction leaves at a partition's end, a marker and records that were aborted, is committed: a group that has handled all has
// no lag, and does not begin below what is deleted when it comes back.
func TestTheEndOfATransactionIsCommitted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		alter func(*kafka.ConsumerConfig)
	}{
		{"one lane", func(*kafka.ConsumerConfig) {}},
		{"lanes", func(cfg *kafka.ConsumerConfig) { cfg.Concurrency = 8 }},
		{"KIP-848", func(cfg *kafka.ConsumerConfig) { cfg.GroupProtocol = "consumer" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				producer, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(b.network.DialContext),
					kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("t"))
				if err != nil {
					t.Fatal(err)
				}
				defer producer.Close()
				transaction := func(partition int32, end kgo.TransactionEndTry) {
					t.Helper()
					if err := producer.BeginTransaction(); err != nil {
						t.Fatal(err)
					}
					for n := range 5 {
						r := &kgo.Record{Topic: "orders", Partition: partition, Key: []byte("k"), Value: fmt.Appendf(nil, `{"n":%d}`, n)}
						if err := producer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
							t.Fatal(err)
						}
					}
					if err := producer.EndTransaction(t.Context(), end); err != nil {
						t.Fatal(err)
					}
				}
				transaction(0, kgo.TryCommit)
				transaction(1, kgo.TryCommit)
				transaction(1, kgo.TryAbort)
				cfg := b.consumer()
				c.alter(&cfg)
				cfg.Options = append(cfg.Options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
				var handled atomic.Int32
				consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
					handled.Add(1)
					return nil
				})
				time.Sleep(30 * time.Second)
				if n := handled.Load(); n != 10 {
					t.Errorf("%d handled, want 10", n)
				}
				for _, p := range consumer.Health().Partitions {
					if p.Lag != 0 || p.QueuedBytes != 0 || p.RecordsInHand != 0 {
						t.Errorf("partition %d: lag %d, %d bytes queued, %d in hand", p.Partition, p.Lag, p.QueuedBytes, p.RecordsInHand)
					}
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if first, second := b.committed(0), b.committed(1); first != 6 || second != 12 {
					t.Errorf("committed %d and %d, want 6 and 12", first, second)
				}
			})
		})
	}
}

// A partition that has stopped, and is still assigned, drops what is fetched. Nothing was deleted and nothing fetched again.
func TestAStoppedPartitionReportsNoDeletion(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 20)
		admin := kadm.NewClient(b.raw())
		upTo := kadm.Offsets{}
		upTo.AddOffset("orders", 0, 10, -1)
		if _, err := admin.DeleteRecords(t.Context(), upTo); err != nil {
			t.Fatal(err)
		}
		admin.Close()
		consumer, stop := b.start(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(5 * time.Second)
		if b.committed(0) != 20 {
			t.Fatalf("committed %d, want 20", b.committed(0))
		}
		kafka.CoreOf(consumer).EvictAll()
		b.seed(0, 20)
		time.Sleep(5 * time.Second)
		_ = stop()
		if n := b.log.count(slog.LevelError, "topic=orders"); n > 0 {
			t.Errorf("%d errors are logged:\n%s", n, b.log.String())
		}
	})
}

// A worker that has nothing to do keeps no record: each would keep its whole decompressed batch in memory.
func TestIdleWorkersKeepNoRecord(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(*kafka.ConsumerConfig){
		"one lane": func(*kafka.ConsumerConfig) {},
		"lanes":    func(cfg *kafka.ConsumerConfig) { cfg.Concurrency = 8 },
		"batches":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 20)
				b.seed(1, 1)
				var mu sync.Mutex
				var records []weak.Pointer[kgo.Record]
				hooks := kafka.ConsumerHooks{RecordSettled: func(_ context.Context, r *kgo.Record, _ kafka.Settlement) {
					mu.Lock()
					defer mu.Unlock()
					records = append(records, weak.Make(r))
				}}
				cfg := b.consumer()
				var stop func() error
				if alter != nil {
					alter(&cfg)
					_, stop = b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil }, hooks)
				} else {
					consumer, err := kafka.NewBatchConsumer(cfg, func(context.Context, []kafka.Message[numbered]) error { return nil })
					if err != nil {
						t.Fatal(err)
					}
					consumer.Use(hooks)
					stop = b.run(consumer)
				}
				time.Sleep(time.Minute)
				runtime.GC()
				mu.Lock()
				kept := 0
				for _, r := range records {
					if r.Value() != nil {
						kept++
					}
				}
				if len(records) != 21 || kept > 0 {
					t.Errorf("%d of %d records are kept", kept, len(records))
				}
				mu.Unlock()
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
