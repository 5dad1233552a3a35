package tracing

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/errortype"
)

// ProducerMiddleware makes a span "send <topic>" of each message, from when it is published until the brokers have stored it
// or it failed, and puts the span's context into the record's headers, in place of any that is there.
func ProducerMiddleware(options ...Option) kafka.ProducerPlugin {
	return producerPlugin{newSettings(options)}
}

type producerPlugin struct{ settings settings }

func (p producerPlugin) ForProducer(info kafka.ProducerInfo) (kafka.ProducerMiddleware, kafka.ProducerHooks) {
	if info.DisableMiddleware {
		return nil, kafka.ProducerHooks{}
	}
	return func(next kafka.PublishFunc) kafka.PublishFunc {
		return func(ctx context.Context, r *kafka.Record, done func(error)) {
			ctx, span := p.settings.startSend(ctx, r, info.ClientID)
			r.Headers = inject(ctx, p.settings.propagator, r.Headers)
			next(ctx, r, func(err error) {
				endSend(span, r, err)
				done(err)
			})
		}
	}, kafka.ProducerHooks{}
}

func (s settings) startSend(ctx context.Context, r *kafka.Record, clientID string, links ...trace.Link) (context.Context, trace.Span) {
	attrs := append(make([]attribute.KeyValue, 0, 8),
		semconv.MessagingSystemKafka, semconv.MessagingOperationName("send"), semconv.MessagingOperationTypeSend,
		semconv.MessagingDestinationName(r.Topic), semconv.MessagingClientID(clientID))
	return s.start(ctx, "send "+r.Topic, trace.SpanKindProducer, appendIDs(attrs, r.Headers), links...)
}

// endSend ends the span before the caller hears of the outcome.
func endSend(span trace.Span, r *kafka.Record, err error) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	kind := ""
	if err == nil {
		span.SetAttributes(semconv.MessagingDestinationPartitionID(strconv.Itoa(int(r.Partition))), semconv.MessagingKafkaOffset(int(r.Offset)))
	} else {
		var text string
		kind, text = publishError(err)
		fail(span, err, kind, text, nil)
	}
	if r.Value == nil && kind != errortype.Other { // a value that can't be encoded is nil, too
		span.SetAttributes(semconv.MessagingKafkaMessageTombstone(true))
	}
}
