package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// failures are configs with which every constructor fails, each in its own way.
func failures(t *testing.T, log *slog.Logger) map[string]struct {
	client kafka.ClientConfig
	topic  string
} {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := dead.Addr().String()
	_ = dead.Close()
	return map[string]struct {
		client kafka.ClientConfig
		topic  string
	}{
		"the config is wrong":  {kafka.ClientConfig{Logger: log}, "orders"},
		"the topic is wrong":   {kafka.ClientConfig{Logger: log, Brokers: []string{address}}, "or ders"},
		"an option is refused": {kafka.ClientConfig{Logger: log, Brokers: []string{address}, Options: []kgo.Opt{kgo.TransactionalID("x")}}, "orders"},
		"no broker answers":    {kafka.ClientConfig{Logger: log, Brokers: []string{address}}, "orders"},
	}
}

type starter interface {
	Use(...kafka.ConsumerPlugin)
	Start(context.Context) error
	Close() error
	Health() kafka.Health
}

type publisher[T any] interface {
	Use(...kafka.ProducerPlugin)
	Publish(context.Context, kafka.Message[T]) error
	PublishAsync(context.Context, kafka.Message[T], func(kafka.Message[T], error))
	PublishBatch(context.Context, ...kafka.Message[T]) error
	Flush(context.Context) error
	Close() error
}

// Whoever ignores a constructor's error gets it again from what the value does.
func TestWhatAConstructorReturnsBesideItsErrorReturnsThatError(t *testing.T) {
	t.Parallel()
	var log logged
	for name, c := range failures(t, log.logger(slog.LevelInfo)) {
		t.Run(name, func(t *testing.T) {
			consuming := kafka.ConsumerConfig{ClientConfig: c.client, Topic: c.topic, Group: "group"}
			consumer, err := kafka.NewConsumer(consuming, ignore1)
			failedConsumer(t, &log, consumer, err)
			withCodec, err := kafka.NewConsumerWithCodec(consuming, kafka.JSON[numbered](), ignore1)
			failedConsumer(t, &log, withCodec, err)
			batches, err := kafka.NewBatchConsumer(consuming, func(context.Context, []kafka.Message[numbered]) error { return nil })
			failedConsumer(t, &log, batches, err)

			producing := kafka.ProducerConfig{ClientConfig: c.client, Topic: c.topic}
			producer, err := kafka.NewProducer[numbered](producing)
			failedProducer(t, producer, err)

			requester, err := kafka.NewRequester[numbered, numbered](kafka.RequesterConfig{ClientConfig: c.client, Topic: c.topic, ReplyTopic: "replies"})
			failedRequester(t, requester, err)

			if c.topic != "orders" {
				return // a client has no topic
			}
			client, err := kafka.NewClient(c.client)
			failedClient(t, client, err)
		})
	}
}

// So do those of what is refused before a config is looked at.
func TestConstructorsThatAreGivenNothingReturnValues(t *testing.T) {
	t.Parallel()
	var log logged
	consuming := kafka.NewConsumerConfig("orders", "group", "127.0.0.1:1")
	consuming.Logger = log.logger(slog.LevelInfo)
	producing := kafka.NewProducerConfig("orders", "127.0.0.1:1")
	none, err := kafka.NewConsumer[numbered](consuming, nil)
	failedConsumer(t, &log, none, err)
	bytes, err := kafka.NewConsumer(consuming, func(context.Context, kafka.Message[[]byte]) error { return nil })
	failedConsumer(t, &log, bytes, err)
	codec, err := kafka.NewConsumerWithCodec(consuming, nil, ignore1)
	failedConsumer(t, &log, codec, err)
	batches, err := kafka.NewBatchConsumer[numbered](consuming, nil)
	failedConsumer(t, &log, batches, err)
	batchesOfBytes, err := kafka.NewBatchConsumer(consuming, func(context.Context, []kafka.Message[[]byte]) error { return nil })
	failedConsumer(t, &log, batchesOfBytes, err)
	parking := consuming
	parking.ParkKeys = true
	parked, err := kafka.NewBatchConsumer(parking, func(context.Context, []kafka.Message[numbered]) error { return nil })
	failedConsumer(t, &log, parked, err)

	producer, err := kafka.NewProducer[[]byte](producing)
	failedProducer(t, producer, err)
	hidden, err := kafka.NewProducer[struct{ n int }](producing) // which JSON writes as {}
	failedProducer(t, hidden, err)
	hiddenToo, err := kafka.NewConsumer(consuming, func(context.Context, kafka.Message[struct{ n int }]) error { return nil })
	failedConsumer(t, &log, hiddenToo, err)
	withoutCodec, err := kafka.NewProducerWithCodec[numbered](producing, nil)
	failedProducer(t, withoutCodec, err)

	asking := kafka.NewRequesterConfig("orders", "replies", "127.0.0.1:1")
	requester, err := kafka.NewRequester[[]byte, numbered](asking)
	failedRequester(t, requester, err)
	withoutCodecs, err := kafka.NewRequesterWithCodecs[numbered, numbered](asking, nil, nil)
	failedRequester(t, withoutCodecs, err)
}

func failedConsumer(t *testing.T, log *logged, consumer starter, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	consumer.Use(kafka.ConsumerHooks{Client: func(*kgo.Client) kgo.Hook {
		t.Error("a plugin was asked")
		return nil
	}})
	if h := consumer.Health(); h.Ready() || h.Live() || !strings.Contains(h.NotLive, err.Error()) {
		t.Errorf("Health says %+v", h)
	}
	for range 2 {
		before := log.count(slog.LevelError, "group=group", "error")
		if got := consumer.Start(t.Context()); !errors.Is(got, err) {
			t.Errorf("Start returned %v, want %v", got, err)
		}
		if n := log.count(slog.LevelError, "group=group", "error") - before; n != 1 {
			t.Errorf("Start logged %d errors, want 1:\n%s", n, log)
		}
	}
	for range 2 {
		if err := consumer.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
	}
	if got := consumer.Start(t.Context()); !errors.Is(got, err) {
		t.Errorf("after Close, Start returned %v", got)
	}
	consumer.Use(kafka.ConsumerHooks{})
}

func failedProducer[T any](t *testing.T, producer publisher[T], err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	producer.Use(kafka.ProducerMiddleware(func(kafka.PublishFunc) kafka.PublishFunc {
		t.Error("a plugin was asked")
		return nil
	}))
	var msg kafka.Message[T]
	if got := producer.Publish(t.Context(), msg); !errors.Is(got, err) || !isType[*kafka.PublishError](got) {
		t.Errorf("Publish returned %v, want %v", got, err)
	}
	told := make(chan error, 1)
	producer.PublishAsync(t.Context(), msg, func(_ kafka.Message[T], err error) { told <- err })
	if got := <-told; !errors.Is(got, err) {
		t.Errorf("PublishAsync told %v, want %v", got, err)
	}
	producer.PublishAsync(t.Context(), msg, nil)
	if got := producer.PublishBatch(t.Context(), msg, msg); !errors.Is(got, err) {
		t.Errorf("PublishBatch returned %v, want %v", got, err)
	}
	if got := producer.Flush(t.Context()); !errors.Is(got, err) {
		t.Errorf("Flush returned %v, want %v", got, err)
	}
	for range 2 {
		if err := producer.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
	}
	producer.Use()
	if got := producer.Publish(t.Context(), msg); !errors.Is(got, err) {
		t.Errorf("after Close, Publish returned %v", got)
	}
}

func failedRequester[Req, Res any](t *testing.T, requester *kafka.Requester[Req, Res], err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	requester.Use(kafka.ProducerMiddleware(func(kafka.PublishFunc) kafka.PublishFunc {
		t.Error("a plugin was asked")
		return nil
	}))
	if _, got := requester.Request(t.Context(), kafka.Message[Req]{}); !errors.Is(got, err) || !isType[*kafka.RequestError](got) {
		t.Errorf("Request returned %v, want %v", got, err)
	}
	if got := requester.Stats(); got != (kafka.RequesterStats{}) {
		t.Errorf("Stats %+v", got)
	}
	for range 2 {
		if err := requester.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
	}
}

func failedClient(t *testing.T, client *kafka.Client, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if client.Logger() == nil {
		t.Error("no logger")
	}
	for what, got := range map[string]error{"Ping": client.Ping(t.Context()), "Flush": client.Flush(t.Context())} {
		if !errors.Is(got, err) {
			t.Errorf("%s returned %v, want %v", what, got, err)
		}
	}
	request := kmsg.NewPtrMetadataRequest()
	if _, got := request.RequestWith(t.Context(), client.KGO()); !errors.Is(got, err) {
		t.Errorf("a request of KGO returned %v, want %v", got, err)
	}
	producer, got := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "orders"})
	if !errors.Is(got, err) {
		t.Errorf("a producer on it: %v, want %v", got, err)
	}
	failedProducer(t, producer, got)
	requester, got := kafka.NewRequester[numbered, numbered](kafka.RequesterConfig{Client: client, Topic: "orders", ReplyTopic: "replies"})
	if !errors.Is(got, err) {
		t.Errorf("a requester on it: %v, want %v", got, err)
	}
	failedRequester(t, requester, got)
	for range 2 {
		if err := client.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
	}
	if client.KGO() == nil {
		t.Error("after Close, no franz-go client")
	}
}

// A reply that can never be stored must not cost the request.
func TestRespondWithAFailedProducerHandlesNothing(t *testing.T) {
	t.Parallel()
	replies, err := kafka.NewProducer[numbered](kafka.NewProducerConfig("replies"))
	if err == nil {
		t.Fatal("no error")
	}
	handle := kafka.Respond(replies, func(context.Context, kafka.Message[numbered]) (numbered, error) {
		t.Error("the request was handled")
		return numbered{}, nil
	})
	msg := kafka.NewMessage[numbered]().WithCorrelationID("1").Build()
	if got := handle(t.Context(), msg); !errors.Is(got, err) || kafka.ClassOf(got) != kafka.ClassTransient {
		t.Errorf("the handler returned %v", got)
	}
}

func TestStartLogsWhyItFails(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DisableDeadLetters = time.Hour, true
		cfg.RetryDelays = nil
		_, stop := b.start(cfg, never)
		time.Sleep(aLongTime)
		err := stop()
		if n := b.log.count(slog.LevelError, "topic=orders", "group=group", "error=…"); err == nil || n != 1 {
			t.Errorf("Start returned %v and logged %d lines:\n%s", err, n, b.log.String())
		}
	})
}

// A mistake in a variable is not forgotten with the error that tells of it: KAFKA_TLS_ENABLED=yess must not mean no
// TLS.
func TestVariablesThatCouldNotBeReadFailTheConstructor(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "127.0.0.1:1")
	t.Setenv("KAFKA_TLS_ENABLED", "yess")
	client, _ := kafka.NewClientConfigFromEnv()
	producing, _ := kafka.NewProducerConfigFromEnv("orders")
	consuming, _ := kafka.NewConsumerConfigFromEnv("orders", "group")
	requesting, _ := kafka.NewRequesterConfigFromEnv("orders", "replies")
	_, clientErr := kafka.NewClient(client)
	_, producerErr := kafka.NewProducer[numbered](producing)
	_, consumerErr := kafka.NewConsumer(consuming, ignore1)
	_, requesterErr := kafka.NewRequester[numbered, numbered](requesting)
	for name, err := range map[string]error{"client": clientErr, "producer": producerErr, "consumer": consumerErr, "requester": requesterErr} {
		if err == nil || !strings.Contains(err.Error(), "KAFKA_TLS_ENABLED") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
