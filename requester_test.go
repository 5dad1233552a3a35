package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
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

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
)

// withReplies has topics for requests and replies.
func withReplies(t *testing.T, test func(t *testing.T, b *bubble), opts ...kfake.Opt) {
	t.Helper()
	inBubble(t, test, append(opts, kfake.SeedTopics(2, "requests", "dlq-requests"), kfake.SeedTopics(3, "replies", "fixed-replies"))...)
}

func (b *bubble) requester(change ...func(*kafka.RequesterConfig)) *kafka.Requester[numbered, numbered] {
	b.t.Helper()
	cfg := kafka.NewRequesterConfig("requests", "replies")
	cfg.ClientConfig = b.client()
	cfg.Logger = b.log.logger(slog.LevelDebug)
	for _, f := range change {
		f(&cfg)
	}
	requester, err := kafka.NewRequester[numbered, numbered](cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = requester.Close() })
	return requester
}

// answering is a function for Respond.
type answering = func(context.Context, kafka.Message[numbered]) (numbered, error)

// respond answers requests until stop is called.
func (b *bubble) respond(answer answering, plugins ...kafka.ConsumerPlugin) (stop func() error) {
	b.t.Helper()
	cfg := kafka.NewConsumerConfig("requests", "responders")
	cfg.ClientConfig = b.client()
	cfg.MaxRetries = 2
	cfg.CommitInterval = time.Hour
	replies := b.newProducer(kafka.ProducerConfig{ClientConfig: b.client(), Topic: "replies"})
	_, stop = b.start(cfg, kafka.Respond(replies, answer), plugins...)
	return stop
}

func doubled(_ context.Context, msg kafka.Message[numbered]) (numbered, error) {
	return numbered{2 * msg.Value.N}, nil
}

// reply puts a reply into a partition of the reply topic, by hand.
func (b *bubble) reply(partition int32, n int, headers ...kgo.RecordHeader) {
	b.t.Helper()
	b.replies(partition, []int{n}, headers...)
}

// replies does so with several, in one batch.
func (b *bubble) replies(partition int32, values []int, headers ...kgo.RecordHeader) {
	b.t.Helper()
	client := b.raw()
	defer client.Close()
	var records []*kgo.Record
	for _, n := range values {
		records = append(records, &kgo.Record{Topic: "replies", Partition: partition, Value: fmt.Appendf(nil, `{"n":%d}`, n), Headers: headers})
	}
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		b.t.Error(err)
	}
}

// to are the headers of a reply to a request that waits.
func to(requester *kafka.Requester[numbered, numbered], id string) []kgo.RecordHeader {
	token, place := requester.Proof(id)
	return toPlace(requester, id, token, place)
}

func toPlace(requester *kafka.Requester[numbered, numbered], id, token, place string) []kgo.RecordHeader {
	return []kgo.RecordHeader{
		{Key: kafka.HeaderCorrelationID, Value: []byte(id)}, {Key: kafka.HeaderRequesterID, Value: []byte(requester.ID())},
		{Key: kafka.HeaderReplyToken, Value: []byte(token)}, {Key: kafka.HeaderRequestPlace, Value: []byte(place)},
	}
}

func request(n int, id string) kafka.Message[numbered] {
	return kafka.NewMessage[numbered]().WithKey(fmt.Sprint("key-", n)).WithValue(numbered{n}).WithCorrelationID(id).WithConversationID("talk").Build()
}

func wantStats(t *testing.T, requester *kafka.Requester[numbered, numbered], want kafka.RequesterStats) {
	t.Helper()
	if got := requester.Stats(); got != want {
		t.Errorf("the stats are %+v, want %+v", got, want)
	}
}

func TestEachRequestGetsItsOwnReply(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		b.respond(doubled)
		requester := b.requester()
		const requests = 300
		var wg sync.WaitGroup
		for n := range requests {
			wg.Go(func() {
				id := fmt.Sprint("id-", n)
				reply, err := requester.Request(t.Context(), request(n, id))
				if err != nil || reply.Value.N != 2*n {
					t.Errorf("request %d got %+v, %v", n, reply.Value, err)
				}
				if reply.GetCorrelationID() != id || reply.GetConversationID() != "talk" || reply.Key != fmt.Sprint("key-", n) || reply.GetMessageID() == "" {
					t.Errorf("the reply to %d has the key %q and the headers %v", n, reply.Key, reply.Headers)
				}
				if contentType, _ := reply.Header(kafka.HeaderContentType); contentType != "application/json" || reply.Topic != "replies" {
					t.Errorf("the reply to %d is of %s, in %s", n, contentType, reply.Topic)
				}
			})
		}
		wg.Wait()
		wantStats(t, requester, kafka.RequesterStats{Replies: requests})
	})
}

// The reply may be there before the brokers have acknowledged the request, or before Publish has returned.
func TestAReplyMayBeFasterThanTheAcknowledgement(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester()
		requester.Use(kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				token, place := requester.Proof("early")
				if place != "" {
					t.Errorf("the request is at %s before it is sent", place)
				}
				for partition := range 2 { // one of them will be the request's
					b.reply(requester.ReplyPartition(), partition, toPlace(requester, "early", token, fmt.Sprintf("requests/%d/0", partition))...)
				}
				synctest.Wait() // they are read
				time.Sleep(time.Second)
				next(ctx, r, done)
			}
		}))
		reply, err := requester.Request(t.Context(), request(1, "early"))
		if err != nil || b.cluster.PartitionInfo("requests", int32(reply.Value.N)).HighWatermark != 1 {
			t.Errorf("got %+v, %v", reply.Value, err)
		}
		if stats := requester.Stats(); stats.Replies != 1 || stats.LateReplies+stats.RejectedReplies != 1 {
			t.Errorf("the stats are %+v", stats)
		}
	})
}

// A reply to the first request comes before franz-go has begun to read. What was there before the requester is not read.
func TestARequesterIsMadeWhenItIsPositioned(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		const partition = 1
		b.reply(partition, 1)
		b.reply(partition, 2)
		var made atomic.Bool
		b.cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if made.Load() { // whoever asks for the end only now, gets it late
				b.cluster.SleepControl(func() { time.Sleep(time.Second) })
			}
			return nil, nil, false
		})
		requester := b.requester(func(cfg *kafka.RequesterConfig) {
			cfg.ReplyPartition, cfg.ForeignResponders = new(int32(partition)), true // nobody knows yet where the request will be
		})
		made.Store(true)
		requester.Use(kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				b.reply(partition, 3, to(requester, "first")[:2]...)
				next(ctx, r, done)
			}
		}))
		reply, err := requester.Request(t.Context(), request(1, "first"))
		if err != nil || reply.Value.N != 3 || reply.Offset != 2 {
			t.Errorf("got %+v of offset %d, %v", reply.Value, reply.Offset, err)
		}
		wantStats(t, requester, kafka.RequesterStats{Replies: 1})
	})
}

func TestATimeoutSaysWhatItWaitedFor(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester(func(cfg *kafka.RequesterConfig) { cfg.RequestTimeout = 5 * time.Second })
		check := func(ctx context.Context, after time.Duration) {
			t.Helper()
			began := time.Now()
			_, err := requester.Request(ctx, request(1, "nobody"))
			if took := time.Since(began); took != after {
				t.Errorf("it took %v, want %v", took, after)
			}
			failure, ok := errors.AsType[*kafka.RequestError](err)
			if !ok || failure.Topic != "requests" || failure.CorrelationID != "nobody" || failure.After != after {
				t.Errorf("the error is %#v", err)
			}
			if !errors.Is(err, kafka.ErrNoReply) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kafka.ErrOutcomeUnknown) {
				t.Errorf("the error is %v", err)
			}
			wantFault(t, err, "request to requests", "correlation id nobody", "after "+after.String(), "no reply in time")
		}
		check(t.Context(), 5*time.Second)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("the user's own cause"))
		defer cancel()
		check(ctx, 3*time.Second)
		wantStats(t, requester, kafka.RequesterStats{Timeouts: 2})

		given, giveUp := context.WithCancel(t.Context())
		giveUp()
		if _, err := requester.Request(given, request(1, "given up")); !errors.Is(err, context.Canceled) || errors.Is(err, kafka.ErrNoReply) {
			t.Errorf("a caller that gave up got %v", err)
		}
		wantStats(t, requester, kafka.RequesterStats{Timeouts: 2})
	})
}

// While the brokers don't store requests, the error says that, too.
func TestATimeoutSaysThatTheRequestMayNotBeStored(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester(func(cfg *kafka.RequesterConfig) { cfg.RequestTimeout = time.Second })
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		defer outage.Remove()
		_, err := requester.Request(t.Context(), request(1, "stuck"))
		if !errors.Is(err, kafka.ErrNoReply) || !errors.Is(err, kafka.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
}

// A reply that comes late, or twice, is counted, told at Debug, and handed to nobody.
func TestLateRepliesAreCountedAndForgotten(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester()
		place := requester.ReplyPartition()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := requester.Request(ctx, request(1, "a\nb")); !errors.Is(err, kafka.ErrNoReply) {
			t.Error(err)
		}
		b.reply(place, 1, to(requester, "a\nb")...)
		time.Sleep(time.Second)
		wantStats(t, requester, kafka.RequesterStats{Timeouts: 1, LateReplies: 1})
		if n := b.log.count(slog.LevelDebug, `correlation_id=a\nb`); n != 1 {
			t.Errorf("the id is told %d times, escaped:\n%s", n, b.log.String())
		}

		// The same request again, with several replies.
		var wg sync.WaitGroup
		wg.Go(func() {
			if reply, err := requester.Request(t.Context(), request(1, "a\nb")); err != nil || reply.Value.N != 2 {
				t.Errorf("got %+v, %v", reply.Value, err)
			}
		})
		time.Sleep(time.Second)
		b.replies(place, []int{2, 3, 4, 5}, to(requester, "a\nb")...)
		b.reply(place, 6, to(requester, "a\nb")...)
		wg.Wait()
		time.Sleep(time.Second)
		wantStats(t, requester, kafka.RequesterStats{Timeouts: 1, LateReplies: 5, Replies: 1})
	})
}

func TestACorrelationIDWaitsOnce(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester()
		var wg sync.WaitGroup
		wg.Go(func() {
			if reply, err := requester.Request(t.Context(), request(1, "twice")); err != nil || reply.Value.N != 8 {
				t.Errorf("the first got %+v, %v", reply.Value, err)
			}
		})
		time.Sleep(time.Second)
		if _, err := requester.Request(t.Context(), request(2, "twice")); !errors.Is(err, kafka.ErrCorrelationID) {
			t.Errorf("the second got %v", err)
		}
		b.reply(requester.ReplyPartition(), 8, to(requester, "twice")...)
		wg.Wait()
		if n := storedIn(b.cluster, "requests"); n != 1 {
			t.Errorf("%d requests were sent, want the first alone", n)
		}
	})
}

// Who does not know the requester's id answers by the correlation id alone.
func TestForeignRespondersNeedTheCorrelationIDAlone(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester(func(cfg *kafka.RequesterConfig) { cfg.ForeignResponders = true })
		var wg sync.WaitGroup
		wg.Go(func() {
			if reply, err := requester.Request(t.Context(), request(1, "plain")); err != nil || reply.Value.N != 9 {
				t.Errorf("got %+v, %v", reply.Value, err)
			}
		})
		time.Sleep(time.Second)
		for range 2 {
			b.reply(requester.ReplyPartition(), 9, kgo.RecordHeader{Key: kafka.HeaderCorrelationID, Value: []byte("plain")})
		}
		wg.Wait()
		time.Sleep(time.Second)
		wantStats(t, requester, kafka.RequesterStats{Replies: 1, OtherReplies: 1}) // nobody can tell that the second one is late
	})
}

// Whoever may publish requests can have the responder answer to any address. What it answers there is not taken for the reply to
// somebody else's request, also not if the token of that one is known: the reply says which record it answers.
func TestRepliesToOtherRequestsAreRefused(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		b.respond(func(_ context.Context, msg kafka.Message[numbered]) (numbered, error) {
			if msg.Value.N == 1 {
				time.Sleep(10 * time.Second)
			}
			return numbered{2 * msg.Value.N}, nil
		})
		requester := b.requester()
		var wg sync.WaitGroup
		wg.Go(func() {
			if reply, err := requester.Request(t.Context(), request(1, "order-7")); err != nil || reply.Value.N != 2 {
				t.Errorf("got %+v, %v", reply.Value, err)
			}
		})
		time.Sleep(time.Second) // it is stored
		token, place := requester.Proof("order-7")
		other := int32(0)
		if strings.HasPrefix(place, "requests/0/") {
			other = 1
		}
		client := b.raw()
		defer client.Close()
		forge := func(n int, headers ...kgo.RecordHeader) {
			headers = append(headers,
				kgo.RecordHeader{Key: kafka.HeaderReplyTopic, Value: []byte("replies")},
				kgo.RecordHeader{Key: kafka.HeaderReplyPartition, Value: fmt.Append(nil, requester.ReplyPartition())},
				kgo.RecordHeader{Key: kafka.HeaderCorrelationID, Value: []byte("order-7")})
			r := &kgo.Record{Topic: "requests", Partition: other, Value: fmt.Appendf(nil, `{"n":%d}`, n), Headers: headers}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Error(err)
			}
		}
		requesterID := kgo.RecordHeader{Key: kafka.HeaderRequesterID, Value: []byte(requester.ID())}
		forge(500)
		forge(501, requesterID)
		forge(502, requesterID, kgo.RecordHeader{Key: kafka.HeaderReplyToken, Value: []byte("guessed")})
		forge(503, requesterID, kgo.RecordHeader{Key: kafka.HeaderReplyToken, Value: []byte(token)})
		forge(504, requesterID, kgo.RecordHeader{Key: kafka.HeaderReplyToken, Value: []byte(token)}, // and the place that it would have
			kgo.RecordHeader{Key: kafka.HeaderRequestPlace, Value: []byte(place)}, kgo.RecordHeader{Key: dlqheader.Topic, Value: []byte("requests")},
			kgo.RecordHeader{Key: dlqheader.Partition, Value: []byte(strings.Split(place, "/")[1])}, kgo.RecordHeader{Key: dlqheader.Offset, Value: []byte("0")})
		wg.Wait()
		wantStats(t, requester, kafka.RequesterStats{Replies: 1, RejectedReplies: 5})
		if n := b.log.count(slog.LevelWarn, "correlation_id=order-7"); n != 1 {
			t.Errorf("it is said %d times, want once:\n%s", n, b.log.String())
		}
	})
}

// Two requests of one correlation id have different tokens: what answers the first one late is not the second one's reply.
func TestALateReplyIsNotTheNextRequests(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester()
		var first []kgo.RecordHeader
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, err := requester.Request(ctx, request(1, "again")); !errors.Is(err, kafka.ErrNoReply) {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		first = to(requester, "again")
		wg.Wait()
		wg.Go(func() {
			if reply, err := requester.Request(t.Context(), request(2, "again")); err != nil || reply.Value.N != 4 {
				t.Errorf("got %+v, %v", reply.Value, err)
			}
		})
		time.Sleep(time.Second)
		b.reply(requester.ReplyPartition(), 2, first...)
		b.reply(requester.ReplyPartition(), 4, to(requester, "again")...)
		wg.Wait()
		wantStats(t, requester, kafka.RequesterStats{Replies: 1, Timeouts: 1, RejectedReplies: 1})
	})
}

// A request that comes to its responder by way of a retry topic is still answered.
func TestARequestIsAnsweredFromARetryTopic(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		cfg := kafka.NewConsumerConfig("requests", "responders")
		cfg.ClientConfig = b.client()
		cfg.MaxRetries, cfg.RetryDelays = kafka.NoRetries, []time.Duration{5 * time.Second}
		replies := b.newProducer(kafka.ProducerConfig{ClientConfig: b.client(), Topic: "replies"})
		b.start(cfg, kafka.Respond(replies, func(ctx context.Context, msg kafka.Message[numbered]) (numbered, error) {
			if msg.Topic == "requests" {
				return numbered{}, errors.New("not now")
			}
			return doubled(ctx, msg)
		}))
		requester := b.requester()
		if reply, err := requester.Request(t.Context(), request(1, "later")); err != nil || reply.Value.N != 2 {
			t.Errorf("got %+v, %v", reply.Value, err)
		}
	}, kfake.SeedTopics(2, "retry-1-responders-requests"))
}

// Two requesters read one partition, and have requests of the same correlation id under way.
func TestRequestersShareAPartition(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		b.respond(doubled)
		shared := func(cfg *kafka.RequesterConfig) { cfg.ReplyPartition = new(int32(2)) }
		requesters := []*kafka.Requester[numbered, numbered]{b.requester(shared), b.requester(shared)}
		const requests = 50
		var wg sync.WaitGroup
		for i, requester := range requesters {
			for n := range requests {
				wg.Go(func() {
					want := 1000*i + n
					reply, err := requester.Request(t.Context(), request(want, fmt.Sprint("id-", n)))
					if err != nil || reply.Value.N != 2*want || reply.Partition != 2 {
						t.Errorf("request %d got %+v from partition %d, %v", want, reply.Value, reply.Partition, err)
					}
				})
			}
		}
		wg.Wait()
		time.Sleep(time.Second)
		for _, requester := range requesters {
			wantStats(t, requester, kafka.RequesterStats{Replies: requests, OtherReplies: requests})
		}
	})
}

// Ten thousand requests wait at once, and the library has no goroutine for any of them.
func TestThousandsOfRequestsWaitAtOnce(t *testing.T) {
	withReplies(t, func(t *testing.T, b *bubble) {
		requests := 2_000
		if kafka.Long() {
			requests = 10_000
		}
		requester := b.requester(func(cfg *kafka.RequesterConfig) { cfg.RequestTimeout = time.Hour })
		var ready, answers sync.WaitGroup
		ready.Add(1)
		b.respond(func(ctx context.Context, msg kafka.Message[numbered]) (numbered, error) {
			ready.Wait()
			return doubled(ctx, msg)
		})
		time.Sleep(time.Minute)
		before := runtime.NumGoroutine()
		for n := range requests {
			answers.Go(func() {
				reply, err := requester.Request(t.Context(), request(n, fmt.Sprint("id-", n)))
				if err != nil || reply.Value.N != 2*n {
					t.Errorf("request %d got %+v, %v", n, reply.Value, err)
				}
			})
		}
		time.Sleep(time.Minute)
		wantStats(t, requester, kafka.RequesterStats{Outstanding: requests})
		if more := runtime.NumGoroutine() - before - requests; more > 20 { // a connection, a worker
			t.Errorf("there are %d goroutines beside the callers'", more)
		}
		ready.Done()
		answers.Wait()
		wantStats(t, requester, kafka.RequesterStats{Replies: uint64(requests)})
	})
}

func TestCloseFailsTheRequestsThatWait(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester()
		const requests = 20
		var wg sync.WaitGroup
		for n := range requests {
			wg.Go(func() {
				began := time.Now()
				_, err := requester.Request(t.Context(), request(n, fmt.Sprint("id-", n)))
				if !errors.Is(err, kafka.ErrClosed) || time.Since(began) != time.Second {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			})
		}
		time.Sleep(time.Second)
		if err := errors.Join(requester.Close(), requester.Close()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if _, err := requester.Request(t.Context(), request(1, "late")); !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("a request to a closed requester: %v", err)
		}
		wantStats(t, requester, kafka.RequesterStats{})
	})
}

// A requester on a shared client leaves it open.
func TestARequesterSharesAClient(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		b.respond(doubled)
		client, err := kafka.NewClient(b.client())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		shared := func(cfg *kafka.RequesterConfig) { cfg.ClientConfig, cfg.Client = kafka.ClientConfig{}, client }
		for range 2 {
			requester := b.requester(shared)
			if reply, err := requester.Request(t.Context(), request(4, "")); err != nil || reply.Value.N != 8 || reply.GetCorrelationID() == "" {
				t.Errorf("got %+v, %v", reply, err)
			}
			if err := requester.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestARequesterFailsAtTheDoor(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		for _, test := range []struct {
			change func(*kafka.RequesterConfig)
			want   []string
		}{
			{func(cfg *kafka.RequesterConfig) { cfg.Topic = "nowhere" }, []string{"topic nowhere", kafka.ErrTopicMissing.Error()}},
			{func(cfg *kafka.RequesterConfig) { cfg.ReplyTopic = "nowhere" }, []string{"topic nowhere", kafka.ErrTopicMissing.Error()}},
			{func(cfg *kafka.RequesterConfig) { cfg.ReplyPartition = new(int32(3)) }, []string{"ReplyPartition is 3", "replies has 3 partitions", "KAFKA_REQUESTER_REPLY_PARTITION"}},
			{func(cfg *kafka.RequesterConfig) { cfg.Brokers = []string{"127.0.0.1:1"} }, []string{"connect to 127.0.0.1:1"}},
		} {
			cfg := kafka.NewRequesterConfig("requests", "replies")
			cfg.ClientConfig = b.client()
			test.change(&cfg)
			_, err := kafka.NewRequester[numbered, numbered](cfg)
			wantFault(t, err, test.want...)
		}
		cfg := kafka.NewRequesterConfig("requests", "replies")
		cfg.ClientConfig = b.client()
		_, err := kafka.NewRequester[numbered, []byte](cfg)
		wantFault(t, err, "for raw bytes use")
		_, err = kafka.NewRequesterWithCodecs[numbered, []byte](cfg, kafka.JSON[numbered](), nil)
		wantFault(t, err, "a codec is nil")
	})
}

// franz-go may ask the dead seed for the end of the reply topic's partition, and waits long for it.
func TestADeadSeedDoesNotDelayRequesters(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		var silent hush
		silent.on.Store(true)
		for range 20 { // franz-go chooses at random
			began := time.Now()
			requester := b.requester(func(cfg *kafka.RequesterConfig) {
				cfg.Brokers, cfg.Options = []string{"dead:9092", "127.0.0.1:9092"}, []kgo.Opt{silent.dialDead(b)}
			})
			if took := time.Since(began); took > 1500*time.Millisecond {
				t.Errorf("the constructor took %v", took)
			}
			requester.Abort()
		}
	})
}

func TestRequestersOutliveTheirPartitionsLeader(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		b.respond(doubled)
		requester := b.requester()
		for n := range 6 {
			if err := b.cluster.MoveTopicPartition("replies", requester.ReplyPartition(), int32(n%2)); err != nil {
				t.Fatal(err)
			}
			if reply, err := requester.Request(t.Context(), request(n, "")); err != nil || reply.Value.N != 2*n {
				t.Errorf("request %d got %+v, %v", n, reply.Value, err)
			}
		}
		wantStats(t, requester, kafka.RequesterStats{Replies: 6})
	}, kfake.NumBrokers(2), kfake.Ports(9092, 9093))
}

// Retention has deleted some of what a requester was to read while it was cut off. It goes on with the rest; who waits for what is
// gone, waits in vain.
func TestARequesterGoesOnBehindDeletedReplies(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester()
		place := requester.ReplyPartition()
		var cut atomic.Bool
		b.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if cut.Load() {
				return nil, errors.New("cut off"), true
			}
			return nil, nil, false
		})
		cut.Store(true)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := requester.Request(t.Context(), request(1, "gone")); !errors.Is(err, kafka.ErrNoReply) {
				t.Errorf("the one whose reply is gone got %v", err)
			}
		})
		wg.Go(func() {
			if reply, err := requester.Request(t.Context(), request(2, "there")); err != nil || reply.Value.N != 2 || reply.Offset != 3 {
				t.Errorf("the other got %+v of offset %d, %v", reply.Value, reply.Offset, err)
			}
		})
		time.Sleep(time.Second)
		b.replies(place, []int{1, 1, 1}, to(requester, "gone")...)
		b.reply(place, 2, to(requester, "there")...)
		b.deleteRecordsOf("replies", place, 3)
		cut.Store(false)
		wg.Wait()
		wantStats(t, requester, kafka.RequesterStats{Replies: 1, Timeouts: 1})
	})
}

// Where no reply will ever come, nobody waits for one.
func TestADeletedReplyTopicFailsRequests(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester(func(cfg *kafka.RequesterConfig) { cfg.RequestTimeout = time.Hour })
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := requester.Request(t.Context(), request(1, "one"))
			if !errors.Is(err, kafka.ErrTopicMissing) {
				t.Errorf("who waited got %v", err)
			}
		})
		time.Sleep(time.Second)
		b.deleteTopic("replies")
		wg.Wait()
		if _, err := requester.Request(t.Context(), request(1, "two")); !errors.Is(err, kafka.ErrTopicMissing) {
			t.Errorf("who asked later got %v", err)
		}
		if b.log.count(slog.LevelError, "error", "!component") != 1 {
			t.Errorf("not told:\n%s", b.log.String())
		}
	})
}

// One batch of zeros is no reason to read no more: it is passed over.
func TestABatchThatIsTooLargeIsPassedOver(t *testing.T) {
	t.Parallel()
	withReplies(t, func(t *testing.T, b *bubble) {
		requester := b.requester()
		place := requester.ReplyPartition()
		client := b.raw(kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerBatchMaxBytes(80<<20), kgo.MaxBufferedBytes(0), kgo.BrokerMaxWriteBytes(100<<20))
		defer client.Close()
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "replies", Partition: place, Value: []byte(strings.Repeat("0", 65<<20))}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if !strings.Contains(b.log.String(), "offset 0: the batch takes more than 67108864 bytes") ||
			!strings.Contains(b.log.String(), "MaxDecompressedBatchBytes (KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES)") || !strings.Contains(b.log.String(), "goes on at offset 1") {
			t.Errorf("the log does not say what is skipped:\n%s", b.log.String())
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if reply, err := requester.Request(t.Context(), request(1, "behind it")); err != nil || reply.Value.N != 5 {
				t.Errorf("got %+v, %v", reply.Value, err)
			}
		})
		time.Sleep(time.Second)
		b.reply(place, 5, to(requester, "behind it")...)
		wg.Wait()
	})
}
