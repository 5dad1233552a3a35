package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"runtime"
	"strings"
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

// detour dials another address than the one that is asked for, or none.
func (b *bubble) detour(to func(address string) (string, error)) kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		address, err := to(address)
		if err != nil {
			return nil, err
		}
		return b.network.DialContext(ctx, network, address)
	})
}

func refusedConnection(address string) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New(address + " is out of reach")}
}

// Promise 8. The brokers answer at the address that is configured and send their clients to one that they can't reach: the
// classic mistake with advertised.listeners.
func TestAdvertisedAddressesOutOfReachAreNamed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.client()
		cfg.Brokers = []string{"bootstrap:9092"}
		cfg.Options = []kgo.Opt{b.detour(func(address string) (string, error) {
			if address == "bootstrap:9092" {
				return "127.0.0.1:9092", nil
			}
			return "", refusedConnection(address)
		})}
		_, err := kafka.NewClient(cfg)
		connect, ok := errors.AsType[*kafka.ConnectError](err)
		if !ok || !errors.Is(err, kafka.ErrUnreachable) || connect.Broker != "localhost:9092" ||
			!strings.Contains(connect.Hint, "bootstrap:9092") || !strings.Contains(connect.Hint, "advertised.listeners") {
			t.Errorf("NewClient: %v; want the advertised address, the one that answers, and the setting", err)
		}
	})
}

// One dead broker of several neither fails nor stalls what asks the others.
func TestADeadSeedDoesNotDelayTheDoors(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var silent hush // takes connections and never answers
		silent.on.Store(true)
		cfg := b.client()
		cfg.Brokers = []string{"dead:9092", "127.0.0.1:9092"}
		cfg.Options = []kgo.Opt{silent.dialDead(b)}
		for range 20 { // franz-go chooses at random
			began := time.Now()
			producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{ClientConfig: cfg, Topic: "orders", DLQTopic: "dlq-orders"})
			if err != nil {
				t.Fatal(err)
			}
			consumerCfg := b.consumer()
			consumerCfg.ClientConfig = cfg
			consumer, err := kafka.NewConsumer(consumerCfg, func(context.Context, kafka.Message[numbered]) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			if err := kafka.CoreOf(consumer).CheckTopics(t.Context()); err != nil {
				t.Errorf("the checks of Start: %v", err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("the constructors took %v", took)
			}
			_ = consumer.Close()
			kafka.ClientOf(producer).Abort() // Close would flush, and may meet the dead one
		}
	})
}

func TestPingNamesEveryBrokerThatWasTried(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.client()
		cfg.Brokers = []string{"closed:9092", "silent:9092"}
		var silent hush
		silent.on.Store(true)
		cfg.Options = []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "closed:9092" {
				return nil, refusedConnection(address)
			}
			conn, err := b.network.DialContext(ctx, network, "127.0.0.1:9092")
			return hushed{conn, &silent}, err
		})}
		_, err := kafka.NewClient(cfg)
		for _, want := range []string{"closed:9092", "silent:9092", "no answer in time"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error lacks %q: %v", want, err)
			}
		}
	})
}

// A broker that goes away later is no silence either: a log line now and then, and the cause in the publish's error.
func TestBrokersThatGoAwayAreNamed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var away atomic.Bool
		cfg := b.producer()
		cfg.DeliveryTimeout = 30 * time.Second
		var conns []net.Conn
		var mu sync.Mutex
		cfg.Options = []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			if away.Load() {
				return nil, refusedConnection(address)
			}
			conn, err := b.network.DialContext(ctx, network, address)
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, conn)
			return conn, err
		})}
		producer := b.newProducer(cfg)
		away.Store(true)
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		err := producer.Publish(t.Context(), kafka.Message[numbered]{Value: numbered{1}})
		if !errors.Is(err, kgo.ErrRecordTimeout) || !errors.Is(err, kafka.ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:9092") {
			t.Errorf("Publish: %v; want the timeout and the broker that can't be reached", err)
		}
		if n := b.log.count(slog.LevelWarn, "broker", "error"); n == 0 || n > 8 {
			t.Errorf("%d log lines in 30 s, want one every ten seconds or so", n)
		}
		away.Store(false)
		if err := producer.Publish(t.Context(), kafka.Message[numbered]{Value: numbered{1}}); err != nil {
			t.Errorf("once it is back: %v", err)
		}
		if err := kafka.ClientOf(producer).Trouble(); err != nil {
			t.Errorf("once it is back, it is still blamed: %v", err)
		}
	})
}

func TestStartWithoutBrokersSaysSo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		consumer, err := kafka.NewConsumer(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		b.cluster.Close()
		if err := consumer.Start(t.Context()); !errors.Is(err, kafka.ErrUnreachable) {
			t.Errorf("Start: %v, want ErrUnreachable", err)
		}
	})
}

func TestClosedClientsSaySo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		client, err := kafka.NewClient(b.client())
		if err != nil {
			t.Fatal(err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := client.Ping(cancelled); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "TLS") {
			t.Errorf("Ping with an ended context: %v", err)
		}
		for range 2 {
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := client.Ping(t.Context()); !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("Ping: %v, want ErrClosed", err)
		}
		if _, err := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "orders"}); !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("NewProducer: %v, want ErrClosed", err)
		}
	})
}

// What one producer can't have is none of another's business, though they share a client.
func TestAFailedConstructorDoesNotWaitForOthersMessages(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		client, err := kafka.NewClient(b.client())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		producer.PublishAsync(t.Context(), kafka.Message[numbered]{Value: numbered{1}}, nil)
		began := time.Now()
		if _, err := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "missing"}); !errors.Is(err, kafka.ErrTopicMissing) || time.Since(began) > time.Second {
			t.Errorf("after %v: %v, want ErrTopicMissing at once", time.Since(began), err)
		}
		outage.Remove()
	})
}

func TestASharedTopicKeepsItsOwnLimit(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		client, err := kafka.NewClient(b.client())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for _, cfg := range []kafka.ProducerConfig{{Topic: "dlq-orders"}, {Topic: "orders", DLQTopic: "dlq-orders"}} {
			cfg.Client = client
			if _, err := kafka.NewProducer[numbered](cfg); err != nil {
				t.Fatal(err)
			}
		}
		if limit := client.BatchLimit("dlq-orders"); limit != kafka.DefaultMaxMessageBytes {
			t.Errorf("the limit of the topic is %d now, want its own, %d", limit, kafka.DefaultMaxMessageBytes)
		}
	})
}

// Whoever calls Close may exit when it returns. Not in a bubble, whose clock stands still while one waits for sync.Once.
func TestEveryCloseWaits(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	producer, err := kafka.NewProducer[numbered](kafka.NewProducerConfig("orders", cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	outage := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	producer.PublishAsync(t.Context(), kafka.Message[numbered]{Value: numbered{1}}, nil)
	var closes sync.WaitGroup
	for range 3 {
		closes.Go(func() {
			if err := producer.Close(); err != nil || cluster.PartitionInfos("orders")[0].HighWatermark != 1 {
				t.Errorf("Close returned %v before the message was stored", err)
			}
		})
	}
	for outage.Hits() < 3 { // all have had time to return
		time.Sleep(10 * time.Millisecond)
	}
	outage.Remove()
	closes.Wait()
}

func TestConstructorsWithoutACodecLeakNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		_, err := kafka.NewProducerWithCodec[int](kafka.ProducerConfig{Topic: "orders"}, nil)
		wantFault(t, err, "orders", "the codec is nil")
	}
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}

// JSON would make base64 text of them, without a word.
func TestRawBytesAreNotTakenForJSON(t *testing.T) {
	_, err := kafka.NewProducer[[]byte](kafka.ProducerConfig{Topic: "orders"})
	wantFault(t, err, "base64", "Bytes()")
	_, err = kafka.NewConsumer(validConsumer(), func(context.Context, kafka.Message[[]byte]) error { return nil })
	wantFault(t, err, "base64", "Bytes()")
}

// A password in the wrong place is not repeated.
func TestBrokersWithCredentialsAreRefusedWithoutThem(t *testing.T) {
	err := kafka.ClientConfig{Brokers: []string{"http://user:marked-password@kafka:9092"}}.Validate()
	wantFault(t, err, "@kafka:9092", "want host:port")
	if strings.Contains(err.Error(), "marked-password") {
		t.Error(err)
	}
}

// What can't be encoded passes the middleware as what can't be decoded does.
func TestProducerMiddlewareSeesWhatCantBeEncoded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer, err := kafka.NewProducer[func()](kafka.ProducerConfig{ClientConfig: b.client(), Topic: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		var seen error
		producer.Use(kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				next(ctx, r, func(err error) {
					seen = err
					done(err)
				})
			}
		}))
		err = producer.Publish(t.Context(), kafka.Message[func()]{Value: func() {}})
		if err == nil || seen == nil || b.stored() != 0 {
			t.Errorf("Publish: %v; the middleware saw %v; %d stored", err, seen, b.stored())
		}
	})
}

// Raw bytes that are passed on are what they were.
func TestBytesKeepTheContentTypeTheyHave(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer, err := kafka.NewProducerWithCodec(b.producer(), kafka.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		for _, msg := range []kafka.Message[[]byte]{{Value: []byte("{}"), Headers: headers(kafka.HeaderContentType, "application/json")}, {Value: []byte("x")}} {
			if err := producer.Publish(t.Context(), msg); err != nil {
				t.Fatal(err)
			}
		}
		reader := b.raw(kgo.ConsumeTopics("orders"))
		defer reader.Close()
		types := map[string]string{}
		for len(types) < 2 {
			for _, r := range reader.PollFetches(t.Context()).Records() {
				types[string(r.Value)], _ = lastHeader(r.Headers, kafka.HeaderContentType)
			}
		}
		if types["{}"] != "application/json" || types["x"] != "application/octet-stream" {
			t.Errorf("content types %v", types)
		}
	})
}

// Middleware sees a panic as the error that it becomes.
func TestMiddlewareSeesPanics(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		consumer, err := kafka.NewConsumer(b.consumer(), func(context.Context, kafka.Message[numbered]) error { panic("out of luck") })
		if err != nil {
			t.Fatal(err)
		}
		var seen atomic.Value
		consumer.Use(kafka.ConsumerMiddleware(func(next kafka.HandlerFunc) kafka.HandlerFunc {
			return func(ctx context.Context, r *kafka.Record) error {
				err := next(ctx, r)
				seen.Store(err)
				return err
			}
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := consumer.Start(ctx); err != nil {
			t.Error(err)
		}
		_ = consumer.Close()
		err, _ = seen.Load().(error)
		if panicked, ok := errors.AsType[*kafka.PanicError](err); !ok || panicked.Value != "out of luck" || b.letters() != 1 {
			t.Errorf("the middleware saw %v; %d letters", err, b.letters())
		}
		if !b.log.contains("connect_test.go") {
			t.Error("the log has no stack")
		}
	})
}

func TestMissingTopicsAreNamedByTheirRole(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.Logger = slog.New(slog.DiscardHandler)
		cfg.DLQTopic = "letters"
		consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		err = consumer.Start(t.Context())
		if !errors.Is(err, kafka.ErrTopicMissing) {
			t.Errorf("Start: %v, want ErrTopicMissing", err)
		}
		wantFault(t, err, "dead letter topic letters", "WithDeadLetters", "DisableDeadLetters", "KAFKA_CONSUMER_DLQ_TOPIC")
	})
}

// Nor is it stored as something else, by middleware that makes a record of its own.
func TestWhatCantBeEncodedIsNeverStored(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer, err := kafka.NewProducer[func()](kafka.ProducerConfig{ClientConfig: b.client(), Topic: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		producer.Use(kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				own := *r.Record
				next(ctx, &kafka.Record{Record: &own}, done)
			}
		}))
		if err := producer.Publish(t.Context(), kafka.Message[func()]{Key: "k", Value: func() {}}); err == nil || b.stored() != 0 {
			t.Errorf("Publish: %v; %d stored", err, b.stored())
		}
	})
}

// Messages that are refused here wait for room like all others, on their way to the dead letter topic.
func TestMessagesRefusedHereStayWithinTheBuffer(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		if err := b.cluster.CreateTopic("compacted", 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
			t.Fatal(err)
		}
		cfg := b.producer()
		cfg.Topic, cfg.DLQTopic, cfg.MaxBufferedRecords = "compacted", "dlq-orders", 10
		producer := b.newProducer(cfg)
		outage := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 1000 {
			producer.PublishAsync(ctx, kafka.Message[numbered]{}, nil) // no key
		}
		if n := kafka.ClientOf(producer).KGO().BufferedProduceRecords(); n > 20 {
			t.Errorf("%d letters are buffered, want 10 or so", n)
		}
		outage.Remove()
	})
}

// Middleware may send a message to another topic, whose limits are not known here.
func TestLimitsAreThoseOfTheTopicThatIsPublishedTo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		if err := b.cluster.CreateTopic("compacted", 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
			t.Fatal(err)
		}
		cfg := b.producer()
		cfg.Topic = "compacted"
		producer := b.newProducer(cfg)
		producer.Use(kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				r.Topic = "orders"
				next(ctx, r, done)
			}
		}))
		if err := producer.Publish(t.Context(), kafka.Message[numbered]{}); err != nil || b.stored() != 1 {
			t.Errorf("Publish: %v; %d stored", err, b.stored())
		}
	})
}

// A broker that is away explains a message that was not stored in time, and nothing else.
func TestOnlyTimeoutsAreBlamedOnBrokersThatAreAway(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer := b.newProducer(b.producer())
		kafka.ClientOf(producer).Missed("decommissioned:9092", refusedConnection("decommissioned:9092"))
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: 1})
		if err := producer.Publish(t.Context(), kafka.Message[numbered]{}); !errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kafka.ErrUnreachable) {
			t.Errorf("Publish: %v", err)
		}
		time.Sleep(time.Minute)
		if err := kafka.ClientOf(producer).Trouble(); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestDeliveryWithoutEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.producer()
		cfg.DeliveryTimeout = math.MaxInt64
		if err := b.newProducer(cfg).Publish(t.Context(), kafka.Message[numbered]{}); err != nil {
			t.Error(err)
		}
	})
}
