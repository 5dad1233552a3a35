package avro_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	twmb "github.com/twmb/avro"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/avro"
)

type booking struct {
	ID      string           `avro:"id"`
	Seats   int32            `avro:"seats"`
	Created time.Time        `avro:"created"`
	Note    *string          `avro:"note"`
	Blob    []byte           `avro:"blob"`
	Items   []item           `avro:"items"`
	Guests  map[string]guest `avro:"guests"`
}

type item struct {
	Count int8 `avro:"count"`
}

type guest struct {
	Name    string `avro:"name"`
	Brought *guest `avro:"brought"`
}

var note = "größe"

var aBooking = booking{
	ID: "b-7", Seats: -2, Created: time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC), Note: &note, Blob: []byte{0, 255},
	Items: []item{{1}, {2}}, Guests: map[string]guest{"a": {Name: "b", Brought: &guest{Name: "c"}}},
}

func codecOf[T any](t testing.TB, schema string) kafka.Codec[T] {
	t.Helper()
	var parsed *twmb.Schema
	if schema != "" {
		parsed = twmb.MustParse(schema)
	}
	codec, err := avro.Codec[T](parsed)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

func TestValuesAreReadAsTheyWereWritten(t *testing.T) {
	codec := codecOf[booking](t, "")
	data, err := codec.Encode(aBooking)
	if err != nil {
		t.Fatal(err)
	}
	got := booking{ID: "old", Guests: map[string]guest{"old": {}}}
	err = codec.Decode(data, &got)
	clear(data) // which a value that shared them would see
	if err != nil || !reflect.DeepEqual(got, aBooking) {
		t.Errorf("read %+v (%v)", got, err)
	}
	if kind := codec.ContentType(); kind != "application/avro" {
		t.Errorf("content type %q", kind)
	}

	pointers := codecOf[*item](t, `{"type":"record","name":"item","fields":[{"name":"count","type":"int"}]}`)
	data, err = pointers.Encode(&item{7})
	var pointer *item
	if err := errors.Join(err, pointers.Decode(data, &pointer)); err != nil || pointer.Count != 7 {
		t.Errorf("read %+v (%v)", pointer, err)
	}
	if _, err := pointers.Encode(nil); err == nil {
		t.Error("nil was written")
	}

	maps := codecOf[map[string]any](t, `{"type":"record","name":"item","fields":[{"name":"count","type":"int"}]}`)
	var fields map[string]any
	if err := maps.Decode(data, &fields); err != nil || fields["count"] != int32(7) {
		t.Errorf("read %+v (%v)", fields, err)
	}
}

func TestWhatTakesNoBytesIsNoTombstone(t *testing.T) {
	codec := codecOf[struct{}](t, `{"type":"record","name":"nothing","fields":[]}`)
	data, err := codec.Encode(struct{}{})
	if err != nil || data == nil || len(data) != 0 {
		t.Fatalf("written as %#v (%v)", data, err)
	}
	if err := codec.Decode(data, new(struct{})); err != nil {
		t.Error(err)
	}
}

const large = `{"type":"record","name":"booking","fields":[{"name":"items","type":{"type":"array","items":
	{"type":"record","name":"item","fields":[{"name":"count","type":"long"}]}}},{"name":"table","type":{"type":"map","values":"long"}}]}`

func TestUnreadableValuesAreNamedWithoutTheValue(t *testing.T) {
	type narrow struct {
		Items []item          `avro:"items"`
		Table map[string]int8 `avro:"table"`
	}
	type wide struct {
		Items []struct {
			Count int64 `avro:"count"`
		} `avro:"items"`
		Table map[string]int64 `avro:"table"`
	}
	written := func(value wide) []byte {
		data, err := codecOf[wide](t, large).Encode(value)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	items := wide{Items: []struct {
		Count int64 `avro:"count"`
	}{{777}}}
	inferred, err := codecOf[booking](t, "").Encode(aBooking)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		err   error
		parts []string
	}{
		"empty":                   {into[booking](t, "", nil), []string{"field id: invalid Avro", "in 0 bytes"}},
		"JSON":                    {into[booking](t, "", []byte(`{"ID":"MARK"}`)), []string{"invalid Avro", "in 13 bytes"}},
		"cut off":                 {into[booking](t, "", []byte("\x0aMARK")), []string{"field id: invalid Avro, cut off within string, in 5 bytes"}},
		"left over":               {into[booking](t, "", append(slices.Clone(inferred), "MARK"...)), []string{"invalid Avro, 4 of ", "left over"}},
		"a negative length":       {into[string](t, `"string"`, []byte("\x09MARK")), []string{"invalid Avro"}},
		"a length out of reach":   {into[string](t, `"string"`, []byte("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01MARK")), []string{"invalid Avro"}},
		"items out of reach":      {into[[]int64](t, `{"type":"array","items":"long"}`, []byte("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01MARK")), []string{"invalid Avro"}},
		"items of no bytes":       {into[[]any](t, `{"type":"array","items":"null"}`, []byte("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00")), []string{"invalid Avro"}},
		"nested without end":      {into[guest](t, "", []byte(strings.Repeat("\x00\x02", 500_000))), []string{"invalid Avro"}},
		"a symbol of no enum":     {into[string](t, `{"type":"enum","name":"E","symbols":["A"]}`, []byte("\x08")), []string{"invalid Avro"}},
		"a number too large":      {into[narrow](t, large, written(items)), []string{"field items.count: Avro long and int8 don't fit, in "}},
		"a map's value":           {into[narrow](t, large, written(wide{Table: map[string]int64{"MARK": 777}})), []string{"field table: Avro long and int8 don't fit"}},
		"another type":            {into[map[string]int](t, large, written(items)), []string{"field items: Avro array and int don't fit"}},
		"a string for a record":   {into[string](t, large, written(items)), []string{"Avro record and string don't fit"}},
		"Schema Registry's frame": {into[booking](t, "", append([]byte("\x00\x00\x00\x00\x07"), inferred...)), []string{"invalid Avro"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, ok := test.err.(*kafka.DecodeError); !ok || kafka.ClassOf(test.err) != kafka.ClassPermanent {
				t.Fatalf("got %v, want a DecodeError", test.err)
			}
			text := test.err.Error()
			if len(text) > 300 {
				t.Errorf("%d bytes of error: %s", len(text), text)
			}
			if strings.Contains(text, "MARK") || strings.Contains(text, "777") {
				t.Errorf("the error shows the value: %s", text)
			}
			for _, part := range test.parts {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not say %q", text, part)
				}
			}
		})
	}
}

func into[T any](t *testing.T, schema string, data []byte) error {
	return codecOf[T](t, schema).Decode(data, new(T))
}

func TestUnwritableValuesAreNamedWithoutTheValue(t *testing.T) {
	enum := `{"type":"record","name":"r","fields":[{"name":"kind","type":{"type":"enum","name":"E","symbols":["A"]}}]}`
	_, err := codecOf[map[string]any](t, enum).Encode(map[string]any{"kind": "MARK"})
	if err == nil || strings.Contains(err.Error(), "MARK") || !strings.Contains(err.Error(), "encode value: field kind: Avro enum and string") {
		t.Errorf("got %v", err)
	}
	if mismatch, ok := errors.AsType[*twmb.SemanticError](err); !ok || mismatch.Field != "kind" {
		t.Error("the cause is not reached")
	}
}

func TestTypesWithoutASchemaAreRefusedAtOnce(t *testing.T) {
	if codec, err := avro.Codec[struct{ C chan int }](nil); err == nil || codec != nil || !strings.Contains(err.Error(), "chan int") {
		t.Errorf("a channel: %v", err)
	}
	if _, err := avro.Codec[map[string]any](nil); err == nil {
		t.Error("a map has no schema")
	}
	type hidden struct{ _ string }
	if _, err := avro.Codec[*hidden](nil); err == nil || !strings.Contains(err.Error(), "avro_test.hidden: it has no exported field") {
		t.Errorf("no exported field: %v", err)
	}
	type ping struct{}
	if _, err := avro.Codec[ping](nil); err != nil {
		t.Errorf("nothing to lose: %v", err)
	}
}

// FuzzDecode: no bytes make decoding panic, and every error is a DecodeError without the value.
func FuzzDecode(f *testing.F) {
	seed, err := codecOf[booking](f, "").Encode(aBooking)
	if err != nil {
		f.Fatal(err)
	}
	for _, data := range []string{"", string(seed), "\x0aMARK", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", strings.Repeat("\x00\x02", 100)} {
		f.Add([]byte(data))
	}
	const everything = `{"type":"record","name":"r","fields":[{"name":"u","type":["null","string","double",{"type":"array","items":"r"}]},
		{"name":"d","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},{"name":"e","type":{"type":"enum","name":"e","symbols":["A","B"]}},
		{"name":"f","type":{"type":"fixed","name":"f","size":2}},{"name":"i","type":{"type":"string","logicalType":"uuid"}},{"name":"n","type":{"type":"array","items":"null"}},
		{"name":"m","type":{"type":"map","values":"boolean"}},{"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}}]}`
	bookings := codecOf[booking](f, "")
	anything := codecOf[any](f, everything)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, err := range []error{bookings.Decode(data, new(booking)), anything.Decode(data, new(any))} {
			if _, ok := err.(*kafka.DecodeError); err != nil && !ok {
				t.Fatalf("%T, want a DecodeError", err)
			}
		}
	})
}
