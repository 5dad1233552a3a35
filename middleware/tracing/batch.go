package tracing

import (
	"context"
	"errors"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/skeji/kafka"
)

// aroundBatch makes a span of the attempt at each record, as aroundAttempt does, and one of the call of the handler, whose context
// carries it. That one has many causes, and so no parent: it is linked to the others. A single record needs none.
func (c *consumer) aroundBatch(next kafka.BatchFunc) kafka.BatchFunc {
	return func(ctx context.Context, records []*kafka.Record) (err error) {
		spans, links := make([]trace.Span, len(records)), make([]trace.Link, len(records))
		within := ctx
		for i, r := range records {
			within, spans[i] = c.startAttempt(ctx, c.progressOf(r.Context), r)
			links[i] = link(spans[i].SpanContext(), LinkRecord)
		}
		whole := trace.Span(nil)
		if len(records) > 1 {
			within, whole = c.startBatch(ctx, records, links)
		}
		returned := false
		defer func() { // whatever becomes of the goroutine
			outcome := kafka.BatchOutcomes(err, len(records))
			for i, span := range spans {
				endInBatch(ctx, span, outcome(i), returned)
			}
			if whole != nil {
				endBatch(ctx, whole, err, returned)
			}
		}()
		err = next(within, records)
		returned = true
		return err
	}
}

func (c *consumer) startBatch(ctx context.Context, records []*kafka.Record, links []trace.Link) (context.Context, trace.Span) {
	first := records[0]
	root := trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	return c.settings.start(root, batchOperation+" "+first.Topic, trace.SpanKindConsumer,
		append(c.attributes(batchOperation, first), semconv.MessagingBatchMessageCount(len(records))), links...)
}

// batchOperation is apart from process, of which there is one for each attempt at a record.
const batchOperation = "process_batch"

// endInBatch says how the attempt at one record of a batch went. What the handler did not come to comes again.
func endInBatch(ctx context.Context, span trace.Span, err error, returned bool) {
	defer span.End()
	if returned && wasNotHandled(err) {
		span.AddEvent("not handled", trace.WithAttributes(semconv.ExceptionMessage(textOf(err))))
		return
	}
	endAttempt(ctx, span, err, returned)
}

// wasNotHandled survives errors whose methods panic.
func wasNotHandled(err error) (not bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, kafka.ErrNotHandled)
}

// endBatch says how the call went. What a BatchError names is the records'.
func endBatch(ctx context.Context, span trace.Span, err error, returned bool) {
	defer span.End()
	if _, named := errors.AsType[kafka.BatchError](err); named {
		err = nil
	}
	endAttempt(ctx, span, err, returned)
}
