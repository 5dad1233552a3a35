package avro_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka"
)

// Through a broker: bytes that are no Avro, a value, a tombstone.
func TestValuesGoThroughABroker(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "bookings", "dlq-bookings"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	broker := cluster.ListenAddrs()[0]
	codec := codecOf[booking](t, "")
	publish(t, broker, kafka.Bytes(), kafka.NewMessage[[]byte]().WithKey("k").WithValue([]byte("MARK")).Build())
	publish(t, broker, codec,
		kafka.NewMessage[booking]().WithKey("k").WithValue(aBooking).Build(),
		kafka.NewMessage[booking]().WithKey("k").WithTombstone().Build())

	cfg := kafka.NewConsumerConfig("bookings", "test", broker)
	cfg.HandleTombstones = true
	got := consume(t, cfg, codec, 2)
	if !reflect.DeepEqual(got[0].Value, aBooking) {
		t.Errorf("read %+v", got[0].Value)
	}
	if kind, _ := got[0].Header(kafka.HeaderContentType); kind != "application/avro" {
		t.Errorf("content type %q", kind)
	}
	if tomb := got[1]; !tomb.Tombstone || !reflect.DeepEqual(tomb.Value, booking{}) {
		t.Errorf("the tombstone is %+v", tomb)
	}

	letters := kafka.NewConsumerConfig("dlq-bookings", "test-letters", broker)
	letters.DLQTopic = ""
	letter := consume(t, letters, kafka.Bytes(), 1)[0]
	if fault, ok := letter.DeadLetter(); !ok || string(letter.Value) != "MARK" || fault.Attempts != 1 || fault.Class != kafka.ClassPermanent {
		t.Errorf("the letter is %q: %+v", letter.Value, fault)
	}
}

func publish[T any](t *testing.T, broker string, codec kafka.Codec[T], msgs ...kafka.Message[T]) {
	t.Helper()
	producer, err := kafka.NewProducerWithCodec(kafka.NewProducerConfig("bookings", broker), codec)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.PublishBatch(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
}

// consume returns n messages; what comes before the last of them is settled then.
func consume[T any](t *testing.T, cfg kafka.ConsumerConfig, codec kafka.Codec[T], n int) (got []kafka.Message[T]) {
	t.Helper()
	ctx, done := context.WithTimeout(t.Context(), time.Minute) // for a test that fails
	defer done()
	consumer, err := kafka.NewConsumerWithCodec(cfg, codec, func(_ context.Context, msg kafka.Message[T]) error {
		if got = append(got, msg); len(got) == n {
			done()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	if err := consumer.Start(ctx); err != nil || len(got) != n {
		t.Fatalf("%d messages (%v), want %d", len(got), err, n)
	}
	return got
}
