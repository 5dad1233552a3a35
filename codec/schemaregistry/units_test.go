package schemaregistry_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	twmb "github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
)

// instants has a time in the places that a schema has for values.
type instants[T any] struct {
	At     T            `avro:"at"`
	Maybe  *T           `avro:"maybe"`
	List   []T          `avro:"list"`
	ByName map[string]T `avro:"byName"`
	Inner  *instants[T] `avro:"inner"`
}

// instantsSchema is of a writer with fields of its own among the others.
func instantsSchema(logical string) string {
	at := fmt.Sprintf(`{"type":"long","logicalType":%q}`, logical)
	return `{"type":"record","name":"instants","namespace":"n","fields":[{"name":"own","type":["null","string",` + at + `]},
		{"name":"at","type":` + at + `},{"name":"maybe","type":["null",` + at + `]},{"name":"list","type":{"type":"array","items":` + at + `}},
		{"name":"other","type":{"type":"record","name":"other","fields":[{"name":"b","type":"boolean"},{"name":"d","type":"double"},{"name":"f","type":"float"},
			{"name":"x","type":{"type":"fixed","name":"x","size":2}},{"name":"e","type":{"type":"enum","name":"e","symbols":["A","B"]}},{"name":"n","type":{"type":"array","items":"null"}}]}},
		{"name":"byName","type":{"type":"map","values":` + at + `}},{"name":"inner","type":["null","instants"]}]}`
}

// written is a value by instantsSchema, with the time as a number or a time.
func written(t *testing.T, logical string, at any) []byte {
	t.Helper()
	other := map[string]any{"b": true, "d": 1.5, "f": float32(2.5), "x": []byte{1, 2}, "e": "B", "n": []any{nil, nil}}
	value := map[string]any{"own": "x", "at": at, "maybe": at, "list": []any{at, at}, "other": other, "byName": map[string]any{"k": at}}
	value["inner"] = map[string]any{"own": nil, "at": at, "maybe": nil, "list": []any{}, "other": other, "byName": map[string]any{}, "inner": nil}
	data, err := twmb.MustParse(instantsSchema(logical)).Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{0, 0, 0, 0, 1}, data...)
}

func instantsOf[T any](at T) instants[T] {
	inner := instants[T]{At: at, List: []T{}, ByName: map[string]T{}}
	return instants[T]{At: at, Maybe: &at, List: []T{at, at}, ByName: map[string]T{"k": at}, Inner: &inner}
}

var timestampUnits = []struct {
	name      string
	perSecond int64
}{{"millis", 1e3}, {"micros", 1e6}, {"nanos", 1e9}}

// Each pair of units, read as times and as numbers: the same instant, or an error.
func TestTimesOfOtherUnitsAreReadExactly(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	for _, kind := range []string{"timestamp-", "local-timestamp-"} {
		for _, writer := range timestampUnits {
			for _, own := range timestampUnits {
				t.Run(kind+writer.name+" as "+own.name, func(t *testing.T) {
					registry := startRegistry(t)
					registry.seed(1, sr.TypeAvro, instantsSchema(kind+writer.name))
					schema := twmb.MustParse(instantsSchema(kind + own.name))
					read := func(data []byte) (times instants[time.Time], numbers instants[int64], err error) {
						err = must(schemaregistry.Avro[instants[time.Time]](registry.reading(t), parsed(t, kind+own.name))).Decode(data, &times)
						if err == nil {
							err = must(schemaregistry.Avro[instants[int64]](registry.reading(t), parsed(t, kind+own.name))).Decode(data, &numbers)
						}
						return times, numbers, err
					}
					times, numbers, err := read(written(t, kind+writer.name, at))
					count := at.UnixMilli() * (own.perSecond / 1e3)
					if err != nil || !reflect.DeepEqual(times, instantsOf(at)) || !reflect.DeepEqual(numbers, instantsOf(count)) {
						t.Errorf("read %+v, %+v (%v)", times, numbers, err)
					}
					var anything map[string]any
					data := written(t, kind+writer.name, at)
					if err := must(schemaregistry.Avro[map[string]any](registry.reading(t), schema)).Decode(data, &anything); err != nil || !at.Equal(anything["at"].(time.Time)) {
						t.Errorf("read %v (%v)", anything, err)
					}
					for _, odd := range []int64{1, -1, math.MaxInt64, math.MinInt64} {
						times, numbers, err := read(written(t, kind+writer.name, odd))
						switch exact := writer.perSecond == own.perSecond; {
						case exact && (err != nil || numbers.At != odd):
							t.Errorf("%d: read %+v, %+v (%v)", odd, times, numbers, err)
						case writer.perSecond > own.perSecond:
							wantClass(t, err, kafka.ClassPermanent, "schema 1: field at: its "+kind+writer.name+" has digits that "+kind+own.name+" can't hold")
						case !exact && (odd == 1 || odd == -1) && (err != nil || numbers.At != odd*(own.perSecond/writer.perSecond)):
							t.Errorf("%d: read %+v, %+v (%v)", odd, times, numbers, err)
						case !exact && odd != 1 && odd != -1:
							wantClass(t, err, kafka.ClassPermanent, "out of the range of")
						}
					}
				})
			}
		}
	}
}

// parsed is a reader's schema: without the writer's own fields.
func parsed(t *testing.T, logical string) *twmb.Schema {
	t.Helper()
	root := twmb.MustParse(instantsSchema(logical)).Root()
	fields := root.Fields[:0:0]
	for _, field := range root.Fields {
		if field.Name != "own" && field.Name != "other" {
			fields = append(fields, field)
		}
	}
	root.Fields = fields
	schema, err := root.Schema()
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestAnInferredSchemaReadsAllDigitsOfATime(t *testing.T) {
	type moments struct {
		At    time.Time  `avro:"at"`
		Maybe *time.Time `avro:"maybe"`
		Count int64      `avro:"count,timestamp-millis"`
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_912_000, time.UTC)
	registry := startRegistry(t)
	for id, unit := range map[int]string{1: "micros", 2: "nanos"} {
		registry.seed(id, sr.TypeAvro, strings.ReplaceAll(`{"type":"record","name":"moments","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-UNIT"}},
			{"name":"maybe","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},{"name":"count","type":{"type":"long","logicalType":"timestamp-millis"}}]}`, "UNIT", unit))
	}
	codec := must(schemaregistry.Avro[moments](registry.reading(t), nil))
	data := binary.AppendVarint([]byte{0, 0, 0, 0, 1}, at.UnixMicro())
	data = append(binary.AppendVarint(append(data, 2), 7), 18)
	want := moments{at, new(time.UnixMilli(7).UTC()), 9}
	var got moments
	if err := codec.Decode(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("micros: read %+v (%v)", got, err)
	}
	data = binary.AppendVarint([]byte{0, 0, 0, 0, 2}, at.UnixNano())
	data = append(binary.AppendVarint(append(data, 2), 7), 18)
	if err := codec.Decode(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("nanos: read %+v (%v)", got, err)
	}

	type tagged struct { // whoever names the unit gets it
		At time.Time `avro:"at,timestamp-millis"`
	}
	registry.seed(3, sr.TypeAvro, `{"type":"record","name":"tagged","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}]}`)
	err := must(schemaregistry.Avro[tagged](registry.reading(t), nil)).Decode([]byte("\x00\x00\x00\x00\x03\x02"), new(tagged))
	wantClass(t, err, kafka.ClassPermanent, "give the codec a schema with timestamp-micros")
	var exact tagged
	err = must(schemaregistry.Avro[tagged](registry.reading(t), nil)).Decode([]byte("\x00\x00\x00\x00\x03\xd0\x0f"), &exact)
	if err != nil || exact.At.UnixMilli() != 1 {
		t.Errorf("read %v (%v)", exact, err)
	}

	type fallback struct { // whose default is of milliseconds
		At    time.Time `avro:"at"`
		Other time.Time `avro:"other,default=1000"`
	}
	registry.seed(4, sr.TypeAvro, `{"type":"record","name":"fallback","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}]}`)
	var filled fallback
	err = must(schemaregistry.Avro[fallback](registry.reading(t), nil)).Decode([]byte("\x00\x00\x00\x00\x04\xd0\x0f"), &filled)
	if err != nil || filled.Other.UnixMilli() != 1000 || filled.At.UnixMilli() != 1 {
		t.Errorf("read %v (%v)", filled, err)
	}
}

// What counts days is not read as what counts milliseconds, nor a decimal as a duration.
func TestLogicalTypesThatCantBeConvertedAreRefused(t *testing.T) {
	const fixed = `"type":"fixed","name":"f","size":12`
	registry := startRegistry(t)
	id := 0
	read := func(writer, own string) error {
		id++
		field := `{"type":"record","name":"r","fields":[{"name":"f","type":%s}]}`
		registry.seed(id, sr.TypeAvro, fmt.Sprintf(field, writer))
		codec := must(schemaregistry.Avro[map[string]any](registry.reading(t), twmb.MustParse(fmt.Sprintf(field, own))))
		var got map[string]any
		return codec.Decode(append([]byte{0, 0, 0, 0, byte(id)}, make([]byte, 12)...), &got)
	}
	for _, test := range [][2]string{
		{`{"type":"long","logicalType":"timestamp-millis"}`, `{"type":"long","logicalType":"local-timestamp-millis"}`},
		{`{"type":"long","logicalType":"time-micros"}`, `{"type":"long","logicalType":"timestamp-micros"}`},
		{`{"type":"int","logicalType":"date"}`, `{"type":"int","logicalType":"time-millis"}`},
		{`{"type":"int","logicalType":"date"}`, `{"type":"long","logicalType":"timestamp-millis"}`},
		{`{"type":"int","logicalType":"time-millis"}`, `{"type":"long","logicalType":"time-micros"}`},
		{`["null",{"type":"int","logicalType":"time-millis"}]`, `["null","string",{"type":"long","logicalType":"time-micros"}]`},
		{`{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, `{"type":"bytes","logicalType":"big-decimal"}`},
		{`{` + fixed + `,"logicalType":"duration"}`, `{` + fixed + `,"logicalType":"decimal","precision":4}`},
		{`{"type":"long","logicalType":"cents"}`, `{"type":"long","logicalType":"euros"}`},
	} {
		wantClass(t, read(test[0], test[1]), kafka.ClassPermanent, "field f: written as ", ", which can't be read as ")
	}
	for _, test := range [][2]string{
		{`"long"`, `{"type":"long","logicalType":"timestamp-millis"}`},
		{`{"type":"long","logicalType":"timestamp-millis"}`, `"long"`},
		{`{"type":"string","logicalType":"uuid"}`, `{"type":"string","logicalType":"name"}`},
		{`{"type":"int","logicalType":"timestamp-millis"}`, `{"type":"int","logicalType":"date"}`}, // which means nothing on an int
	} {
		if err := read(test[0], test[1]); err != nil && strings.Contains(err.Error(), "can't be read as") {
			t.Errorf("%s as %s: %v", test[0], test[1], err)
		}
	}
	// Some write the logical type beside the type.
	registry.seed(200, sr.TypeAvro, `{"type":"record","name":"r","fields":[{"name":"f","type":"long","logicalType":"timestamp-micros"}]}`)
	own := twmb.MustParse(`{"type":"record","name":"r","fields":[{"name":"f","type":{"type":"long","logicalType":"timestamp-millis"}}]}`)
	var got map[string]any
	err := must(schemaregistry.Avro[map[string]any](registry.reading(t), own)).Decode([]byte("\x00\x00\x00\x00\xc8\xd0\x0f"), &got)
	if err != nil || got["f"].(time.Time).UnixMilli() != 1 {
		t.Errorf("read %v (%v)", got, err)
	}
}

// FuzzConversion: no bytes make the conversion panic or run on, and every error is a DecodeError.
func FuzzConversion(f *testing.F) {
	registry := startRegistry(f)
	registry.seed(1, sr.TypeAvro, instantsSchema("timestamp-micros"))
	codec := must(schemaregistry.Avro[any](registry.reading(f), twmb.MustParse(instantsSchema("timestamp-millis"))))
	f.Add([]byte("\x00\xd0\x0f\x00\x00"))
	f.Add([]byte("\x00\xd0\x0f\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := codec.Decode(append([]byte{0, 0, 0, 0, 1}, data...), new(any))
		if _, ok := err.(*kafka.DecodeError); err != nil && !ok {
			t.Fatalf("%T, want a DecodeError", err)
		}
	})
}
