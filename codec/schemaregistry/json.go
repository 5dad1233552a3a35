package schemaregistry

import (
	"errors"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
)

// JSONSchema returns a codec of JSON by [kafka.JSON], whose schema is given as text: write it by hand, or with one of the packages that
// make a schema of a Go type. A codec that only reads needs none.
//
// Values are not checked against the schema, neither the written nor the read. For that give it a T that checks itself when it is
// unmarshalled. Schema Registry: json.fail.invalid.schema, whose default is false.
func JSONSchema[T any](cfg Config, schema string) (kafka.Codec[T], error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	if schema == "" && cfg.subject() != "" {
		return nil, errors.New("schemaregistry: the JSON schema is empty: give it as text, or leave out Topic and Subject to only read")
	}
	format := kafka.JSON[T]()
	own := sr.Schema{Schema: schema, Type: sr.TypeJSON}
	return newCodec(cfg, format, own, nil, func(_ registry, written sr.Schema) (reader[T], error) {
		return format.Decode, wrongFormat(written, sr.TypeJSON)
	})
}
