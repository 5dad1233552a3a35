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
// It panics if limit is not positive.
func TimeoutConsumerMiddleware(limit time.Duration) kafka.ConsumerMiddleware {
	if limit <= 0 {
		panic(fmt.Sprintf("middleware: a timeout of %v: want more than 0", limit))
	}
	expired := fmt.Errorf("%w after %v", ErrAttemptTimeout, limit)
	return func(next kafka.HandlerFunc) kafka.HandlerFunc {
		return func(ctx context.Context, r *kafka.Record) error {
			ctx, cancel := context.WithTimeoutCause(ctx, limit, expired)
			defer cancel()
			err := next(ctx, r)
			if errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == expired {
				return fmt.Errorf("%w: %w", expired, err) // whatever class err has, it keeps
			}
			return err
		}
	}
}
