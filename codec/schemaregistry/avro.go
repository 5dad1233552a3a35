package schemaregistry

import (
	"fmt"
	"reflect"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
	avrocodec "github.com/skeji/kafka/codec/avro"
)

// Avro returns a codec of Avro. nil: the schema is inferred from T, a struct.
//
// A value is read by the schema that wrote it, and resolved to the codec's own: fields that the writer had not get their default, others
// that T has not are skipped, numbers are widened. A schema that can't be resolved is a permanent error, which names the field.
//
// The codec's own schema is looked up as the text that it was parsed from, and must not refer to other subjects; those that write what
// is read may.
func Avro[T any](cfg Config, schema *avro.Schema) (kafka.Codec[T], error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	inferred := schema == nil
	if inferred {
		if schema, err = avro.SchemaFor[T](); err != nil {
			return nil, fmt.Errorf("schemaregistry: Avro schema of %v: %w", reflect.TypeFor[T](), err)
		}
		if _, err = avrocodec.Codec[T](nil); err != nil { // which refuses what no value would be written of
			return nil, fmt.Errorf("schemaregistry: %w", err)
		}
	}
	format, err := avrocodec.Codec[T](schema)
	if err != nil {
		return nil, err
	}
	own := sr.Schema{Schema: schema.String(), Type: sr.TypeAvro}
	return newCodec(cfg, format, own, nil, func(from registry, written sr.Schema) (reader[T], error) {
		writer, err := writerOf(from, written)
		if err != nil {
			return nil, err
		}
		resolved, conversion, err := resolve(writer, schema)
		if err == nil && inferred && conversion != nil && conversion.lossy {
			for _, finer := range finerSchemas[T]() {
				if exact, other, err := resolve(writer, finer); err == nil && (other == nil || !other.lossy) {
					resolved, conversion = exact, other
					break
				}
			}
		}
		if err != nil {
			return nil, err
		}
		resolving, err := avrocodec.Codec[T](resolved)
		if err != nil || conversion == nil {
			return resolving.Decode, err
		}
		return func(data []byte, value *T) error {
			converted, err := conversion.apply(data)
			if err != nil {
				return err
			}
			return resolving.Decode(converted, value)
		}, nil
	})
}

func writerOf(from registry, written sr.Schema) (*avro.Schema, error) {
	if err := wrongFormat(written, sr.TypeAvro); err != nil {
		return nil, err
	}
	var types avro.SchemaCache
	budget := maxReferences
	return parse(from, &types, written, &budget)
}

// resolve returns the schema that reads the writer's values, after the conversion if there is one.
func resolve(writer, own *avro.Schema) (*avro.Schema, *conversion, error) {
	resolved, err := avro.Resolve(writer, own)
	if err != nil {
		return nil, nil, &kafka.DecodeError{Reason: err.Error(), Err: err}
	}
	conversion, err := conversionOf(writer, own)
	if err != nil {
		return nil, nil, &kafka.DecodeError{Reason: err.Error(), Err: err}
	}
	return resolved, conversion, nil
}

// maxReferences bounds the schemas that one refers to, and they: far more than anybody has.
const maxReferences = 100

// parse parses a schema, after those that it refers to.
func parse(from registry, types *avro.SchemaCache, schema sr.Schema, budget *int) (*avro.Schema, error) {
	for _, reference := range schema.References {
		if *budget--; *budget < 0 {
			return nil, &kafka.DecodeError{Reason: fmt.Sprintf("it refers to more than %d others", maxReferences)}
		}
		other, err := from.byVersion(reference.Subject, reference.Version)
		if err == nil {
			_, err = parse(from, types, other, budget)
		}
		if err != nil {
			return nil, err
		}
	}
	parsed, err := types.Parse(schema.Schema)
	if err != nil {
		return nil, &kafka.DecodeError{Reason: "it can't be parsed as Avro", Err: err}
	}
	return parsed, nil
}
