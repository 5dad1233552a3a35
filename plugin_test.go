package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

func never(context.Context, kafka.Message[numbered]) error {
	return kafka.NewPermanentError("never", nil)
}

// Whatever middleware around letters does, the record is not lost and its partition not stuck.
func TestMiddlewareAroundLettersCannotStopThem(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{})
	large := make([]byte, 2000) // does not compress
	_, _ = random.Read(large)
	for name, around := range map[string]kafka.ProducerMiddleware{
		"done twice": func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				next(ctx, r, func(err error) { done(err); done(err) })
			}
		},
		"a header that is too large": func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: "tracestate", Value: large})
				next(ctx, r, done)
			}
		},
		"a panic now and then": func(next kafka.PublishFunc) kafka.PublishFunc {
			var calls atomic.Int32
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				if calls.Add(1)%2 == 1 {
					panic("middleware")
				}
				next(ctx, r, done)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 3)
				client := b.raw()
				defer client.Close()
				limit := "1500"
				if _, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, "orders", "dlq-orders"); err != nil {
					t.Fatal(err)
				}
				cfg := b.consumer()
				cfg.CommitInterval = time.Hour
				_, stop := b.start(cfg, never, kafka.ConsumerHooks{DeadLetters: around})
				time.Sleep(2 * aLongTime)
				if err := stop(); err != nil || b.letters() != 3 || b.committed(0) != 3 {
					t.Errorf("Start returned %v; %d letters, committed %d\n%s", err, b.letters(), b.committed(0), b.log.String())
				}
			})
		})
	}
}

func TestALetterThatGoesNowhereIsAProblem(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		consumer, stop := b.start(cfg, never, kafka.ConsumerHooks{DeadLetters: func(kafka.PublishFunc) kafka.PublishFunc {
			return func(context.Context, *kafka.Record, func(error)) {} // forgets it
		}})
		time.Sleep(aLongTime)
		if h := consumer.Health(); len(h.Problems) != 1 || !strings.Contains(h.Problems[0], "orders-0 offset 0: its dead letter has been on its way since") {
			t.Errorf("problems %q", h.Problems)
		}
		if n := b.log.count(slog.LevelError, "dlq_topic", "waiting"); n != 1 {
			t.Errorf("the log says so %d times:\n%s", n, b.log.String())
		}
		_ = stop()
	})
}

// Letters that wait for others of their partition are not on their way.
func TestLettersInLineAreNotOverdue(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seedKeys(30, 30)
		cfg := b.consumer()
		cfg.Concurrency, cfg.CommitInterval = 30, time.Hour
		b.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			b.cluster.SleepControl(func() { time.Sleep(6 * time.Second) })
			return nil, nil, false
		})
		_, stop := b.start(cfg, never)
		time.Sleep(aLongTime)
		if err := stop(); err != nil || b.committed(0) != 30 || b.log.count(slog.LevelError, "dlq_topic", "waiting") > 0 {
			t.Errorf("Start returned %v, committed %d:\n%s", err, b.committed(0), b.log.String())
		}
	})
}

// A verdict stays what it is, whatever middleware around the letter does.
func TestALettersMiddlewareThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		var handled, letters atomic.Int32
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			handled.Add(1)
			return kafka.NewPermanentError("never", nil)
		}, kafka.ConsumerHooks{DeadLetters: func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				if letters.Add(1) <= 3 {
					runtime.Goexit()
				}
				next(ctx, r, done)
			}
		}})
		time.Sleep(aLongTime)
		if err := stop(); err != nil || handled.Load() != 1 || b.letters() != 1 || b.committed(0) != 1 {
			t.Errorf("Start returned %v; handled %d times, %d letters, committed %d", err, handled.Load(), b.letters(), b.committed(0))
		}
		if n := b.log.count(slog.LevelError, "dlq_topic", "waiting"); n > 0 {
			t.Errorf("%d lines of letters that nobody waits for", n)
		}
	})
}

// A hook's deadline is for the attempts.
func TestALetterOutlivesTheRecordsDeadline(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 2)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := b.start(cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
			if msg.Offset == 0 {
				<-ctx.Done()
			}
			return kafka.NewPermanentError("too late", ctx.Err())
		}, kafka.ConsumerHooks{RecordBegun: func(ctx context.Context, r *kgo.Record) context.Context {
			if r.Offset == 1 {
				return nil // which is no context: the one that is there goes on
			}
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			context.AfterFunc(ctx, cancel)
			return ctx
		}})
		time.Sleep(aLongTime)
		if err := stop(); err != nil || b.letters() != 2 {
			t.Errorf("Start returned %v; %d letters", err, b.letters())
		}
	})
}

func TestHooksHearOfCommitsThatWereMade(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var told atomic.Int32
		asked := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1})
		hooks := kafka.ConsumerHooks{OffsetsCommitted: func(error) { told.Add(1) }}
		_, stop := b.start(b.consumer(), ignore1, hooks)
		time.Sleep(time.Minute)
		for range 5 {
			b.seed(0, 10)
			time.Sleep(5 * time.Second)
		}
		b.seed(0, 10)
		_ = stop()
		_, stop = b.start(b.consumer(), ignore1, hooks) // has nothing to commit
		time.Sleep(time.Minute)
		_ = stop()
		if n := asked.Hits(); n < 5 || int(told.Load()) != n {
			t.Errorf("told of %d commits, the broker saw %d", told.Load(), n)
		}
	})
}

func TestUseAfterStartPanicsWhateverTheConfig(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DisableMiddleware = time.Hour, true
		consumer, stop := b.start(cfg, ignore1)
		time.Sleep(time.Minute)
		defer stop()
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		consumer.Use(kafka.ConsumerHooks{})
	})
}

// Middleware that says done twice makes no two outcomes of one message, and none of another's.
func TestPublishedIsToldOnceForEachMessage(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer, err := kafka.NewProducer[numbered](b.producer())
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		var begun, ended atomic.Int32
		producer.Use(hookedProducer{kafka.ProducerHooks{
			Publishing: func(*kafka.Record) { begun.Add(1) },
			Published: func(r *kafka.Record, took time.Duration, err error) {
				ended.Add(1)
				if r.Topic != "orders" || took < 0 || err != nil && !errors.Is(err, kafka.ErrClosed) {
					t.Errorf("told of %s: %v after %v", r.Topic, err, took)
				}
			},
		}}, kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				next(ctx, r, func(err error) { done(err); done(err) })
			}
		}))
		for n := range 10 {
			producer.PublishAsync(t.Context(), kafka.Message[numbered]{Value: numbered{n}}, nil)
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = producer.Close()
		_ = producer.Publish(t.Context(), kafka.Message[numbered]{})
		if begun.Load() != 11 || ended.Load() != 11 {
			t.Errorf("told of %d beginnings and %d ends, want 11 of each", begun.Load(), ended.Load())
		}
	})
}

type hookedProducer struct{ hooks kafka.ProducerHooks }

func (p hookedProducer) ForProducer(kafka.ProducerInfo) (kafka.ProducerMiddleware, kafka.ProducerHooks) {
	return nil, p.hooks
}

// A log handler may want to know, too.
type curious struct {
	slog.Handler
	ask func()
}

func (c *curious) Handle(ctx context.Context, line slog.Record) error {
	if c.ask != nil {
		c.ask()
	}
	return c.Handler.Handle(ctx, line)
}

func TestNothingIsLoggedUnderALock(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DrainTimeout = time.Hour, time.Second
		asks := &curious{Handler: cfg.Logger.Handler()}
		cfg.Logger = slog.New(asks)
		consumer, err := kafka.NewConsumer(cfg, func(ctx context.Context, _ kafka.Message[numbered]) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		asks.ask = func() { consumer.Health() }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(ctx) }()
		time.Sleep(time.Minute)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; !errors.Is(err, kafka.ErrDrainTimeout) {
			t.Errorf("Start returned %v", err)
		}
		_ = consumer.Close()
	})
}
