package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// What middleware returns of a batch decides what becomes of its records, as what the handler returns would.
func TestMiddlewareAroundBatches(t *testing.T) {
	type key struct{}
	refused := kafka.NewPermanentError("not these", nil)
	const (
		handledAll = "0 handled after 1, 1 handled after 1, 2 handled after 1, 3 handled after 1, 4 handled after 1"
		lostAll    = "0 dead_lettered after 2, 1 dead_lettered after 2, 2 dead_lettered after 2, 3 dead_lettered after 2, 4 dead_lettered after 2"
	)
	for name, test := range map[string]struct {
		middleware kafka.BatchMiddleware
		calls      string
		ends       string
	}{
		"adds what it found": {
			func(next kafka.BatchFunc) kafka.BatchFunc {
				return func(ctx context.Context, records []*kafka.Record) error {
					failed := kafka.BatchError{}
					for i, r := range records {
						if r.Offset == 2 {
							failed[i] = refused
						}
					}
					return errors.Join(next(ctx, records), failed.Err())
				}
			}, "[[0 1 2 3 4]]",
			"0 handled after 1, 1 handled after 1, 2 dead_lettered after 1, 3 handled after 1, 4 handled after 1",
		},
		"is done with all": {
			func(kafka.BatchFunc) kafka.BatchFunc {
				return func(context.Context, []*kafka.Record) error { return nil }
			}, "[]", handledAll,
		},
		"refuses all": {
			func(kafka.BatchFunc) kafka.BatchFunc {
				return func(context.Context, []*kafka.Record) error { return refused }
			}, "[]", lostAll,
		},
		"panics": {
			func(next kafka.BatchFunc) kafka.BatchFunc {
				return func(ctx context.Context, records []*kafka.Record) error {
					if records[0].Offset == 0 {
						panic("a bug")
					}
					return next(ctx, records)
				}
			}, "[[1] [2] [3] [4]]",
			"0 dead_lettered after 2, 1 handled after 2, 2 handled after 2, 3 handled after 2, 4 handled after 2",
		},
		"ends the goroutine": {
			func(next kafka.BatchFunc) kafka.BatchFunc {
				return func(ctx context.Context, records []*kafka.Record) error {
					if records[0].Offset == 0 {
						runtime.Goexit()
					}
					return next(ctx, records)
				}
			}, "[[1] [2] [3] [4]]",
			"0 dead_lettered after 2, 1 handled after 2, 2 handled after 2, 3 handled after 2, 4 handled after 2",
		},
		"has a context of its own": {
			func(next kafka.BatchFunc) kafka.BatchFunc {
				return func(_ context.Context, records []*kafka.Record) error {
					return next(context.WithValue(context.Background(), key{}, 1), records)
				}
			}, "[[0 1 2 3 4]]", handledAll,
		},
		"leaves some out": {
			func(next kafka.BatchFunc) kafka.BatchFunc {
				return func(ctx context.Context, records []*kafka.Record) error { return next(ctx, records[1:]) }
			}, "[]", lostAll,
		},
		"changes their order": {
			func(next kafka.BatchFunc) kafka.BatchFunc {
				return func(ctx context.Context, records []*kafka.Record) error {
					slices.Reverse(records)
					return next(ctx, records)
				}
			}, "[[0] [1] [2] [3] [4]]", // alone, each has one order
			"0 handled after 2, 1 handled after 2, 2 handled after 2, 3 handled after 2, 4 handled after 2",
		},
		"has others": {
			func(next kafka.BatchFunc) kafka.BatchFunc {
				return func(ctx context.Context, _ []*kafka.Record) error {
					return next(ctx, []*kafka.Record{{Record: new(kgo.Record)}})
				}
			}, "[]", lostAll,
		},
	} {
		t.Run(name, func(t *testing.T) {
			calls, ends := whatBecomes(t, nil, test.middleware)
			if calls != test.calls {
				t.Errorf("the handler got %s, want %s", calls, test.calls)
			}
			if got := strings.Join(ends, ", "); got != test.ends {
				t.Errorf("it came to\n\t%s, want\n\t%s", got, test.ends)
			}
		})
	}
}

// The messages are the handler's: whatever it makes of them, the next call has those of the records, and indexes are theirs.
func TestMiddlewareThatCallsABatchsHandlerTwice(t *testing.T) {
	twice := kafka.BatchMiddleware(func(next kafka.BatchFunc) kafka.BatchFunc {
		return func(ctx context.Context, records []*kafka.Record) error {
			_ = next(ctx, records)
			return next(ctx, records)
		}
	})
	calls, ends := whatBecomes(t, func(_ context.Context, batch []kafka.Message[numbered]) error {
		slices.Reverse(batch)
		return kafka.BatchError{1: kafka.NewPermanentError("never", nil)}
	}, twice)
	const want = "0 handled after 1, 1 dead_lettered after 1, 2 handled after 1, 3 handled after 1, 4 handled after 1"
	if got := strings.Join(ends, ", "); calls != "[[0 1 2 3 4] [0 1 2 3 4]]" || got != want {
		t.Errorf("the handler got %s; it came to\n\t%s, want\n\t%s", calls, got, want)
	}
}

// Middleware sees the records of a batch with what the hooks made of their contexts; the handler has what they have in common.
func TestWhatMiddlewareSeesOfABatch(t *testing.T) {
	t.Parallel()
	type key string
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 3)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		var order, seen []string
		named := func(name string) kafka.BatchMiddleware {
			return func(next kafka.BatchFunc) kafka.BatchFunc {
				return func(ctx context.Context, records []*kafka.Record) error {
					order = append(order, name)
					return next(context.WithValue(ctx, key(name), true), records)
				}
			}
		}
		sees := kafka.BatchMiddleware(func(next kafka.BatchFunc) kafka.BatchFunc {
			return func(ctx context.Context, records []*kafka.Record) error {
				for _, r := range records {
					seen = append(seen, fmt.Sprint(r.Offset, r.Context.Value(key("begun")), r.Attempt, r.Group, string(r.Value)))
				}
				return next(ctx, records)
			}
		})
		stop := b.startBatches(cfg, func(ctx context.Context, batch []kafka.Message[numbered]) error {
			order = append(order, fmt.Sprint("handler", ctx.Value(key("outer")), ctx.Value(key("inner")), ctx.Value(key("begun"))))
			return nil
		}, named("outer"), named("inner"), sees, kafka.ConsumerHooks{RecordBegun: func(ctx context.Context, r *kgo.Record) context.Context {
			return context.WithValue(ctx, key("begun"), fmt.Sprint("begun ", r.Offset))
		}})
		time.Sleep(time.Minute)
		if err := stop(); err != nil || b.committed(0) != 3 {
			t.Errorf("Start returned %v, committed %d", err, b.committed(0))
		}
		if want := []string{"outer", "inner", "handlertrue true <nil>"}; !slices.Equal(order, want) {
			t.Errorf("called were %q, want %q", order, want)
		}
		if want := []string{`0begun 01group{"n":0}`, `1begun 11group{"n":1}`, `2begun 21group{"n":2}`}; !slices.Equal(seen, want) {
			t.Errorf("it saw %q, want %q", seen, want)
		}
	})
}

// A batch takes no more stack than a record.
func TestTheStackDoesNotGrowWithTheBatch(t *testing.T) {
	t.Parallel()
	depths := map[int]int{}
	for _, n := range []int{1, 200} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.seed(0, n)
			cfg := b.consumer()
			cfg.CommitInterval = time.Hour
			stop := b.startBatches(cfg, func(_ context.Context, batch []kafka.Message[numbered]) error {
				depths[len(batch)] = runtime.Callers(0, make([]uintptr, 10_000))
				return nil
			}, kafka.BatchMiddleware(func(next kafka.BatchFunc) kafka.BatchFunc { return next }))
			time.Sleep(time.Minute)
			_ = stop()
		})
	}
	if depths[1] == 0 || depths[1] != depths[200] {
		t.Errorf("calls on the stack by the batch's size: %v", depths)
	}
}

// eitherKind is a plugin for consumers of both kinds, which notes what it is called for.
type eitherKind struct{ notes *[]string }

func (e eitherKind) ForConsumer(kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	return func(next kafka.HandlerFunc) kafka.HandlerFunc {
			return func(ctx context.Context, r *kafka.Record) error {
				err := next(ctx, r)
				*e.notes = append(*e.notes, fmt.Sprintf("%d, attempt %d: %T", r.Offset, r.Attempt, err))
				return err
			}
		}, kafka.ConsumerHooks{Batches: func(next kafka.BatchFunc) kafka.BatchFunc {
			return func(ctx context.Context, records []*kafka.Record) error {
				*e.notes = append(*e.notes, fmt.Sprintf("batch of %d", len(records)))
				return next(ctx, records)
			}
		}}
}

// shaky reads numbers, panics at "panic", ends the goroutine at "exit", and has a bad moment at "later".
type shaky struct{ met map[string]bool }

func (s shaky) Encode(string) ([]byte, error) { return nil, nil }
func (s shaky) ContentType() string           { return "text/plain" }
func (s shaky) Decode(data []byte, v *string) error {
	*v = string(data)
	met := s.met[*v]
	s.met[*v] = true
	switch {
	case *v == "bad":
		return &kafka.DecodeError{Reason: "bad"}
	case *v == "panic":
		panic("a bug")
	case *v == "exit":
		runtime.Goexit()
	case *v == "later" && !met:
		return kafka.NewTransientError("away", nil)
	}
	return nil
}

// What can't be decoded goes through a plugin's other half by itself, with its own error, and costs no other record an attempt.
func TestRecordsThatDontGetIntoABatch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ values, notes, calls, ends string }{
		"can't be decoded": {"a bad b", "1, attempt 1: *kafka.DecodeError; batch of 2", "[a b]",
			"0 handled after 1, 1 dead_lettered after 1, 2 handled after 1"},
		"none can": {"bad bad", "0, attempt 1: *kafka.DecodeError; 1, attempt 1: *kafka.DecodeError", "",
			"0 dead_lettered after 1, 1 dead_lettered after 1"},
		"the codec panics": {"a panic b", "1, attempt 1: *kafka.PanicError; batch of 2", "[a b]",
			"0 handled after 1, 1 dead_lettered after 1, 2 handled after 1"},
		"the codec ends the goroutine": {"a exit b", "batch of 2", "[a b]",
			"0 handled after 1, 1 dead_lettered after 1, 2 handled after 1"},
		"the codec may read it later": {"a later b", "1, attempt 1: *kafka.TransientError; batch of 2; batch of 1", "[a b] [later]",
			"0 handled after 1, 1 handled after 2, 2 handled after 1"},
		"too many headers": {"a headers b", "1, attempt 1: *kafka.PermanentError; batch of 2", "[a b]",
			"0 handled after 1, 1 dead_lettered after 1, 2 handled after 1"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				values := strings.Fields(test.values)
				var records []*kgo.Record
				for _, value := range values {
					r := &kgo.Record{Value: []byte(value)}
					if value == "headers" {
						r.Headers = make([]kgo.RecordHeader, 30)
					}
					records = append(records, r)
				}
				b.produce(records...)
				cfg := b.consumer()
				cfg.CommitInterval, cfg.MaxHeaders = time.Hour, 25
				var notes, ends, calls []string
				consumer, err := kafka.NewBatchConsumerWithCodec(cfg, shaky{map[string]bool{}}, func(_ context.Context, batch []kafka.Message[string]) error {
					var got []string
					for _, msg := range batch {
						got = append(got, msg.Value)
					}
					calls = append(calls, fmt.Sprint(got))
					return nil
				}, eitherKind{&notes}, kafka.ConsumerHooks{RecordSettled: func(_ context.Context, r *kgo.Record, s kafka.Settlement) {
					ends = append(ends, fmt.Sprintf("%d %s after %d", r.Offset, s.Outcome, s.Attempts))
				}})
				if err != nil {
					t.Fatal(err)
				}
				stop := b.run(consumer.Consumer)
				time.Sleep(aLongTime)
				if err := stop(); err != nil || b.committed(0) != int64(len(values)) {
					t.Errorf("Start returned %v, committed %d", err, b.committed(0))
				}
				slices.Sort(ends)
				for _, is := range []struct{ what, got, want string }{
					{"the plugin saw", strings.Join(notes, "; "), test.notes}, {"the handler got", strings.Join(calls, " "), test.calls},
					{"it came to", strings.Join(ends, ", "), test.ends},
				} {
					if is.got != is.want {
						t.Errorf("%s\n\t%s, want\n\t%s", is.what, is.got, is.want)
					}
				}
			})
		})
	}
}

// Middleware that a consumer can't call is refused by name, wherever it is given, and never left out.
func TestMiddlewareForTheOtherKindOfConsumer(t *testing.T) {
	t.Parallel()
	single := kafka.ConsumerMiddleware(func(next kafka.HandlerFunc) kafka.HandlerFunc { return next })
	batches := kafka.BatchMiddleware(func(next kafka.BatchFunc) kafka.BatchFunc { return next })
	var notes []string
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		handle := func(context.Context, kafka.Message[numbered]) error { return nil }
		handleAll := func(context.Context, []kafka.Message[numbered]) error { return nil }
		for name, test := range map[string]struct {
			make func(...kafka.ConsumerPlugin) (*kafka.Consumer[numbered], error)
			bad  kafka.ConsumerPlugin
			good []kafka.ConsumerPlugin
			want string
		}{
			"one by one": {
				func(plugins ...kafka.ConsumerPlugin) (*kafka.Consumer[numbered], error) {
					return kafka.NewConsumer(cfg, handle, plugins...)
				}, batches, []kafka.ConsumerPlugin{single, eitherKind{&notes}, kafka.ConsumerHooks{}}, "use a ConsumerMiddleware",
			},
			"batches": {
				func(plugins ...kafka.ConsumerPlugin) (*kafka.Consumer[numbered], error) {
					consumer, err := kafka.NewBatchConsumer(cfg, handleAll, plugins...)
					return consumer.Consumer, err
				}, single, []kafka.ConsumerPlugin{batches, eitherKind{&notes}, kafka.ConsumerHooks{}}, "use a BatchMiddleware",
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // so that what is not refused ends
			defer cancel()
			refused := func(err error) bool { return err != nil && strings.Contains(err.Error(), test.want) }
			consumer, err := test.make(test.bad)
			if !refused(err) || consumer.Start(ctx) != err || consumer.Health().NotLive == "" {
				t.Errorf("%s: the constructor returned %v; health %+v", name, err, consumer.Health())
			}
			_ = consumer.Close()
			if consumer, err = test.make(test.good...); err != nil {
				t.Errorf("%s: what is fine is refused: %v", name, err)
			}
			consumer.Use(test.bad)
			consumer.Use(test.good...)
			if err := consumer.Start(ctx); !refused(err) {
				t.Errorf("%s: after Use, Start returned %v", name, err)
			}
			_ = consumer.Close()
		}
	})
}
