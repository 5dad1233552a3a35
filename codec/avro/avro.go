// Package avro is a codec of Avro's binary encoding, on github.com/twmb/avro:
//
//	codec, err := avro.Codec[Booking](nil) // the schema is that of the Go type
//	consumer, err := kafka.NewConsumerWithCodec(cfg, codec, handle)
//
// Values are the encoding and nothing else, and say nothing of their schema: writers and readers must have the same,
// and a value of another may be read as something that it is not, a time in microseconds as one in milliseconds for
// example. Where schemas change, use codec/schemaregistry, whose values begin with their schema's id; this codec can't
// tell those, since a zero byte may be Avro. It refuses values whose schema's id is in the header __value_schema_id.
//
// The content-type header of published messages is application/avro.
//
// An empty value is refused, unless the schema is of something that takes no bytes, such as a record without fields; such a thing is
// written as an empty value, never as a nil one. A tombstone is a message of its own, see [kafka.MessageBuilder.WithTombstone], and
// with ConsumerConfig.HandleTombstones it reaches the handler with T's zero, which the codec never sees.
package avro

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/magicbyte"
	"github.com/skeji/kafka/internal/recordheader"
)

// Codec returns a codec of T by a schema, which package github.com/twmb/avro parses; its page says which Go types fit
// which schema. nil: the schema is inferred from T, a struct, and the error says what of T has no place in Avro. A
// struct that has fields, and none that is exported, is refused.
//
// It refuses what is cut off, what has bytes left over, numbers that T's fields can't hold, and what claims to be longer or deeper
// than it can be. Its errors name the field and hold none of the value.
func Codec[T any](schema *avro.Schema) (kafka.Codec[T], error) {
	if schema == nil {
		inferred, err := avro.SchemaFor[T]()
		if err != nil {
			return nil, fmt.Errorf("avro: schema of %v: %w", reflect.TypeFor[T](), err)
		}
		if t := structOf(reflect.TypeFor[T]()); len(inferred.Root().Fields) == 0 && t.Size() > 0 {
			return nil, fmt.Errorf("avro: schema of %v: it has no exported field, so that its values would be written as "+
				"nothing: export its fields, or give a schema", t)
		}
		schema = inferred
	}
	return codec[T]{schema}, nil
}

func structOf(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

type codec[T any] struct{ schema *avro.Schema }

func (codec[T]) ContentType() string { return "application/avro" }

func (c codec[T]) Encode(value T) ([]byte, error) {
	data, err := c.schema.Encode(&value)
	if err != nil {
		return nil, &encodeError{describe(err), err}
	}
	if data == nil {
		data = []byte{} // nil would be a tombstone
	}
	return data, nil
}

// ReplacedHeader: what is written has no schema that a registry knows.
func (codec[T]) ReplacedHeader() string { return magicbyte.Header }

// DecodeWithHeaders refuses values whose schema's id is in a header: they would be read by this codec's schema,
// whatever wrote them.
func (c codec[T]) DecodeWithHeaders(headers []kgo.RecordHeader, data []byte, value *T) error {
	if id, _ := recordheader.Last(headers, magicbyte.Header); id != nil {
		reason := "the value's schema is named by the header " + magicbyte.Header + ": use codec/schemaregistry"
		return &kafka.DecodeError{Reason: reason}
	}
	return c.Decode(data, value)
}

func (c codec[T]) Decode(data []byte, value *T) error {
	var fresh T // what is in value would be merged with
	rest, err := c.schema.Decode(data, &fresh)
	switch {
	case err != nil:
		return &kafka.DecodeError{Reason: fmt.Sprintf("%s, in %d bytes", describe(err), len(data)), Err: err}
	case len(rest) > 0:
		return &kafka.DecodeError{Reason: fmt.Sprintf("invalid Avro, %d of %d bytes are left over", len(rest), len(data))}
	}
	*value = fresh
	return nil
}

// encodeError says what is wrong without repeating the value, as the library's own errors do.
type encodeError struct {
	reason string
	err    error
}

func (e *encodeError) Error() string { return "encode value: " + e.reason }
func (e *encodeError) Unwrap() error { return e.err }

// maxShownField bounds how much of a field's place is told: a record within itself has no end.
const maxShownField = 128

// describe says what is wrong without repeating any of the value, as the errors' own texts do.
func describe(err error) string {
	where := ""
	mismatch, ok := errors.AsType[*avro.SemanticError](err)
	if ok && mismatch.Field != "" {
		where = "field " + mismatch.Field
		if len(mismatch.Field) > maxShownField {
			where = "field " + mismatch.Field[:maxShownField] + "…"
		}
		where += ": "
	}
	if short, ok := errors.AsType[*avro.ShortBufferError](err); ok {
		return where + "invalid Avro, cut off within " + short.Type
	}
	passedOn := ok && mismatch.Field != "" && mismatch.AvroType == "record" // another error, of which it only says the place
	if ok && mismatch.GoType != nil && !passedOn {
		return fmt.Sprintf("%sAvro %s and %v don't fit", where, mismatch.AvroType, mismatch.GoType)
	}
	return where + "invalid Avro"
}
