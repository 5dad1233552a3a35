package schemaregistry

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/magicbyte"
	"github.com/skeji/kafka/internal/recordheader"
)

// codec is the frame around a format's bytes.
type codec[T any] struct {
	prefix  []byte // before each value that is written; nil: the codec only reads
	format  kafka.Codec[T]
	indexed bool // which message of the schema it is stands between the id and the value
	readers *schemas[schemaID, reader[T]]
}

// schemaID is how a record names its schema: by a number, or by a GUID.
type schemaID struct {
	number int
	guid   string
}

func (id schemaID) String() string {
	if id.guid != "" {
		return id.guid
	}
	return strconv.Itoa(id.number)
}

// reader reads what one schema wrote: all that follows the schema's id.
type reader[T any] func(data []byte, value *T) error

var header sr.ConfluentHeader

// newCodec looks up the schema that format writes. index is of the message within the schema, for Protocol Buffers alone.
func newCodec[T any](cfg Config, format kafka.Codec[T], schema sr.Schema, index []int, read func(registry, sr.Schema) (reader[T], error)) (kafka.Codec[T], error) {
	c := &codec[T]{format: format, indexed: index != nil}
	c.readers = newSchemas(func(id schemaID) (reader[T], error) {
		ctx, cancel := cfg.context()
		defer cancel()
		from := registry{ctx, cfg.Client}
		var written sr.Schema
		var err error
		if id.guid != "" {
			written, err = from.byGUID(id.guid)
		} else {
			written, err = from.byID(id.number)
		}
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
	return c.decode(schemaID{number: id}, rest, value)
}

// ReplacedHeader: what is written has the schema's id before the value.
func (*codec[T]) ReplacedHeader() string { return magicbyte.Header }

const guidLen = 16

// DecodeWithHeaders reads values whose schema's id is in a header, as some serializers of Confluent put it, in place of
// before the value: a zero byte and the id, or a one and the schema's GUID. With Protocol Buffers the message's index
// follows.
func (c *codec[T]) DecodeWithHeaders(headers []kgo.RecordHeader, data []byte, value *T) error {
	named, _ := recordheader.Last(headers, magicbyte.Header)
	if named == nil {
		return c.Decode(data, value)
	}
	var id schemaID
	rest := named
	if number, after, err := header.DecodeID(named); err == nil {
		id.number, rest = number, after
	} else if len(named) > guidLen && named[0] == 1 {
		guid := named[1 : 1+guidLen]
		id.guid = fmt.Sprintf("%x-%x-%x-%x-%x", guid[:4], guid[4:6], guid[6:8], guid[8:10], guid[10:])
		rest = named[1+guidLen:]
	}
	index, valid := rest, len(rest) < len(named)
	if c.indexed && valid {
		var err error
		_, rest, err = header.DecodeIndex(index, maxIndex)
		valid = err == nil
	}
	if !valid || len(rest) > 0 {
		const want = "header %s names no schema, in %d bytes: want a zero byte and an id, or a one and a GUID"
		return &kafka.DecodeError{Reason: fmt.Sprintf(want, magicbyte.Header, len(named))}
	}
	if len(index) > 0 {
		data = slices.Concat(index, data)
	}
	return c.decode(id, data, value)
}

func (c *codec[T]) decode(id schemaID, data []byte, value *T) error {
	read, err := c.readers.get(id)
	if err == nil {
		err = read(data, value)
	}
	if fault, ok := err.(*kafka.DecodeError); ok {
		return &kafka.DecodeError{Reason: fmt.Sprintf("schema %v: %s", id, fault.Reason), Err: fault}
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
