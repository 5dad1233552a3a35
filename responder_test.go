package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
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

// settledRequests notes what becomes of requests.
type settledRequests struct {
	mu  sync.Mutex
	all []kafka.Settlement
}

func (s *settledRequests) hooks() kafka.ConsumerHooks {
	return kafka.ConsumerHooks{RecordSettled: func(_ context.Context, _ *kgo.Record, settled kafka.Settlement) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all = append(s.all, settled)
	}}
}

func (s *settledRequests) last() kafka.Settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return kafka.Settlement{}
	}
	return s.all[len(s.all)-1]
}

// ask publishes a request by hand, with just these headers: a producer would leave them out.
func (b *bubble) ask(n int, headers map[string]string) {
	b.t.Helper()
	r := &kgo.Record{Topic: "requests", Key: []byte("k"), Value: fmt.Appendf(nil, `{"n":%d}`, n)}
	for name, value := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	client := b.raw()
	defer client.Close()
	if err := client.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
		b.t.Error(err)
	}
}

func TestErrorsReachTheRequester(t *testing.T) {
	t.Parallel()
	away := errors.New("the database is away")
	for _, test := range []struct {
		name     string
		answer   answering
		class    kafka.Class
		text     string
		attempts int
		outcome  kafka.Outcome
	}{
		{"Business", func(context.Context, kafka.Message[numbered]) (numbered, error) {
			return numbered{}, kafka.NewBusinessError("charge", errors.New("card declined"))
		},
			kafka.ClassBusiness, "charge: card declined", 1, kafka.OutcomeRejected},
		{"Permanent", func(context.Context, kafka.Message[numbered]) (numbered, error) {
			return numbered{}, kafka.NewPermanentError("no table", nil)
		},
			kafka.ClassPermanent, "no table", 1, kafka.OutcomeDeadLettered},
		{"Transient", func(context.Context, kafka.Message[numbered]) (numbered, error) {
			return numbered{}, kafka.NewTransientError("save", away)
		},
			kafka.ClassTransient, "save: the database is away", 3, kafka.OutcomeDeadLettered},
		{"Unclassified", func(context.Context, kafka.Message[numbered]) (numbered, error) { return numbered{}, away },
			kafka.ClassTransient, "the database is away", 3, kafka.OutcomeDeadLettered},
		{"Panic", func(context.Context, kafka.Message[numbered]) (numbered, error) { panic("oh") },
			kafka.ClassPermanent, "handler panicked: oh", 1, kafka.OutcomeDeadLettered},
		{"LongAndNoText", func(context.Context, kafka.Message[numbered]) (numbered, error) {
			return numbered{}, kafka.NewBusinessError("\xff"+strings.Repeat("x", 5000), nil)
		}, kafka.ClassBusiness, "\uFFFD" + strings.Repeat("x", 1018) + "…", 1, kafka.OutcomeRejected},
	} {
		t.Run(test.name, func(t *testing.T) {
			withReplies(t, func(t *testing.T, b *bubble) {
				var settled settledRequests
				b.respond(test.answer, settled.hooks())
				requester := b.requester()
				_, err := requester.Request(t.Context(), request(1, "id"))
				remote, ok := errors.AsType[*kafka.RemoteError](err)
				if !ok || remote.Class != test.class || remote.Message != test.text || kafka.ClassOf(err) != test.class {
					t.Errorf("the requester got %#v of class %s: %v", remote, kafka.ClassOf(err), err)
				}
				time.Sleep(time.Minute)
				if s := settled.last(); s.Outcome != test.outcome || s.Attempts != test.attempts {
					t.Errorf("the request was settled with %+v", s)
				}
				wantStats(t, requester, kafka.RequesterStats{Replies: 1}) // told once
			})
		})
	}
}

// What can't be encoded, and what the brokers will never store, is told as an error.
func TestRepliesThatCantBeSentAreToldAsErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer func(context.Context, kafka.Message[numbered]) (any, error)
		text   string
	}{
		"NotEncoded": {func(context.Context, kafka.Message[numbered]) (any, error) { return math.NaN(), nil }, "encode the reply"},
		"TooLarge": {func(context.Context, kafka.Message[numbered]) (any, error) { return strings.Repeat("x", 2<<20), nil },
			kerr.MessageTooLarge.Message},
	} {
		t.Run(name, func(t *testing.T) {
			withReplies(t, func(t *testing.T, b *bubble) {
				cfg := b.consumer()
				cfg.Topic, cfg.DLQTopic = "requests", "dlq-requests"
				replies, err := kafka.NewProducer[any](kafka.ProducerConfig{ClientConfig: b.client(), Topic: "replies"})
				if err != nil {
					t.Fatal(err)
				}
				defer replies.Close()
				var settled settledRequests
				b.start(cfg, kafka.Respond(replies, test.answer), settled.hooks())
				_, err = b.requester().Request(t.Context(), request(1, "id"))
				if remote, ok := errors.AsType[*kafka.RemoteError](err); !ok || remote.Class != kafka.ClassPermanent || !strings.Contains(remote.Message, test.text) {
					t.Errorf("the requester got %v", err)
				}
				time.Sleep(time.Minute)
				if s := settled.last(); s.Outcome != kafka.OutcomeDeadLettered || s.Attempts != 1 {
					t.Errorf("the request was settled with %+v", s)
				}
			})
		})
	}
}

func TestTheDeadlineTravels(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		var got time.Time
		b.respond(func(ctx context.Context, msg kafka.Message[numbered]) (numbered, error) {
			got, _ = ctx.Deadline()
			return doubled(ctx, msg)
		})
		requester := b.requester(func(cfg *kafka.RequesterConfig) { cfg.RequestTimeout = 7 * time.Second })
		want := time.Now().Add(7 * time.Second)
		if _, err := requester.Request(t.Context(), request(1, "")); err != nil || !got.Equal(want) {
			t.Errorf("without a deadline the handler had %v, want %v (error: %v)", got, want, err)
		}
		want = time.Now().Add(90*time.Second + 123456789*time.Nanosecond)
		ctx, cancel := context.WithDeadline(t.Context(), want)
		defer cancel()
		if _, err := requester.Request(ctx, request(1, "")); err != nil || !got.Equal(want) {
			t.Errorf("the handler had the deadline %v, want %v (error: %v)", got, want, err)
		}
	})
}

// A request that nobody waits for is done without being handled, however long ago its deadline was.
func TestAnExpiredRequestIsNotHandled(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester(func(cfg *kafka.RequesterConfig) { cfg.RequestTimeout = time.Second })
		if _, err := requester.Request(t.Context(), request(1, "")); !errors.Is(err, kafka.ErrNoReply) {
			t.Error(err)
		}
		var settled settledRequests
		b.respond(func(context.Context, kafka.Message[numbered]) (numbered, error) {
			t.Error("it was handled")
			return numbered{}, nil
		}, settled.hooks())
		time.Sleep(time.Minute)
		if s := settled.last(); s.Outcome != kafka.OutcomeRejected || s.Class != kafka.ClassBusiness || !errors.Is(s.Err, kafka.ErrExpired) {
			t.Errorf("it was settled with %+v", s)
		}
		if n := storedIn(b.cluster, "replies"); n != 0 {
			t.Errorf("%d replies", n)
		}
	})
}

// So is one whose retries would come when nobody waits any more.
func TestNoRetryOutlivesTheDeadline(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		var settled settledRequests
		b.respond(func(ctx context.Context, _ kafka.Message[numbered]) (numbered, error) {
			<-ctx.Done()
			return numbered{}, ctx.Err()
		}, settled.hooks())
		requester := b.requester(func(cfg *kafka.RequesterConfig) { cfg.RequestTimeout = 5 * time.Second })
		if _, err := requester.Request(t.Context(), request(1, "")); !errors.Is(err, kafka.ErrNoReply) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if s := settled.last(); s.Outcome != kafka.OutcomeRejected || s.Attempts != 1 || !errors.Is(s.Err, kafka.ErrExpired) || !errors.Is(s.Err, context.DeadlineExceeded) {
			t.Errorf("it was settled with %+v", s)
		}
	})
}

// A reply is stored before its request is done: while it can't be, the request is retried.
func TestAReplyThatIsNotStoredIsRepeated(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		var attempts []bool // LastAttempt of each
		var settled settledRequests
		b.respond(func(ctx context.Context, msg kafka.Message[numbered]) (numbered, error) {
			attempts = append(attempts, msg.LastAttempt)
			if len(attempts) == 1 {
				b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: 1})
			}
			return doubled(ctx, msg)
		}, settled.hooks())
		reply, err := b.requester().Request(t.Context(), request(4, ""))
		if err != nil || reply.Value.N != 8 {
			t.Errorf("got %+v, %v", reply.Value, err)
		}
		time.Sleep(time.Minute)
		if s := settled.last(); s.Outcome != kafka.OutcomeHandled || s.Attempts != 2 || fmt.Sprint(attempts) != "[false false]" {
			t.Errorf("settled with %+v, attempts %v", s, attempts)
		}
	})
}

// Reply addresses come from outside. Nothing is handled, or written, that names a topic which Respond has no producer for.
func TestRepliesGoWhereTheyMay(t *testing.T) {
	t.Parallel()
	const somewhere = "orders" // exists, and is nobody's business
	for _, test := range []struct {
		name           string
		headers        map[string]string
		handled        bool
		replies, fixed int64
		outcome        kafka.Outcome
		err            error
		partition      int32 // of the reply; -1: any
	}{
		{name: "Named", headers: map[string]string{kafka.HeaderReplyTopic: "replies", kafka.HeaderReplyPartition: "2", kafka.HeaderCorrelationID: "c"},
			handled: true, replies: 1, partition: 2, outcome: kafka.OutcomeHandled},
		{name: "NamedByKey", headers: map[string]string{kafka.HeaderReplyTopic: "replies", kafka.HeaderCorrelationID: "c"},
			handled: true, replies: 1, partition: -1, outcome: kafka.OutcomeHandled},
		{name: "AnotherOfOurs", headers: map[string]string{kafka.HeaderReplyTopic: "fixed-replies", kafka.HeaderReplyPartition: "1"},
			handled: true, fixed: 1, partition: -1, outcome: kafka.OutcomeHandled},
		{name: "FixedTopic", headers: map[string]string{kafka.HeaderCorrelationID: "c"},
			handled: true, replies: 1, partition: -1, outcome: kafka.OutcomeHandled},
		{name: "FixedTopicIgnoresThePartition", headers: map[string]string{kafka.HeaderCorrelationID: "c", kafka.HeaderReplyPartition: "junk"},
			handled: true, replies: 1, partition: -1, outcome: kafka.OutcomeHandled},
		{name: "NoReplyWanted", headers: nil, handled: true, outcome: kafka.OutcomeHandled},
		{name: "SomebodyElses", headers: map[string]string{kafka.HeaderReplyTopic: somewhere, kafka.HeaderCorrelationID: "c"},
			outcome: kafka.OutcomeDeadLettered, err: kafka.ErrReplyAddress},
		{name: "Itself", headers: map[string]string{kafka.HeaderReplyTopic: "requests", kafka.HeaderCorrelationID: "c"},
			outcome: kafka.OutcomeDeadLettered, err: kafka.ErrReplyAddress},
		{name: "NoPartition", headers: map[string]string{kafka.HeaderReplyTopic: "replies", kafka.HeaderReplyPartition: "-1"},
			outcome: kafka.OutcomeDeadLettered, err: kafka.ErrReplyAddress},
		{name: "NoNumber", headers: map[string]string{kafka.HeaderReplyTopic: "replies", kafka.HeaderReplyPartition: "4294967296"},
			outcome: kafka.OutcomeDeadLettered, err: kafka.ErrReplyAddress},
		{name: "NoSuchPartition", headers: map[string]string{kafka.HeaderReplyTopic: "replies", kafka.HeaderReplyPartition: "3"},
			outcome: kafka.OutcomeDeadLettered, err: kafka.ErrReplyAddress},
		{name: "TheLastNumber", headers: map[string]string{kafka.HeaderReplyTopic: "replies", kafka.HeaderReplyPartition: "2147483647"},
			outcome: kafka.OutcomeDeadLettered, err: kafka.ErrReplyAddress},
	} {
		t.Run(test.name, func(t *testing.T) {
			withReplies(t, func(t *testing.T, b *bubble) {
				cfg := b.consumer()
				cfg.Topic, cfg.DLQTopic, cfg.CommitInterval = "requests", "dlq-requests", time.Hour
				replies := b.newProducer(kafka.ProducerConfig{ClientConfig: b.client(), Topic: "replies"})
				fixed := b.newProducer(kafka.ProducerConfig{ClientConfig: b.client(), Topic: "fixed-replies"})
				handled := false
				var settled settledRequests
				b.start(cfg, kafka.Respond(replies, func(ctx context.Context, msg kafka.Message[numbered]) (numbered, error) {
					handled = true
					return doubled(ctx, msg)
				}, fixed), settled.hooks())
				b.ask(1, test.headers)
				time.Sleep(5 * time.Minute)
				if s := settled.last(); s.Outcome != test.outcome || test.err != nil && !errors.Is(s.Err, test.err) {
					t.Errorf("settled with %+v", s)
				}
				if handled != test.handled || storedIn(b.cluster, "replies") != test.replies || storedIn(b.cluster, "fixed-replies") != test.fixed || storedIn(b.cluster, somewhere) != 0 {
					t.Errorf("handled: %t, %d replies, %d in the other topic, %d in %s", handled, storedIn(b.cluster, "replies"), storedIn(b.cluster, "fixed-replies"), storedIn(b.cluster, somewhere), somewhere)
				}
				if test.replies == 1 && test.partition >= 0 && b.cluster.PartitionInfo("replies", test.partition).HighWatermark != 1 {
					t.Errorf("the reply is not in partition %d", test.partition)
				}
			})
		})
	}
}

// A reply topic may get partitions after its producer was made, and requesters that read them.
func TestAReplyGoesToAPartitionThatWasAdded(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		var settled settledRequests
		b.respond(doubled, settled.hooks())
		time.Sleep(time.Minute)
		client := b.raw()
		defer client.Close()
		if _, err := kadm.NewClient(client).CreatePartitions(t.Context(), 1, "replies"); err != nil {
			t.Fatal(err)
		}
		b.ask(1, map[string]string{kafka.HeaderReplyTopic: "replies", kafka.HeaderReplyPartition: "3"})
		time.Sleep(10 * time.Minute)
		if s := settled.last(); s.Outcome != kafka.OutcomeHandled || b.cluster.PartitionInfo("replies", 3).HighWatermark != 1 {
			t.Errorf("settled with %+v", s)
		}
	})
}

// Who names no reply topic knows nothing of replies that are errors.
func TestOnlyRequestersAreToldErrors(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		var settled settledRequests
		b.respond(func(context.Context, kafka.Message[numbered]) (numbered, error) {
			return numbered{}, kafka.NewBusinessError("no", nil)
		}, settled.hooks())
		b.ask(1, map[string]string{kafka.HeaderCorrelationID: "c"})
		time.Sleep(time.Minute)
		if s := settled.last(); s.Outcome != kafka.OutcomeRejected || storedIn(b.cluster, "replies") != 0 {
			t.Errorf("settled with %+v, and %d replies", s, storedIn(b.cluster, "replies"))
		}
	})
}

func TestRespondPanicsAtOnce(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		cfg := kafka.ProducerConfig{ClientConfig: b.client(), Topic: "replies"}
		replies := b.newProducer(cfg)
		cfg.Options = append(cfg.Options, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		placing := b.newProducer(cfg)
		for what, test := range map[string]struct {
			respond func()
			want    string
		}{
			"no producer":      {func() { kafka.Respond[numbered](nil, doubled) }, "nil"},
			"no function":      {func() { kafka.Respond[numbered](replies, nil) }, "nil"},
			"twice":            {func() { kafka.Respond(replies, doubled, replies) }, "two producers have the topic replies"},
			"own partitioner":  {func() { kafka.Respond(placing, doubled) }, "kgo.RecordPartitioner"},
			"another producer": {func() { kafka.Respond(replies, doubled, nil) }, "nil"},
		} {
			func() {
				defer func() {
					if value := recover(); !strings.Contains(fmt.Sprint(value), test.want) || strings.Contains(fmt.Sprint(value), "dereference") {
						t.Errorf("%s: panicked with %v", what, value)
					}
				}()
				test.respond()
			}()
		}
	})
}

// A reply that its topic does not take, for a requester whose partition the dead letter topic does not have, has a letter.
func TestARefusedReplyHasALetterWhateverPartitionItIsFor(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		if err := b.cluster.CreateTopic("compacted", 3, map[string]string{"cleanup.policy": "compact"}); err != nil { // which takes nothing without a key
			t.Fatal(err)
		}
		cfg := kafka.NewConsumerConfig("requests", "responders")
		cfg.ClientConfig = b.client()
		cfg.MaxRetries = kafka.NoRetries
		replies := b.newProducer(kafka.ProducerConfig{ClientConfig: b.client(), Topic: "compacted", DLQTopic: "dlq-orders"}) // of two partitions
		var failures atomic.Int64
		replies.Use(kafka.ProducerHooks{Published: func(_ *kafka.Record, _ time.Duration, err error) {
			if err != nil {
				failures.Add(1)
			}
		}})
		_, stop := b.start(cfg, kafka.Respond(replies, doubled))
		b.put(&kgo.Record{Topic: "requests", Value: []byte(`{"n":1}`), Headers: headers(
			kafka.HeaderCorrelationID, "c", kafka.HeaderReplyTopic, "compacted", kafka.HeaderReplyPartition, "2")})
		time.Sleep(time.Minute)
		if err := stop(); err != nil || failures.Load() != 2 {
			t.Errorf("%d replies failed, want the reply and the one that says so: %v", failures.Load(), err)
		}
		if n := b.letters(); n != 2 {
			t.Errorf("%d letters, want one of each: %s", n, b.log.String())
		}
	})
}
