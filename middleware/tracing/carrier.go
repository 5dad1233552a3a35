package tracing

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/recordheader"
)

const (
	// maxCarriedBytes is the longest header that is looked at for a context: what W3C lets a baggage have. A traceparent has
	// 55 bytes. Anybody may have written the headers, and as many bytes as a record takes.
	maxCarriedBytes = 8192
	maxIDBytes      = 128 // of an id that becomes an attribute
)

// carrier shows headers to a propagator. Names are compared as they are: Kafka's have upper and lower case.
type carrier []kgo.RecordHeader

// Get returns the last header of that name, or "".
func (c carrier) Get(name string) string {
	value := lastHeader(c, name)
	if len(value) > maxCarriedBytes {
		return ""
	}
	return string(value)
}

// Set replaces what was Set before.
func (c *carrier) Set(name, value string) {
	*c = append(without(*c, name), kgo.RecordHeader{Key: name, Value: []byte(value)})
}

// Keys returns the names, each as often as it is there.
func (c carrier) Keys() []string {
	names := make([]string, len(c))
	for i, h := range c {
		names[i] = h.Key
	}
	return names
}

// inject returns the headers with ctx's span in place of any other. They are a new slice, since others may hold the one that
// is given. A context without a span changes nothing.
func inject(ctx context.Context, propagator propagation.TextMapPropagator, headers []kgo.RecordHeader) []kgo.RecordHeader {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return headers
	}
	var injected carrier
	propagator.Inject(ctx, &injected)
	if len(injected) == 0 {
		return headers
	}
	// All that belongs to the other one goes: its tracestate would say untrue things of this span, and its baggage is somebody else's.
	return append(without(headers, append(append(injected.Keys(), propagator.Fields()...), "baggage")...), injected...)
}

// extract returns ctx with the span that the headers tell of, and that span; or with none, whatever span ctx has.
func extract(ctx context.Context, propagator propagation.TextMapPropagator, headers []kgo.RecordHeader) (context.Context, trace.SpanContext) {
	ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	ctx = propagator.Extract(ctx, (*carrier)(&headers))
	return ctx, trace.SpanContextFromContext(ctx)
}

// letterSpan returns the span that sent a dead letter, if the headers tell of one.
func letterSpan(headers []kgo.RecordHeader) trace.SpanContext {
	value := carrier(headers).Get(HeaderDeadLetterTraceparent)
	if value == "" {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": value})
	return trace.SpanContextFromContext(ctx)
}

// withLetterSpan returns the headers, a new slice, with the span of ctx as the one that sent the letter.
func withLetterSpan(ctx context.Context, headers []kgo.RecordHeader) []kgo.RecordHeader {
	written := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, written)
	return append(without(headers, HeaderDeadLetterTraceparent),
		kgo.RecordHeader{Key: HeaderDeadLetterTraceparent, Value: []byte(written["traceparent"])})
}

// without returns a new slice of the headers of other names, with room for one or two more.
func without(headers []kgo.RecordHeader, names ...string) []kgo.RecordHeader {
	kept := make([]kgo.RecordHeader, 0, len(headers)+2)
	for _, h := range headers {
		if !slices.Contains(names, h.Key) {
			kept = append(kept, h)
		}
	}
	return kept
}

func lastHeader(list []kgo.RecordHeader, name string) []byte {
	value, _ := recordheader.Last(list, name)
	return value
}

// appendIDs adds the ids that the headers hold, shortened to what an attribute should hold.
func appendIDs(attrs []attribute.KeyValue, headers []kgo.RecordHeader) []attribute.KeyValue {
	add := func(key attribute.Key, header string) {
		value := lastHeader(headers, header)
		if len(value) > 0 {
			attrs = append(attrs, key.String(clean(string(value[:min(len(value), maxIDBytes)]))))
		}
	}
	add(semconv.MessagingMessageIDKey, kafka.HeaderMessageID)
	add(semconv.MessagingMessageConversationIDKey, kafka.HeaderConversationID)
	add(CorrelationIDKey, kafka.HeaderCorrelationID)
	return attrs
}
