package avro_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// Through a broker: bytes that are no Avro, a value, a tombstone.
func TestValuesGoThroughABroker(t *testing.T) {
	broker := kafkatest.Start(t, "bookings")
	codec := codecOf[booking](t, "")
	kafkatest.PublishWithCodec(t, broker, "bookings", kafka.Bytes(), kafka.NewMessage[[]byte]().WithKey("k").WithValue([]byte("MARK")).Build())
	kafkatest.PublishWithCodec(t, broker, "bookings", codec,
		kafka.NewMessage[booking]().WithKey("k").WithValue(aBooking).Build(),
		kafka.NewMessage[booking]().WithKey("k").WithTombstone().Build())

	got := consumed(t, broker, codec)
	if len(got) != 2 {
		t.Fatalf("%d messages, want 2", len(got))
	}
	if !reflect.DeepEqual(got[0].Value, aBooking) {
		t.Errorf("read %+v", got[0].Value)
	}
	if kind, _ := got[0].Header(kafka.HeaderContentType); kind != "application/avro" {
		t.Errorf("content type %q", kind)
	}
	if tomb := got[1]; !tomb.Tombstone || !reflect.DeepEqual(tomb.Value, booking{}) {
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
