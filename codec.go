package kafka

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Codec turns values into bytes and back. A codec is used by many goroutines at once.
type Codec[T any] interface {
	// Encode returns the value's bytes, which the caller keeps.
	Encode(value T) ([]byte, error)
	// Decode reads data, which is never nil but may be empty, into value. Any error sends the record to the dead letter
	// topic: the same bytes fail the same way each time.
	Decode(data []byte, value *T) error
	// ContentType is the content-type header of published messages.
	ContentType() string
}

// JSON returns the default codec, on encoding/json. It refuses what decodes into nothing without an error: an empty
// value and JSON null. Unknown fields are ignored, so that senders can add some.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

// checkJSON refuses []byte, which JSON makes base64 text of.
func checkJSON[T any]() error {
	if _, isBytes := any(*new(T)).([]byte); isBytes {
		return errors.New("kafka: JSON would encode []byte as base64 text: for raw bytes use the constructor WithCodec and Bytes(), for any JSON json.RawMessage")
	}
	return nil
}

type jsonCodec[T any] struct{}

func (jsonCodec[T]) ContentType() string { return "application/json" }

func (jsonCodec[T]) Encode(value T) ([]byte, error) {
	data, err := json.Marshal(value)
	if err == nil && isNull(data) {
		err = errors.New("value is null in JSON, which receivers refuse; send a tombstone to delete a key")
	}
	if err != nil {
		return nil, fmt.Errorf("encode value: %w", err)
	}
	return data, nil
}

func (jsonCodec[T]) Decode(data []byte, value *T) error { return decodeJSON(data, value) }

func decodeJSON(data []byte, value any) error {
	if len(data) == 0 {
		return &DecodeError{Reason: "empty value, want JSON"}
	}
	if err := json.Unmarshal(data, value); err != nil {
		return &DecodeError{Reason: fmt.Sprintf("%s, in %d bytes", describeJSON(err), len(data)), Err: err}
	}
	if isNull(data) {
		return &DecodeError{Reason: "JSON null, want a value"}
	}
	return nil
}

// isNull tells whether valid JSON is null: nothing else starts with an n.
func isNull(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && data[0] == 'n'
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
	return fmt.Sprintf("JSON refused with %T", err)
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
