package jsonv2_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/skeji/kafka"
	codec "github.com/skeji/kafka/codec/jsonv2"
)

type order struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Phone    string    `json:"phone"`
	Created  time.Time `json:"created"`
	Total    float64   `json:"total"`
	Currency string    `json:"currency"`
	Note     string    `json:"note"`
	Items    []item    `json:"items"`
}

type item struct {
	SKU      string  `json:"sku"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

var anOrder = order{
	ID: "order-00000007", Customer: "customer-00007", Phone: "+15550100", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	Total: 129.95, Currency: "EUR", Note: "leave it with the neighbour if nobody is at home",
	Items: []item{{"sku-1029384756", 2, 19.99}, {"sku-5647382910", 1, 89.97}},
}

var codecs = []struct {
	name  string
	codec kafka.Codec[order]
}{
	{"encoding/json", kafka.JSON[order]()},
	{"v2", codec.Codec[order]()},
	{"v2 as v1", codec.Codec[order](jsonv1.DefaultOptionsV1())},
}

func TestWhatOneCodecWritesTheOtherReads(t *testing.T) {
	for _, writer := range codecs {
		for _, reader := range codecs {
			data, err := writer.codec.Encode(anOrder)
			var got order
			if err := errors.Join(err, reader.codec.Decode(data, &got)); err != nil || !reflect.DeepEqual(got, anOrder) {
				t.Errorf("%s wrote, %s read %+v (%v)", writer.name, reader.name, got, err)
			}
		}
		if kind := writer.codec.ContentType(); kind != "application/json" {
			t.Errorf("%s has %s", writer.name, kind)
		}
	}
}

type (
	named   struct{ ID int }
	fixed   struct{ Three [3]int }
	digest  struct{ Sum [2]byte }
	timed   struct{ For time.Duration }
	counted struct {
		N int `json:",string"`
	}
	flagged struct {
		On bool `json:",string"`
	}
	listed struct{ All []int }
	mapped struct{ All map[string]int }
	sparse struct {
		N int `json:",omitempty"`
	}
	quoted struct {
		S string `json:",string"`
	}
	blob   struct{ All []byte }
	closed struct{ _ int }
	twice  struct {
		A int `json:"B"`
		B int
	}
	malformed struct {
		//lint:ignore SA5008 that is what is tested
		A int `json:"a,omitempty,"`
	}
	optional struct {
		N *int `json:",omitempty"`
	}
	unsorted map[int]int
	pointer  struct{ byPointer }
	pointers map[string]byPointer
)

type byPointer struct{}

func (*byPointer) MarshalJSON() ([]byte, error) { return []byte(`"by pointer"`), nil }

// as makes T's codec one of any, so that tests of several types fit a table.
type as[T any] struct{ kafka.Codec[T] }

func (c as[T]) Encode(value any) ([]byte, error) { return c.Codec.Encode(value.(T)) }

func (c as[T]) Decode(data []byte, value *any) error {
	var v T
	err := c.Codec.Decode(data, &v)
	*value = v
	return err
}

func both[T any](options ...jsonv2.Options) (v1, v2 kafka.Codec[any]) {
	return as[T]{kafka.JSON[T]()}, as[T]{codec.Codec[T](options...)}
}

// The differences that the package's comment lists, and that options for version 1 undo them all.
func TestDifferencesFromEncodingJSON(t *testing.T) {
	const refused = "refused"
	for name, test := range map[string]struct {
		codecs func(options ...jsonv2.Options) (v1, v2 kafka.Codec[any])
		data   string // what is read, or
		value  any    // what is written
		v1, v2 string // what comes of it
	}{
		"names in another case":                  {both[named], `{"id":1}`, nil, "{1}", "{0}"},
		"a name twice":                           {both[named], `{"ID":1,"ID":2}`, nil, "{2}", refused},
		"invalid UTF-8":                          {both[string], "\"a\xff\"", nil, "a\ufffd", refused},
		"a shorter array":                        {both[fixed], `{"Three":[1,2]}`, nil, "{[1 2 0]}", refused},
		"a longer array":                         {both[fixed], `{"Three":[1,2,3,4]}`, nil, "{[1 2 3]}", refused},
		"an array of bytes as numbers":           {both[digest], `{"Sum":[1,2]}`, nil, "{[1 2]}", refused},
		"bytes as numbers":                       {both[blob], `{"All":[1,2]}`, nil, "{[1 2]}", refused},
		"a string in a string":                   {both[quoted], `{"S":"\"x\""}`, nil, "{x}", refused},
		"fields, but none exported":              {both[closed], `{}`, nil, "{0}", refused},
		"two fields of a name":                   {both[twice], `{"B":1}`, nil, "{1 0}", refused},
		"a malformed tag":                        {both[malformed], `{"a":1}`, nil, "{1}", refused},
		"a duration":                             {both[timed], `{"For":1}`, nil, "{1ns}", refused},
		"a bool in a string":                     {both[flagged], `{"On":"true"}`, nil, "{true}", refused},
		"writes a duration":                      {both[timed], "", timed{1}, `{"For":1}`, refused},
		"writes an array of bytes":               {both[digest], "", digest{[2]byte{1, 2}}, `{"Sum":[1,2]}`, `{"Sum":"AQI="}`},
		"writes a nil []byte":                    {both[blob], "", blob{}, `{"All":null}`, `{"All":""}`},
		"writes a bool with string":              {both[flagged], "", flagged{true}, `{"On":"true"}`, refused},
		"writes a string with string":            {both[quoted], "", quoted{"x"}, `{"S":"\"x\""}`, refused},
		"writes fields, none exported":           {both[closed], "", closed{}, `{}`, refused},
		"writes a line separator":                {both[string], "", "\u2028", `"\u2028"`, "\"\u2028\""},
		"writes a nil slice":                     {both[listed], "", listed{}, `{"All":null}`, `{"All":[]}`},
		"writes a nil map":                       {both[mapped], "", mapped{}, `{"All":null}`, `{"All":{}}`},
		"writes a zero with omitempty":           {both[sparse], "", sparse{}, `{}`, `{"N":0}`},
		"the same: a nil pointer with omitempty": {both[optional], "", optional{}, `{}`, `{}`},
		"writes HTML":                            {both[string], "", "<&>", `"\u003c\u0026\u003e"`, `"<&>"`},
		"writes a map's by a pointer's method":   {both[pointers], "", pointers{"k": {}}, `{"k":{}}`, `{"k":"by pointer"}`},
		"the same: by a pointer's method":        {both[pointer], "", pointer{}, `"by pointer"`, `"by pointer"`},
		"the same: a number in a string":         {both[counted], `{"N":"1"}`, nil, "{1}", "{1}"},
		"the same: unknown names":                {both[named], `{"ID":1,"Other":[2]}`, nil, "{1}", "{1}"},
	} {
		t.Run(name, func(t *testing.T) {
			v1, v2 := test.codecs()
			_, asV1 := test.codecs(jsonv1.DefaultOptionsV1())
			for which, codec := range map[string]kafka.Codec[any]{"v1": v1, "v2": v2, "v2 as v1": asV1} {
				want := test.v1
				if which == "v2" {
					want = test.v2
				}
				var got any
				var err error
				if test.data != "" {
					err = codec.Decode([]byte(test.data), &got)
				} else {
					var data []byte
					data, err = codec.Encode(test.value)
					got = string(data)
				}
				if text := fmt.Sprint(got); err == nil && text != want || (err != nil) != (want == refused) {
					t.Errorf("%s: %v (error: %v), want %s", which, text, err, want)
				}
			}
		})
	}
	t.Run("a json.Number, whatever the options", func(t *testing.T) {
		if _, same := any(jsonv1.Number("")).(json.Number); same {
			t.Skip("from Go 1.27 on it is that of version 1")
		}
		type measured struct{ N json.Number }
		for _, c := range []kafka.Codec[measured]{codec.Codec[measured](), codec.Codec[measured](jsonv1.DefaultOptionsV1())} {
			if data, err := c.Encode(measured{"1"}); err != nil || string(data) != `{"N":"1"}` {
				t.Errorf("wrote %s (%v)", data, err)
			}
			if err := c.Decode([]byte(`{"N":1}`), new(measured)); err == nil {
				t.Error("read a number")
			}
		}
		type own struct{ N jsonv1.Number }
		c := codec.Codec[own](jsonv1.DefaultOptionsV1())
		var got own
		if data, err := c.Encode(own{"1"}); err != nil || string(data) != `{"N":1}` || c.Decode(data, &got) != nil || got.N != "1" {
			t.Errorf("wrote %s (%v), read %v", data, err, got)
		}
	})
	t.Run("maps in any order", func(t *testing.T) {
		many := unsorted{}
		for i := range 50 {
			many[i] = i
		}
		sorted, _ := kafka.JSON[unsorted]().Encode(many)
		for try := 0; ; try++ {
			data, err := codec.Codec[unsorted]().Encode(many)
			if err != nil || try == 100 {
				t.Fatalf("always sorted, or refused: %v", err)
			}
			if string(data) != string(sorted) {
				break
			}
		}
	})
}

// echoing is a type whose decoding fails with an error that repeats the value, as many do.
type echoing struct{}

func (*echoing) UnmarshalJSON(data []byte) error { return fmt.Errorf("bad value %s", data) }

// echoingText is the same for JSON strings and map keys.
type echoingText string

func (*echoingText) UnmarshalText(text []byte) error { return fmt.Errorf("bad value %s", text) }

func TestUnreadableValuesAreNamedWithoutTheValue(t *testing.T) {
	type nested struct {
		Name  string
		Items []struct {
			When  time.Time
			Count int8
		}
	}
	try := func(name string, decode func(data []byte) error, data string, parts ...string) {
		t.Run(name, func(t *testing.T) {
			err := decode([]byte(data))
			fault, ok := err.(*kafka.DecodeError)
			if !ok || kafka.ClassOf(err) != kafka.ClassPermanent {
				t.Fatalf("got %v, want a DecodeError", err)
			}
			text := fault.Error()
			if strings.Contains(text, "MARK") || strings.Contains(text, "777") {
				t.Errorf("the error shows the value: %s", text)
			}
			for _, part := range parts {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not say %q", text, part)
				}
			}
		})
	}
	deep := strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001)
	try("not JSON", into[any](), `MARK`, "invalid JSON, at byte 0, in 4 bytes")
	try("cut off", into[nested](), `{"a":"MARK`, "invalid JSON")
	try("trailing value", into[nested](), `{"Name":"x"} {"Name":"MARK"}`, "invalid JSON")
	try("Schema Registry's magic byte", into[nested](), "\x00\x00\x00\x00\x07MARK", "magic byte (schema id 7): use codec/schemaregistry")
	try("too deep", into[any](), deep)
	try("empty", into[any](), ``, "empty value, want JSON")
	try("white space", into[any](), " \n", "invalid JSON")
	try("null", into[nested](), " null ", "JSON null, want a value")
	try("string for a number", into[nested](), `{"Items":[{"Count":"MARK"}]}`, "JSON string does not fit int8, at byte 19, in 28 bytes")
	try("object for a string", into[nested](), `{"Name":{"MARK":777}}`, "JSON object does not fit string")
	try("array for a struct", into[nested](), `["MARK"]`, "JSON array does not fit jsonv2_test.nested")
	try("bool for a struct", into[nested](), `true`, "JSON bool does not fit")
	try("number out of range", into[nested](), `{"Items":[{"Count":777}]}`, "JSON number does not fit int8")
	try("bad time", into[nested](), `{"Items":[{"When":"MARK"}]}`, "JSON string does not fit time.Time")
	try("map's key", into[map[int]int](), `{"MARK":1}`, "JSON string does not fit int")
	try("deep in a map", into[map[string]map[string]int](), `{"MARK":{"MARK":"MARK"}}`, "JSON string does not fit int")
	try("a name twice", into[nested](), `{"MARK":1,"MARK":2}`, "a name that is twice in a JSON object, at byte ")
	try("not base64", into[[]byte](), `"MARK!"`)
	try("big.Int", into[big.Int](), `"MARK"`)
	try("address", into[netip.Addr](), `"MARK"`)
	try("a type that echoes", into[echoing](), `"MARK"`)
	try("a field that echoes", into[struct{ E echoing }](), `{"E":{"MARK":"MARK"}}`)
	try("text that echoes", into[[]echoingText](), `["MARK"]`)
	try("a key that echoes", into[map[echoingText]int](), `{"MARK":1}`)
	try("an interface of no method", into[fmt.Stringer](), `"MARK"`)
	strict := codec.Codec[nested](jsonv2.RejectUnknownMembers(true))
	try("an unknown name", func(data []byte) error { return strict.Decode(data, new(nested)) }, `{"MARK":1}`, "an unknown name for jsonv2_test.nested, at byte ")
}

func into[T any]() func(data []byte) error {
	return func(data []byte) error { return codec.Codec[T]().Decode(data, new(T)) }
}

func TestAmbiguousNames(t *testing.T) {
	type payment struct {
		Amount int `json:"amount"`
	}
	var got payment
	if err := codec.Codec[payment]().Decode([]byte(`{"amount":1,"Amount":2}`), &got); err != nil || got.Amount != 1 {
		t.Errorf("read %+v (%v)", got, err)
	}
	for name, options := range map[string][]jsonv2.Options{
		"unknown names refused": {jsonv2.RejectUnknownMembers(true)}, "names in any case": {jsonv2.MatchCaseInsensitiveNames(true)},
	} {
		for _, data := range []string{`{"amount":1,"amount":777}`, `{"amount":1,"Amount":777}`} {
			if err := codec.Codec[payment](options...).Decode([]byte(data), new(payment)); err == nil || strings.Contains(err.Error(), "777") {
				t.Errorf("%s: %s: %v", name, data, err)
			}
		}
	}
}

type writesV2 struct{ id string }

func (w writesV2) MarshalJSONTo(out *jsontext.Encoder) error {
	return out.WriteToken(jsontext.String(w.id))
}
func (w *writesV2) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	token, err := in.ReadToken()
	w.id = token.String()
	return err
}

// A struct of which nothing would be written is refused by constructors, unless it writes itself or the options do.
func TestTypesOfWhichNothingIsWrittenAreRefused(t *testing.T) {
	type hidden struct{ id string }
	refused(t, true, codec.Codec[hidden](), hidden{"x"})
	refused(t, true, codec.Codec[[]*hidden](), nil)
	refused(t, false, codec.Codec[struct{}](), struct{}{})
	refused(t, false, codec.Codec[writesV2](), writesV2{"x"})
	refused(t, false, codec.Codec[byPointer](), byPointer{})
	refused(t, false, codec.Codec[order](), anOrder)
	write := jsonv2.MarshalFunc(func(h hidden) ([]byte, error) { return []byte(`"` + h.id + `"`), nil })
	read := jsonv2.UnmarshalFunc(func(data []byte, h *hidden) error { h.id = string(data); return nil })
	refused(t, false, codec.Codec[hidden](jsonv2.WithMarshalers(write), jsonv2.WithUnmarshalers(read)), hidden{"x"})
	if _, err := codec.Codec[any]().Encode(struct {
		ID string `json:"-"`
	}{"MARK"}); err == nil || strings.Contains(err.Error(), "MARK") {
		t.Errorf("behind an interface: %v", err)
	}
}

func refused[T any](t *testing.T, want bool, c kafka.Codec[T], value T) {
	t.Helper()
	producing, consuming := kafka.NewProducerConfig("orders", "127.0.0.1:1"), kafka.NewConsumerConfig("orders", "billing", "127.0.0.1:1")
	producing.ConnectTimeout, consuming.ConnectTimeout = time.Millisecond, time.Millisecond
	_, written := kafka.NewProducerWithCodec(producing, c)
	_, read := kafka.NewConsumerWithCodec(consuming, c, func(context.Context, kafka.Message[T]) error { return nil })
	for _, err := range []error{written, read} {
		if got := strings.Contains(err.Error(), "has no exported field"); got != want {
			t.Errorf("%T: %v, want it refused: %t", value, err, want)
		}
	}
}

func TestNullIsNotWritten(t *testing.T) {
	if _, err := codec.Codec[*order]().Encode(nil); err == nil || !strings.Contains(err.Error(), "tombstone") {
		t.Errorf("got %v", err)
	}
	if _, err := codec.Codec[chan int]().Encode(nil); err == nil {
		t.Error("a channel was written")
	}
}

type doubling struct{}

func (doubling) MarshalJSON() ([]byte, error) { return []byte(`{"MARK":1,"MARK":2}`), nil }

func TestUnwritableValuesAreNamedWithoutTheValue(t *testing.T) {
	try := func(name string, encode func() ([]byte, error), part string) {
		t.Run(name, func(t *testing.T) {
			_, err := encode()
			if err == nil || strings.Contains(err.Error(), "MARK") || !strings.Contains(err.Error(), part) {
				t.Errorf("%v, want it to say %q and not the value", err, part)
			}
		})
	}
	try("below a map's key", func() ([]byte, error) {
		return codec.Codec[map[string]float64]().Encode(map[string]float64{"MARK": math.NaN()})
	}, "float64")
	try("invalid UTF-8", func() ([]byte, error) {
		return codec.Codec[map[string]string]().Encode(map[string]string{"MARK": "MARK\xff"})
	}, "invalid UTF-8")
	try("a name twice", func() ([]byte, error) {
		return codec.Codec[map[string]doubling]().Encode(map[string]doubling{"MARK": {}})
	}, "duplicate")
}

// BenchmarkDecode is of a value of some 350 bytes.
func BenchmarkDecode(b *testing.B) {
	data, err := json.Marshal(anOrder)
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range codecs {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.codec.Decode(data, new(order)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncode is of the same value.
func BenchmarkEncode(b *testing.B) {
	for _, c := range codecs {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.codec.Encode(anOrder); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
