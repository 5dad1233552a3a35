package protobuf_test

import (
	"context"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/protobuf"
	"github.com/skeji/kafka/codec/protobuf/internal/shop"
	"github.com/skeji/kafka/kafkatest"
)

// Through a broker: bytes that are no message, values, an unset message, a tombstone.
func TestMessagesGoThroughABroker(t *testing.T) {
	broker := kafkatest.Start(t, "bookings")
	kafkatest.PublishWithCodec(t, broker, "bookings", kafka.Bytes(), kafka.NewMessage[[]byte]().WithKey("k").WithValue([]byte("MARK")).Build())
	kafkatest.PublishWithCodec(t, broker, "bookings", protobuf.Codec[*shop.Booking](),
		kafka.NewMessage[*shop.Booking]().WithKey("k").WithValue(aBooking).Build(),
		kafka.NewMessage[*shop.Booking]().WithKey("k").WithValue(&shop.Booking{}).Build(),
		kafka.NewMessage[*shop.Booking]().WithKey("k").WithTombstone().Build())

	got := consumed(t, broker, protobuf.Codec[*shop.Booking]())
	if len(got) != 3 {
		t.Fatalf("%d messages, want 3", len(got))
	}
	if !proto.Equal(got[0].Value, aBooking) || got[1].Value == nil || !proto.Equal(got[1].Value, &shop.Booking{}) {
		t.Errorf("read %v, %v", got[0].Value, got[1].Value)
	}
	if kind, _ := got[0].Header(kafka.HeaderContentType); kind != "application/protobuf" {
		t.Errorf("content type %q", kind)
	}
	if tomb := got[2]; !tomb.Tombstone || tomb.Value != nil || tomb.Value.GetSeats() != 0 {
		t.Errorf("the tombstone is %+v", tomb)
	}

	letter := kafkatest.AwaitPublished[[]byte](t, broker, "dlq-bookings", 1)[0]
	if fault, ok := letter.DeadLetter(); !ok || string(letter.Value) != "MARK" || fault.Attempts != 1 || fault.Class != kafka.ClassPermanent {
		t.Errorf("the letter is %q: %+v", letter.Value, fault)
	}
}

// consumed returns what a consumer hands over, once it is done with all that is published.
func consumed[T any](t *testing.T, broker *kafkatest.Broker, codec kafka.Codec[T]) (got []kafka.Message[T]) {
	t.Helper()
	cfg := broker.ConsumerConfig("bookings", "test")
	cfg.HandleTombstones = true
	consumer, err := kafka.NewConsumerWithCodec(cfg, codec, func(_ context.Context, msg kafka.Message[T]) error {
		got = append(got, msg) // of one key: one after another
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := kafkatest.Run(t, consumer)
	kafkatest.AwaitDone(t, broker, "bookings", "test")
	stop()
	return got
}
