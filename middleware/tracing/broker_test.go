package tracing_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware/tracing"
)

type booking struct{ Phone string }

// broker is one in this process.
type broker struct {
	*testing.T
	cluster *kfake.Cluster
	client  kafka.ClientConfig
	bypass  bool // of all middleware
}

func newBroker(t *testing.T, topics ...string) *broker {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
	check(t, err)
	t.Cleanup(cluster.Close)
	cfg := kafka.NewProducerConfig(topics[0], cluster.ListenAddrs()[0]).ClientConfig
	cfg.ClientID, cfg.Logger = "booker", slog.New(slog.DiscardHandler)
	return &broker{T: t, cluster: cluster, client: cfg}
}

func (b *broker) producer(topic string, options ...tracing.Option) *kafka.Producer[booking] {
	b.Helper()
	producer, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: b.client, Topic: topic, DisableMiddleware: b.bypass})
	check(b.T, err)
	b.Cleanup(func() { producer.Close() })
	producer.Use(tracing.ProducerMiddleware(options...))
	return producer
}

func (b *broker) config(topic, dlq string) kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig(topic, "service", b.client.Brokers...)
	cfg.ClientConfig, cfg.DLQTopic, cfg.MaxRetries, cfg.DisableMiddleware = b.client, dlq, 1, b.bypass
	cfg.DisableDeadLetters = dlq == ""
	return cfg
}

// consume runs a consumer until the function that it returns is called.
func (b *broker) consume(cfg kafka.ConsumerConfig, handle kafka.Handler[booking], plugins ...kafka.ConsumerPlugin) (stop func()) {
	b.Helper()
	consumer, err := kafka.NewConsumer(cfg, handle)
	check(b.T, err)
	consumer.Use(plugins...)
	ended := make(chan error, 1)
	go func() { ended <- consumer.Start(context.WithoutCancel(b.Context())) }()
	return func() {
		b.Helper()
		consumer.Close()
		check(b.T, <-ended)
	}
}

// only returns the first record of a topic.
func (b *broker) only(topic string) *kgo.Record {
	b.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.client.Brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	check(b.T, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	fetches := client.PollFetches(ctx)
	if fetches.Empty() {
		b.Fatalf("no record in %s: %v", topic, fetches.Err())
	}
	return fetches.Records()[0]
}

func marked() kafka.Message[booking] {
	return kafka.NewMessage[booking]().WithKey("MARK").WithValue(booking{"MARK"}).WithMessageID("m-1").WithCorrelationID("c-1").
		WithConversationID("v-1").WithSource("MARK").WithHeader("secret", "MARK").Build()
}

func TestOneTraceFromTheProducerThroughRetriesToTheDeadLetter(t *testing.T) {
	t.Parallel()
	recorded := newSpans()
	b := newBroker(t, "bookings", "invoices", "dlq-bookings", "dlq-again")
	bookings, invoices := b.producer("bookings", recorded.option()), b.producer("invoices", recorded.option())

	ctx, request := recorded.Tracer("test").Start(t.Context(), "request")
	check(t, bookings.Publish(ctx, marked()))
	request.End()

	stop := b.consume(b.config("bookings", "dlq-bookings"), func(ctx context.Context, msg kafka.Message[booking]) error {
		if msg.Attempt == 1 {
			ctx, work := recorded.Tracer("test").Start(ctx, "work")
			defer work.End()
			invoice := kafka.NewMessage[booking]().WithKey("MARK").WithMessageID("m-2").Build()
			return kafka.NewTransientError("invoice", errors.Join(invoices.Publish(ctx, invoice), errors.New("no answer"))).WithRetryAfter(20 * time.Millisecond)
		}
		return errors.New("card refused")
	}, tracing.ConsumerMiddleware(recorded.option()))
	recorded.await(t, "send dlq-bookings")
	stop()
	// The dead letters' consumer fails, too, and has a dead letter topic of its own.
	stop = b.consume(b.config("dlq-bookings", "dlq-again"), func(context.Context, kafka.Message[booking]) error {
		return kafka.NewPermanentError("no such hotel", nil)
	}, tracing.ConsumerMiddleware(recorded.option()))
	recorded.await(t, "send dlq-again")
	stop()

	recorded.want(t, `
request: internal, trace 1
send bookings: producer, trace 1, under request
  messaging.client.id = booker
  messaging.destination.name = bookings
  messaging.destination.partition.id = 0
  messaging.kafka.offset = 0
  messaging.message.conversation_id = v-1
  messaging.message.correlation_id = c-1
  messaging.message.id = m-1
  messaging.operation.name = send
  messaging.operation.type = send
  messaging.system = kafka
process bookings: consumer, trace 1, under send bookings
  status Error invoice: no answer
  link to send bookings
    messaging.kafka.link = producer
  error.type = transient
  messaging.client.id = booker
  messaging.consumer.group.name = service
  messaging.destination.name = bookings
  messaging.destination.partition.id = 0
  messaging.kafka.attempt = 1
  messaging.kafka.error.class = transient
  messaging.kafka.offset = 0
  messaging.message.conversation_id = v-1
  messaging.message.correlation_id = c-1
  messaging.message.id = m-1
  messaging.operation.name = process
  messaging.operation.type = process
  messaging.system = kafka
  event exception
    exception.message = invoice: no answer
    exception.type = *kafka.TransientError
work: internal, trace 1, under process bookings
send invoices: producer, trace 1, under work
  messaging.client.id = booker
  messaging.destination.name = invoices
  messaging.destination.partition.id = 0
  messaging.kafka.offset = 0
  messaging.message.id = m-2
  messaging.operation.name = send
  messaging.operation.type = send
  messaging.system = kafka
process bookings (2): consumer, trace 1, under send bookings
  status Error card refused
  link to send bookings
    messaging.kafka.link = producer
  link to process bookings
    messaging.kafka.link = previous_attempt
  error.type = transient
  messaging.client.id = booker
  messaging.consumer.group.name = service
  messaging.destination.name = bookings
  messaging.destination.partition.id = 0
  messaging.kafka.attempt = 2
  messaging.kafka.error.class = transient
  messaging.kafka.offset = 0
  messaging.kafka.retry.wait = 0.02
  messaging.message.conversation_id = v-1
  messaging.message.correlation_id = c-1
  messaging.message.id = m-1
  messaging.operation.name = process
  messaging.operation.type = process
  messaging.system = kafka
  event exception
    exception.message = card refused
    exception.type = *errors.errorString
send dlq-bookings: producer, trace 1, under process bookings (2)
  link to process bookings (2)
    messaging.kafka.link = last_attempt
  messaging.client.id = booker
  messaging.destination.name = dlq-bookings
  messaging.destination.partition.id = 0
  messaging.kafka.offset = 0
  messaging.message.conversation_id = v-1
  messaging.message.correlation_id = c-1
  messaging.message.id = m-1
  messaging.operation.name = send
  messaging.operation.type = send
  messaging.system = kafka
process dlq-bookings: consumer, trace 1, under send bookings
  status Error no such hotel
  link to send bookings
    messaging.kafka.link = producer
  link to send dlq-bookings
    messaging.kafka.link = dead_letter
  error.type = permanent
  messaging.client.id = booker
  messaging.consumer.group.name = service
  messaging.destination.name = dlq-bookings
  messaging.destination.partition.id = 0
  messaging.kafka.attempt = 1
  messaging.kafka.error.class = permanent
  messaging.kafka.offset = 0
  messaging.message.conversation_id = v-1
  messaging.message.correlation_id = c-1
  messaging.message.id = m-1
  messaging.operation.name = process
  messaging.operation.type = process
  messaging.system = kafka
  event exception
    exception.message = no such hotel
    exception.type = *kafka.PermanentError
send dlq-again: producer, trace 1, under process dlq-bookings
  link to process dlq-bookings
    messaging.kafka.link = last_attempt
  messaging.client.id = booker
  messaging.destination.name = dlq-again
  messaging.destination.partition.id = 0
  messaging.kafka.offset = 0
  messaging.message.conversation_id = v-1
  messaging.message.correlation_id = c-1
  messaging.message.id = m-1
  messaging.operation.name = send
  messaging.operation.type = send
  messaging.system = kafka
`)

	// A letter keeps its record's headers, in their order, and has one more of ours: that of the latest letter.
	sent := map[string]string{}
	for _, span := range recorded.ended() {
		sent[span.Name] = traceparent(span.SpanContext)
	}
	record := b.only("bookings")
	if got := text(record.Headers, "traceparent"); !slices.Equal(got, []string{sent["send bookings"]}) {
		t.Errorf("the record's traceparent: %q, want that of its span", got)
	}
	for _, topic := range []string{"dlq-bookings", "dlq-again"} {
		letter := b.only(topic)
		for i, h := range record.Headers {
			if i >= len(letter.Headers) || letter.Headers[i].Key != h.Key || string(letter.Headers[i].Value) != string(h.Value) {
				t.Errorf("%s: headers %q, want first those of the record, %q", topic, letter.Headers, record.Headers)
				break
			}
		}
		if got := text(letter.Headers, tracing.HeaderDeadLetterTraceparent); !slices.Equal(got, []string{sent["send "+topic]}) {
			t.Errorf("%s: %s %q, want that of the span that sent it", topic, tracing.HeaderDeadLetterTraceparent, got)
		}
	}
}

// What never reaches the handler, and what makes it panic, are attempts like others.
func TestUndecodableRecordsAndPanicsAreErrorsOfTheirOwnType(t *testing.T) {
	for name, test := range map[string]struct {
		value string
		want  []string
	}{
		"decode": {"{MARK", []string{"status Error decode value: invalid JSON at byte 2, in 5 bytes", "exception.type = *kafka.DecodeError"}},
		"panic":  {"{}", []string{"status Error handler panicked: out of seats", "exception.type = *kafka.PanicError"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recorded := newSpans()
			b := newBroker(t, "bookings", "dlq-bookings")
			raw, err := kgo.NewClient(kgo.SeedBrokers(b.client.Brokers...))
			check(t, err)
			defer raw.Close()
			check(t, raw.ProduceSync(t.Context(), &kgo.Record{Topic: "bookings", Value: []byte(test.value)}).FirstErr())
			stop := b.consume(b.config("bookings", "dlq-bookings"), func(context.Context, kafka.Message[booking]) error {
				panic("out of seats")
			}, tracing.ConsumerMiddleware(recorded.option()))
			recorded.await(t, "send dlq-bookings")
			stop()
			recorded.wantLines(t, append(test.want, "error.type = "+name, "messaging.kafka.error.class = permanent",
				"process bookings: consumer, trace 1", "send dlq-bookings: producer, trace 1, under process bookings")...)
			recorded.wantNoLine(t, "MARK")
			recorded.wantNoLine(t, "process bookings (2)")
			if hasStack(recorded) != (name == "panic") {
				t.Errorf("want a stack of a panic alone:%s", recorded)
			}
		})
	}
}

func hasStack(recorded spans) bool {
	for _, span := range recorded.ended() {
		for _, event := range span.Events {
			for _, a := range event.Attributes {
				if a.Key == "exception.stacktrace" && len(a.Value.AsString()) > 100 {
					return true
				}
			}
		}
	}
	return false
}

// MaxRetries is for the record: a letter that is refused is sent again, each time as a span of its own.
func TestEachTryToStoreADeadLetterIsASpan(t *testing.T) {
	t.Parallel()
	recorded := newSpans()
	b := newBroker(t, "bookings", "dlq-bookings")
	check(t, b.producer("bookings", recorded.option()).Publish(t.Context(), marked()))
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-bookings", Err: kerr.InvalidRecord, Count: 1})
	cfg := b.config("bookings", "dlq-bookings")
	cfg.RetryBackoff = 10 * time.Millisecond
	stop := b.consume(cfg, func(context.Context, kafka.Message[booking]) error { return kafka.NewPermanentError("no", nil) },
		tracing.ConsumerMiddleware(recorded.option()))
	b.only("dlq-bookings")
	stop()
	recorded.wantLines(t, "error.type = INVALID_RECORD", "send dlq-bookings: producer, trace 1, under process bookings",
		"send dlq-bookings (2): producer, trace 1, under process bookings")
	recorded.wantNoLine(t, "send dlq-bookings (3)")
}

// Promise 3: a record of the size that its topic allows still gets into the dead letter topic.
func TestARecordAtTheSizeLimitBecomesALetter(t *testing.T) {
	t.Parallel()
	recorded := newSpans()
	b := newBroker(t, "unused")
	for _, topic := range []string{"large", "dlq-large"} {
		check(t, b.cluster.CreateTopic(topic, 1, map[string]string{"max.message.bytes": "50000"}))
	}
	raw, err := kgo.NewClient(kgo.SeedBrokers(b.client.Brokers...), kgo.ProducerBatchCompression(kgo.NoCompression()))
	check(t, err)
	defer raw.Close()
	size := 50000 // the largest that is taken
	value := make([]byte, size)
	_, _ = rand.Read(value) // or the letter would be compressed, and have room for headers
	value[0] = 0            // it can't be decoded
	for size > 49000 && raw.ProduceSync(t.Context(), &kgo.Record{Topic: "large", Value: value[:size]}).FirstErr() != nil {
		size--
	}
	cfg := b.config("large", "dlq-large")
	cfg.Compression = "none"
	stop := b.consume(cfg, func(context.Context, kafka.Message[booking]) error { return nil }, tracing.ConsumerMiddleware(recorded.option()))
	letter := b.only("dlq-large")
	stop()
	if len(letter.Value) != size || len(letter.Headers) != 0 {
		t.Errorf("the letter has %d bytes and headers %q, want %d and none", len(letter.Value), letter.Headers, size)
	}
	recorded.wantLines(t, "send dlq-large: producer, trace 1, under process large")
}

func TestAPublishThatFailsIsAnError(t *testing.T) {
	t.Parallel()
	recorded := newSpans()
	b := newBroker(t, "bookings", "other")
	deleted, closed := b.producer("bookings", recorded.option()), b.producer("other", recorded.option())

	raw, err := kgo.NewClient(kgo.SeedBrokers(b.client.Brokers...))
	check(t, err)
	defer raw.Close()
	_, err = kadm.NewClient(raw).DeleteTopics(t.Context(), "bookings")
	check(t, err)
	if err := deleted.Publish(t.Context(), marked()); err == nil {
		t.Error("a publish to a deleted topic succeeded")
	}
	check(t, closed.Close())
	if err := closed.Publish(t.Context(), marked()); !errors.Is(err, kafka.ErrClosed) {
		t.Errorf("a publish by a closed producer: %v", err)
	}

	all := recorded.ended()
	if len(all) != 2 {
		t.Fatalf("recorded:%s\nwant two spans", recorded)
	}
	recorded.wantLines(t, "send bookings: producer, trace 1", "send other: producer, trace 2", "error.type = closed", "status Error closed")
	recorded.wantNoLine(t, "messaging.kafka.offset")
	recorded.wantNoLine(t, "MARK")
	for _, kind := range []string{"UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION"} { // by the version of the request
		if lines(all[0].Attributes)["error.type = "+kind] {
			return
		}
	}
	t.Errorf("the deleted topic's error.type is not the brokers' name:%s", recorded)
}

type unencodable struct{}

func (unencodable) MarshalJSON() ([]byte, error) { return nil, errors.New("can't encode MARK") }

// The text of a codec's error may repeat the value, and the nil value of what was never encoded is no tombstone.
func TestAValueThatCannotBeEncodedIsNotRecorded(t *testing.T) {
	t.Parallel()
	recorded := newSpans()
	b := newBroker(t, "bookings")
	producer, err := kafka.NewProducer[unencodable](kafka.ProducerConfig{ClientConfig: b.client, Topic: "bookings"})
	check(t, err)
	defer producer.Close()
	producer.Use(tracing.ProducerMiddleware(recorded.option()))
	if _, ok := errors.AsType[*json.MarshalerError](producer.Publish(t.Context(), kafka.Message[unencodable]{})); !ok {
		t.Error("the caller does not get the codec's error")
	}
	recorded.wantLines(t, "error.type = _OTHER", "exception.message = *errors.errorString, whose text is left out: it may repeat the value")
	recorded.wantNoLine(t, "MARK")
	recorded.wantNoLine(t, "tombstone")
}

func TestATombstoneIsMarkedAsOne(t *testing.T) {
	t.Parallel()
	recorded := newSpans()
	b := newBroker(t, "bookings")
	check(t, b.producer("bookings", recorded.option()).Publish(t.Context(), kafka.NewMessage[booking]().WithKey("MARK").WithTombstone().Build()))
	cfg := b.config("bookings", "")
	cfg.HandleTombstones = true
	stop := b.consume(cfg, func(context.Context, kafka.Message[booking]) error { return nil }, tracing.ConsumerMiddleware(recorded.option()))
	recorded.await(t, "process bookings")
	stop()
	for _, span := range recorded.ended() {
		if !lines(span.Attributes)["messaging.kafka.message.tombstone = true"] {
			t.Errorf("%s has no tombstone attribute", span.Name)
		}
	}
}

func TestDisabledMiddlewareLeavesNoTrace(t *testing.T) {
	t.Parallel()
	recorded := newSpans()
	b := newBroker(t, "bookings", "dlq-bookings")
	b.bypass = true
	check(t, b.producer("bookings", recorded.option()).Publish(t.Context(), marked()))
	stop := b.consume(b.config("bookings", "dlq-bookings"), func(context.Context, kafka.Message[booking]) error {
		return kafka.NewPermanentError("no", nil)
	}, tracing.ConsumerMiddleware(recorded.option()))
	letter := b.only("dlq-bookings")
	stop()
	for _, name := range []string{"traceparent", tracing.HeaderDeadLetterTraceparent} {
		if got := text(letter.Headers, name); got != nil {
			t.Errorf("header %s is %q", name, got)
		}
	}
	if all := recorded.ended(); len(all) > 0 {
		t.Errorf("recorded:%s", recorded)
	}
}
