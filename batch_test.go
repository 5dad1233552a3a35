package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// batches is a handler of batches that notes what it got.
type batches struct {
	mu    sync.Mutex
	calls [][]int // numbers
}

func (b *batches) handle(comesTo func(ctx context.Context, batch []kafka.Message[numbered]) error) kafka.BatchHandler[numbered] {
	return func(ctx context.Context, batch []kafka.Message[numbered]) error {
		var numbers []int
		for _, msg := range batch {
			numbers = append(numbers, msg.Value.N)
		}
		b.mu.Lock()
		b.calls = append(b.calls, numbers)
		b.mu.Unlock()
		if comesTo == nil {
			return nil
		}
		return comesTo(ctx, batch)
	}
}

func (b *batches) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprint(b.calls)
}

func (b *bubble) startBatches(cfg kafka.ConsumerConfig, handle kafka.BatchHandler[numbered], plugins ...kafka.ConsumerPlugin) (stop func() error) {
	b.t.Helper()
	consumer, err := kafka.NewBatchConsumer(cfg, handle)
	if err != nil {
		b.t.Fatal(err)
	}
	consumer.Use(plugins...)
	return b.run(consumer.Consumer)
}

// whatBecomes runs a handler over one batch of five, and says what it got and what became of them.
func whatBecomes(t *testing.T, comesTo func(ctx context.Context, batch []kafka.Message[numbered]) error, plugins ...kafka.ConsumerPlugin) (calls string, ends []string) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 5)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxRetries = time.Hour, 1
		var got batches
		var mu sync.Mutex
		stop := b.startBatches(cfg, got.handle(comesTo), append(plugins, kafka.ConsumerHooks{
			RecordSettled: func(_ context.Context, r *kgo.Record, s kafka.Settlement) {
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, fmt.Sprintf("%d %s after %d", r.Offset, s.Outcome, s.Attempts))
			},
		})...)
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Errorf("Start returned %v", err)
		}
		if b.committed(0) != 5 {
			t.Errorf("committed %d, want 5:\n%s", b.committed(0), b.log.String())
		}
		calls = got.String()
	})
	slices.Sort(ends)
	return calls, ends
}

func TestWhatBecomesOfABatch(t *testing.T) {
	poison := func(n int) func(context.Context, []kafka.Message[numbered]) error { // fails whatever batch it is in
		return func(_ context.Context, batch []kafka.Message[numbered]) error {
			if slices.ContainsFunc(batch, func(msg kafka.Message[numbered]) bool { return msg.Value.N == n }) {
				return kafka.NewPermanentError("poison", nil)
			}
			return nil
		}
	}
	for name, test := range map[string]struct {
		comesTo func(context.Context, []kafka.Message[numbered]) error
		calls   string
		ends    string
	}{
		"all are done": {
			nil, "[[0 1 2 3 4]]",
			"0 handled after 1, 1 handled after 1, 2 handled after 1, 3 handled after 1, 4 handled after 1",
		},
		"the Err of an empty BatchError": {
			func(context.Context, []kafka.Message[numbered]) error { return kafka.BatchError{3: nil}.Err() }, "[[0 1 2 3 4]]",
			"0 handled after 1, 1 handled after 1, 2 handled after 1, 3 handled after 1, 4 handled after 1",
		},
		"an empty BatchError": { // an error that is not nil is a failure
			func(context.Context, []kafka.Message[numbered]) error { return kafka.BatchError{} }, "[[0 1 2 3 4] [0] [1] [2] [3] [4]]",
			"0 dead_lettered after 2, 1 dead_lettered after 2, 2 dead_lettered after 2, 3 dead_lettered after 2, 4 dead_lettered after 2",
		},
		"some are named": {
			func(_ context.Context, batch []kafka.Message[numbered]) error {
				failed := kafka.BatchError{}
				for i, msg := range batch {
					switch msg.Value.N {
					case 1:
						failed[i] = errors.New("may pass")
					case 2:
						failed[i] = kafka.NewPermanentError("never", nil)
					case 3:
						failed[i] = kafka.NewBusinessError("declined", nil)
					}
				}
				return fmt.Errorf("insert: %w", failed)
			}, "[[0 1 2 3 4] [1]]",
			"0 handled after 1, 1 dead_lettered after 2, 2 dead_lettered after 1, 3 rejected after 1, 4 handled after 1",
		},
		"it stops at the first that fails": {
			func(_ context.Context, batch []kafka.Message[numbered]) error {
				for i, msg := range batch {
					if msg.Value.N == 2 {
						return kafka.FailedAt(batch, i, errors.New("may pass"))
					}
				}
				return nil
			}, "[[0 1 2 3 4] [2 3 4] [3 4]]",
			"0 handled after 1, 1 handled after 1, 2 dead_lettered after 2, 3 handled after 1, 4 handled after 1",
		},
		"nothing is handled": {
			func(_ context.Context, batch []kafka.Message[numbered]) error {
				if time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < time.Minute {
					failed := kafka.BatchError{}
					for i := range batch {
						failed[i] = kafka.ErrNotHandled
					}
					return failed
				}
				return nil
			}, "", // some hundred times in this minute, not for ever in its first moment
			"0 handled after 1, 1 handled after 1, 2 handled after 1, 3 handled after 1, 4 handled after 1",
		},
		"a poison that nobody names": {
			poison(3), "[[0 1 2 3 4] [0] [1] [2] [3] [4]]",
			"0 handled after 2, 1 handled after 2, 2 handled after 2, 3 dead_lettered after 2, 4 handled after 2",
		},
		"an error that passes": {
			func(_ context.Context, batch []kafka.Message[numbered]) error {
				if batch[0].Attempt == 1 {
					return errors.New("may pass")
				}
				return nil
			}, "[[0 1 2 3 4] [0 1 2 3 4]]",
			"0 handled after 2, 1 handled after 2, 2 handled after 2, 3 handled after 2, 4 handled after 2",
		},
		"an error that does not pass": {
			func(_ context.Context, batch []kafka.Message[numbered]) error {
				if slices.ContainsFunc(batch, func(msg kafka.Message[numbered]) bool { return msg.Value.N == 0 }) {
					return errors.New("may pass")
				}
				return nil
			}, "[[0 1 2 3 4] [0 1 2 3 4] [0] [1] [2] [3] [4]]",
			"0 dead_lettered after 3, 1 handled after 3, 2 handled after 3, 3 handled after 3, 4 handled after 3",
		},
		"a business error": {
			func(context.Context, []kafka.Message[numbered]) error { return kafka.NewBusinessError("closed", nil) }, "[[0 1 2 3 4]]",
			"0 rejected after 1, 1 rejected after 1, 2 rejected after 1, 3 rejected after 1, 4 rejected after 1",
		},
		"a panic": {
			func(_ context.Context, batch []kafka.Message[numbered]) error {
				if batch[len(batch)-1].Value.N == 4 {
					panic("a bug")
				}
				return nil
			}, "[[0 1 2 3 4] [0] [1] [2] [3] [4]]",
			"0 handled after 2, 1 handled after 2, 2 handled after 2, 3 handled after 2, 4 dead_lettered after 2",
		},
		"the goroutine ends": {
			func(_ context.Context, batch []kafka.Message[numbered]) error {
				if batch[0].Value.N == 0 {
					runtime.Goexit()
				}
				return nil
			}, "[[0 1 2 3 4] [0] [1] [2] [3] [4]]",
			"0 dead_lettered after 2, 1 handled after 2, 2 handled after 2, 3 handled after 2, 4 handled after 2",
		},
		"it names what is not there": {
			func(_ context.Context, batch []kafka.Message[numbered]) error {
				if len(batch) > 1 {
					return kafka.BatchError{5: errors.New("who?")}
				}
				return nil
			}, "[[0 1 2 3 4] [0] [1] [2] [3] [4]]",
			"0 handled after 2, 1 handled after 2, 2 handled after 2, 3 handled after 2, 4 handled after 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			calls, ends := whatBecomes(t, test.comesTo)
			if test.calls != "" && calls != test.calls {
				t.Errorf("the handler got %s, want %s", calls, test.calls)
			}
			if got := strings.Join(ends, ", "); got != test.ends {
				t.Errorf("it came to\n\t%s, want\n\t%s", got, test.ends)
			}
		})
	}
}

// Middleware around letters that ends its goroutine, amid a batch: the verdicts stay, and each is carried out once.
func TestALettersMiddlewareThatEndsTheBatchesGoroutine(t *testing.T) {
	ended := false
	calls, ends := whatBecomes(t, func(_ context.Context, batch []kafka.Message[numbered]) error {
		return kafka.BatchError{1: kafka.NewPermanentError("never", nil), 3: kafka.NewPermanentError("never", nil)}
	}, kafka.ConsumerHooks{DeadLetters: func(next kafka.PublishFunc) kafka.PublishFunc {
		return func(ctx context.Context, r *kafka.Record, done func(error)) {
			if !ended {
				ended = true
				runtime.Goexit()
			}
			next(ctx, r, done)
		}
	}})
	const want = "0 handled after 1, 1 dead_lettered after 1, 2 handled after 1, 3 dead_lettered after 1, 4 handled after 1"
	if got := strings.Join(ends, ", "); calls != "[[0 1 2 3 4]]" || got != want {
		t.Errorf("the handler got %s; it came to\n\t%s, want\n\t%s", calls, got, want)
	}
}

// What can't be decoded costs itself alone, and a batch is not larger than it may be.
func TestBatchesOfGoodAndBadRecords(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		for i := range 7 {
			value := fmt.Sprintf(`{"n":%d}`, i)
			if i == 1 {
				value = "{"
			}
			b.produce(&kgo.Record{Partition: 0, Value: []byte(value)})
		}
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxBatchSize = time.Hour, 3
		var got batches
		stop := b.startBatches(cfg, got.handle(nil))
		time.Sleep(time.Minute)
		if err := stop(); err != nil || got.String() != "[[0 2] [3 4 5] [6]]" || b.letters() != 1 || b.committed(0) != 7 {
			t.Errorf("Start returned %v; batches %s, %d letters, committed %d", err, got.String(), b.letters(), b.committed(0))
		}
	})
}

func TestABatchWaitsForMore(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxBatchSize, cfg.MaxBatchWait = time.Hour, 3, 10*time.Second
		var got batches
		stop := b.startBatches(cfg, got.handle(nil))
		time.Sleep(time.Minute)
		b.produce(&kgo.Record{Partition: 0, Value: []byte(`{"n":1}`)})
		time.Sleep(4 * time.Second)
		b.produce(&kgo.Record{Partition: 0, Value: []byte(`{"n":2}`)})
		time.Sleep(4 * time.Second)
		if calls := got.String(); calls != "[]" {
			t.Errorf("after 8 s the handler got %s", calls)
		}
		time.Sleep(4 * time.Second)
		if calls := got.String(); calls != "[[1 2]]" {
			t.Errorf("after 12 s the handler got %s", calls)
		}
		b.seed(0, 3) // full at once
		time.Sleep(time.Second)
		if calls := got.String(); calls != "[[1 2] [0 1 2]]" {
			t.Errorf("a second after a full batch the handler got %s", calls)
		}
		b.seed(0, 1) // not handled at the end: nobody has begun it
		time.Sleep(time.Second)
		if err := stop(); err != nil || b.committed(0) != 5 {
			t.Errorf("Start returned %v, committed %d, want what was handled: 5", err, b.committed(0))
		}
	})
}

// A batch in hand is finished at the end, and one that waits for its retry is left, but for what is done.
func TestShutdownAmidABatch(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 4)
		b.seed(1, 4)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.RetryBackoff, cfg.RetryBackoffMax = time.Hour, time.Hour, time.Hour
		began := make(chan struct{}, 2)
		stop := b.startBatches(cfg, func(ctx context.Context, batch []kafka.Message[numbered]) error {
			began <- struct{}{}
			if batch[0].Partition == 1 {
				return kafka.BatchError{2: kafka.NewTransientError("later", nil).WithRetryAfter(time.Hour)}
			}
			time.Sleep(10 * time.Second)
			return nil
		})
		<-began
		<-began
		time.Sleep(time.Second)
		if err := stop(); err != nil || b.committed(0) != 4 || b.committed(1) != 2 {
			t.Errorf("Start returned %v; committed %d and %d, want 4 and 2", err, b.committed(0), b.committed(1))
		}
	})
}

func TestABatchThatOutlastsTheDrainIsLeft(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 4)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DrainTimeout = time.Hour, 5*time.Second
		var cause error
		stop := b.startBatches(cfg, func(ctx context.Context, batch []kafka.Message[numbered]) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return kafka.BatchError{0: nil, 1: ctx.Err(), 2: ctx.Err(), 3: ctx.Err()} // the first is done
		})
		time.Sleep(time.Minute)
		if err := stop(); !errors.Is(err, kafka.ErrDrainTimeout) || !errors.Is(cause, kafka.ErrDrainTimeout) || b.committed(0) != 1 {
			t.Errorf("Start returned %v, the context ended for %v, committed %d, want 1", err, cause, b.committed(0))
		}
	})
}

func TestWithoutADeadLetterTopicABatchEndsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 4)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DisableDeadLetters = time.Hour, true
		stop := b.startBatches(cfg, func(_ context.Context, batch []kafka.Message[numbered]) error {
			return kafka.FailedAt(batch, 2, kafka.NewPermanentError("never", nil))
		})
		time.Sleep(time.Minute)
		failed, ok := errors.AsType[*kafka.RecordError](stop())
		if !ok || failed.Offset != 2 || b.committed(0) != 2 {
			t.Errorf("Start returned %v, committed %d", failed, b.committed(0))
		}
	})
}

// A batch that waits for more is handed over when nothing more can come: the records of another partition fill the queues.
func TestAPartialBatchIsHandedOverWhenTheQueuesAreFull(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 5)
		cfg := b.consumer()
		cfg.MaxBatchSize, cfg.MaxBatchWait, cfg.MaxQueuedRecords = 10, 5*time.Hour, 100
		var first atomic.Int64
		stop := b.startBatches(cfg, func(ctx context.Context, batch []kafka.Message[numbered]) error {
			if batch[0].Partition == 0 {
				first.Add(int64(len(batch)))
				return nil
			}
			<-ctx.Done() // this partition stands still
			return ctx.Err()
		})
		time.Sleep(time.Minute)
		if n := first.Load(); n > 0 {
			t.Errorf("%d messages came at once, want them to wait for more", n)
		}
		b.seed(1, 500)
		time.Sleep(time.Minute)
		if n := first.Load(); n != 5 {
			t.Errorf("%d messages came, want 5", n)
		}
		_ = stop()
	})
}
