package kafka

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Handler handles one message. nil: the record is done. An error's class decides otherwise: see [Class] and [ClassOf].
//
// The context ends when the record must be let go: DrainTimeout ran out at a rebalance or shutdown, or the partition was
// lost; context.Cause tells which. What the handler returns then counts only if it is nil.
type Handler[T any] func(ctx context.Context, msg Message[T]) error

// NewHandlerFunc returns what a consumer with that config calls for each attempt at a record, inside its middleware: it keeps a record
// above the header limits from handle, decodes the value, and makes a panic of handle a [PanicError]. Of cfg it heeds
// HandleTombstones, MaxHeaders and MaxHeaderBytes. It is for tests, of middleware for example, and for those who fetch records by
// themselves.
func NewHandlerFunc[T any](cfg ConsumerConfig, codec Codec[T], handle Handler[T]) HandlerFunc {
	return cfg.headerLimits().keep(typed(codec, handle, cfg.HandleTombstones))
}

// typed is where bytes become T, but for those of batches; see messages.
func typed[T any](codec Codec[T], handle Handler[T], tombstones bool) HandlerFunc {
	return func(ctx context.Context, r *Record) error {
		msg := messageOf[T](r.Record)
		msg.Attempt, msg.LastAttempt = r.Attempt, r.LastAttempt
		if msg.Tombstone {
			if !tombstones {
				return unwantedTombstone()
			}
			return contained(ctx, msg, handle)
		}
		value := roomFor[T](r)
		if err := decode(codec, r.Headers, r.Value, value); err != nil {
			return err
		}
		msg.Value = *value
		return contained(ctx, msg, handle)
	}
}

func unwantedTombstone() error {
	return &DecodeError{Reason: "nil value (tombstone): set HandleTombstones to receive it", Err: ErrTombstone}
}

// roomFor is where the record's value is decoded: not in the message, lest all of that go to the heap, and where the one before
// was, if nobody else can be at it. The handler gets a copy.
func roomFor[T any](r *Record) *T {
	if r.room == nil {
		return new(T)
	}
	value, ok := (*r.room).(*T)
	if !ok {
		value = new(T)
		*r.room = value
		return value
	}
	var zero T // what the value before it points to is its handler's
	*value = zero
	return value
}

// messageOf is a fetched record as a message whose value is not decoded yet.
func messageOf[T any](r *kgo.Record) Message[T] {
	return Message[T]{
		Key: string(r.Key), EmptyKey: r.Key != nil && len(r.Key) == 0, Headers: r.Headers, Timestamp: timeOf(r), Tombstone: r.Value == nil,
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, raw: r.Value,
	}
}

// decode makes a DecodeError of whatever the codec says: the text of another error may repeat the value, even if it wraps one of
// ours. A TransientError is not about the value: retried, it may be read.
func decode[T any](codec Codec[T], headers []kgo.RecordHeader, data []byte, value *T) error {
	var err error
	if c, ok := codec.(headerDecoder[T]); ok {
		err = c.DecodeWithHeaders(headers, data, value)
	} else {
		err = codec.Decode(data, value)
	}
	if err == nil {
		return nil
	}
	if transient, ok := err.(*TransientError); ok {
		return transient
	}
	inner, ok := errors.AsType[*DecodeError](err)
	switch {
	case !ok:
		return &DecodeError{Reason: fmt.Sprintf("%T from the codec, for %d bytes", err, len(data)), Err: err}
	case err != error(inner):
		return &DecodeError{Reason: inner.Reason, Err: err}
	}
	return err
}

// contained makes a panic an error here, where middleware still sees it. A handler that ends its goroutine, with
// runtime.Goexit, is left to the worker.
func contained[T any](ctx context.Context, msg Message[T], handle Handler[T]) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return handle(ctx, msg)
}

// textOf survives an Error method that panics, even with an error whose Error method panics.
func textOf(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("%T, whose text can't be had", err)
		}
	}()
	return err.Error()
}

// verdict is what one attempt came to.
type verdict struct {
	err    error
	class  Class
	text   string        // err as text
	after  time.Duration // how long a transient error asks to wait; 0: the backoff
	stack  []byte        // of a panic
	others bool          // err is about other records of the batch, too
}

// notHandled is the verdict on what a batch's handler did not come to.
var notHandled = judge(ErrNotHandled)

// judge asks the error everything that will be needed, where a panic is contained: its methods are the user's.
func judge(err error) verdict {
	if err == nil {
		return verdict{}
	}
	v := verdict{err: err, class: ClassOf(err), text: textOf(err)}
	for cause := err; v.after <= 0; { // the outermost delay, through transient errors that ask for none
		transient, ok := errors.AsType[*TransientError](cause)
		if !ok || transient == nil {
			break
		}
		v.after, cause = transient.RetryAfter, transient.Err
	}
	if panicked, ok := errors.AsType[*PanicError](err); ok && panicked != nil {
		v.stack = panicked.Stack
	}
	return v
}
