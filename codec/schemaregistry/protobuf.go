package schemaregistry

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/encoding/protowire"
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
// A value says which message of its schema it is. It is read if the message has T's full name, whatever else the schema
// has: another message is a permanent error, which names both. Where a map field stands among nested messages, writers
// number these in two ways: see [MessageIndex].
func Protobuf[T proto.Message](cfg Config) (kafka.Codec[T], error) {
	cfg, err := cfg.checked()
	if err != nil {
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
		if own, err = (registry{ctx, cfg.Client}).fileSchema(message.ParentFile(), cfg.Register); err != nil {
			return nil, err
		}
	}
	index := indexOf(message, cfg.MessageIndex)
	return newCodec(cfg, format, own, index, func(_ registry, written sr.Schema) (reader[T], error) {
		file, err := parseFile(written)
		if err != nil {
			return nil, err
		}
		return func(data []byte, value *T) error {
			rest, err := checkMessage(file, data, message.FullName(), cfg.MessageIndex)
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

// indexOf is where a message stands in its file: its place among the messages of the file, and within the one, and so
// on.
func indexOf(message protoreflect.MessageDescriptor, numbering MessageIndex) (index []int) {
	place := 0
	for i := range message.Index() {
		if numbering == DescriptorIndex || !siblings(message).Get(i).IsMapEntry() {
			place++
		}
	}
	if parent, nested := message.Parent().(protoreflect.MessageDescriptor); nested {
		index = indexOf(parent, numbering)
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
func checkMessage(
	file *descriptorpb.FileDescriptorProto, data []byte, want protoreflect.FullName, numbering MessageIndex,
) ([]byte, error) {
	index, rest, err := header.DecodeIndex(data, maxIndex)
	if err != nil {
		return nil, &kafka.DecodeError{Reason: "the index of the message can't be read", Err: err}
	}
	var found []numbered
	for _, other := range []MessageIndex{DeclaredIndex, DescriptorIndex} {
		message, ok := messageAt(file, index, other)
		if ok && (numbering == AnyIndex || numbering == other) && (len(found) == 0 || found[0].name != message.name) {
			found = append(found, message)
		}
	}
	switch {
	case len(found) == 0:
		return nil, &kafka.DecodeError{Reason: "it has no message of the value's index"}
	case len(found) == 1 && found[0].name != want:
		return nil, &kafka.DecodeError{Reason: fmt.Sprintf("the value is a %s, want a %s", found[0].name, want)}
	case len(found) == 1:
		return rest, nil
	case found[0].name != want && found[1].name != want:
		reason := fmt.Sprintf("the value is a %v, or a %v, want a %s", found[0], found[1], want)
		return nil, &kafka.DecodeError{Reason: reason}
	}
	mine, other := found[0], found[1]
	if mine.name != want {
		mine, other = other, mine
	}
	if !fits(rest, mine.message) && fits(rest, other.message) {
		reason := fmt.Sprintf("the value is a %v, or a %v, and has fields that only the first has: set Config.MessageIndex",
			other, mine)
		return nil, &kafka.DecodeError{Reason: reason}
	}
	return rest, nil
}

// numbered is a message that an index means by one of the numberings.
type numbered struct {
	numbering MessageIndex
	name      protoreflect.FullName
	message   *descriptorpb.DescriptorProto
}

func (n numbered) String() string {
	return fmt.Sprintf("%s if %v wrote it", n.name, n.numbering)
}

// messageAt is the other way of indexOf. The entries of a map are no messages that anybody sends.
func messageAt(file *descriptorpb.FileDescriptorProto, index []int, numbering MessageIndex) (found numbered, ok bool) {
	found = numbered{numbering: numbering, name: protoreflect.FullName(file.GetPackage())}
	messages := file.GetMessageType()
	isEntry := func(m *descriptorpb.DescriptorProto) bool { return m.GetOptions().GetMapEntry() }
	for _, i := range index {
		if numbering == DeclaredIndex {
			messages = slices.DeleteFunc(slices.Clone(messages), isEntry)
		}
		if i < 0 || i >= len(messages) || isEntry(messages[i]) {
			return found, false
		}
		found.message = messages[i]
		found.name = found.name.Append(protoreflect.Name(messages[i].GetName()))
		messages = messages[i].GetNestedType()
	}
	return found, found.message != nil
}

// fits reports whether a value has no field but those that its writer's schema gives to a message.
func fits(data []byte, message *descriptorpb.DescriptorProto) bool {
	for len(data) > 0 {
		number, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return false
		}
		value := protowire.ConsumeFieldValue(number, kind, data[size:])
		if value < 0 || !hasField(message, int32(number), kind) {
			return false
		}
		data = data[size+value:]
	}
	return true
}

func hasField(message *descriptorpb.DescriptorProto, number int32, kind protowire.Type) bool {
	for _, extensions := range message.GetExtensionRange() {
		if extensions.GetStart() <= number && number < extensions.GetEnd() {
			return true
		}
	}
	return slices.ContainsFunc(message.GetField(), func(f *descriptorpb.FieldDescriptorProto) bool {
		return f.GetNumber() == number && isWrittenAs(f, kind)
	})
}

// isWrittenAs reports whether a field is written so. In a schema's text the types of enums and messages are not told
// apart, and repeated numbers may be packed.
func isWrittenAs(field *descriptorpb.FieldDescriptorProto, kind protowire.Type) bool {
	own, ok := wireTypes[field.GetType()]
	switch {
	case field.Type == nil:
		return kind == protowire.VarintType || kind == protowire.BytesType
	case !ok:
		own = protowire.VarintType
	}
	packed := field.GetLabel() == descriptorpb.FieldDescriptorProto_LABEL_REPEATED && kind == protowire.BytesType
	return kind == own || packed
}

// wireTypes are how fields are written that are not varints.
var wireTypes = map[descriptorpb.FieldDescriptorProto_Type]protowire.Type{
	descriptorpb.FieldDescriptorProto_TYPE_STRING:   protowire.BytesType,
	descriptorpb.FieldDescriptorProto_TYPE_BYTES:    protowire.BytesType,
	descriptorpb.FieldDescriptorProto_TYPE_MESSAGE:  protowire.BytesType,
	descriptorpb.FieldDescriptorProto_TYPE_GROUP:    protowire.StartGroupType,
	descriptorpb.FieldDescriptorProto_TYPE_FLOAT:    protowire.Fixed32Type,
	descriptorpb.FieldDescriptorProto_TYPE_FIXED32:  protowire.Fixed32Type,
	descriptorpb.FieldDescriptorProto_TYPE_SFIXED32: protowire.Fixed32Type,
	descriptorpb.FieldDescriptorProto_TYPE_DOUBLE:   protowire.Fixed64Type,
	descriptorpb.FieldDescriptorProto_TYPE_FIXED64:  protowire.Fixed64Type,
	descriptorpb.FieldDescriptorProto_TYPE_SFIXED64: protowire.Fixed64Type,
}
