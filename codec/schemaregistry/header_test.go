package schemaregistry_test

import (
	"encoding/hex"
	"strings"
	"testing"

	twmb "github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/avro"
	"github.com/skeji/kafka/codec/schemaregistry"
	"github.com/skeji/kafka/codec/schemaregistry/internal/shop"
	"github.com/skeji/kafka/kafkatest"
)

const schemaHeader = "__value_schema_id"

// Through a broker: values whose schema is named by a header, by its number and by its GUID, and others.
func TestSchemasThatAHeaderNamesAreRead(t *testing.T) {
	registry := startRegistry(t)
	registry.seed(1, sr.TypeAvro, `{"type":"record","name":"booking","fields":[{"name":"seats","type":"int"},{"name":"id","type":"string"}]}`)
	guid := guidOf(t, registry, 1)
	broker := kafkatest.Start(t, "bookings")
	value := "\x00\x02x" // no seats: as if it began with an id
	send := func(value, id string) {
		msg := kafka.NewMessage[[]byte]().WithKey("k").WithValue([]byte(value))
		if id != "-" {
			msg.WithHeader(schemaHeader, id)
		}
		kafkatest.PublishWithCodec(t, broker, "bookings", kafka.Bytes(), msg.Build())
	}
	send(value, "\x00\x00\x00\x00\x01")
	send(value, "\x01"+guid)
	send("\x00\x00\x00\x00\x01"+value, "-")
	for _, id := range []string{"", "MARK", "\x00\x00\x00\x01", "\x01" + guid[:15], "\x01" + guid + "\x00", "\x01" + strings.Repeat("x", 16), "\x00\x00\x00\x00\x02"} {
		send(value, id)
	}
	own := twmb.MustParse(`{"type":"record","name":"booking","fields":[{"name":"id","type":"string"},{"name":"seats","type":"long"}]}`)
	got := consumed(t, broker, must(schemaregistry.Avro[booking](registry.reading(t), own)))
	if len(got) != 3 {
		t.Errorf("%d messages, want 3", len(got))
	}
	for _, msg := range got {
		if msg.Value != (booking{"x", 0}) {
			t.Errorf("read %+v", msg.Value)
		}
	}
	letters := kafkatest.AwaitPublished[[]byte](t, broker, "dlq-bookings", 7)
	for i, letter := range letters {
		want := "header __value_schema_id names no schema, in "
		if i >= 5 {
			want = ": the registry does not know it"
		}
		if fault, ok := letter.DeadLetter(); !ok || !strings.Contains(fault.Message, want) || strings.Contains(fault.Message, "MARK") {
			t.Errorf("letter %d: %+v", i, fault)
		}
	}
}

// guidOf returns a schema's GUID as a header has it.
func guidOf(t *testing.T, registry *fake, version int) string {
	t.Helper()
	schema, ok := registry.GetSchema("seeded", version)
	guid, err := hex.DecodeString(strings.ReplaceAll(schema.GUID, "-", ""))
	if err != nil || !ok || len(guid) != 16 {
		t.Fatalf("GUID %q (%v)", schema.GUID, err)
	}
	return string(guid)
}

type headerDecoder[T any] interface {
	DecodeWithHeaders(headers []kgo.RecordHeader, data []byte, value *T) error
}

func TestAHeaderNamesAMessageToo(t *testing.T) {
	registry := startRegistry(t)
	registry.seed(1, sr.TypeProtobuf, `syntax = "proto3"; package registryshop.v1; message Cancelled {} message Booking { message Note { string text = 1; } }`)
	registry.seed(2, sr.TypeJSON, bookingJSON)
	guid := guidOf(t, registry, 1)
	notes := must(schemaregistry.Protobuf[*shop.Booking_Note](registry.reading(t))).(headerDecoder[*shop.Booking_Note])
	decode := func(id string) (note *shop.Booking_Note, err error) {
		headers := []kgo.RecordHeader{{Key: schemaHeader, Value: []byte("an older one")}, {Key: schemaHeader, Value: []byte(id)}}
		err = notes.DecodeWithHeaders(headers, []byte("\x0a\x01x"), &note)
		return note, err
	}
	for _, id := range []string{"\x01" + guid + "\x04\x02\x00", "\x00\x00\x00\x00\x01\x04\x02\x00"} {
		if note, err := decode(id); err != nil || note.GetText() != "x" {
			t.Errorf("%q: read %v (%v)", id, note, err)
		}
	}
	for _, id := range []string{"\x01" + guid, "\x01" + guid + "\x04\x02", "\x01" + guid + "\x04\x02\x00\x00"} {
		_, err := decode(id)
		wantClass(t, err, kafka.ClassPermanent, "header __value_schema_id names no schema, in ")
	}
	_, err := decode("\x01" + guid + "\x00")
	wantClass(t, err, kafka.ClassPermanent, "the value is a registryshop.v1.Cancelled, want")

	json := must(schemaregistry.JSONSchema[booking](registry.reading(t), "")).(headerDecoder[booking])
	var got booking
	err = json.DecodeWithHeaders([]kgo.RecordHeader{{Key: schemaHeader, Value: []byte("\x00\x00\x00\x00\x02")}}, []byte(`{"id":"x"}`), &got)
	if err != nil || got.ID != "x" {
		t.Errorf("read %+v (%v)", got, err)
	}
	if err := json.DecodeWithHeaders([]kgo.RecordHeader{{Key: schemaHeader}}, []byte("\x00\x00\x00\x00\x02{}"), &got); err != nil {
		t.Errorf("a header without a value: %v", err)
	}
}

// A header of what was consumed says nothing of what is published.
func TestTheHeaderOfAnotherValueIsNotPublished(t *testing.T) {
	registry := startRegistry(t)
	broker := kafkatest.Start(t, "bookings")
	forwarded := kafka.NewMessage[booking]().WithKey("k").WithValue(booking{"x", 1}).WithHeader(schemaHeader, "\x00\x00\x00\x00\x07").WithHeader("other", "x").Build()
	codec := must(schemaregistry.Avro[booking](registry.writing(t), nil))
	kafkatest.PublishWithCodec(t, broker, "bookings", codec, forwarded)
	plain, err := avro.Codec[booking](nil)
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.PublishWithCodec(t, broker, "bookings", plain, forwarded)
	for _, msg := range kafkatest.AwaitPublished[[]byte](t, broker, "bookings", 2) {
		if id, has := msg.Header(schemaHeader); has {
			t.Errorf("published with the schema %q", id)
		}
		if _, has := msg.Header("other"); !has {
			t.Error("another header is gone")
		}
	}
	refusing := plain.(headerDecoder[booking])
	err = refusing.DecodeWithHeaders([]kgo.RecordHeader{{Key: schemaHeader, Value: []byte("MARK")}}, nil, new(booking))
	wantClass(t, err, kafka.ClassPermanent, "header __value_schema_id: use codec/schemaregistry")
}
