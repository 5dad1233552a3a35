package middleware

import (
	"context"
	"runtime/debug"

	"github.com/skeji/kafka"
)

// RecoveryConsumerMiddleware makes a panic of the middleware within it a [kafka.PanicError], so that the middleware around it
// sees an error. Handlers and codecs need no such thing: the consumer contains their panics, and those of the middleware around
// them, by itself.
func RecoveryConsumerMiddleware() kafka.ConsumerPlugin {
	return both{
		func(next kafka.HandlerFunc) kafka.HandlerFunc {
			return func(ctx context.Context, r *kafka.Record) (err error) {
				defer func() { err = recovered(recover(), err) }()
				return next(ctx, r)
			}
		},
		func(next kafka.BatchFunc) kafka.BatchFunc {
			return func(ctx context.Context, records []*kafka.Record) (err error) {
				defer func() { err = recovered(recover(), err) }()
				return next(ctx, records)
			}
		},
	}
}

// recovered returns a panic's value as an error, and err if there was no panic.
func recovered(value any, err error) error {
	if value == nil {
		return err
	}
	return &kafka.PanicError{Value: value, Stack: debug.Stack()}
}
