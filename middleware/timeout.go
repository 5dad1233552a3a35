package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skeji/kafka"
)

// ErrAttemptTimeout is the cause of a context that [TimeoutConsumerMiddleware] has ended.
var ErrAttemptTimeout = errors.New("attempt timed out")

// TimeoutConsumerMiddleware gives each attempt at a record a deadline of its own: the handler's context ends after limit. A
// handler that then returns the context's error, or wraps it, has failed for a time: it is retried. One that ignores its
// context is not stopped, since its record could be in two hands then; ConsumerConfig.StallTimeout says where it is named.
// It panics if limit is not positive. A batch has one deadline, for all of its messages.
func TimeoutConsumerMiddleware(limit time.Duration) kafka.ConsumerPlugin {
	if limit <= 0 {
		panic(fmt.Sprintf("middleware: a timeout of %v: want more than 0", limit))
	}
	t := timeout{limit, fmt.Errorf("%w after %v", ErrAttemptTimeout, limit)}
	return both{t.aroundAttempt, t.aroundBatch}
}

type timeout struct {
	limit   time.Duration
	expired error
}

func (t timeout) aroundAttempt(next kafka.HandlerFunc) kafka.HandlerFunc {
	return func(ctx context.Context, r *kafka.Record) error {
		ctx, cancel := context.WithTimeoutCause(ctx, t.limit, t.expired)
		defer cancel()
		return t.named(ctx, next(ctx, r))
	}
}

func (t timeout) aroundBatch(next kafka.BatchFunc) kafka.BatchFunc {
	return func(ctx context.Context, records []*kafka.Record) error {
		ctx, cancel := context.WithTimeoutCause(ctx, t.limit, t.expired)
		defer cancel()
		err := next(ctx, records)
		failed, ok := errors.AsType[kafka.BatchError](err)
		if !ok {
			return t.named(ctx, err)
		}
		named := make(kafka.BatchError, len(failed))
		for i, err := range failed {
			named[i] = t.named(ctx, err)
		}
		return named
	}
}

// named returns an error of the context as one that says that this middleware has ended it.
func (t timeout) named(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == t.expired {
		return fmt.Errorf("%w: %w", t.expired, err) // whatever class err has, it keeps
	}
	return err
}
