package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// ErrUnknownEventType is a message whose event type no handler of a [Router] is for. It is permanent.
var ErrUnknownEventType = errors.New("no handler for this event type")

// Router hands each message of a topic to the handler of its event type, the [HeaderEventType] header, decoded into that
// handler's own type. Make one with [NewRouter], add handlers with [On], and consume with its Handle method:
//
//	router := kafka.NewRouter()
//	kafka.On(router, "booking.created", func(ctx context.Context, msg kafka.Message[Created]) error { … })
//	kafka.On(router, "booking.cancelled", func(ctx context.Context, msg kafka.Message[Cancelled]) error { … })
//	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), router.Handle)
//
// A message of another type is [ErrUnknownEventType] and goes to the dead letter topic, unless Otherwise says what becomes of it.
// One without the header has the type "".
type Router struct {
	handlers  map[string]Handler[[]byte]
	otherwise Handler[[]byte]
	handling  atomic.Bool
}

// NewRouter returns a router without handlers.
func NewRouter() *Router {
	return &Router{handlers: map[string]Handler[[]byte]{}, otherwise: func(_ context.Context, msg Message[[]byte]) error {
		return NewPermanentError(fmt.Sprintf("event type %q", shorten(msg.GetEventType(), maxShownEventType)), ErrUnknownEventType)
	}}
}

// maxShownEventType bounds what an error repeats of a header that anybody may have written.
const maxShownEventType = 64

// On has messages of an event type decoded from JSON, as [JSON] does, and handled. It panics if the type has a handler
// already, if handle is nil, if JSON reads nothing into T, and once the router handles messages.
func On[T any](r *Router, eventType string, handle Handler[T]) {
	if err := checkJSON[T](); err != nil {
		panic(err)
	}
	OnWithCodec(r, eventType, JSON[T](), handle)
}

// OnWithCodec is [On] with another codec.
func OnWithCodec[T any](r *Router, eventType string, codec Codec[T], handle Handler[T]) {
	r.mustBeNew()
	switch {
	case handle == nil:
		panic(fmt.Sprintf("kafka: On: the handler of event type %q is nil", eventType))
	case codec == nil:
		panic(fmt.Sprintf("kafka: OnWithCodec: the codec of event type %q is nil", eventType))
	case r.handlers[eventType] != nil:
		panic(fmt.Sprintf("kafka: On: event type %q has two handlers", eventType))
	}
	if err := checkDecode(codec); err != nil {
		panic(fmt.Sprintf("kafka: On: event type %q: %v", eventType, err))
	}
	r.handlers[eventType] = func(ctx context.Context, raw Message[[]byte]) error {
		msg := Message[T]{
			Key: raw.Key, Headers: raw.Headers, Timestamp: raw.Timestamp, Tombstone: raw.Tombstone,
			Topic: raw.Topic, Partition: raw.Partition, Offset: raw.Offset, Attempt: raw.Attempt, LastAttempt: raw.LastAttempt,
			raw: raw.raw,
		}
		if !raw.Tombstone {
			if err := decode(codec, raw.Headers, raw.Value, &msg.Value); err != nil {
				return err
			}
		}
		return handle(ctx, msg)
	}
}

// Otherwise sets the handler of messages whose event type has none. To leave them alone, let it return nil. It panics if handle is
// nil, and once the router handles messages.
func (r *Router) Otherwise(handle Handler[[]byte]) {
	r.mustBeNew()
	if handle == nil {
		panic("kafka: Router.Otherwise: the handler is nil")
	}
	r.otherwise = handle
}

// Handle is a [Handler] of what [Bytes] decodes.
func (r *Router) Handle(ctx context.Context, msg Message[[]byte]) error {
	r.handling.Store(true)
	if handle := r.handlers[msg.GetEventType()]; handle != nil {
		return handle(ctx, msg)
	}
	return r.otherwise(ctx, msg)
}

func (r *Router) mustBeNew() {
	if r.handling.Load() {
		panic("kafka: Router: a handler is added after the first message: add them before Start")
	}
}
