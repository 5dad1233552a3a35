package cloudevents

import (
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Handler gives messages that are events the headers that they lack, from the event's attributes: message-id, source and event-type.
// Other messages pass as they are. An event that can't be read, as one in structured mode, is a permanent error.
//
//	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), cloudevents.Handler(router.Handle))
func Handler[T any](next kafka.Handler[T]) kafka.Handler[T] {
	return func(ctx context.Context, msg kafka.Message[T]) error {
		event, err := Read(msg)
		if errors.Is(err, ErrNoEvent) {
			return next(ctx, msg)
		}
		if err != nil {
			return err
		}
		headers := slices.Clone(msg.Headers)
		for _, from := range []struct{ header, attribute string }{
			{kafka.HeaderMessageID, event.ID}, {kafka.HeaderSource, event.Source}, {kafka.HeaderEventType, event.Type},
		} {
			if own, _ := msg.Header(from.header); own == "" {
				headers = append(headers, kgo.RecordHeader{Key: from.header, Value: []byte(from.attribute)})
			}
		}
		msg.Headers = headers
		return next(ctx, msg)
	}
}
