package kafkatest

import (
	"context"
	"errors"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/engine"
)

// HandleBatch is [Handle] for a handler of batches. It returns what the attempt came to for each message; one that can't be decoded is
// kept from the handler. Messages without an offset get one after another.
//
// An error that names no message is Retried for each of several that it would otherwise give up: they are tried one by one.
func HandleBatch[T, V any](t testing.TB, handle kafka.BatchHandler[T], msgs ...kafka.Message[V]) []Result {
	t.Helper()
	records := encodeAll(t, codecOf[V](), msgs)
	return attemptBatch(t, kafka.NewConsumerConfig("kafkatest", "kafkatest"), codecOf[T](), handle, records)
}

// HandleBatchWith is [HandleBatch] with a config and a codec, as [HandleWith].
func HandleBatchWith[T any](t testing.TB, cfg kafka.ConsumerConfig, codec kafka.Codec[T], handle kafka.BatchHandler[T], msgs ...kafka.Message[T]) []Result {
	t.Helper()
	return attemptBatch(t, cfg, codec, handle, encodeAll(t, codec, msgs))
}

func encodeAll[V any](t testing.TB, codec kafka.Codec[V], msgs []kafka.Message[V]) []*kafka.Record {
	t.Helper()
	records := make([]*kafka.Record, len(msgs))
	for i, msg := range msgs {
		if msg.Offset == 0 {
			msg.Offset = int64(i)
		}
		records[i] = encode(t, codec, msg)
	}
	return records
}

func attemptBatch[T any](t testing.TB, cfg kafka.ConsumerConfig, codec kafka.Codec[T], handle kafka.BatchHandler[T], records []*kafka.Record) []Result {
	results := make([]Result, len(records))
	var batch []kafka.Message[T]
	var places []int // of the batch's messages among all
	for i, r := range records {
		arrive := func(_ context.Context, msg kafka.Message[T]) error {
			batch, places = append(batch, msg), append(places, i)
			return nil
		}
		r.LastAttempt = policyOf(cfg).Last(r.Attempt)
		err := contained(func() error { return kafka.NewHandlerFunc(cfg, codec, arrive)(t.Context(), r) })
		results[i] = judge(cfg, r.Attempt, err)
	}
	if len(batch) == 0 {
		return results
	}
	err := contained(func() error { return handle(t.Context(), batch) })
	outcomes, isNamed := engine.Outcomes{All: err}, false
	if failed, ok := errors.AsType[kafka.BatchError](err); ok {
		var why string
		if outcomes, why = engine.Named(failed, len(batch)); why != "" {
			outcomes = engine.Outcomes{All: kafka.NewPermanentError(why, err)}
		}
		isNamed = why == ""
	}
	for at, place := range places {
		own := outcomes.Of(at)
		result := judge(cfg, records[place].Attempt, own)
		givenUp := result.Outcome == kafka.OutcomeDeadLettered || result.Outcome == kafka.OutcomeLeft
		if errors.Is(own, kafka.ErrNotHandled) || givenUp && !isNamed && len(batch) > 1 {
			result.Retried, result.Outcome = true, ""
		}
		results[place] = result
	}
	return results
}
