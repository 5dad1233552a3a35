package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

func (b *bubble) newProducer(cfg kafka.ProducerConfig) *kafka.Producer[numbered] {
	b.t.Helper()
	producer, err := kafka.NewProducer[numbered](cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = producer.Close() })
	return producer
}

// stored returns how many records orders holds.
// The first question for a producer id is our own; its answer is no franz-go's to keep.
func TestAnAnswerThatPassesEndsNoConstructor(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.UnknownServerError, Count: 1})
		producer := b.newProducer(b.producer())
		if err := producer.Publish(t.Context(), kafka.NewMessage[numbered]().Build()); err != nil {
			t.Error(err)
		}
	})
}

func (b *bubble) stored() int64 { return storedIn(b.cluster, "orders") }

// One caller's cancelled context never fails another's message, and returns at once with an outcome that is unknown.
func TestOneCallersContextNeverFailsAnothers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer := b.newProducer(b.producer())
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			began := time.Now()
			err := producer.Publish(short, kafka.Message[numbered]{Key: "k", Value: numbered{1}})
			if !errors.Is(err, kafka.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the impatient Publish returned %v", err)
			}
			if failure, ok := errors.AsType[*kafka.PublishError](err); !ok || failure.MessageID == "" || failure.Topic != "orders" {
				t.Errorf("its error is %#v, want a PublishError that names the message", err)
			}
			if waited := time.Since(began); waited != time.Second {
				t.Errorf("it returned after %v, want at once when its second was over", waited)
			}
		})
		wg.Go(func() {
			time.Sleep(time.Millisecond) // into the same batch, behind the other
			if err := producer.Publish(context.Background(), kafka.Message[numbered]{Key: "k", Value: numbered{2}}); err != nil {
				t.Errorf("the patient Publish returned %v", err)
			}
		})
		time.Sleep(10 * time.Second)
		outage.Remove()
		wg.Wait()
		if n := b.stored(); n != 2 {
			t.Errorf("%d records stored, want both", n)
		}
	})
}

// A full buffer is waited for, within the caller's context; what was refused there was not sent.
func TestPublishWaitsForRoomInTheBuffer(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.producer()
		cfg.MaxBufferedRecords, cfg.MaxBufferedBytes = 10, 10_000
		producer := b.newProducer(cfg)
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		accepted := 0
		var refusal error
		for refusal == nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			producer.PublishAsync(ctx, kafka.Message[numbered]{Key: "k"}, func(_ kafka.Message[numbered], err error) {
				if ctx.Err() != nil && err != nil {
					refusal = err
				}
			})
			if accepted++; accepted > 100 {
				t.Fatal("the buffer has no bound")
			}
			cancel()
		}
		accepted--
		if !errors.Is(refusal, context.DeadlineExceeded) || errors.Is(refusal, kafka.ErrOutcomeUnknown) {
			t.Errorf("a full buffer refuses with %v, want the context's error alone", refusal)
		}
		outage.Remove()
		if err := producer.Flush(context.Background()); err != nil {
			t.Error(err)
		}
		if n := b.stored(); n != int64(accepted) || accepted > 10 {
			t.Errorf("%d stored, %d accepted, want the same and at most 10", n, accepted)
		}
	})
}

// A message that is passed on may be older than DeliveryTimeout, or come from a clock that is ahead. Neither makes it, or
// what shares its batch, fail sooner or later than other messages.
func TestTheAgeOfAMessageIsNotItsDelivery(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.producer()
		cfg.Linger = time.Second // one batch
		producer := b.newProducer(cfg)
		old := kafka.Message[numbered]{Key: "k", Value: numbered{1}, Timestamp: time.Now().Add(-24 * time.Hour)}
		if err := producer.PublishBatch(t.Context(), old, kafka.Message[numbered]{Key: "k", Value: numbered{2}}); err != nil {
			t.Error(err)
		}
		if n := b.stored(); n != 2 {
			t.Errorf("%d records stored, want both", n)
		}

		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		for what, timestamp := range map[string]time.Time{"old": old.Timestamp, "of now": {}, "of tomorrow": time.Now().Add(24 * time.Hour)} {
			began := time.Now()
			err := producer.Publish(t.Context(), kafka.Message[numbered]{Value: numbered{3}, Timestamp: timestamp})
			took := time.Since(began)
			if !errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, context.DeadlineExceeded) || took < kafka.DefaultDeliveryTimeout || took > kafka.DefaultDeliveryTimeout+10*time.Second {
				t.Errorf("a message %s failed after %v with %v; want the delivery timeout of %v", what, took, err, kafka.DefaultDeliveryTimeout)
			}
		}
	})
}

// What does not go away within DeliveryTimeout is an error that says so.
func TestDeliveryTimeoutEndsRetries(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer := b.newProducer(b.producer())
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		err := producer.Publish(context.Background(), kafka.Message[numbered]{Key: "k"})
		if !errors.Is(err, kgo.ErrRecordTimeout) || !strings.Contains(err.Error(), "delivery timeout of 2m0s") {
			t.Errorf("Publish returned %v, want the delivery timeout", err)
		}
	})
}

// Flush waits for the dead letter of a refused message, and the refusal is returned with or without it.
func TestFlushWaitsForTheDeadLetter(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.producer()
		cfg.DLQTopic = "dlq-orders"
		producer := b.newProducer(cfg)
		b.cluster.Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.InvalidRecord},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-orders", Err: kerr.NotEnoughReplicas, Count: 5},
		)
		var outcome error
		producer.PublishAsync(context.Background(), kafka.Message[numbered]{Key: "k"}, func(_ kafka.Message[numbered], err error) { outcome = err })
		if err := producer.Flush(context.Background()); err != nil {
			t.Error(err)
		}
		if !errors.Is(outcome, kerr.InvalidRecord) || b.letters() != 1 {
			t.Errorf("outcome %v, %d letters; want INVALID_RECORD and 1", outcome, b.letters())
		}
		if err := producer.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A retriable error leads to no dead letter, and a refused dead letter is told with the first error.
func TestOnlyRefusedMessagesAreDeadLettered(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.producer()
		cfg.DLQTopic, cfg.DeliveryTimeout = "dlq-orders", 5*time.Second
		producer := b.newProducer(cfg)
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.NotEnoughReplicas, Count: -1})
		if err := producer.Publish(context.Background(), kafka.Message[numbered]{Key: "k"}); err == nil {
			t.Error("Publish succeeded in an outage")
		}
		if n := b.letters(); n != 0 {
			t.Errorf("%d letters for a message that may be sent again", n)
		}
		outage.Remove()
		b.cluster.Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Err: kerr.InvalidRecord},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-orders", Err: kerr.TopicAuthorizationFailed},
		)
		err := producer.Publish(context.Background(), kafka.Message[numbered]{Key: "k"})
		if !errors.Is(err, kerr.InvalidRecord) || !errors.Is(err, kafka.ErrAuthorization) || !strings.Contains(err.Error(), "dlq-orders") {
			t.Errorf("Publish returned %v, want both refusals", err)
		}
	})
}

func TestProducerUseAfterPublishPanics(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer := b.newProducer(b.producer())
		if err := producer.Publish(context.Background(), kafka.Message[numbered]{Key: "k"}); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if recover() == nil {
				t.Error("Use after Publish does not panic")
			}
		}()
		producer.Use(kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc { return next }))
	})
}

// What encrypts, verifies or authorises is not switched off by a variable: the topic would hold plaintext.
func TestMiddlewareOfTheUserStaysWhenMiddlewareIsDisabled(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.producer()
		cfg.DisableMiddleware = true
		producer := b.newProducer(cfg)
		asks := &infoKeeper{}
		producer.Use(kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				r.Value = append([]byte("sealed"), r.Value...)
				next(ctx, r, done)
			}
		}), asks)
		if err := producer.Publish(context.Background(), kafka.Message[numbered]{Key: "k", Value: numbered{7}}); err != nil || !asks.disabled {
			t.Errorf("Publish returned %v; disabled is %t", err, asks.disabled)
		}
		handled := make(chan int, 1)
		consumerCfg := b.consumer()
		consumerCfg.CommitInterval, consumerCfg.DisableMiddleware = time.Hour, true
		_, stop := b.start(consumerCfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			handled <- msg.Value.N
			return nil
		}, kafka.ConsumerMiddleware(func(next kafka.HandlerFunc) kafka.HandlerFunc {
			return func(ctx context.Context, r *kafka.Record) error {
				value, sealed := bytes.CutPrefix(r.Value, []byte("sealed"))
				if !sealed {
					t.Errorf("the topic holds %q", r.Value)
				}
				r.Value = value
				return next(ctx, r)
			}
		}))
		if n := <-handled; n != 7 {
			t.Errorf("handled %d", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
