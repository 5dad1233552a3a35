package kafka_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// BookingCommand is docs/migrating.md's.
type BookingCommand struct {
	Seats int `json:"seats"`
}

func handleEachType(consumed func(any)) kafka.Handler[[]byte] {
	router := kafka.NewRouter()
	kafka.On(router, "booking.create", func(_ context.Context, msg kafka.Message[BookingCommand]) error {
		consumed(msg.Value)
		return nil
	})
	return router.Handle // with NewConsumerWithCodec(cfg, kafka.Bytes(), …)
}

func handleAsBefore(consumed func(any)) kafka.Handler[json.RawMessage] {
	return func(_ context.Context, msg kafka.Message[json.RawMessage]) error {
		if msg.GetEventType() != "booking.create" {
			return kafka.NewPermanentError("event type "+msg.GetEventType(), nil)
		}
		var cmd BookingCommand
		if err := msg.DecodeValue(&cmd); err != nil {
			return err // permanent: a dead letter
		}
		consumed(cmd)
		return nil
	}
}

func TestMigratedHandlersDoTheSame(t *testing.T) {
	for _, c := range []struct {
		eventType, value string
		class            kafka.Class
	}{
		{"booking.create", `{"seats":2}`, ""},
		{"booking.create", `{"seats":"two"}`, kafka.ClassPermanent},
		{"booking.move", `{"seats":2}`, kafka.ClassPermanent},
	} {
		var got []any
		consumed := func(value any) { got = append(got, value) }
		msg := kafka.NewMessage[json.RawMessage]().WithEventType(c.eventType).WithValue(json.RawMessage(c.value)).Build()
		before, after := kafkatest.Handle(t, handleAsBefore(consumed), msg), kafkatest.Handle(t, handleEachType(consumed), msg)
		if before.Class != c.class || after.Class != c.class {
			t.Errorf("%s %s: %q before, %q after, want %q", c.eventType, c.value, before.Class, after.Class, c.class)
		}
		want := 0
		if c.class == "" {
			want = 2
		}
		if len(got) != want || want > 0 && (got[0] != BookingCommand{Seats: 2} || got[0] != got[1]) {
			t.Errorf("%s %s: handled %v", c.eventType, c.value, got)
		}
	}
}
