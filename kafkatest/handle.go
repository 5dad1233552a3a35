package kafkatest

import (
	"cmp"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/engine"
)

// Result is what one attempt at a message came to.
type Result struct {
	// Err is the attempt's: the handler's, a [kafka.DecodeError], or a [kafka.PanicError].
	Err error
	// Class is the error's; "" for nil.
	Class kafka.Class
	// Retried says that another attempt would follow.
	Retried bool
	// Outcome is what would become of the message otherwise. [kafka.OutcomeLeft]: there is no dead letter topic, so that the consumer's
	// Start would return an error.
	Outcome kafka.Outcome
}

// Handle makes one attempt at a message, without a broker: the value is encoded and decoded as on its way through a topic, and the
// handler gets what a consumer would give it. Attempt is 1 if the message has none: set it to [kafka.ConsumerConfig.MaxRetries] + 1 to
// see what becomes of a message at its last one.
//
// The message may be of another type than the handler's, as a publisher's is, or one for [kafka.Router.Handle], which takes bytes.
//
// The handler is called on the test's goroutine, so that it may end the test.
func Handle[T, V any](t testing.TB, handle kafka.Handler[T], msg kafka.Message[V]) Result {
	t.Helper()
	r := encode(t, codecOf[V](), msg)
	return attempt(t, kafka.NewConsumerConfig(r.Topic, r.Group), codecOf[T](), handle, r)
}

// HandleWith is [Handle] with a config and a codec. Of the config it heeds MaxRetries, RetryDelays, DisableDeadLetters, HandleTombstones, MaxHeaders and
// MaxHeaderBytes.
func HandleWith[T any](t testing.TB, cfg kafka.ConsumerConfig, codec kafka.Codec[T], handle kafka.Handler[T], msg kafka.Message[T]) Result {
	t.Helper()
	return attempt(t, cfg, codec, handle, encode(t, codec, msg))
}

func attempt[T any](t testing.TB, cfg kafka.ConsumerConfig, codec kafka.Codec[T], handle kafka.Handler[T], r *kafka.Record) Result {
	r.LastAttempt = policyOf(cfg).Last(r.Attempt)
	err := contained(func() error { return kafka.NewHandlerFunc(cfg, codec, handle)(t.Context(), r) })
	return judge(cfg, r.Attempt, err)
}

// contained makes an error of a codec's panic, too.
func contained(do func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &kafka.PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return do()
}

func judge(cfg kafka.ConsumerConfig, attempt int, err error) Result {
	result := Result{Err: err, Class: kafka.ClassOf(err)}
	failure := engine.NoFailure
	if err != nil {
		failure = engine.FailureOf(string(result.Class))
	}
	switch policyOf(cfg).Decide(failure, attempt) {
	case engine.Done:
		result.Outcome = kafka.OutcomeHandled
	case engine.Reject:
		result.Outcome = kafka.OutcomeRejected
	case engine.Retry:
		result.Retried = true
	case engine.RetryLater:
		result.Outcome = kafka.OutcomePutOff
	case engine.DeadLetter:
		result.Outcome = kafka.OutcomeDeadLettered
	case engine.Stop:
		result.Outcome = kafka.OutcomeLeft
	}
	return result
}

// policyOf is what a consumer of that config does about failures.
func policyOf(cfg kafka.ConsumerConfig) engine.Policy {
	retries := cmp.Or(cfg.MaxRetries, kafka.NewConsumerConfig("", "").MaxRetries) // 0 is the default
	return engine.Policy{MaxRetries: retries, RetryTopic: len(cfg.RetryDelays) > 0, DeadLetters: !cfg.DisableDeadLetters}
}

// encode makes of a message the record that a consumer would get of it.
func encode[V any](t testing.TB, codec kafka.Codec[V], msg kafka.Message[V]) *kafka.Record {
	t.Helper()
	r := &kgo.Record{
		Topic: cmp.Or(msg.Topic, "kafkatest"), Partition: msg.Partition, Offset: msg.Offset,
		Headers: slices.Clone(msg.Headers), Timestamp: msg.Timestamp,
	}
	if msg.Timestamp.IsZero() {
		r.Timestamp = time.Now()
	}
	r.Timestamp = time.UnixMilli(r.Timestamp.UnixMilli()) // all that Kafka keeps of it
	if msg.Key != "" || msg.EmptyKey {
		r.Key = []byte(msg.Key)
	}
	if msg.GetMessageID() == "" {
		id := kafka.NewMessage[V]().Build().GetMessageID()
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: kafka.HeaderMessageID, Value: []byte(id)})
	}
	if !msg.Tombstone {
		value, err := codec.Encode(msg.Value)
		if err != nil {
			t.Fatalf("kafkatest: nobody can publish that message: %v", err)
		}
		r.Value = value
		if _, has := msg.Header(kafka.HeaderContentType); !has {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: kafka.HeaderContentType, Value: []byte(codec.ContentType())})
		}
	}
	return &kafka.Record{Record: r, Group: "kafkatest", Attempt: max(1, msg.Attempt)}
}
