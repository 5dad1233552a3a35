package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
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
		r.Headers = []kgo.RecordHeader{{Key: kafka.HeaderEventType, Value: []byte(eventType)}}
	}
	return r
}

func TestARouterHandsEachEventTypeToItsHandler(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var mu sync.Mutex
		var got []string
		note := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf(format, args...))
		}
		router := kafka.NewRouter()
		kafka.On(router, "booking.created", func(_ context.Context, msg kafka.Message[created]) error {
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
		kafka.On(router, "booking.cancelled", func(_ context.Context, msg kafka.Message[cancelled]) error {
			note("cancelled: %s, tombstone %v", msg.Value.Reason, msg.Tombstone)
			return nil
		})
		kafka.OnWithCodec(router, "booking.photo", kafka.Bytes(), func(_ context.Context, msg kafka.Message[[]byte]) error {
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
		consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), router.Handle)
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
	router := kafka.NewRouter()
	err := router.Handle(t.Context(), kafka.NewMessage[[]byte]().WithEventType(strings.Repeat("x", 1000)).Build())
	if !errors.Is(err, kafka.ErrUnknownEventType) || kafka.ClassOf(err) != kafka.ClassPermanent || len(err.Error()) > 200 {
		t.Errorf("got %v (%s)", err, kafka.ClassOf(err))
	}
	router = kafka.NewRouter()
	router.Otherwise(func(_ context.Context, msg kafka.Message[[]byte]) error {
		return kafka.NewBusinessError("not for us: "+msg.GetEventType(), nil)
	})
	err = router.Handle(t.Context(), kafka.NewMessage[[]byte]().WithEventType("booking.moved").Build())
	if kafka.ClassOf(err) != kafka.ClassBusiness || !strings.Contains(err.Error(), "booking.moved") {
		t.Errorf("got %v", err)
	}
}

func TestARouterRefusesWhatCantBeMeant(t *testing.T) {
	handle := func(context.Context, kafka.Message[created]) error { return nil }
	for name, add := range map[string]func(r *kafka.Router){
		"two handlers":  func(r *kafka.Router) { kafka.On(r, "a", handle); kafka.On(r, "a", handle) },
		"a nil handler": func(r *kafka.Router) { kafka.On[created](r, "a", nil) },
		"a nil codec":   func(r *kafka.Router) { kafka.OnWithCodec(r, "a", nil, handle) },
		"bytes as JSON": func(r *kafka.Router) {
			kafka.On(r, "a", func(context.Context, kafka.Message[[]byte]) error { return nil })
		},
		"a nil Otherwise":    func(r *kafka.Router) { r.Otherwise(nil) },
		"after the first":    func(r *kafka.Router) { _ = r.Handle(t.Context(), kafka.Message[[]byte]{}); kafka.On(r, "a", handle) },
		"Otherwise after it": func(r *kafka.Router) { _ = r.Handle(t.Context(), kafka.Message[[]byte]{}); r.Otherwise(r.Handle) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it is taken")
				}
			}()
			add(kafka.NewRouter())
		})
	}
}

// Whether a retry is left is told to handlers, a router's too.
func TestTheLastAttemptIsNamed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var last []bool
		router := kafka.NewRouter()
		kafka.On(router, "", func(_ context.Context, msg kafka.Message[numbered]) error {
			last = append(last, msg.LastAttempt)
			return errors.New("away")
		})
		b.seed(0, 1)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxRetries = time.Hour, 2
		consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), router.Handle)
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
