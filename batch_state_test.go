package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Nothing more comes while the queues are full: a batch that can't become full does not wait for that.
func TestFullQueuesEndABatchsWait(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 100)
		b.seed(1, 100)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxQueuedRecords, cfg.MaxBatchWait = time.Hour, 20, time.Hour
		var got batches
		stop := b.startBatches(cfg, got.handle(nil))
		time.Sleep(time.Minute)
		if err := stop(); err != nil || b.committed(0)+b.committed(1) < 180 {
			t.Errorf("Start returned %v, committed %d and %d: batches %s", err, b.committed(0), b.committed(1), got.String())
		}
	})
}

// What the handler has done is not handled again, though a message before it ended Start.
func TestOfABatchOnlyWhatFailedIsLeft(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 5)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DisableDeadLetters = time.Hour, true
		var ends []string
		stop := b.startBatches(cfg, func(context.Context, []kafka.Message[numbered]) error {
			return kafka.BatchError{1: kafka.NewPermanentError("never", nil), 2: kafka.NewBusinessError("declined", nil), 3: kafka.NewTransientError("later", nil)}
		}, settlements(&ends))
		time.Sleep(time.Minute)
		if err := stop(); err == nil {
			t.Error("Start returned nil")
		}
		slices.Sort(ends)
		if got := fmt.Sprint(ends); got != "[0 handled 1 left 2 rejected 3 left 4 handled]" {
			t.Errorf("they ended as %s", got)
		}
		var got batches
		stop = b.startBatches(cfg, got.handle(nil))
		time.Sleep(time.Minute)
		if err := stop(); err != nil || got.String() != "[[1 3]]" || b.committed(0) != 5 {
			t.Errorf("the next Start returned %v, committed %d: batches %s", err, b.committed(0), got.String())
		}
	})
}

func settlements(ends *[]string) kafka.ConsumerHooks {
	return kafka.ConsumerHooks{RecordSettled: func(_ context.Context, r *kgo.Record, s kafka.Settlement) {
		*ends = append(*ends, fmt.Sprintf("%d %s", r.Offset, s.Outcome))
	}}
}

// Health tells of the attempt that was made, of each message of a batch.
func TestHealthCountsABatchsAttempts(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 2)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxRetries = time.Hour, 1
		consumer, err := kafka.NewBatchConsumer(cfg, func(_ context.Context, batch []kafka.Message[numbered]) error {
			failed := kafka.BatchError{}
			for i, msg := range batch {
				failed[i] = kafka.NewPermanentError("never", nil)
				if msg.Attempt == 1 {
					failed[i] = kafka.NewTransientError("later", nil).WithRetryAfter(time.Minute)
				}
			}
			return failed
		})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var said []string
		ask := func() {
			mu.Lock()
			defer mu.Unlock()
			for _, p := range consumer.Health().Partitions {
				if p.Partition == 0 {
					said = append(said, fmt.Sprintf("%s of %d, attempt %d", p.Activity, p.Offset, p.Attempt))
				}
			}
		}
		consumer.Use(kafka.ConsumerHooks{DeadLetters: func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				ask()
				next(ctx, r, done)
			}
		}})
		stop := b.run(consumer.Consumer)
		time.Sleep(30 * time.Second)
		ask()
		time.Sleep(5 * time.Minute)
		_ = stop()
		want := []string{"backoff of 0, attempt 1", "dead_letter of 0, attempt 2", "dead_letter of 1, attempt 2"}
		if !slices.Equal(said, want) {
			t.Errorf("health said %q, want %q", said, want)
		}
	})
}

// A goroutine that ends takes all records of its batch along. To walk its stack for each of them would take minutes.
func TestTheStackOfABatchIsWalkedOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 5)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		var mu sync.Mutex
		stacks := map[*byte]bool{}
		stop := b.startBatches(cfg, func(_ context.Context, batch []kafka.Message[numbered]) error {
			if batch[0].Attempt == 1 {
				runtime.Goexit()
			}
			return nil
		}, kafka.ConsumerHooks{RetryScheduled: func(_ context.Context, _ *kgo.Record, retry kafka.Retry) {
			mu.Lock()
			defer mu.Unlock()
			if panicked, ok := errors.AsType[*kafka.PanicError](retry.Err); ok {
				stacks[&panicked.Stack[0]] = true
			}
		}})
		time.Sleep(time.Minute)
		if err := stop(); err != nil || len(stacks) != 1 || b.committed(0) != 5 {
			t.Errorf("Start returned %v; %d stacks, want 1; committed %d", err, len(stacks), b.committed(0))
		}
	})
}
