package kafka

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/jsontype"
	"github.com/skeji/kafka/internal/magicbyte"
)

// Codec turns values into bytes and back. A codec is used by many goroutines at once.
//
// A codec may have further methods:
//
//   - CheckEncode() error and CheckDecode() error say that values of T can't be written or read at all. Constructors of
//     producers and consumers call them, and return their error.
//   - DecodeWithHeaders(headers []kgo.RecordHeader, data []byte, value *T) error is called in place of Decode for
//     records, if headers say how the value is read. The headers must not be kept.
//   - ReplacedHeader() string names a header of that kind that does not hold for what the codec writes. Producers take
//     it off the messages that they publish, which may have it from a record that was consumed.
type Codec[T any] interface {
	// Encode returns the value's bytes, which the caller keeps.
	Encode(value T) ([]byte, error)
	// Decode reads data, which is never nil but may be empty, into value, which is T's zero and must not be kept. Its errors
	// send the record to the dead letter topic: the same bytes fail the same way each time. Only a [TransientError], returned as
	// it is and not within another error, has the record retried; it says that something else failed that decoding needs, and
	// its text holds no value.
	Decode(data []byte, value *T) error
	// ContentType is the content-type header of published messages.
	ContentType() string
}

// JSON returns the default codec, on encoding/json. It refuses what decodes into nothing without an error: an empty
// value and JSON null. Unknown fields are ignored, so that senders can add some.
//
// A name that is twice in an object is no error either: the last one counts, and a field is known by its name in any
// case. A reader that takes the first, or minds the case, understands {"amount":1,"Amount":1000} differently: where one
// service checks what another one pays, both must read the same. [StrictJSON] refuses such values, and codec/jsonv2
// refuses names that are twice.
//
// Constructors refuse a T with a struct, or within it one, that has fields and none that is exported: it would be
// written as {}, and nothing would be read into it. Types that have MarshalJSON or MarshalText to be written, and
// UnmarshalJSON or UnmarshalText to be read, may be anything. A struct without any field, such as struct{}, is an empty
// message, written as {}. Where T is an interface, each value is checked when it is published.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

// StrictJSON is [JSON] that refuses what two readers may understand in two ways, and what T has no place for: unknown
// fields, a field's name in another case, and a name that is twice in an object. Keys of maps may differ in case. What
// a type's own UnmarshalJSON reads, or is kept as [json.RawMessage], may have any names, but none twice and none that
// differ only in case.
func StrictJSON[T any]() Codec[T] { return jsonCodec[T]{strict: true} }

// checkJSON refuses []byte, which JSON makes base64 text of.
func checkJSON[T any]() error {
	if _, isBytes := any(*new(T)).([]byte); isBytes {
		return errors.New("kafka: JSON would encode []byte as base64 text: for raw bytes use the constructor WithCodec and Bytes(), for any JSON json.RawMessage")
	}
	return nil
}

type jsonCodec[T any] struct{ strict bool }

func (jsonCodec[T]) ContentType() string { return "application/json" }

// CheckEncode refuses types of which JSON writes nothing.
func (jsonCodec[T]) CheckEncode() error { return jsontype.CheckWritten(reflect.TypeFor[T]()) }

// CheckDecode refuses types into which JSON reads nothing.
func (jsonCodec[T]) CheckDecode() error { return jsontype.CheckRead(reflect.TypeFor[T]()) }

// headerDecoder is a codec that reads values by their record's headers.
type headerDecoder[T any] interface {
	DecodeWithHeaders(headers []kgo.RecordHeader, data []byte, value *T) error
}

// replacedHeader returns the header that a codec replaces, and "" if there is none.
func replacedHeader[T any](codec Codec[T]) string {
	if c, ok := codec.(interface{ ReplacedHeader() string }); ok {
		return c.ReplacedHeader()
	}
	return ""
}

// checkEncode asks a producer's codec whether it can write T.
func checkEncode[T any](codec Codec[T]) error {
	if c, ok := codec.(interface{ CheckEncode() error }); ok {
		return c.CheckEncode()
	}
	return nil
}

// checkDecode asks a consumer's codec whether it can read T.
func checkDecode[T any](codec Codec[T]) error {
	if c, ok := codec.(interface{ CheckDecode() error }); ok {
		return c.CheckDecode()
	}
	return nil
}

func (jsonCodec[T]) Encode(value T) ([]byte, error) {
	if reflect.TypeFor[T]().Kind() == reflect.Interface {
		if err := jsontype.CheckWritten(reflect.TypeOf(value)); err != nil {
			return nil, fmt.Errorf("encode value: %w", err)
		}
	}
	data, err := json.Marshal(&value) // a pointer, for T whose pointer has MarshalJSON
	if err == nil && isNull(data) {
		err = errors.New("value is null in JSON, which receivers refuse; send a tombstone to delete a key")
	}
	if err != nil {
		return nil, fmt.Errorf("encode value: %w", err)
	}
	return data, nil
}

func (c jsonCodec[T]) Decode(data []byte, value *T) error {
	if c.strict {
		return decodeJSON(data, value, unmarshalStrict)
	}
	return decodeJSON(data, value, json.Unmarshal)
}

// unmarshalStrict is json.Unmarshal that refuses unknown fields, as only a Decoder does, and ambiguous names, as
// nothing in encoding/json does. A Decoder alone would not look at what follows the first value.
func unmarshalStrict(data []byte, value any) error {
	if !json.Valid(data) {
		return json.Unmarshal(data, value) // which says where
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	return jsontype.CheckNames(data, reflect.TypeOf(value).Elem())
}

func decodeJSON(data []byte, value any, unmarshal func([]byte, any) error) error {
	if len(data) == 0 {
		return &DecodeError{Reason: "empty value, want JSON"}
	}
	if reason := magicbyte.Reason(data); reason != "" {
		return &DecodeError{Reason: reason}
	}
	if err := unmarshal(data, value); err != nil {
		return &DecodeError{Reason: fmt.Sprintf("%s, in %d bytes", describeJSON(err), len(data)), Err: err}
	}
	if isNull(data) {
		return &DecodeError{Reason: "JSON null, want a value"}
	}
	return nil
}

// isNull tells whether valid JSON is null: nothing else starts with an n.
func isNull(data []byte) bool {
	i := 0
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\r' || data[i] == '\n') {
		i++
	}
	return i < len(data) && data[i] == 'n'
}

// describeJSON says what is wrong without repeating any of the value, as encoding/json's own texts do.
func describeJSON(err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("invalid JSON at byte %d", syntax.Offset)
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(mismatch.Value, " ") // "number 300" holds the value
		if !slices.Contains([]string{"string", "number", "bool", "object", "array", "null"}, kind) {
			kind = "value" // from a user's UnmarshalJSON: it may be the value itself
		}
		// Not mismatch.Field: on json/v2, from Go 1.27 on, it holds map keys, which are part of the value.
		return fmt.Sprintf("JSON %s does not fit %v, at byte %d", kind, mismatch.Type, mismatch.Offset)
	}
	if names, ok := err.(*jsontype.NameError); ok {
		return names.Reason
	}
	if name, ok := unknownField(err); ok {
		return "unknown field" + name
	}
	return fmt.Sprintf("JSON refused with %T", err)
}

// plainName is how programs name fields. Other names may be data, such as an address by which an object is kept.
var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// unknownField returns the field's name for an error's text if it may be repeated. encoding/json has no type for this error, nor a
// way to the name but its text: if that changes, the error is named less well.
func unknownField(err error) (name string, ok bool) {
	quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !ok {
		return "", false
	}
	if name, err := strconv.Unquote(quoted); err == nil && plainName.MatchString(name) {
		return fmt.Sprintf(" %q", name), true
	}
	return "", true
}

// Bytes returns a codec that passes values through as they are. A decoded value shares the record's memory, and a dead
// letter would have what is written into it: clone it first. A message that has a content-type keeps it.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) ContentType() string { return "application/octet-stream" }

func (bytesCodec) Encode(value []byte) ([]byte, error) {
	if value == nil {
		value = []byte{} // nil would be a tombstone
	}
	return value, nil
}

func (bytesCodec) Decode(data []byte, value *[]byte) error {
	*value = data
	return nil
}
