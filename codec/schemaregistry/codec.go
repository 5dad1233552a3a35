package schemaregistry

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
)

// codec is the frame around a format's bytes.
type codec[T any] struct {
	prefix  []byte // before each value that is written; nil: the codec only reads
	format  kafka.Codec[T]
	readers *schemas[reader[T]]
}

// reader reads what one schema wrote: all that follows the schema's id.
type reader[T any] func(data []byte, value *T) error

var header sr.ConfluentHeader

// newCodec looks up the schema that format writes. index is of the message within the schema, for Protocol Buffers alone.
func newCodec[T any](cfg Config, format kafka.Codec[T], schema sr.Schema, index []int, read func(registry, sr.Schema) (reader[T], error)) (kafka.Codec[T], error) {
	c := &codec[T]{format: format}
	c.readers = newSchemas(func(id int) (reader[T], error) {
		ctx, cancel := cfg.context()
		defer cancel()
		from := registry{ctx, cfg.Client}
		written, err := from.byID(id)
		if err != nil {
			return nil, err
		}
		return read(from, written)
	})
	if cfg.subject() == "" {
		return c, nil
	}
	ctx, cancel := cfg.context()
	defer cancel()
	found, err := registry{ctx, cfg.Client}.find(cfg.subject(), schema, cfg.Register)
	if err != nil {
		return nil, err
	}
	c.prefix, err = header.AppendEncode(nil, found.ID, index)
	return c, err
}

func (*codec[T]) ContentType() string { return "application/octet-stream" }

// CheckEncode asks the format, for a producer's constructor.
func (c *codec[T]) CheckEncode() error {
	if format, ok := c.format.(interface{ CheckEncode() error }); ok {
		return format.CheckEncode()
	}
	return nil
}

// CheckDecode asks the format, for a consumer's constructor.
func (c *codec[T]) CheckDecode() error {
	if format, ok := c.format.(interface{ CheckDecode() error }); ok {
		return format.CheckDecode()
	}
	return nil
}

func (c *codec[T]) Encode(value T) ([]byte, error) {
	if c.prefix == nil {
		return nil, errors.New("encode value: the codec only reads: set schemaregistry.Config.Topic or Subject")
	}
	data, err := c.format.Encode(value)
	if err != nil {
		return nil, err
	}
	framed := make([]byte, 0, len(c.prefix)+len(data))
	return append(append(framed, c.prefix...), data...), nil
}

func (c *codec[T]) Decode(data []byte, value *T) error {
	id, rest, err := header.DecodeID(data)
	if err != nil {
		return &kafka.DecodeError{Reason: fmt.Sprintf("not Schema Registry's format, in %d bytes: want a zero byte and a schema's id", len(data)), Err: err}
	}
	read, err := c.readers.get(id)
	if err == nil {
		err = read(rest, value)
	}
	if fault, ok := err.(*kafka.DecodeError); ok {
		return &kafka.DecodeError{Reason: fmt.Sprintf("schema %d: %s", id, fault.Reason), Err: fault}
	}
	return err
}

// wrongFormat tells a value of another format from one that can't be read.
func wrongFormat(got sr.Schema, want sr.SchemaType) error {
	if got.Type == want {
		return nil
	}
	return &kafka.DecodeError{Reason: fmt.Sprintf("it is %v, want %v", got.Type, want)}
}
