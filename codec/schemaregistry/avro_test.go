package schemaregistry_test

import (
	"testing"

	twmb "github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
)

func TestAvroOfOlderAndNewerWritersIsRead(t *testing.T) {
	registry := startRegistry(t)
	registry.seed(1, sr.TypeAvro, `{"type":"record","name":"booking","fields":[{"name":"id","type":"string"}]}`)
	registry.seed(2, sr.TypeAvro, `{"type":"record","name":"booking","fields":[{"name":"new","type":"string"},{"name":"seats","type":"int"},{"name":"id","type":"string"}]}`)
	registry.seed(3, sr.TypeAvro, `{"type":"record","name":"booking","fields":[{"name":"id","type":"bytes"},{"name":"seats","type":"string"}]}`)
	registry.seed(4, sr.TypeAvro, `{"type":"record"}`)
	own := twmb.MustParse(`{"type":"record","name":"booking","fields":[{"name":"id","type":"string"},{"name":"seats","type":"long","default":1}]}`)
	codec := must(schemaregistry.Avro[booking](registry.reading(t), own))
	for data, want := range map[string]booking{
		"\x00\x00\x00\x00\x01\x02x":            {"x", 1},
		"\x00\x00\x00\x00\x02\x06new\x04\x02x": {"x", 2},
	} {
		got := booking{Seats: 777}
		if err := codec.Decode([]byte(data), &got); err != nil || got != want {
			t.Errorf("%q: read %+v (%v), want %+v", data, got, err, want)
		}
	}
	wantClass(t, codec.Decode([]byte("\x00\x00\x00\x00\x03\x02x\x02x"), new(booking)), kafka.ClassPermanent, "schema 3: ", "incompatible at ", "seats")
	wantClass(t, codec.Decode([]byte("\x00\x00\x00\x00\x04MARK"), new(booking)), kafka.ClassPermanent, "schema 4: it can't be parsed as Avro")
	wantClass(t, codec.Decode([]byte("\x00\x00\x00\x00\x01\x08MAR"), new(booking)), kafka.ClassPermanent, "schema 1: ", "in 4 bytes")
}

func TestAvroThatRefersToOtherSchemasIsRead(t *testing.T) {
	registry := startRegistry(t)
	registry.seed(1, sr.TypeAvro, `{"type":"record","name":"Inner","fields":[{"name":"id","type":"string"}]}`)
	registry.seed(2, sr.TypeAvro, `{"type":"record","name":"Outer","fields":[{"name":"inner","type":"Inner"}]}`, sr.SchemaReference{Name: "Inner", Subject: "seeded", Version: 1})
	type inner struct {
		ID string `avro:"id"`
	}
	type outer struct {
		Inner inner `avro:"inner"`
	}
	own := twmb.MustParse(`{"type":"record","name":"Outer","fields":[{"name":"inner","type":{"type":"record","name":"Inner","fields":[{"name":"id","type":"string"}]}}]}`)
	codec := must(schemaregistry.Avro[outer](registry.reading(t), own))

	before := registry.requests.Load()
	var got outer
	if err := codec.Decode([]byte("\x00\x00\x00\x00\x02\x02x"), &got); err != nil || got.Inner.ID != "x" {
		t.Errorf("read %+v (%v)", got, err)
	}
	if asked := registry.requests.Load() - before; asked != 2 {
		t.Errorf("%d requests", asked)
	}
}
