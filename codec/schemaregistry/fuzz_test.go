package schemaregistry_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/proto"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
	"github.com/skeji/kafka/codec/schemaregistry/internal/shop"
)

// FuzzDecode: no bytes after a known id make decoding panic, every error is permanent and a DecodeError.
func FuzzDecode(f *testing.F) {
	registry := startRegistry(f)
	registry.seed(0, sr.TypeJSON, bookingJSON)
	registry.seed(1, sr.TypeAvro, `{"type":"record","name":"booking","fields":[{"name":"new","type":["null","string"]},{"name":"seats","type":"int"},{"name":"id","type":"string"}]}`)
	cfg := registry.writing(f)
	written := must(schemaregistry.Protobuf[*shop.Booking](cfg))
	message, err := written.Encode(&shop.Booking{Id: "b-7", Place: &shop.Place{}})
	if err != nil {
		f.Fatal(err)
	}
	json := must(schemaregistry.JSONSchema[booking](registry.reading(f), ""))
	avro := must(schemaregistry.Avro[booking](registry.reading(f), nil))
	for _, seed := range []string{"", `{"id":"b-7"}`, "\x00\x04\x02x", string(message[5:]), "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x04\x02\x02\x0a\x01x", "\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		framed := func(prefix string) []byte { return append([]byte(prefix), data...) }
		var got *shop.Booking
		for _, err := range []error{
			json.Decode(framed("\x00\x00\x00\x00\x00"), new(booking)),
			avro.Decode(framed("\x00\x00\x00\x00\x01"), new(booking)),
			written.Decode(framed(string(message[:5])), &got),
		} {
			if _, ok := err.(*kafka.DecodeError); err != nil && !ok {
				t.Fatalf("%T, want a DecodeError", err)
			}
		}
		if got != nil {
			if again, err := written.Encode(got); err != nil || !proto.Equal(got, reread(t, written, again)) {
				t.Fatalf("%q became %q (%v)", data, again, err)
			}
		}
	})
}

func reread(t *testing.T, codec kafka.Codec[*shop.Booking], data []byte) (got *shop.Booking) {
	if err := codec.Decode(data, &got); err != nil {
		t.Fatal(err)
	}
	return got
}
