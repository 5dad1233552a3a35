package kafka_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// echoing is a type whose decoding fails with an error that repeats the value, as many do.
type echoing struct{}

func (*echoing) UnmarshalJSON(data []byte) error { return fmt.Errorf("bad value %s", data) }

// echoingText is the same for JSON strings and map keys.
type echoingText string

func (*echoingText) UnmarshalText(text []byte) error { return fmt.Errorf("bad value %s", text) }

// echoingMismatch fails with the standard library's own type, and the value in its fields.
type echoingMismatch struct{}

func (*echoingMismatch) UnmarshalJSON(data []byte) error {
	return &json.UnmarshalTypeError{Value: string(data), Field: string(data), Struct: string(data), Type: reflect.TypeFor[int]()}
}

// echoingKind is the same without a type.
type echoingKind struct{}

func (*echoingKind) UnmarshalJSON(data []byte) error {
	return fmt.Errorf("%s: %w", data, &json.UnmarshalTypeError{Value: "MARK 777"})
}

func TestUnreadableJSONIsAPermanentDecodeErrorWithoutTheValue(t *testing.T) {
	type nested struct {
		Name  string
		Items []struct {
			When  time.Time
			Count int8
		}
	}
	deep := strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001)
	for name, test := range map[string]struct {
		value string // with MARK or 777 where the payload is
		into  any
	}{
		"not JSON":                {`MARK`, new(any)},
		"cut off":                 {`{"a":"MARK`, new(nested)},
		"only a brace":            {`{`, new(nested)},
		"trailing garbage":        {`{"Name":"x"}MARK`, new(nested)},
		"trailing value":          {`{"Name":"x"} {"Name":"MARK"}`, new(nested)},
		"trailing zero byte":      {"1\x00", new(int)},
		"byte order mark":         {"\ufeff1", new(int)},
		"comment":                 {`/*MARK*/1`, new(int)},
		"NaN":                     {`NaN`, new(float64)},
		"bad escape":              {`"\uMARK"`, new(string)},
		"Avro's magic byte":       {"\x00\x00\x00\x00\x07MARK", new(nested)},
		"too deep":                {deep, new(any)},
		"too deep into a struct":  {`{"Unknown":` + deep + `}`, new(nested)},
		"empty":                   {``, new(any)},
		"white space":             {" \n\t", new(any)},
		"null":                    {`null`, new(any)},
		"null with white space":   {" \t\r\nnull\n ", new(any)},
		"null for a struct":       {`null`, new(nested)},
		"null for raw JSON":       {`null`, new(json.RawMessage)},
		"cut off null":            {`nul`, new(any)},
		"string for a struct":     {`"MARK"`, new(nested)},
		"string for a number":     {`{"Items":[{"Count":"MARK"}]}`, new(nested)},
		"object for a string":     {`{"Name":{"MARK":777}}`, new(nested)},
		"number out of range":     {`{"Items":[{"Count":777}]}`, new(nested)},
		"number far out of range": {`777e777`, new(float64)},
		"fraction for an integer": {`777.777`, new(int)},
		"negative for unsigned":   {`-777`, new(uint)},
		"bad time":                {`{"Items":[{"When":"MARK"}]}`, new(nested)},
		"almost a time":           {`{"Items":[{"When":"2777-07-77T00:00:00Z"}]}`, new(nested)},
		"number for a time":       {`{"Items":[{"When":777}]}`, new(nested)},
		"map's value":             {`{"MARK":"MARK"}`, new(map[string]int)},
		"map's key":               {`{"MARK":1}`, new(map[int]int)},
		"deep in a map":           {`{"MARK":{"MARK":[{"Count":"MARK"}]}}`, new(map[string]map[string][]struct{ Count int })},
		"not base64":              {`"MARK!"`, new([]byte)},
		"number in a string": {`{"N":"MARK"}`, new(struct {
			N int `json:",string"`
		})},
		"json.Number":               {`"MARK"`, new(json.Number)},
		"big.Int":                   {`"MARK"`, new(big.Int)},
		"address":                   {`"MARK"`, new(netip.Addr)},
		"a type that echoes":        {`"MARK"`, new(echoing)},
		"a mismatch that echoes":    {`{"MARK":777}`, new(echoingMismatch)},
		"a mismatch without a type": {`"MARK"`, new([1]echoingKind)},
		"a kind that echoes":        {`["MARK"]`, new([1]echoingKind)},
		"a field that echoes":       {`{"E":{"MARK":"MARK"}}`, new(struct{ E echoing })},
		"text that echoes":          {`["MARK"]`, new([]echoingText)},
		"a key that echoes":         {`{"MARK":1}`, new(map[echoingText]int)},
		"not a pointer":             {`"MARK"`, ""},
		"nil":                       {`"MARK"`, nil},
		"an interface of no method": {`"MARK"`, new(fmt.Stringer)},
	} {
		t.Run(name, func(t *testing.T) {
			err := kafka.DecodeJSON([]byte(test.value), test.into, json.Unmarshal)
			decodeErr, ok := err.(*kafka.DecodeError)
			if !ok {
				t.Fatalf("got %v, want a DecodeError", err)
			}
			if class := kafka.ClassOf(fmt.Errorf("a: %w", err)); class != kafka.ClassPermanent {
				t.Errorf("its class is %s, want permanent", class)
			}
			if text := err.Error(); strings.Contains(text, "MARK") || strings.Contains(text, "777") || !strings.HasPrefix(text, "decode value: ") {
				t.Errorf("the error shows the value, or not what it is: %s", text)
			}
			if decodeErr.Err != nil && !errors.Is(err, decodeErr.Err) {
				t.Error("the cause is not reached")
			}
		})
	}
}

func TestDecodeErrorsSayWhatIsWrong(t *testing.T) {
	type order struct{ Seats int8 }
	for value, parts := range map[string][]string{
		``:                       {"empty value, want JSON"},
		` null`:                  {"JSON null, want a value"},
		`{"Seats":`:              {"invalid JSON at byte ", "in 9 bytes"},
		`{"Seats":"many"}`:       {"JSON string does not fit int8", "at byte ", "in 16 bytes"},
		`{"Seats":300}`:          {"JSON number does not fit int8", "at byte ", "in 13 bytes"},
		`[]`:                     {"JSON array does not fit kafka_test.order", "in 2 bytes"},
		"\x00\x00\x00\x01\x02{}": {"magic byte (schema id 258)", "use codec/schemaregistry"},
	} {
		wantFault(t, kafka.JSON[order]().Decode([]byte(value), new(order)), parts...)
	}
	wantFault(t, kafka.JSON[time.Time]().Decode([]byte(`"x"`), new(time.Time)), "JSON refused with *time.ParseError, in 3 bytes")
}

func TestStrictJSONRefusesUnknownFields(t *testing.T) {
	type inner struct{ Count int }
	type order struct {
		Seats int
		Items []inner
		Table map[string]inner
	}
	strict := kafka.StrictJSON[order]()
	for value, parts := range map[string][]string{
		`{"Seats":1,"seat_type":"MARK"}`:        {`unknown field "seat_type", in 30 bytes`},
		`{"Items":[{"Count":1,"Extra":777}]}`:   {`unknown field "Extra"`},
		`{"Table":{"MARK":{"Extra":"MARK"}}}`:   {`unknown field "Extra"`},
		`{"MARK@example.com":1}`:                {"unknown field, in 22 bytes"}, // data, rather than a name
		`{"777":1}`:                             {"unknown field, in"},
		`{"` + strings.Repeat("x", 65) + `":1}`: {"unknown field, in"},
		`{"":1}`:                                {"unknown field, in"},
		`{"Seats":1} {"MARK":2}`:                {"invalid JSON at byte 13"},
		`{"Seats":`:                             {"invalid JSON at byte 9"},
		`{"Seats":"MARK"}`:                      {"JSON string does not fit int"},
		``:                                      {"empty value, want JSON"},
		`null`:                                  {"JSON null, want a value"},
		"\x00\x00\x00\x00\x07{}":                {"magic byte (schema id 7)"},
	} {
		err := strict.Decode([]byte(value), new(order))
		wantFault(t, err, parts...)
		if !isType[*kafka.DecodeError](err) || kafka.ClassOf(err) != kafka.ClassPermanent || strings.Contains(fmt.Sprint(err), "MARK") {
			t.Errorf("%s: %v of class %s, want a permanent DecodeError without the value", value, err, kafka.ClassOf(err))
		}
	}
	var got order
	if err := strict.Decode([]byte(` {"Seats":2,"Table":{"anything":{},"Anything":{}}} `), &got); err != nil || got.Seats != 2 || len(got.Table) != 2 {
		t.Errorf("read %+v (%v)", got, err)
	}
	if _, err := kafka.StrictJSON[*order]().Encode(nil); err == nil {
		t.Error("null was written")
	}
	if err := kafka.JSON[order]().Decode([]byte(`{"Extra":1}`), &got); err != nil {
		t.Errorf("the default codec refuses unknown fields: %v", err)
	}
}

// own reads itself, as a struct that nobody sees.
type own struct{ amount int }

func (o *own) UnmarshalJSON(data []byte) error {
	var v struct{ Amount int }
	err := json.Unmarshal(data, &v)
	o.amount = v.Amount
	return err
}

type upper string // a key that is read by a method

func (u *upper) UnmarshalText(text []byte) error {
	*u = upper(strings.ToUpper(string(text)))
	return nil
}

// What one reader takes for the first of two names another takes for the last: {"amount":1,"amount":1000}.
func TestStrictJSONRefusesAmbiguousNames(t *testing.T) {
	type Shared struct {
		Currency string `json:"currency"`
	}
	type payment struct {
		*Shared
		Amount int             `json:"amount"`
		Kelvin int             `json:"k"`
		Own    own             `json:"own"`
		Raw    json.RawMessage `json:"raw"`
		Any    any             `json:"any"`
		Parts  []*payment      `json:"parts"`
		ByID   map[int]payment `json:"by_id"`
		ByName map[upper]any   `json:"by_name"`
		ByText map[string]int  `json:"by_text"`
		Exact  int             `json:"exact"`
		EXACT  int
	}
	strict := kafka.StrictJSON[payment]()
	for value, parts := range map[string]string{
		`{"amount":1,"amount":777}`:                 `field "amount" twice`,
		`{"amount":1,"\u0061mount":777}`:            `field "amount" twice`,
		`{"amount":1,"Amount":777}`:                 `field "amount" in another case`,
		`{"AMOUNT":777}`:                            `field "amount" in another case`,
		"{\"\u212a\":777}":                          `field "k" in another case`, // the Kelvin sign
		`{"currency":"MARK","currency":"MARK"}`:     `field "currency" twice`,
		`{"Currency":"MARK"}`:                       `field "currency" in another case`,
		`{"parts":[{},{"amount":1,"amount":777}]}`:  `field "amount" twice`,
		`{"parts":[{"parts":[{"Amount":777}]}]}`:    `field "amount" in another case`,
		`{"by_id":{"1":{"Amount":777}}}`:            `field "amount" in another case`,
		`{"by_id":{"1":{},"1":{}}}`:                 `a name twice in an object`,
		`{"by_id":{"1":{},"01":{}}}`:                `a name twice in an object`,
		`{"by_name":{"MARK":1,"mark":777}}`:         `a name twice in an object`,
		`{"by_text":{"MARK":1,"MARK":777}}`:         `a name twice in an object`,
		`{"any":{"a":[{"MARK":1,"MARK":777}]}}`:     `a name twice in an object`,
		`{"raw":[{"MARK":1,"MARK":777}]}`:           `a name twice in an object`,
		`{"raw":{"a":{"MARK":1,"mark":777}}}`:       `a name twice in an object, or names that differ only in case`,
		`{"own":{"Amount":1,"amount":777}}`:         `a name twice in an object, or names that differ only in case`,
		`{"own":{"amount":1},"own":{"amount":777}}`: `field "own" twice`,
		`{"Exact":777}`:                             `in another case`,
		`{"EXACT":1,"EXACT":777}`:                   `field "EXACT" twice`,
	} {
		err := strict.Decode([]byte(value), new(payment))
		wantFault(t, err, parts, ", in ")
		if !isType[*kafka.DecodeError](err) || strings.Contains(fmt.Sprint(err), "MARK") || strings.Contains(fmt.Sprint(err), "777") {
			t.Errorf("%s: %v, want a DecodeError without the value", value, err)
		}
	}
	var got payment
	good := `{"amount":1,"currency":"EUR","exact":2,"EXACT":3,"k":4,"own":{"AMOUNT":5,"other":[{"a":1},{"a":2}]},"raw":{"a":1,"b":{"A":2}},
		"any":{"a":1,"A":2},"parts":[{"amount":6},null,{"amount":7}],"by_id":{"1":{},"2":{}},"by_name":{"a":1},"by_text":{"a":1,"A":2,"01":3,"1":4}}`
	if err := strict.Decode([]byte(good), &got); err != nil || got.Currency != "EUR" || got.Own.amount != 5 || got.Exact != 2 || got.EXACT != 3 || len(got.ByText) != 4 {
		t.Errorf("read %+v (%v)", got, err)
	}
	if err := kafka.StrictJSON[[]map[string]int]().Decode([]byte(`[{"a":1},{"a":1,"a":2}]`), new([]map[string]int)); err == nil {
		t.Error("a name was twice")
	}
	var last payment // JSON's doc comment says so
	if err := kafka.JSON[payment]().Decode([]byte(`{"amount":1,"AMOUNT":2,"amount":3}`), &last); err != nil || last.Amount != 3 {
		t.Errorf("JSON read %+v (%v)", last, err)
	}
}

type (
	hidden  struct{ id string }
	ignored struct {
		ID string `json:"-"`
	}
	readsItself  struct{ id string }
	writesItself struct{ id string }
	text         struct{ id string }
	empty        struct{}
	guarded      struct{ _ struct{} }
	embedding    struct{ hidden }
	embeds       struct{ Shown }
	locked       struct {
		sync.Mutex
		ID string
	}
	node struct {
		Next *node
		ID   string
	}
)

// Shown is embedded.
type Shown struct{ ID string }

func (r *readsItself) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &r.id) }
func (w *writesItself) MarshalJSON() ([]byte, error)   { return json.Marshal(w.id) }
func (t text) MarshalText() ([]byte, error)            { return []byte(t.id), nil }
func (t *text) UnmarshalText(data []byte) error        { t.id = string(data); return nil }

// A struct of which JSON writes nothing would be published as {}, with a nil error.
func TestTypesThatJSONLosesAreRefusedByConstructors(t *testing.T) {
	refused(t, true, true, hidden{"x"})
	refused(t, true, true, &hidden{"x"})
	refused(t, true, true, []hidden{})
	refused(t, true, true, map[string][2]*hidden{})
	refused(t, true, true, ignored{"x"})
	refused(t, true, true, embedding{hidden{"x"}})
	refused(t, true, true, struct{ Items []struct{ Line hidden } }{})
	refused(t, true, true, struct{ Count atomic.Int64 }{})
	refused(t, true, false, readsItself{"x"})
	refused(t, false, true, writesItself{"x"})
	refused(t, true, true, map[string]writesItself{}) // a map's values have no address
	refused(t, false, false, text{"x"})
	refused(t, false, false, empty{})
	refused(t, false, false, struct{}{})
	refused(t, false, false, guarded{})
	refused(t, false, false, map[string]struct{}{})
	refused(t, false, false, embeds{Shown{"x"}})
	refused(t, false, false, locked{})
	refused(t, false, false, node{})
	refused(t, false, false, time.Time{})
	refused(t, false, false, json.RawMessage(`1`))
	refused(t, false, false, "x")
	refused[any](t, false, false, 1)
}

// refused checks a type with each constructor. Those that take it go on, and fail for want of a broker.
func refused[T any](t *testing.T, written, read bool, value T) {
	t.Helper()
	check := func(what string, want bool, err error) {
		t.Helper()
		if got := err != nil && strings.Contains(err.Error(), "has no exported field"); got != want {
			t.Errorf("%s of %T: %v, want it refused: %t", what, value, err, want)
		}
	}
	producing := kafka.NewProducerConfig("orders", "127.0.0.1:1")
	consuming := kafka.NewConsumerConfig("orders", "billing", "127.0.0.1:1")
	requesting := kafka.NewRequesterConfig("orders", "replies", "127.0.0.1:1")
	for _, timeout := range []*time.Duration{&producing.ConnectTimeout, &consuming.ConnectTimeout, &requesting.ConnectTimeout} {
		*timeout = time.Millisecond
	}
	handle := func(context.Context, kafka.Message[T]) error { return nil }
	_, err := kafka.NewProducer[T](producing)
	check("NewProducer", written, err)
	_, err = kafka.NewProducerWithCodec(producing, kafka.StrictJSON[T]())
	check("NewProducerWithCodec", written, err)
	_, err = kafka.NewConsumer(consuming, handle)
	check("NewConsumer", read, err)
	_, err = kafka.NewConsumerWithCodec(consuming, kafka.StrictJSON[T](), handle)
	check("NewConsumerWithCodec", read, err)
	_, err = kafka.NewBatchConsumer(consuming, func(context.Context, []kafka.Message[T]) error { return nil })
	check("NewBatchConsumer", read, err)
	_, err = kafka.NewRequester[T, int](requesting)
	check("NewRequester of requests", written, err)
	_, err = kafka.NewRequester[int, T](requesting)
	check("NewRequester of replies", read, err)
	func() {
		defer func() {
			if r := recover(); (r != nil) != read {
				t.Errorf("On of %T: %v, want it refused: %t", value, r, read)
			}
		}()
		kafka.On(kafka.NewRouter(), "created", handle)
	}()
	check("DecodeValue", read, kafka.Message[json.RawMessage]{Value: json.RawMessage(`"x"`)}.DecodeValue(new(T)))
}

func TestValuesBehindAnInterfaceAreCheckedWhenTheyArePublished(t *testing.T) {
	_, err := kafka.JSON[any]().Encode(hidden{"MARK"})
	wantFault(t, err, "encode value: kafka_test.hidden has no exported field")
	_, err = kafka.JSON[any]().Encode([]any{1})
	if err != nil {
		t.Error(err)
	}
	data, err := kafka.JSON[writesItself]().Encode(writesItself{"x"})
	if string(data) != `"x"` {
		t.Errorf("wrote %s (%v)", data, err)
	}
}

func TestReadableJSONDecodes(t *testing.T) {
	decodes(t, ` {"id":"1","seats":2,"unknown":{"a":[null]}} `, booking{"1", 2})
	decodes(t, `{}`, booking{})
	decodes(t, `[]`, []int{})
	decodes(t, `""`, "")
	decodes(t, `0`, 0)
	decodes(t, `false`, false)
	decodes(t, `"null"`, "null")
	decodes(t, `[null]`, []any{nil})
	decodes(t, `{"a":null}`, map[string]*int{"a": nil})
	decodes(t, ` {"a" : 1} `, json.RawMessage(` {"a" : 1} `))
	deep := strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)
	if err := kafka.JSON[any]().Decode([]byte(deep), new(any)); err != nil {
		t.Errorf("9,000 deep: %v", err)
	}
}

func decodes[T any](t *testing.T, text string, want T) {
	t.Helper()
	var got T
	if err := kafka.JSON[T]().Decode([]byte(text), &got); err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	if raw, ok := any(got).(json.RawMessage); ok {
		got = any(json.RawMessage(bytes.TrimSpace(raw))).(T)
		want = any(json.RawMessage(bytes.TrimSpace(any(want).(json.RawMessage)))).(T)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s decodes into %#v, want %#v", text, got, want)
	}
}

func TestNullIsNotPublished(t *testing.T) {
	refuses[*booking](t, nil)
	refuses[map[string]int](t, nil)
	refuses[[]int](t, nil)
	refuses[any](t, nil)
	refuses[json.RawMessage](t, nil)
	refuses(t, json.RawMessage("null"))
	refuses(t, json.RawMessage(" null "))
	refuses(t, new(*booking))
}

func refuses[T any](t *testing.T, value T) {
	t.Helper()
	data, err := kafka.JSON[T]().Encode(value)
	if err == nil || data != nil {
		t.Errorf("%#v is encoded as %s", value, data)
		return
	}
	wantFault(t, err, "encode value: ", "null", "tombstone")
}

func TestValuesThatJSONCannotHoldAreNotPublished(t *testing.T) {
	if _, err := kafka.JSON[float64]().Encode(math.NaN()); !isType[*json.UnsupportedValueError](err) {
		t.Errorf("NaN: %v, want the cause within", err)
	}
	if _, err := kafka.JSON[any]().Encode(func() {}); err == nil {
		t.Error("a function was encoded")
	}
}

func TestWhatJSONEncodesItDecodes(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	type all struct {
		Text  string
		Bytes []byte
		When  time.Time
		Int   int64
		Float float64
		Map   map[string][]bool
		Nil   *int
	}
	want := all{"a\x00<é\u2028", []byte{0, 255}, when, math.MinInt64, math.SmallestNonzeroFloat64, map[string][]bool{"": {true}}, nil}
	data, err := kafka.JSON[all]().Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	decodes(t, string(data), want)
	if got := kafka.JSON[all]().ContentType(); got != "application/json" {
		t.Errorf("content type %q", got)
	}
}

func TestBytesPassThrough(t *testing.T) {
	codec := kafka.Bytes()
	for _, value := range [][]byte{{}, {0}, []byte("null"), []byte("\xff\xfe")} {
		data, err := codec.Encode(value)
		if err != nil || !bytes.Equal(data, value) || data == nil {
			t.Errorf("%q is encoded as %q: %v", value, data, err)
		}
		var back []byte
		if err := codec.Decode(data, &back); err != nil || !bytes.Equal(back, value) || back == nil {
			t.Errorf("%q is decoded as %q: %v", data, back, err)
		}
	}
	if data, err := codec.Encode(nil); err != nil || data == nil || len(data) != 0 {
		t.Errorf("nil is encoded as %#v (error: %v): nil would be a tombstone", data, err)
	}
	if got := codec.ContentType(); got != "application/octet-stream" {
		t.Errorf("content type %q", got)
	}
}

// reversing is a codec of a user's own.
type reversing struct{ err error }

func (reversing) ContentType() string { return "text/reversed" }
func (c reversing) Encode(value string) ([]byte, error) {
	data := []byte(value)
	slices.Reverse(data)
	return data, c.err
}

func (c reversing) Decode(data []byte, value *string) error {
	data = slices.Clone(data)
	slices.Reverse(data)
	*value = string(data)
	return c.err
}

func TestAnyCodecsErrorsArePermanentAndHideTheValue(t *testing.T) {
	if msg := consumed(t, kafka.Codec[string](reversing{}), &kgo.Record{Value: []byte("KRAM")}); msg.Value != "MARK" {
		t.Fatalf("decoded %q", msg.Value)
	}
	for name, cause := range map[string]error{
		"plain":               errors.New("bad value MARK"),
		"a wrapped transient": fmt.Errorf("MARK: %w", kafka.NewTransientError("registry says MARK", nil)),
		"business":            kafka.NewBusinessError("MARK", nil),
	} {
		t.Run(name, func(t *testing.T) {
			handle := kafka.Typed(kafka.Codec[string](reversing{cause}), func(context.Context, kafka.Message[string]) error {
				t.Error("the handler was called")
				return nil
			}, false)
			err := handle(t.Context(), &kafka.Record{Record: &kgo.Record{Value: []byte("KRAM")}})
			if !isType[*kafka.DecodeError](err) || !errors.Is(err, cause) || kafka.ClassOf(err) != kafka.ClassPermanent {
				t.Fatalf("got %v of class %s, want a permanent DecodeError with its cause", err, kafka.ClassOf(err))
			}
			if text := err.Error(); strings.Contains(text, "MARK") || strings.Contains(text, "KRAM") || !strings.Contains(text, "4 bytes") {
				t.Errorf("the error says %q", text)
			}
		})
	}

	own := &kafka.DecodeError{Reason: "unknown schema 7"} // whose text is kept: it says that it holds no value
	handle := kafka.Typed(kafka.Codec[string](reversing{own}), nil, false)
	if err := handle(t.Context(), &kafka.Record{Record: &kgo.Record{Value: []byte{}}}); err != error(own) {
		t.Errorf("a codec's own DecodeError became %v", err)
	}
}

func TestACodecsTransientErrorIsRetried(t *testing.T) {
	cause := kafka.NewTransientError("registry unreachable", nil)
	handle := kafka.Typed(kafka.Codec[string](reversing{cause}), nil, false)
	if err := handle(t.Context(), &kafka.Record{Record: &kgo.Record{Value: []byte("KRAM")}}); err != error(cause) || kafka.ClassOf(err) != kafka.ClassTransient {
		t.Errorf("got %v of class %s", err, kafka.ClassOf(err))
	}
}
