package middleware

import (
	"context"
	"runtime/debug"

	"github.com/skeji/kafka"
)

// RecoveryConsumerMiddleware makes a panic of the middleware within it a [kafka.PanicError], so that the middleware around it
// sees an error. Handlers and codecs need no such thing: the consumer contains their panics, and those of the middleware around
// them, by itself.
func RecoveryConsumerMiddleware() kafka.ConsumerMiddleware {
	return func(next kafka.HandlerFunc) kafka.HandlerFunc {
		return func(ctx context.Context, r *kafka.Record) (err error) {
			defer func() {
				if value := recover(); value != nil {
					err = &kafka.PanicError{Value: value, Stack: debug.Stack()}
				}
			}()
			return next(ctx, r)
		}
	}
}
