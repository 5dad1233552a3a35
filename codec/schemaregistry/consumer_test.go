package schemaregistry_test

import (
	"net/http"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
	"github.com/skeji/kafka/codec/schemaregistry/internal/shop"
	"github.com/skeji/kafka/kafkatest"
)

type booking struct {
	ID    string `json:"id" avro:"id"`
	Seats int    `json:"seats" avro:"seats"`
}

const bookingJSON = `{"type":"object","properties":{"id":{"type":"string"},"seats":{"type":"integer"}}}`

func TestValuesGoThroughABroker(t *testing.T) {
	registry := startRegistry(t)
	t.Run("JSON", func(t *testing.T) {
		write, read := registry.writing(t), registry.reading(t)
		through(t, registry, must(schemaregistry.JSONSchema[booking](write, bookingJSON)), must(schemaregistry.JSONSchema[booking](read, "")),
			booking{"b-7", 2}, func(got booking) bool { return got == booking{"b-7", 2} })
	})
	t.Run("Avro", func(t *testing.T) {
		registry.Reset()
		through(t, registry, must(schemaregistry.Avro[booking](registry.writing(t), nil)), must(schemaregistry.Avro[booking](registry.reading(t), nil)),
			booking{"b-7", 2}, func(got booking) bool { return got == booking{"b-7", 2} })
	})
	t.Run("Protobuf", func(t *testing.T) {
		registry.Reset()
		want := &shop.Booking{Id: "b-7", Seats: 2, Place: &shop.Place{City: "Köln"}}
		through(t, registry, must(schemaregistry.Protobuf[*shop.Booking](registry.writing(t))), must(schemaregistry.Protobuf[*shop.Booking](registry.reading(t))),
			want, func(got *shop.Booking) bool { return proto.Equal(got, want) })
	})
}

// through sends bytes that are in no wire format, a value of an unknown schema, a value and a tombstone.
func through[T any](t *testing.T, registry *fake, write, read kafka.Codec[T], value T, same func(T) bool) {
	broker := kafkatest.Start(t, "bookings")
	atStart := registry.requests.Load()
	kafkatest.PublishWithCodec(t, broker, "bookings", kafka.Bytes(),
		kafka.NewMessage[[]byte]().WithKey("k").WithValue([]byte(`"MARK"`)).Build(),
		kafka.NewMessage[[]byte]().WithKey("k").WithValue([]byte("\x00\x00\x00\x27\x0fMARK")).Build())
	many := []kafka.Message[T]{}
	for range 100 {
		many = append(many, kafka.NewMessage[T]().WithKey("k").WithValue(value).Build())
	}
	kafkatest.PublishWithCodec(t, broker, "bookings", write, append(many, kafka.NewMessage[T]().WithKey("k").WithTombstone().Build())...)
	if asked := registry.requests.Load() - atStart; asked != 0 {
		t.Errorf("publishing made %d requests", asked)
	}

	got := consumed(t, broker, read)
	if len(got) != 101 {
		t.Fatalf("%d messages, want 101", len(got))
	}
	for _, msg := range got[:100] {
		if kind, _ := msg.Header(kafka.HeaderContentType); kind != "application/octet-stream" || !same(msg.Value) {
			t.Fatalf("read %+v of %q", msg.Value, kind)
		}
	}
	if !got[100].Tombstone {
		t.Errorf("the tombstone is %+v", got[100])
	}
	if asked := registry.requests.Load() - atStart; asked != 2 {
		t.Errorf("%d requests, want one for each id", asked)
	}

	for i, letter := range kafkatest.AwaitPublished[[]byte](t, broker, "dlq-bookings", 2) {
		want := []string{
			"decode value: not Schema Registry's format, in 6 bytes: want a zero byte and a schema's id",
			"decode value: schema 9999: the registry does not know it",
		}[i]
		if fault, ok := letter.DeadLetter(); !ok || fault.Attempts != 1 || fault.Message != want {
			t.Errorf("letter %d: %+v, want %q", i, fault, want)
		}
	}
}

func TestAnOutageOfTheRegistryIsRetried(t *testing.T) {
	registry := startRegistry(t)
	write := must(schemaregistry.Avro[booking](registry.writing(t), nil))
	broker := kafkatest.Start(t, "bookings")
	kafkatest.PublishWithCodec(t, broker, "bookings", write, kafka.NewMessage[booking]().WithKey("k").WithValue(booking{"b-7", 2}).Build())

	registry.failNext(http.StatusServiceUnavailable, 3)
	got := consumed(t, broker, must(schemaregistry.Avro[booking](registry.reading(t), nil)))
	if len(got) != 1 || got[0].Value.ID != "b-7" || got[0].Attempt != 4 {
		t.Errorf("read %+v", got)
	}
}
