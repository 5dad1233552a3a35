// Package protobuf is a codec of Protocol Buffers' binary format, for messages that protoc-gen-go generated:
//
//	consumer, err := kafka.NewConsumerWithCodec(cfg, protobuf.Codec[*shop.Booking](), handle)
//
// Values are the message's bytes and nothing else. Those that begin with a schema's id, as Schema Registry's serializers write them,
// are read and written by codec/schemaregistry; this codec refuses them by name.
//
// The content-type header of published messages is application/protobuf.
//
// An empty value is a message whose fields are all unset, which is how such a message is written. A nil message is not written: a
// tombstone is a message of its own, see [kafka.MessageBuilder.WithTombstone], and with ConsumerConfig.HandleTombstones it reaches
// the handler with a nil Value, which the codec never sees. The getters of generated messages read nil as an unset message.
//
// Fields that the message does not know are kept, and written again with it. Bytes of another message are not always noticed: fields
// have no names on the wire, and what is not known is kept.
package protobuf

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/magicbyte"
)

// Codec returns a codec of T, a pointer to a generated message such as *shop.Booking. It refuses bytes that are no message, strings
// that are not UTF-8 where the schema asks for that, messages without a field that proto2 requires, and messages nested more than
// 10,000 deep. Its errors name the message's type, and the field where it is known, and hold none of the value.
//
// It panics if T is an interface, such as proto.Message, which does not say what to decode into.
func Codec[T proto.Message]() kafka.Codec[T] {
	var none T
	if any(none) == nil {
		panic(fmt.Sprintf("protobuf: Codec[%T]: want a pointer to a generated message, such as *shop.Booking", &none))
	}
	return codec[T]{none.ProtoReflect().Type()}
}

type codec[T proto.Message] struct{ message protoreflect.MessageType }

func (codec[T]) ContentType() string { return "application/protobuf" }

func (codec[T]) Encode(value T) ([]byte, error) {
	if any(value) == nil || !value.ProtoReflect().IsValid() {
		return nil, errors.New("encode value: message is nil; send a tombstone to delete a key")
	}
	data, err := proto.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode value: %s: %w", nameOf(value), err)
	}
	return data, nil
}

func (c codec[T]) Decode(data []byte, value *T) error {
	if reason := magicbyte.Reason(data); reason != "" { // no message begins so: there is no field 0
		return &kafka.DecodeError{Reason: reason}
	}
	message := c.message.New().Interface().(T)
	if err := proto.Unmarshal(data, message); err != nil {
		return &kafka.DecodeError{Reason: fmt.Sprintf("%s, in %d bytes: %s", nameOf(message), len(data), describe(err)), Err: err}
	}
	*value = message
	return nil
}

func nameOf(message proto.Message) protoreflect.FullName {
	return message.ProtoReflect().Descriptor().FullName()
}

// describe is the error's own text, which names fields and never values, without the prefix: its space is of a random kind, so that
// nobody compares texts.
func describe(err error) string {
	return strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")
}
