package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type created struct {
	ID    string `json:"id"`
	Seats int    `json:"seats"`
}

type cancelled struct {
	Reason string `json:"reason"`
}

// ofType is a record of an event type.
func ofType(eventType, value string) *kgo.Record {
	r := &kgo.Record{Partition: 0, Key: []byte("b-1"), Value: []byte(value)}
	if eventType != "" {
		r.Headers = []kgo.RecordHeader{{Key: HeaderEventType, Value: []byte(eventType)}}
	}
	return r
}

func TestARouterHandsEachEventTypeToItsHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var mu sync.Mutex
		var got []string
		note := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf(format, args...))
		}
		router := NewRouter()
		On(router, "booking.created", func(_ context.Context, msg Message[created]) error {
			note("created %s %d of %s at %d, attempt %d", msg.Value.ID, msg.Value.Seats, msg.Key, msg.Offset, msg.Attempt)
			var again created
			if err := msg.DecodeValue(&again); err != nil || again != msg.Value {
				t.Errorf("decoded again: %+v, %v", again, err)
			}
			if msg.Attempt == 1 {
				return errors.New("may pass")
			}
			return nil
		})
		On(router, "booking.cancelled", func(_ context.Context, msg Message[cancelled]) error {
			note("cancelled: %s, tombstone %v", msg.Value.Reason, msg.Tombstone)
			return nil
		})
		OnWithCodec(router, "booking.photo", Bytes(), func(_ context.Context, msg Message[[]byte]) error {
			note("photo %s", msg.Value)
			return nil
		})
		b.produce(ofType("booking.created", `{"id":"b-1","seats":2}`), ofType("booking.cancelled", `{"reason":"rain"}`),
			ofType("booking.photo", "\xff\xd8"), ofType("booking.moved", `{}`), ofType("", `{}`), ofType("booking.created", `{"id":7}`))
		tombstone := ofType("booking.cancelled", "")
		tombstone.Value = nil
		b.produce(tombstone)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.HandleTombstones = time.Hour, true
		consumer, err := NewConsumerWithCodec(cfg, Bytes(), router.Handle)
		if err != nil {
			t.Fatal(err)
		}
		stop := b.run(consumer)
		time.Sleep(time.Minute)
		if err := stop(); err != nil || b.committed(0) != 7 || b.letters() != 3 {
			t.Errorf("Start returned %v; committed %d, want 7; %d letters, want those of two unknown types and of what can't be decoded",
				err, b.committed(0), b.letters())
		}
		const want = "created b-1 2 of b-1 at 0, attempt 1; created b-1 2 of b-1 at 0, attempt 2; cancelled: rain, tombstone false; " +
			"photo \xff\xd8; cancelled: , tombstone true"
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("handled\n\t%s, want\n\t%s", text, want)
		}
	})
}

func TestWhatARouterSaysOfUnknownTypes(t *testing.T) {
	router := NewRouter()
	err := router.Handle(t.Context(), NewMessage[[]byte]().WithEventType(strings.Repeat("x", 1000)).Build())
	if !errors.Is(err, ErrUnknownEventType) || ClassOf(err) != ClassPermanent || len(err.Error()) > 200 {
		t.Errorf("got %v (%s)", err, ClassOf(err))
	}
	router = NewRouter()
	router.Otherwise(func(_ context.Context, msg Message[[]byte]) error {
		return NewBusinessError("not for us: "+msg.GetEventType(), nil)
	})
	err = router.Handle(t.Context(), NewMessage[[]byte]().WithEventType("booking.moved").Build())
	if ClassOf(err) != ClassBusiness || !strings.Contains(err.Error(), "booking.moved") {
		t.Errorf("got %v", err)
	}
}

func TestARouterRefusesWhatCantBeMeant(t *testing.T) {
	handle := func(context.Context, Message[created]) error { return nil }
	for name, add := range map[string]func(r *Router){
		"two handlers":       func(r *Router) { On(r, "a", handle); On(r, "a", handle) },
		"a nil handler":      func(r *Router) { On[created](r, "a", nil) },
		"a nil codec":        func(r *Router) { OnWithCodec(r, "a", nil, handle) },
		"bytes as JSON":      func(r *Router) { On(r, "a", func(context.Context, Message[[]byte]) error { return nil }) },
		"a nil Otherwise":    func(r *Router) { r.Otherwise(nil) },
		"after the first":    func(r *Router) { _ = r.Handle(t.Context(), Message[[]byte]{}); On(r, "a", handle) },
		"Otherwise after it": func(r *Router) { _ = r.Handle(t.Context(), Message[[]byte]{}); r.Otherwise(r.Handle) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it is taken")
				}
			}()
			add(NewRouter())
		})
	}
}

// Whether a retry is left is told to handlers, a router's too.
func TestTheLastAttemptIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var last []bool
		router := NewRouter()
		On(router, "", func(_ context.Context, msg Message[numbered]) error {
			last = append(last, msg.LastAttempt)
			return errors.New("away")
		})
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxRetries = time.Hour, 2
		consumer, err := NewConsumerWithCodec(cfg, Bytes(), router.Handle)
		if err != nil {
			t.Fatal(err)
		}
		stop := b.run(consumer)
		time.Sleep(5 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if fmt.Sprint(last) != "[false false true]" {
			t.Errorf("the attempts were the last: %v", last)
		}
	})
}
