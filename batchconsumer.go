package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/skeji/kafka/internal/engine"
)

// BatchConsumer is a [Consumer] whose handler gets several messages of a partition at once.
type BatchConsumer[T any] struct{ *Consumer[T] }

// NewBatchConsumer is [NewConsumer] with a handler of batches. MaxBatchSize and MaxBatchWait say how large they are; a Concurrency
// above 1 is refused: a partition has one batch in hand.
//
// Each record is decoded by itself. One that can't be, or is above the limits of headers, fails alone, and is not in the batch. The
// others are handled together, inside one call of each [BatchMiddleware]. A plugin that has only a [ConsumerMiddleware], which goes
// around single records, is refused; those of package middleware and of middleware/tracing have both.
func NewBatchConsumer[T any](cfg ConsumerConfig, handle BatchHandler[T], plugins ...ConsumerPlugin) (*BatchConsumer[T], error) {
	if err := checkJSON[T](); err != nil {
		return newFailedBatchConsumer[T](cfg, err), err
	}
	return NewBatchConsumerWithCodec(cfg, JSON[T](), handle, plugins...)
}

// NewBatchConsumerWithCodec is [NewBatchConsumer] with another codec.
func NewBatchConsumerWithCodec[T any](cfg ConsumerConfig, codec Codec[T], handle BatchHandler[T], plugins ...ConsumerPlugin) (*BatchConsumer[T], error) {
	if err := cmp.Or(checkBatches(cfg, handle), checkCodec(cfg, codec)); err != nil {
		return newFailedBatchConsumer[T](cfg, err), err
	}
	core, err := newConsumer(cfg, refuse)
	if err != nil {
		return newFailedBatchConsumer[T](cfg, err), err
	}
	core.newMessages = messagesOf(cfg, codec, handle)
	return &BatchConsumer[T]{&Consumer[T]{core}}, core.use(plugins)
}

// refuse is what the middleware of single records is around in a batch consumer: whatever reaches it is in no batch.
func refuse(_ context.Context, r *Record) error {
	if r.refused == nil { // never: it would be lost otherwise
		return NewPermanentError("a batch consumer has handled a record in no batch", nil)
	}
	return r.refused
}

func newFailedBatchConsumer[T any](cfg ConsumerConfig, err error) *BatchConsumer[T] {
	return &BatchConsumer[T]{&Consumer[T]{newFailedConsumer(cfg, err)}}
}

// checkBatches finds what a consumer can do and one of batches can't.
func checkBatches[T any](cfg ConsumerConfig, handle BatchHandler[T]) error {
	switch {
	case handle == nil:
		return fmt.Errorf("kafka: consumer of %s: the handler is nil", cfg.topicNames())
	case cfg.ParkKeys:
		return fmt.Errorf("kafka: consumer of %s: ParkKeys is set: a batch consumer can't keep single records back from a batch that others of their key are in (KAFKA_CONSUMER_PARK_KEYS)", cfg.topicNames())
	case len(cfg.RetryDelays) > 0:
		return fmt.Errorf("kafka: consumer of %s: RetryDelays is set: a batch consumer has no retry topics (KAFKA_CONSUMER_RETRY_DELAYS)", cfg.topicNames())
	case cfg.Concurrency > 1:
		return fmt.Errorf("kafka: consumer of %s: Concurrency is %d: a batch consumer handles a partition's batches one by one, want 1 (KAFKA_CONSUMER_CONCURRENCY)", cfg.topicNames(), cfg.Concurrency)
	}
	return nil
}

// BatchHandler handles messages of one partition together, in their order: as many as there are, MaxBatchSize at most.
//
// nil: all are done. A [BatchError] names those that are not, each with an error of its own class; see [FailedAt], too. Any other
// error is the batch's: a business one has all done; a transient one has all tried again together; a permanent one, a panic, or the
// last attempt's has them tried once more one by one, so that only those go to the dead letter topic that fail alone. No other batch
// of the partition begins before all of this one is done.
//
// The context is what all of them have in common, with what a [BatchMiddleware] adds, and ends as [Handler]'s does.
type BatchHandler[T any] func(ctx context.Context, batch []Message[T]) error

// BatchError names the messages of a batch that failed, by the index at which the handler got them, each with its error. All others are
// done, and those whose error is nil. What is [ErrNotHandled] comes again, with what is retried, and the attempt does not count.
//
// Return Err(), which is nil if no message failed: a BatchError in an error is never nil, and an empty one is a permanent error of
// all messages, which says so. Whatever wraps the handler, such as a transaction, takes it for a failure.
type BatchError map[int]error

// Err returns the BatchError as an error, and nil if it names no message that failed.
func (e BatchError) Err() error {
	for _, err := range e {
		if err != nil {
			return e
		}
	}
	return nil
}

// BatchOutcomes returns what the error of a [BatchHandler], or [BatchFunc], says of each of its n messages, by index. nil: it is done.
func BatchOutcomes(err error, n int) func(i int) error {
	outcomes, _ := outcomesOf(err, n)
	return outcomes.Of
}

// outcomesOf returns what a handler's error says of the messages of a batch, and whether it is about all of them.
func outcomesOf(err error, n int) (o engine.Outcomes, all bool) {
	if err == nil {
		return engine.Outcomes{}, false
	}
	failed, isNamed := errors.AsType[BatchError](err)
	if !isNamed {
		return engine.Outcomes{All: err}, true
	}
	o, why := engine.Named(failed, n)
	if why != "" {
		return engine.Outcomes{All: NewPermanentError(why, err)}, true
	}
	return o, false
}

// ErrNotHandled is of a message that its batch's handler did not come to.
var ErrNotHandled = errors.New("not handled: another message of the batch failed before it")

// FailedAt is for a handler that stops at the first message that fails: those before it are done, it failed with err, and those
// after it were not handled.
func FailedAt[T any](batch []Message[T], i int, err error) BatchError {
	failed := BatchError{i: err}
	for j := i + 1; j < len(batch); j++ {
		failed[j] = ErrNotHandled
	}
	return failed
}

// Error names the first ones.
func (e BatchError) Error() string {
	const shown = 3
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages of the batch failed", len(e))
	for n, i := range slices.Sorted(maps.Keys(e)) {
		if n == shown {
			b.WriteString("; …")
			break
		}
		fmt.Fprintf(&b, "; %d: %v", i, e[i])
	}
	return b.String()
}

// Unwrap returns their errors.
func (e BatchError) Unwrap() (errs []error) {
	for _, i := range slices.Sorted(maps.Keys(e)) {
		errs = append(errs, e[i])
	}
	return errs
}
