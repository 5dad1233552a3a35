package schemaregistry_test

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
	"github.com/skeji/kafka/codec/schemaregistry/internal/shop"
)

// What is written says which message of the file it is: 1, 1 for the second message's second.
func TestMessagesAreNamedByTheirPlace(t *testing.T) {
	registry := startRegistry(t)
	cfg := registry.writing(t)
	note := must(schemaregistry.Protobuf[*shop.Booking_Note](cfg))
	cancelled := must(schemaregistry.Protobuf[*shop.Cancelled](cfg))
	booked := must(schemaregistry.Protobuf[*shop.Booking](cfg))
	first, _ := cancelled.Encode(&shop.Cancelled{Id: "MARK"})
	second, _ := booked.Encode(&shop.Booking{Id: "MARK"})
	nested, _ := note.Encode(&shop.Booking_Note{Text: "MARK"})
	for got, want := range map[string]string{
		string(first[5:]): "\x00\x0a\x04MARK", string(second[5:]): "\x02\x02\x0a\x04MARK", string(nested[5:]): "\x04\x02\x02\x0a\x04MARK",
	} {
		if got != want {
			t.Errorf("wrote %q, want %q", got, want)
		}
	}

	reads := must(schemaregistry.Protobuf[*shop.Booking_Note](registry.reading(t)))
	var got *shop.Booking_Note
	if err := reads.Decode(nested, &got); err != nil || got.GetText() != "MARK" {
		t.Errorf("read %v (%v)", got, err)
	}
	wantClass(t, reads.Decode(first, &got), kafka.ClassPermanent, "the value is a registryshop.v1.Cancelled, want a registryshop.v1.Booking.Note")
	wantClass(t, reads.Decode(second, &got), kafka.ClassPermanent, "the value is a registryshop.v1.Booking, want")
	if _, err := booked.Encode(nil); err == nil {
		t.Error("nil was written")
	}
}

func TestImportsAreLookedUpUnderTheirNames(t *testing.T) {
	registry := startRegistry(t)
	cfg := schemaregistry.Config{Client: registry.client(t), Topic: "bookings"}
	_, err := schemaregistry.Protobuf[*shop.Booking](cfg)
	wantText(t, err, "subject place.proto does not have this schema")
	cfg.Register = true
	must(schemaregistry.Protobuf[*shop.Booking](cfg))
	schema, ok := registry.GetSchema("bookings-value", 1)
	if !ok || len(schema.References) != 1 || schema.References[0] != (sr.SchemaReference{Name: "place.proto", Subject: "place.proto", Version: 1}) {
		t.Errorf("registered %v", schema.References)
	}
	cfg.Register = false
	must(schemaregistry.Protobuf[*shop.Booking](cfg))
	_, err = schemaregistry.Protobuf[proto.Message](cfg)
	wantText(t, err, "want a pointer to a generated message")
}

// A writer may have its messages in another order, in a file that says more, and as text.
func TestMessagesOfAnotherFileAreReadByName(t *testing.T) {
	registry := startRegistry(t)
	text, err := os.ReadFile("internal/shop/shop.proto")
	if err != nil {
		t.Fatal(err)
	}
	registry.seed(1, sr.TypeProtobuf, string(text))
	registry.seed(2, sr.TypeProtobuf, `
		syntax = "proto2"; /* message Comment {} */
		package registryshop.v1;
		option java_package = "message X {}";
		enum Kind { A = 0; }
		message Booking {
			option deprecated = true;
			enum State { NEW = 0; }
			oneof what { string text = 1; }
			map<string, string> table = 2;
			message Note { optional string text = 1; extensions 100 to 200; }
		}`)
	registry.seed(3, sr.TypeProtobuf, `syntax = "proto3"; message Booking { message Note {} }`)
	registry.seed(4, sr.TypeProtobuf, `syntax = "proto3"; message {`)
	reads := must(schemaregistry.Protobuf[*shop.Booking_Note](registry.reading(t)))
	for _, data := range []string{"\x00\x00\x00\x00\x01\x04\x02\x02\x0a\x01x", "\x00\x00\x00\x00\x02\x04\x00\x00\x0a\x01x"} {
		var got *shop.Booking_Note
		if err := reads.Decode([]byte(data), &got); err != nil || got.GetText() != "x" {
			t.Errorf("%q: read %v (%v)", data, got, err)
		}
	}
	var got *shop.Booking_Note
	for data, part := range map[string]string{
		"\x00\x00\x00\x00\x03\x04\x00\x00\x0a\x01x":                    "schema 3: the value is a Booking.Note, want a registryshop.v1.Booking.Note",
		"\x00\x00\x00\x00\x04\x00":                                     "schema 4: it can't be parsed as Protocol Buffers",
		"\x00\x00\x00\x00\x01":                                         "schema 1: the index of the message can't be read",
		"\x00\x00\x00\x00\x01\x01":                                     "the index of the message can't be read", // a length of -1
		"\x00\x00\x00\x00\x01\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01": "the index of the message can't be read", // of 2^63-1
		"\x00\x00\x00\x00\x01\x42" + strings.Repeat("\x00", 40):        "the index of the message can't be read", // of 33
		"\x00\x00\x00\x00\x01\x02\x06MARK":                             "it has no message of the value's index",
		"\x00\x00\x00\x00\x01\x02\x01MARK":                             "it has no message of the value's index", // -1
		"\x00\x00\x00\x00\x01\x04\x02\x02MARK":                         "schema 1: registryshop.v1.Booking.Note, in 4 bytes",
	} {
		wantClass(t, reads.Decode([]byte(data), &got), kafka.ClassPermanent, part)
	}
}

// Go and Python number the entries of map fields, Java and this library do not: [2,2] is Order.Line of the former,
// Order.Last of the latter.
func TestMessagesBehindAMapFieldAreReadUnderEitherNumbering(t *testing.T) {
	const goLine, javaLine, goLast, javaLast = "\x04\x04\x04", "\x04\x04\x02", "\x04\x04\x06", "\x04\x04\x04"
	const goDeep, javaDeep, early = "\x06\x04\x04\x00", "\x06\x04\x02\x00", "\x04\x04\x00"
	const text, textAndN = "\x0a\x01x", "\x0a\x01x\x10\x07"
	registry := startRegistry(t)
	source, err := os.ReadFile("internal/shop/shop.proto")
	if err != nil {
		t.Fatal(err)
	}
	registry.seed(1, sr.TypeProtobuf, string(source))
	registry.seed(2, sr.TypeProtobuf, descriptorOf(t, (&shop.Order{}).ProtoReflect().Descriptor().ParentFile()))
	for id := range 2 {
		frame := "\x00\x00\x00\x00" + string(rune(id+1))
		reading := func(numbering schemaregistry.MessageIndex) schemaregistry.Config {
			cfg := registry.reading(t)
			cfg.MessageIndex = numbering
			return cfg
		}
		line := func(numbering schemaregistry.MessageIndex, data string) (*shop.Order_Line, error) {
			var got *shop.Order_Line
			err := must(schemaregistry.Protobuf[*shop.Order_Line](reading(numbering))).Decode([]byte(frame+data), &got)
			return got, err
		}
		last := func(numbering schemaregistry.MessageIndex, data string) (*shop.Order_Last, error) {
			var got *shop.Order_Last
			err := must(schemaregistry.Protobuf[*shop.Order_Last](reading(numbering))).Decode([]byte(frame+data), &got)
			return got, err
		}
		deep := must(schemaregistry.Protobuf[*shop.Order_Line_Deep](registry.reading(t)))

		for data, numbering := range map[string]schemaregistry.MessageIndex{
			goLine + textAndN: schemaregistry.DescriptorIndex, javaLine + textAndN: schemaregistry.DeclaredIndex,
		} {
			for _, allowed := range []schemaregistry.MessageIndex{schemaregistry.AnyIndex, numbering} {
				if got, err := line(allowed, data); err != nil || got.GetN() != 7 {
					t.Errorf("schema %d: a line of %v: %v (%v)", id+1, numbering, got, err)
				}
			}
		}
		for _, data := range []string{goLast + text, javaLast + text} {
			if got, err := last(schemaregistry.AnyIndex, data); err != nil || got.GetText() != "x" {
				t.Errorf("schema %d: a last of %q: %v (%v)", id+1, data, got, err)
			}
		}
		for _, data := range []string{goDeep + text, javaDeep + text} {
			var got *shop.Order_Line_Deep
			if err := deep.Decode([]byte(frame+data), &got); err != nil || got.GetText() != "x" {
				t.Errorf("schema %d: a message within of %q: %v (%v)", id+1, data, got, err)
			}
		}

		_, err := last(schemaregistry.AnyIndex, goLine+textAndN) // a line for sure: a last has no n
		wantClass(t, err, kafka.ClassPermanent, "Order.Line if Confluent's Go or Python client wrote it", "Order.Last if Confluent's Java client or this library wrote it", "Config.MessageIndex")
		_, err = last(schemaregistry.DescriptorIndex, goLine+text)
		wantClass(t, err, kafka.ClassPermanent, "the value is a registryshop.v1.Order.Line, want a registryshop.v1.Order.Last")
		_, err = line(schemaregistry.DeclaredIndex, javaLast+text)
		wantClass(t, err, kafka.ClassPermanent, "the value is a registryshop.v1.Order.Last, want a registryshop.v1.Order.Line")
		_, err = line(schemaregistry.AnyIndex, early+text)
		wantClass(t, err, kafka.ClassPermanent, "the value is a registryshop.v1.Order.Early, want")
		wantClass(t, deep.Decode([]byte(frame+javaLast+text), new(*shop.Order_Line_Deep)), kafka.ClassPermanent, "Order.Last if ", "Order.Line if ", "want a registryshop.v1.Order.Line.Deep")
		_, err = line(schemaregistry.DescriptorIndex, javaLine+text)
		wantClass(t, err, kafka.ClassPermanent, "it has no message of the value's index") // but a map's entry
	}

	cfg := registry.writing(t)
	cfg.MessageIndex = schemaregistry.DescriptorIndex
	data, err := must(schemaregistry.Protobuf[*shop.Order_Line](cfg)).Encode(&shop.Order_Line{Text: "x"})
	if err != nil || string(data[5:]) != goLine+text {
		t.Errorf("wrote %q (%v)", data, err)
	}
	cfg.MessageIndex = 3
	_, err = schemaregistry.Protobuf[*shop.Order_Line](cfg)
	wantText(t, err, "MessageIndex is 3: want ")
}

func descriptorOf(t *testing.T, file protoreflect.FileDescriptor) string {
	t.Helper()
	data, err := proto.Marshal(protodesc.ToFileDescriptorProto(file))
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}
