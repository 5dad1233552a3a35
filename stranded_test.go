package kafka_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
)

// stranding leaves ten of twenty records in the second retry topic, due at minute 11, and returns the config that had
// it.
func (b *bubble) stranding(a *attempts) kafka.ConsumerConfig {
	b.t.Helper()
	b.seed(0, 20)
	cfg := b.putOff() // 1m, 10m
	_, stop := b.start(cfg, a.handle)
	time.Sleep(3 * time.Minute)
	if err := stop(); err != nil {
		b.t.Error(err)
	}
	if n := storedIn(b.cluster, "retry-2-group-orders"); n != 10 {
		b.t.Fatalf("%d records wait in the second retry topic, want 10", n)
	}
	return cfg
}

// evenFail fails the even records until their n-th attempt, and record 0 for ever.
func evenFail(until int) *attempts {
	return &attempts{began: time.Now(), fails: func(n, attempt int) error {
		if n == 0 || n%2 == 0 && attempt < until {
			return errAway
		}
		return nil
	}}
}

// strandedLines counts the lines about a retry topic that RetryDelays has no more.
func (b *bubble) strandedLines(level slog.Level, attrs ...string) int {
	return b.log.count(level, append(attrs, "retry_topic=retry-2-group-orders", "topic=orders", "group=group")...)
}

// Whoever shortens or removes RetryDelays has the records that wait handled all the same, by the next start, when they
// are due.
func TestRecordsBeyondRetryDelaysAreHandled(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		change  func(cfg *kafka.ConsumerConfig)
		batches bool
	}{
		{"FewerDelays", func(cfg *kafka.ConsumerConfig) { cfg.RetryDelays = cfg.RetryDelays[:1] }, false},
		{"NoDelays", func(cfg *kafka.ConsumerConfig) { cfg.RetryDelays = nil }, false},
		{"KIP848", func(cfg *kafka.ConsumerConfig) { cfg.RetryDelays, cfg.GroupProtocol = nil, "consumer" }, false},
		{"ParkKeys", func(cfg *kafka.ConsumerConfig) { cfg.RetryDelays, cfg.ParkKeys = nil, true }, false},
		{"Batches", func(cfg *kafka.ConsumerConfig) { cfg.RetryDelays = nil }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				a := evenFail(4)
				cfg := b.stranding(a)
				test.change(&cfg)
				var health func() kafka.Health
				var seen, handled atomic.Int32 // of batches
				run := func() func() error {
					if !test.batches {
						consumer, stop := b.start(cfg, a.handle)
						health = consumer.Health
						return stop
					}
					consumer, err := kafka.NewBatchConsumer(cfg, func(ctx context.Context, batch []kafka.Message[numbered]) error {
						handled.Add(int32(len(batch)))
						failed := kafka.BatchError{}
						for i, msg := range batch {
							failed[i] = a.handle(ctx, msg)
						}
						return failed.Err()
					}, kafka.BatchMiddleware(func(next kafka.BatchFunc) kafka.BatchFunc {
						return func(ctx context.Context, records []*kafka.Record) error {
							seen.Add(int32(len(records)))
							return next(ctx, records)
						}
					}))
					if err != nil {
						t.Fatal(err)
					}
					health = consumer.Health
					return b.run(consumer)
				}
				stop := run()
				time.Sleep(30 * time.Second)
				if n := b.strandedLines(slog.LevelInfo); n != 1 {
					t.Errorf("%d lines about the topic, want 1:\n%s", n, b.log.String())
				}
				h := health()
				if !h.Live() || !h.Ready() || !slices.ContainsFunc(h.Partitions, func(p kafka.PartitionHealth) bool { return p.Topic == "retry-2-group-orders" }) {
					t.Errorf("health: %+v", h)
				}
				time.Sleep(9 * time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
				for n := 0; n < 20; n += 2 {
					calls := a.of(n)
					if last := calls[len(calls)-1]; len(calls) != 4 || !strings.HasSuffix(last, "attempt 4 last in minute 11") {
						t.Errorf("record %d: %q, want its last attempt in minute 11", n, calls)
					}
				}
				if seen.Load() != handled.Load() {
					t.Errorf("middleware saw %d messages, the handler %d", seen.Load(), handled.Load())
				}
				if len(a.order) != 19 {
					t.Errorf("%d of 20 records handled, want all but one: %v", len(a.order), a.order)
				}
				letter, ok := parseDeadLetter(b.readLetters(1)[0].Headers)
				if !ok || letter.Topic != "orders" || letter.Offset != 0 || letter.Attempts != 4 || b.letters() != 1 {
					t.Errorf("%d letters, the first %+v; want one, of record 0", b.letters(), letter)
				}
			})
		})
	}
}

// Brokers that refuse the look hold the constructor up for some seconds at most.
func TestALookBeyondRetryDelaysThatFailsEndsNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err            *kerr.Error
		lines, handled int
	}{
		"Refused":  {kerr.UnknownServerError, 1, 5},
		"NoLeader": {kerr.LeaderNotAvailable, 0, 6},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 5)
				b.createTopic("retry-2-group-orders")
				b.put(waiting("retry-2-group-orders", "orders", 7, ""))
				refusing := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "retry-2-group-orders", Err: test.err, Count: -1})
				began := time.Now()
				a := &attempts{began: began, fails: func(int, int) error { return nil }}
				consumer, err := kafka.NewConsumer(b.consumer(), a.handle)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("the constructor took %v", took)
				}
				refusing.Remove()
				stop := b.run(consumer)
				time.Sleep(time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
				if n := b.log.count(slog.LevelWarn, "retry_topics", "topic=orders", "group=group"); n != test.lines || len(a.order) != test.handled {
					t.Errorf("%d lines, %v handled, want %d lines and %d:\n%s", n, a.order, test.lines, test.handled, b.log.String())
				}
			})
		})
	}
}

// A retry topic that was made again has fewer records than the group has committed of the earlier one.
func TestARetryTopicMadeAgainBeyondRetryDelaysIsHandled(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.createTopic("retry-2-group-orders")
		b.put(waiting("retry-2-group-orders", "orders", 0, ""))
		client := b.raw()
		defer client.Close()
		offsets := kadm.Offsets{}
		offsets.AddOffset("retry-2-group-orders", 0, 10, -1)
		if err := kadm.NewClient(client).CommitAllOffsets(t.Context(), "group", offsets); err != nil {
			t.Fatal(err)
		}
		a := &attempts{began: time.Now(), fails: func(int, int) error { return nil }}
		cfg := b.consumer()
		cfg.AutoOffsetReset = kafka.ResetLatest
		_, stop := b.start(cfg, a.handle)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(a.of(0)) != 1 {
			t.Errorf("%q, want an attempt:\n%s", a.calls, b.log.String())
		}
	})
}

// In a rolling deploy an old process puts records off after the last new one was made. They are handled all the same.
func TestRecordsThatComeBeyondRetryDelaysLaterAreHandled(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.createTopic("retry-2-group-orders")
		var handled atomic.Int32
		_, stop := b.start(b.consumer(), func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Topic == "retry-2-group-orders" {
				handled.Add(1)
			}
			return nil
		})
		time.Sleep(12 * time.Minute)
		b.put(waiting("retry-2-group-orders", "orders", 0, ""))
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if n := handled.Load(); n != 1 {
			t.Errorf("%d records are handled, want 1:\n%s", n, b.log.String())
		}
		if n := b.strandedLines(slog.LevelWarn); n > 0 {
			t.Errorf("%d lines, want none, since nothing waited:\n%s", n, b.log.String())
		}
	})
}

// The look costs one request, and creates no topic.
func TestTheLookBeyondRetryDelaysIsCheap(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		prepare func(b *bubble)
	}{
		{"NoTopics", func(*bubble) {}},
		{"Topics", func(b *bubble) { b.createTopic("retry-1-group-orders"); b.createTopic("retry-2-group-orders") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				test.prepare(b)
				var metadata, commits, offsets, creating atomic.Int32
				b.cluster.Control(func(request kmsg.Request) (kmsg.Response, error, bool) {
					b.cluster.KeepControl()
					switch request := request.(type) {
					case *kmsg.MetadataRequest:
						ours := func(topic kmsg.MetadataRequestTopic) bool {
							return topic.Topic != nil && strings.HasPrefix(*topic.Topic, "retry-10-")
						}
						if slices.ContainsFunc(request.Topics, ours) {
							metadata.Add(1)
						}
						if request.AllowAutoTopicCreation {
							creating.Add(1)
						}
					case *kmsg.OffsetFetchRequest:
						commits.Add(1)
					case *kmsg.ListOffsetsRequest:
						offsets.Add(1)
					}
					return nil, nil, false
				})
				cfg := b.consumer()
				consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
				if err != nil {
					t.Fatal(err)
				}
				defer consumer.Close()
				if metadata.Load() != 1 || commits.Load() > 0 || offsets.Load() > 0 || creating.Load() > 0 {
					t.Errorf("%d requests for metadata, %d for commits, %d for offsets, %d may create topics, want 1, 0, 0, 0",
						metadata.Load(), commits.Load(), offsets.Load(), creating.Load())
				}
				if n := b.strandedLines(slog.LevelWarn); n > 0 {
					t.Errorf("%d lines, want none:\n%s", n, b.log.String())
				}
			})
		})
	}
}

// A consumer that may not look starts all the same, and one that may not read says so.
func TestPermissionsMissingBeyondRetryDelaysEndNothing(t *testing.T) {
	t.Parallel()
	acl := func(kind kmsg.ACLResourceType, name string, operation kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kind, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true}
	}
	topic, all := kmsg.ACLResourceTypeTopic, kmsg.ACLOperationAll
	own := []kfake.ACL{
		acl(topic, "orders", all), acl(topic, "dlq-orders", all), acl(topic, "retry-1-group-orders", all),
		acl(kmsg.ACLResourceTypeGroup, "group", all),
	}
	for _, test := range []struct {
		name       string
		granted    []kfake.ACL
		delays     []time.Duration
		info, warn int
	}{
		{"TopicsNotDescribed", own, []time.Duration{time.Minute}, 1, 0},
		{"TopicsNotDescribedAndNoDelays", own, nil, 0, 0},
		{"TopicNotRead", append(own[:len(own):len(own)], acl(topic, "retry-2-group-orders", kmsg.ACLOperationDescribe)), nil, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.createTopic("retry-1-group-orders")
				b.createTopic("retry-2-group-orders")
				admin := b.raw(kgo.SASL(plain.Auth{User: "admin", Pass: "admin"}.AsMechanism()))
				defer admin.Close()
				for _, r := range []*kgo.Record{waiting("retry-2-group-orders", "orders", 0, ""), {Topic: "orders", Value: []byte(`{"n":1}`)}} {
					if err := admin.ProduceSync(t.Context(), r).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
				cfg := b.consumer()
				cfg.RetryDelays = test.delays
				cfg.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "app", Password: kafka.NewSecret("app")}
				a := &attempts{began: time.Now(), fails: func(int, int) error { return nil }}
				consumer, stop := b.start(cfg, a.handle)
				time.Sleep(time.Minute)
				if h := consumer.Health(); !h.Live() || !h.Ready() {
					t.Errorf("health: %+v", h)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if len(a.of(0)) != 0 || len(a.of(1)) != 1 {
					t.Errorf("%q, want record 1 alone", a.calls)
				}
				info, warn := b.log.count(slog.LevelInfo, "retry_topics", "topic=orders"), b.strandedLines(slog.LevelWarn)
				if info != test.info || warn != test.warn {
					t.Errorf("%d lines at Info and %d at Warn, want %d and %d:\n%s", info, warn, test.info, test.warn, b.log.String())
				}
			}, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"), kfake.User("PLAIN", "app", "app", test.granted...))
		})
	}
}

// Package deadletter, which may send back what waits in a retry topic, leaves marks there. They are no records of the
// group.
func TestMarksInRetryTopicsAreSkipped(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const name = "retry-2-group-orders"
		b.createTopic(name)
		b.put(waiting(name, "orders", 0, ""))
		b.put(&kgo.Record{Topic: name, Key: []byte("0"), Value: []byte{}, Headers: headers(dlqheader.Redriven, "0", dlqheader.WrittenTo, name)})
		a := &attempts{began: time.Now(), fails: func(int, int) error { return nil }}
		_, stop := b.start(b.consumer(), a.handle)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if len(a.of(0)) != 1 || b.letters() != 0 {
			t.Errorf("%d attempts at the record, %d dead letters, want 1 and 0", len(a.of(0)), b.letters())
		}
	})
}

// A topic that RetryDelays has no more is likely deleted once it is empty. That ends nothing.
func TestARetryTopicBeyondRetryDelaysMayBeDeleted(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		a := evenFail(4)
		cfg := b.stranding(a)
		cfg.RetryDelays = nil
		consumer, stop := b.start(cfg, a.handle)
		time.Sleep(9 * time.Minute)
		b.deleteTopic("retry-2-group-orders")
		time.Sleep(5 * time.Minute)
		b.put(&kgo.Record{Topic: "orders", Value: []byte(`{"n":1}`)})
		time.Sleep(time.Minute)
		if h := consumer.Health(); !h.Live() || !h.Ready() || len(h.Problems) > 0 {
			t.Errorf("health: %+v", h)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if at := b.committed(0); at != 21 {
			t.Errorf("%d committed, want 21", at)
		}
		if n := b.log.count(slog.LevelError, "!component"); n > 1 { // the dead letter of record 0
			t.Errorf("%d lines at Error:\n%s", n, b.log.String())
		}
	})
}
