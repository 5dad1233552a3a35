package schemaregistry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/skeji/kafka"
	protobufcodec "github.com/skeji/kafka/codec/protobuf"
)

// Protobuf returns a codec of Protocol Buffers, for T a pointer to a generated message, such as *shop.Booking.
//
// The schema is T's own file. It is sent as a serialized descriptor, which registries take in place of the file's text and compare with
// what they have; sr.DefaultParams(sr.Normalize) among the client's options has them do so regardless of order. The files that it
// imports are looked up, or registered, under the names that it imports them by, but for those of google/protobuf, which registries have.
//
// A value says which message of its schema it is. It is read if the message has T's full name, whatever else the schema has: another
// message is a permanent error, which names both.
func Protobuf[T proto.Message](cfg Config) (kafka.Codec[T], error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	var none T
	if any(none) == nil {
		return nil, fmt.Errorf("schemaregistry: Protobuf[%T]: want a pointer to a generated message, such as *shop.Booking", &none)
	}
	message := none.ProtoReflect().Descriptor()
	format := protobufcodec.Codec[T]()
	var own sr.Schema
	if cfg.subject() != "" {
		ctx, cancel := cfg.context()
		defer cancel()
		var err error
		if own, err = (registry{ctx, cfg.Client}).fileSchema(message.ParentFile(), cfg.Register); err != nil {
			return nil, err
		}
	}
	return newCodec(cfg, format, own, indexOf(message), func(_ registry, written sr.Schema) (reader[T], error) {
		file, err := parseFile(written)
		if err != nil {
			return nil, err
		}
		return func(data []byte, value *T) error {
			rest, err := checkMessage(file, data, message.FullName())
			if err != nil {
				return err
			}
			return format.Decode(rest, value)
		}, nil
	})
}

// fileSchema returns the schema of a file, with references to those that it imports.
func (r registry) fileSchema(file protoreflect.FileDescriptor, register bool) (sr.Schema, error) {
	schema := sr.Schema{Type: sr.TypeProtobuf}
	for i := range file.Imports().Len() {
		imported := file.Imports().Get(i)
		if strings.HasPrefix(imported.Path(), "google/protobuf/") {
			continue
		}
		other, err := r.fileSchema(imported.FileDescriptor, register)
		if err != nil {
			return schema, err
		}
		found, err := r.find(imported.Path(), other, register)
		if err != nil {
			return schema, err
		}
		schema.References = append(schema.References, sr.SchemaReference{Name: imported.Path(), Subject: imported.Path(), Version: found.Version})
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(file))
	if err != nil {
		return schema, fmt.Errorf("schemaregistry: descriptor of %s: %w", file.Path(), err)
	}
	schema.Schema = base64.StdEncoding.EncodeToString(text)
	return schema, nil
}

// indexOf is where a message stands in its file: its place among the messages of the file, and within the one, and so on. The entries
// of maps are not counted, as Java's serializer does not: in a descriptor they are messages, in the file's text they are none.
func indexOf(message protoreflect.MessageDescriptor) (index []int) {
	place := 0
	for i := range message.Index() {
		if !siblings(message).Get(i).IsMapEntry() {
			place++
		}
	}
	if parent, nested := message.Parent().(protoreflect.MessageDescriptor); nested {
		index = indexOf(parent)
	}
	return append(index, place)
}

func siblings(message protoreflect.MessageDescriptor) protoreflect.MessageDescriptors {
	if parent, nested := message.Parent().(protoreflect.MessageDescriptor); nested {
		return parent.Messages()
	}
	return message.ParentFile().Messages()
}

// parseFile reads a schema as text, or as the serialized descriptor that it may have been sent as.
func parseFile(written sr.Schema) (*descriptorpb.FileDescriptorProto, error) {
	if err := wrongFormat(written, sr.TypeProtobuf); err != nil {
		return nil, err
	}
	file := &descriptorpb.FileDescriptorProto{}
	if serialized, err := base64.StdEncoding.DecodeString(written.Schema); err == nil && proto.Unmarshal(serialized, file) == nil {
		return file, nil
	}
	quiet := reporter.NewHandler(reporter.NewReporter(func(err reporter.ErrorWithPos) error { return err }, nil))
	parsed, err := parser.Parse("schema.proto", strings.NewReader(written.Schema), quiet)
	if err != nil {
		return nil, &kafka.DecodeError{Reason: "it can't be parsed as Protocol Buffers", Err: err}
	}
	result, err := parser.ResultFromAST(parsed, false, quiet)
	if err != nil {
		return nil, &kafka.DecodeError{Reason: "it can't be parsed as Protocol Buffers", Err: err}
	}
	return result.FileDescriptorProto(), nil
}

// maxIndex is how deep a message may be nested in others: far deeper than anybody nests them.
const maxIndex = 32

// checkMessage takes off the value which message of the file it is, and returns the rest.
func checkMessage(file *descriptorpb.FileDescriptorProto, data []byte, want protoreflect.FullName) ([]byte, error) {
	index, rest, err := header.DecodeIndex(data, maxIndex)
	if err != nil {
		return nil, &kafka.DecodeError{Reason: "the index of the message can't be read", Err: err}
	}
	name, err := nameAt(file, index)
	if err != nil {
		return nil, &kafka.DecodeError{Reason: err.Error()}
	}
	if name != want {
		return nil, &kafka.DecodeError{Reason: fmt.Sprintf("the value is a %s, want a %s", name, want)}
	}
	return rest, nil
}

// nameAt is the other way of indexOf.
func nameAt(file *descriptorpb.FileDescriptorProto, index []int) (protoreflect.FullName, error) {
	name := protoreflect.FullName(file.GetPackage())
	messages := file.GetMessageType()
	for _, i := range index {
		messages = slices.DeleteFunc(slices.Clone(messages), func(m *descriptorpb.DescriptorProto) bool { return m.GetOptions().GetMapEntry() })
		if i < 0 || i >= len(messages) {
			return "", errors.New("it has no message of the value's index")
		}
		name = name.Append(protoreflect.Name(messages[i].GetName()))
		messages = messages[i].GetNestedType()
	}
	return name, nil
}
