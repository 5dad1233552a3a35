// Package middleware holds what can be put around every handler and every publish, written once for all types.
//
//	consumer.Use(middleware.LoggingConsumerMiddleware(), middleware.MetricsConsumerMiddleware())
//	producer.Use(middleware.LoggingProducerMiddleware(), middleware.MetricsProducerMiddleware())
//
// What takes others in belongs inside: logging and metrics first, then [TimeoutConsumerMiddleware]. Tracing has a module of
// its own, github.com/skeji/kafka/middleware/tracing.
//
// KAFKA_ENABLE_MIDDLEWARE=false (DisableMiddleware in a config) turns logging, metrics and tracing off. Timeouts, recovery and
// middleware of your own stay.
package middleware

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/flood"
	"github.com/skeji/kafka/internal/recordheader"
)

// LoggingOption changes what the logging middleware does.
type LoggingOption func(*logging)

// WithLogger sets where lines go. Default: where the consumer's or producer's own lines go, ClientConfig.Logger.
func WithLogger(logger *slog.Logger) LoggingOption {
	return func(l *logging) { l.logger = logger }
}

// WithSampling holds floods back: of the lines with one text, the first so many pass in each period, then one of every so
// many, or none with every 0. The next line that passes says how many did not, as lines_withheld. Lines at Debug always pass.
// Default: 100, 100, and a second. With first 0 or less, all lines pass.
func WithSampling(first, every int, period time.Duration) LoggingOption {
	return func(l *logging) {
		l.gate = nil
		if first > 0 {
			l.gate = &flood.Gate{First: first, Every: every, Per: period}
		}
	}
}

// WithKeyHash sets what stands for a record's key in lines, such as an HMAC with a secret that all services
// share, so that their lines about one key can be found together. Default: a hash that is the same for a key as long as the
// process runs, and that nobody can try candidates against.
func WithKeyHash(hash func(key []byte) string) LoggingOption {
	return func(l *logging) { l.keyHash = hash }
}

type logging struct {
	logger  *slog.Logger
	gate    *flood.Gate // nil: everything passes
	keyHash func([]byte) string
}

func newLogging(options []LoggingOption) logging {
	l := logging{gate: flood.New(), keyHash: processHash}
	for _, option := range options {
		option(&l)
	}
	return l
}

// line logs with a constant text. It never logs keys, values or headers, but for the correlation and conversation ids.
func (l logging) line(ctx context.Context, level slog.Level, text string, r *kafka.Record, attrs ...slog.Attr) {
	if !l.logger.Enabled(ctx, level) {
		return
	}
	withheld := 0
	if l.gate != nil && level > slog.LevelDebug {
		var ok bool
		if withheld, ok = l.gate.Pass(text); !ok {
			return
		}
	}
	all := append(l.about(r), attrs...)
	if withheld > 0 {
		all = append(all, slog.Int("lines_withheld", withheld))
	}
	l.logger.LogAttrs(ctx, level, text, all...)
}

// about says which record it is, by nothing that is in it but its ids.
func (l logging) about(r *kafka.Record) []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 8), slog.String("topic", r.Topic), slog.Int("partition", int(r.Partition)), slog.Int64("offset", r.Offset))
	if r.Group != "" {
		attrs = append(attrs, slog.String("group", r.Group), slog.Int("attempt", r.Attempt))
	}
	if r.Key != nil {
		attrs = append(attrs, slog.String("key_hash", l.keyHash(r.Key)))
	}
	return append(attrs, recordheader.IDs(r.Headers, kafka.HeaderCorrelationID, kafka.HeaderConversationID)...)
}

// LoggingConsumerMiddleware logs one line for each attempt at a record: Debug when it was handled, Info for a business
// error, Warn for a failure. What the consumer then does with the record it logs itself: a dead letter is an Error.
// Of a batch it logs such a line for each record. Handlers get a logger of their own, with [Logger].
func LoggingConsumerMiddleware(options ...LoggingOption) kafka.ConsumerPlugin {
	return consumerLogging{newLogging(options)}
}

type consumerLogging struct{ logging }

func (c consumerLogging) ForConsumer(info kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	if info.DisableMiddleware {
		return nil, kafka.ConsumerHooks{}
	}
	l := c.logging
	l.logger = cmp.Or(l.logger, info.Logger)
	return l.aroundAttempt, kafka.ConsumerHooks{Batches: l.aroundBatch}
}

func (l logging) aroundAttempt(next kafka.HandlerFunc) kafka.HandlerFunc {
	return func(ctx context.Context, r *kafka.Record) error {
		began := time.Now()
		err := next(&handlerLog{ctx, l, []*kafka.Record{r}}, r)
		l.attempt(ctx, r, time.Since(began), err)
		return err
	}
}

func (l logging) aroundBatch(next kafka.BatchFunc) kafka.BatchFunc {
	return func(ctx context.Context, records []*kafka.Record) error {
		began := time.Now()
		err := next(&handlerLog{ctx, l, records}, records)
		took, outcome := time.Since(began), kafka.BatchOutcomes(err, len(records))
		for i, r := range records {
			l.attemptInBatch(ctx, r, took, outcome(i))
		}
		return err
	}
}

// attemptInBatch survives errors whose methods panic: they are one record's, and for the consumer to judge.
func (l logging) attemptInBatch(ctx context.Context, r *kafka.Record, took time.Duration, err error) {
	defer func() { _ = recover() }()
	if !errors.Is(err, kafka.ErrNotHandled) { // or it comes again, and this was no attempt
		l.attempt(ctx, r, took, err)
	}
}

// attempt logs how an attempt at a record ended.
func (l logging) attempt(ctx context.Context, r *kafka.Record, took time.Duration, err error) {
	if err == nil {
		l.line(ctx, slog.LevelDebug, "record handled", r, slog.Duration("duration", took))
		return
	}
	class := kafka.ClassOf(err)
	attrs := []slog.Attr{slog.Duration("duration", took), slog.String("class", string(class)), slog.Any("error", err)}
	switch class {
	case kafka.ClassBusiness:
		l.line(ctx, slog.LevelInfo, "record rejected by business rule", r, attrs...)
	case kafka.ClassTransient:
		l.line(ctx, slog.LevelWarn, "attempt failed", r, attrs...)
	default:
		l.line(ctx, slog.LevelWarn, "record can't be handled", r, attrs...)
	}
}

// LoggingProducerMiddleware logs one line for each message: Debug when it was stored, Error when it was not.
func LoggingProducerMiddleware(options ...LoggingOption) kafka.ProducerPlugin {
	return producerLogging{newLogging(options)}
}

type producerLogging struct{ logging }

func (p producerLogging) ForProducer(info kafka.ProducerInfo) (kafka.ProducerMiddleware, kafka.ProducerHooks) {
	if info.DisableMiddleware {
		return nil, kafka.ProducerHooks{}
	}
	l := p.logging
	l.logger = cmp.Or(l.logger, info.Logger)
	return l.aroundPublish, kafka.ProducerHooks{}
}

func (l logging) aroundPublish(next kafka.PublishFunc) kafka.PublishFunc {
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
