package kafka

import (
	"context"
	"runtime/debug"
)

// batchMessages are the messages of a batch, of whatever type.
type batchMessages interface {
	add(r *Record) error              // decodes a record into the batch, or returns why that can't be
	handle(ctx context.Context) error // calls the handler with what was added, and contains its panics
}

type messages[T any] struct {
	*batchHandling[T]
	decoded []Message[T]
}

// batchHandling is what all batches of a consumer have in common.
type batchHandling[T any] struct {
	codec      Codec[T]
	call       BatchHandler[T]
	limits     headerLimits
	tombstones bool
}

// messagesOf returns what makes an empty batch with room for some messages.
func messagesOf[T any](cfg ConsumerConfig, codec Codec[T], handle BatchHandler[T]) func(size int) batchMessages {
	common := &batchHandling[T]{codec, handle, cfg.headerLimits(), cfg.HandleTombstones}
	return func(size int) batchMessages { return &messages[T]{common, make([]Message[T], 0, size)} }
}

// add decodes in place. Until the value can be read, its message does not count.
func (m *messages[T]) add(r *Record) error {
	if err := m.limits.refusal(r); err != nil {
		return err
	}
	n := len(m.decoded)
	more := append(m.decoded, messageOf[T](r.Record))
	msg := &more[n]
	msg.Attempt, msg.LastAttempt = r.Attempt, r.LastAttempt
	switch {
	case !msg.Tombstone:
		if err := decode(m.codec, r.Headers, r.Value, &msg.Value); err != nil {
			return err
		}
	case !m.tombstones:
		return unwantedTombstone()
	}
	m.decoded = more
	return nil
}

func (m *messages[T]) handle(ctx context.Context) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return m.call(ctx, m.decoded)
}
