// Package tracing makes OpenTelemetry's spans of what producers and consumers do. It is a module of its own, so that who does
// not trace does not depend on OpenTelemetry.
//
//	producer.Use(tracing.ProducerMiddleware())
//	consumer.Use(tracing.ConsumerMiddleware())
//
// A message's trace goes on where it is handled: the context of the producer's span travels in the record's headers, as W3C's
// traceparent, each attempt at the record is a span under it, and the handler's context carries that span. A dead letter is a
// span under the last attempt. Spans follow OpenTelemetry's semantic conventions for messaging; what these have no name for has
// one of the names below. No span ever has a record's key, its value, or a header but the three ids.
//
// Give it first to Use: then what other middleware does is in the trace, too.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// HeaderDeadLetterTraceparent is the header by which a dead letter tells of the span that sent it, in the format of W3C's
// traceparent. The letter's own traceparent is that of its record, untouched.
const HeaderDeadLetterTraceparent = "__dlq.errors.traceparent"

// Names of attributes that OpenTelemetry's conventions don't have.
const (
	CorrelationIDKey = attribute.Key("messaging.message.correlation_id") // the correlation-id header
	AttemptKey       = attribute.Key("messaging.kafka.attempt")          // of a process span: 1 for the first
	RetryWaitKey     = attribute.Key("messaging.kafka.retry.wait")       // of a process span from the second on: the wait before it, in seconds
	ErrorClassKey    = attribute.Key("messaging.kafka.error.class")      // of a process span that failed: transient, permanent or business
	LinkKey          = attribute.Key("messaging.kafka.link")             // of a link: where it leads, one of the values below
)

// Values of [LinkKey].
const (
	LinkProducer        = "producer"         // from a process span to the one that sent the record
	LinkPreviousAttempt = "previous_attempt" // from a process span to the one before it
	LinkLastAttempt     = "last_attempt"     // from a dead letter's send span to the attempt that failed for good
	LinkRecord          = "record"           // from a process_batch span to the process span of a record of the batch
	LinkDeadLetter      = "dead_letter"      // from a dead letter's process span to the one that sent the letter
)

const scopeName = "github.com/skeji/kafka/middleware/tracing"

// Option changes what the middleware does.
type Option func(*settings)

// WithTracerProvider sets where spans go. Default: what otel.GetTracerProvider returns when a span starts.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(s *settings) { s.provider = provider }
}

// WithPropagator sets how a span's context travels in a record's headers. Default: as W3C's traceparent and tracestate. It is not
// otel.GetTextMapPropagator, which propagates nothing until it is set.
func WithPropagator(propagator propagation.TextMapPropagator) Option {
	return func(s *settings) { s.propagator = propagator }
}

// WithBaggage propagates W3C's baggage as well. Baggage is text that every publisher of a topic chooses, and that reaches the handler's
// context and from there other services: use it where all publishers are trusted. A propagator of WithPropagator is not changed.
func WithBaggage() Option {
	return func(s *settings) { s.baggage = true }
}

type settings struct {
	provider   trace.TracerProvider // nil: the global one
	propagator propagation.TextMapPropagator
	baggage    bool // the default propagator has baggage, too
}

func newSettings(options []Option) settings {
	var s settings
	for _, option := range options {
		option(&s)
	}
	switch {
	case s.propagator != nil:
	case s.baggage:
		s.propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	default:
		s.propagator = propagation.TraceContext{}
	}
	return s
}

// start begins a span under that of ctx. Attributes are there from the beginning, for samplers to see.
func (s settings) start(ctx context.Context, name string, kind trace.SpanKind, attrs []attribute.KeyValue, links ...trace.Link) (context.Context, trace.Span) {
	provider := s.provider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	return provider.Tracer(scopeName, trace.WithSchemaURL(semconv.SchemaURL)).Start(ctx, name,
		trace.WithSpanKind(kind), trace.WithAttributes(attrs...), trace.WithLinks(links...))
}

func link(to trace.SpanContext, what string) trace.Link {
	return trace.Link{SpanContext: to, Attributes: []attribute.KeyValue{LinkKey.String(what)}}
}
