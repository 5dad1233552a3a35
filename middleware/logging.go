// Package middleware holds what can be wrapped around every handler and every publish, written once for all types.
//
//	consumer.Use(middleware.LoggingConsumerMiddleware())
//	producer.Use(middleware.LoggingProducerMiddleware())
package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/skeji/kafka"
)

// LoggingOption changes what the logging middleware does.
type LoggingOption func(*logging)

// WithLogger sets where lines go. Default: slog.Default() at the time of the line.
func WithLogger(logger *slog.Logger) LoggingOption {
	return func(l *logging) { l.logger = logger }
}

type logging struct{ logger *slog.Logger }

func newLogging(options []LoggingOption) logging {
	var l logging
	for _, option := range options {
		option(&l)
	}
	return l
}

// line logs with a constant text. It never logs keys, values or headers, but for the correlation id.
func (l logging) line(ctx context.Context, level slog.Level, text string, r *kafka.Record, attrs ...slog.Attr) {
	logger := l.logger
	if logger == nil {
		logger = slog.Default()
	}
	if !logger.Enabled(ctx, level) {
		return
	}
	all := append(make([]slog.Attr, 0, 10),
		slog.String("topic", r.Topic), slog.Int("partition", int(r.Partition)), slog.Int64("offset", r.Offset))
	if id := correlationID(r); id != "" {
		all = append(all, slog.String("correlation_id", id))
	}
	logger.LogAttrs(ctx, level, text, append(all, attrs...)...)
}

// correlationID returns the last such header, cut to what a log line should hold.
func correlationID(r *kafka.Record) string {
	const most = 128
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if h := r.Headers[i]; h.Key == kafka.HeaderCorrelationID {
			return string(h.Value[:min(len(h.Value), most)])
		}
	}
	return ""
}

// LoggingConsumerMiddleware logs one line for each attempt at a record: Debug when it was handled, Info for a business
// error, Warn for a transient and Error for a permanent one. What the consumer then does with the record, it logs itself.
func LoggingConsumerMiddleware(options ...LoggingOption) kafka.ConsumerMiddleware {
	l := newLogging(options)
	return func(next kafka.HandlerFunc) kafka.HandlerFunc {
		return func(ctx context.Context, r *kafka.Record) error {
			began := time.Now()
			err := next(ctx, r)
			attrs := []slog.Attr{
				slog.String("group", r.Group), slog.Int("attempt", r.Attempt), slog.Duration("duration", time.Since(began)),
			}
			if err != nil {
				attrs = append(attrs, slog.String("class", string(kafka.ClassOf(err))), slog.Any("error", err))
			}
			switch kafka.ClassOf(err) {
			case "":
				l.line(ctx, slog.LevelDebug, "record handled", r, attrs...)
			case kafka.ClassBusiness:
				l.line(ctx, slog.LevelInfo, "record rejected by business rule", r, attrs...)
			case kafka.ClassTransient:
				l.line(ctx, slog.LevelWarn, "attempt failed", r, attrs...)
			default:
				l.line(ctx, slog.LevelError, "record can't be handled", r, attrs...)
			}
			return err
		}
	}
}

// LoggingProducerMiddleware logs one line for each message: Debug when it was stored, Error when it was not.
func LoggingProducerMiddleware(options ...LoggingOption) kafka.ProducerMiddleware {
	l := newLogging(options)
	return func(next kafka.PublishFunc) kafka.PublishFunc {
		return func(ctx context.Context, r *kafka.Record, done func(error)) {
			began := time.Now()
			next(ctx, r, func(err error) {
				duration := slog.Duration("duration", time.Since(began))
				if err != nil {
					l.line(ctx, slog.LevelError, "message not published", r, duration, slog.Any("error", err))
				} else {
					l.line(ctx, slog.LevelDebug, "message published", r, duration)
				}
				done(err)
			})
		}
	}
}
