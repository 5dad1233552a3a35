package tracing

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/errortype"
)

// ConsumerMiddleware makes a span "process <topic>" of each attempt at a record, under the one that sent the record and linked
// to it, or as the root of a new trace; from the second attempt on it is linked to the attempt before. The handler's context
// carries it. A business error is no error of the span. A dead letter is a span "send <topic>" under the last attempt's,
// for each try to store it.
//
// In a batch each attempt at a record is such a span, too, as long as the batch's. What the handler's context carries is a span
// "process_batch <topic>", of no message's trace and linked to them; or, of a single message, the attempt's.
func ConsumerMiddleware(options ...Option) kafka.ConsumerPlugin {
	return consumerPlugin{newSettings(options)}
}

type consumerPlugin struct{ settings settings }

func (p consumerPlugin) ForConsumer(info kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	if info.DisableMiddleware {
		return nil, kafka.ConsumerHooks{}
	}
	c := &consumer{p.settings, info}
	return c.aroundAttempt, kafka.ConsumerHooks{RecordBegun: c.begun, RetryScheduled: c.retryScheduled, DeadLetters: c.aroundLetter, Batches: c.aroundBatch}
}

// consumer is the plugin of one consumer. It is the key, too, by which contexts hold what it knows of a record.
type consumer struct {
	settings settings
	info     kafka.ConsumerInfo
}

func (c *consumer) begun(ctx context.Context, _ *kgo.Record) context.Context {
	return context.WithValue(ctx, c, &progress{})
}

func (c *consumer) retryScheduled(ctx context.Context, _ *kgo.Record, retry kafka.Retry) {
	c.progressOf(ctx).waits(retry.Wait)
}

// progressOf returns the record's, or a new one if other middleware has made a context of its own.
func (c *consumer) progressOf(ctx context.Context) *progress {
	if ctx == nil { // a record's, of a batch that no consumer has made
		return &progress{}
	}
	if p, ok := ctx.Value(c).(*progress); ok {
		return p
	}
	return &progress{}
}

// progress is what the attempts at a record, and its dead letter, know of each other. It is locked, because middleware may
// have left an attempt running.
type progress struct {
	mu   sync.Mutex
	last trace.SpanContext // of the latest attempt
	wait time.Duration     // before the next one
}

func (p *progress) began(span trace.SpanContext) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = span
}

func (p *progress) waits(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wait = wait
}

func (p *progress) get() (last trace.SpanContext, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, p.wait
}

func (c *consumer) aroundAttempt(next kafka.HandlerFunc) kafka.HandlerFunc {
	return func(ctx context.Context, r *kafka.Record) (err error) {
		within, span := c.startAttempt(ctx, c.progressOf(ctx), r)
		returned := false
		defer func() {
			endAttempt(ctx, span, err, returned) // whatever becomes of the goroutine
			span.End()
		}()
		err = next(within, r)
		returned = true
		return err
	}
}

// attributes are those of each operation on records of a partition, with room for more.
func (c *consumer) attributes(operation string, r *kafka.Record) []attribute.KeyValue {
	return append(make([]attribute.KeyValue, 0, 14),
		semconv.MessagingSystemKafka, semconv.MessagingOperationName(operation), semconv.MessagingOperationTypeProcess,
		semconv.MessagingDestinationName(r.Topic), semconv.MessagingDestinationPartitionID(strconv.Itoa(int(r.Partition))),
		semconv.MessagingConsumerGroupName(c.info.Group), semconv.MessagingClientID(c.info.ClientID))
}

func (c *consumer) startAttempt(ctx context.Context, p *progress, r *kafka.Record) (context.Context, trace.Span) {
	attrs := append(c.attributes("process", r), semconv.MessagingKafkaOffset(int(r.Offset)), AttemptKey.Int(r.Attempt))
	attrs = appendIDs(attrs, r.Headers)
	if r.Value == nil {
		attrs = append(attrs, semconv.MessagingKafkaMessageTombstone(true))
	}

	var links []trace.Link
	within, producer := extract(ctx, c.settings.propagator, r.Headers)
	if producer.IsValid() {
		links = append(links, link(producer, LinkProducer))
	}
	if sender := letterSpan(r.Headers); sender.IsValid() {
		links = append(links, link(sender, LinkDeadLetter))
	}
	previous, wait := p.get()
	if r.Attempt > 1 {
		attrs = append(attrs, RetryWaitKey.Float64(wait.Seconds()))
		if previous.IsValid() {
			links = append(links, link(previous, LinkPreviousAttempt))
		}
	}
	within, span := c.settings.start(within, "process "+r.Topic, trace.SpanKindConsumer, attrs, links...)
	p.began(span.SpanContext())
	return within, span
}

// endAttempt says how the attempt went. ctx is the attempt's, whose end is the consumer's doing, or that of middleware around.
func endAttempt(ctx context.Context, span trace.Span, err error, returned bool) {
	if !span.IsRecording() {
		return
	}
	if ctx.Err() != nil {
		span.AddEvent("context ended", trace.WithAttributes(semconv.ExceptionMessage(textOf(context.Cause(ctx)))))
	}
	switch {
	case !returned:
		span.SetStatus(codes.Error, "panic in middleware, or runtime.Goexit")
		span.SetAttributes(semconv.ErrorTypeKey.String(errortype.Panic), ErrorClassKey.String(string(kafka.ClassPermanent)))
	case err != nil:
		v := judge(err)
		span.SetAttributes(ErrorClassKey.String(string(v.class)))
		if v.class == kafka.ClassBusiness { // an outcome, not a failure
			span.AddEvent("rejected by business rule", trace.WithAttributes(semconv.ExceptionMessage(v.text)))
			return
		}
		fail(span, err, v.kind, v.text, v.stack)
	}
}

// aroundLetter goes around each try to store a dead letter.
func (c *consumer) aroundLetter(next kafka.PublishFunc) kafka.PublishFunc {
	return func(ctx context.Context, r *kafka.Record, done func(error)) {
		last, _ := c.progressOf(ctx).get()
		var links []trace.Link
		if last.IsValid() {
			ctx, links = trace.ContextWithSpanContext(ctx, last), []trace.Link{link(last, LinkLastAttempt)}
		} else { // middleware around ours let no attempt through
			ctx, _ = extract(ctx, c.settings.propagator, r.Headers)
		}
		parent := trace.SpanContextFromContext(ctx)
		ctx, span := c.settings.startSend(ctx, r, c.info.ClientID, links...)
		if span.SpanContext().SpanID() != parent.SpanID() { // without a provider it is the parent itself
			r.Headers = withLetterSpan(ctx, r.Headers)
		}
		next(ctx, r, func(err error) {
			endSend(span, r, err)
			done(err)
		})
	}
}
