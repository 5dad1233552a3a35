package protobuf_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/protobuf"
	"github.com/skeji/kafka/codec/protobuf/internal/shop"
)

var aBooking = &shop.Booking{
	Id: "b-7", Seats: 2, Created: timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)),
	Guests: map[string]*shop.Guest{"a": {Name: "größe", Brought: &shop.Guest{}}},
}

func TestMessagesAreReadAsTheyWereWritten(t *testing.T) {
	codec := protobuf.Codec[*shop.Booking]()
	for name, want := range map[string]*shop.Booking{"full": aBooking, "unset": {}, "negative": {Seats: math.MinInt32}} {
		data, err := codec.Encode(want)
		if err != nil || data == nil { // nil would be a tombstone
			t.Fatalf("%s: %#v (%v)", name, data, err)
		}
		got := aBooking // which decoding must not write into
		if err := codec.Decode(data, &got); err != nil || !proto.Equal(got, want) || want != aBooking && got == aBooking {
			t.Errorf("%s: read %v (%v)", name, got, err)
		}
	}
	if aBooking.Id != "b-7" {
		t.Error("decoding wrote into the message that was there")
	}
	if kind := codec.ContentType(); kind != "application/protobuf" {
		t.Errorf("content type %q", kind)
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	const data = "\x0a\x01x" // a booking's id; a timestamp's field 1 is a number
	codec := protobuf.Codec[*timestamppb.Timestamp]()
	var got *timestamppb.Timestamp
	err := codec.Decode([]byte(data), &got)
	again, againErr := codec.Encode(got)
	if err := errors.Join(err, againErr); err != nil || string(again) != data {
		t.Errorf("became %q (%v)", again, err)
	}
}

func TestUnreadableMessagesAreNamedWithoutTheValue(t *testing.T) {
	booking := func(data string) error {
		return protobuf.Codec[*shop.Booking]().Decode([]byte(data), new(*shop.Booking))
	}
	guest := func(data string) error { return protobuf.Codec[*shop.Guest]().Decode([]byte(data), new(*shop.Guest)) }
	part := func(data string) error {
		return protobuf.Codec[*descriptorpb.UninterpretedOption_NamePart]().Decode([]byte(data), new(*descriptorpb.UninterpretedOption_NamePart))
	}
	for name, test := range map[string]struct {
		decode func(string) error
		data   string
		parts  []string
	}{
		"JSON":                     {booking, `{"id":"MARK"}`, []string{"shop.v1.Booking, in 13 bytes: cannot parse"}},
		"cut off":                  {booking, "\x0a\x05MARK", []string{"shop.v1.Booking, in 6 bytes"}},
		"a length out of reach":    {booking, "\x0a\xff\xff\xff\xff\x7fMARK", []string{"cannot parse"}},
		"a field of no number":     {booking, "\x00", []string{"cannot parse"}},
		"an end without a start":   {booking, "\x0c", []string{"cannot parse"}},
		"not UTF-8":                {booking, "\x0a\x05MARK\xff", []string{"shop.v1.Booking, in 7 bytes: ", "UTF-8"}},
		"nested too deep":          {guest, deep(20_000), []string{"shop.v1.Guest", "depth"}},
		"a required field unset":   {part, "\x0a\x04MARK", []string{"google.protobuf.UninterpretedOption.NamePart.is_extension"}},
		"nothing, but required":    {part, "", []string{"in 0 bytes", "name_part"}},
		"Schema Registry's format": {booking, "\x00\x00\x00\x00\x07\x00\x0a\x04MARK", []string{"magic byte (schema id 7): use codec/schemaregistry"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.decode(test.data)
			if _, ok := err.(*kafka.DecodeError); !ok || kafka.ClassOf(err) != kafka.ClassPermanent {
				t.Fatalf("got %v, want a DecodeError", err)
			}
			if strings.Contains(err.Error(), "MARK") {
				t.Errorf("the error shows the value: %v", err)
			}
			for _, part := range test.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
	if err := guest(deep(5_000)); err != nil {
		t.Errorf("5,000 deep: %v", err)
	}
}

// deep is a guest who brought a guest who brought a guest.
func deep(n int) string {
	message := &shop.Guest{}
	for range n {
		message = &shop.Guest{Brought: message}
	}
	data, err := proto.Marshal(message)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestWhatIsNoMessageIsNotWritten(t *testing.T) {
	if data, err := protobuf.Codec[*shop.Booking]().Encode(nil); err == nil || data != nil || !strings.Contains(err.Error(), "tombstone") {
		t.Errorf("nil is written as %#v (%v)", data, err)
	}
	_, err := protobuf.Codec[*shop.Booking]().Encode(&shop.Booking{Id: "MARK\xff"})
	if err == nil || strings.Contains(err.Error(), "MARK") || !strings.Contains(err.Error(), "shop.v1.Booking") {
		t.Errorf("invalid UTF-8: %v", err)
	}
	_, err = protobuf.Codec[*descriptorpb.UninterpretedOption_NamePart]().Encode(&descriptorpb.UninterpretedOption_NamePart{})
	if err == nil || !strings.Contains(err.Error(), "name_part") {
		t.Errorf("a required field: %v", err)
	}
}

func TestAnInterfaceIsNoType(t *testing.T) {
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "want a pointer to a generated message") {
			t.Errorf("panicked with %q", text)
		}
	}()
	protobuf.Codec[proto.Message]()
}

// FuzzDecode: no bytes make decoding panic, every error is a DecodeError, and what is read can be written again.
func FuzzDecode(f *testing.F) {
	seed, _ := proto.Marshal(aBooking)
	for _, data := range []string{"", string(seed), `{"id":"MARK"}`, "\x0a\xff\xff\xff\xff\x7f", "\x00\x00\x00\x00\x07", deep(100)} {
		f.Add([]byte(data))
	}
	bookings := protobuf.Codec[*shop.Booking]()
	guests := protobuf.Codec[*shop.Guest]()
	f.Fuzz(func(t *testing.T, data []byte) {
		var booking *shop.Booking
		var guest *shop.Guest
		reread(t, bookings, data, &booking)
		reread(t, guests, data, &guest)
	})
}

func reread[T proto.Message](t *testing.T, codec kafka.Codec[T], data []byte, value *T) {
	if err := codec.Decode(data, value); err != nil {
		if _, ok := err.(*kafka.DecodeError); !ok {
			t.Fatalf("%T, want a DecodeError", err)
		}
		return
	}
	again, err := codec.Encode(*value)
	if err != nil {
		t.Fatalf("%q was read, and can't be written: %v", data, err)
	}
	var second T
	if err := codec.Decode(again, &second); err != nil || !proto.Equal(second, *value) {
		t.Fatalf("%q became %q (%v)", data, again, err)
	}
}
