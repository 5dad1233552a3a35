package schemaregistry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
)

func TestWrongConfigsAreRefusedAtOnce(t *testing.T) {
	client := startRegistry(t).client(t)
	for part, cfg := range map[string]schemaregistry.Config{
		"Client is nil":         {},
		"set one of them":       {Client: client, Topic: "a", Subject: "b"},
		"without a Topic":       {Client: client, Register: true},
		"Timeout is -1s":        {Client: client, Timeout: -time.Second},
		"JSON schema is empty:": {Client: client, Topic: "bookings"},
	} {
		codec, err := schemaregistry.JSONSchema[booking](cfg, "")
		wantText(t, err, "schemaregistry: ", part)
		if codec != nil {
			t.Errorf("%s: and a codec", part)
		}
	}
	_, err := schemaregistry.Avro[chan int](schemaregistry.Config{Client: client}, nil)
	wantText(t, err, "Avro schema of chan int")
}

func TestTypesOfWhichNothingIsWrittenAreRefused(t *testing.T) {
	type hidden struct{ _ string }
	client := startRegistry(t).client(t)
	_, err := schemaregistry.Avro[hidden](schemaregistry.Config{Client: client}, nil)
	wantText(t, err, "schemaregistry: ", "hidden: it has no exported field")

	codec := must(schemaregistry.JSONSchema[hidden](schemaregistry.Config{Client: client, Topic: "bookings", Register: true}, `{}`))
	_, err = kafka.NewProducerWithCodec(kafka.NewProducerConfig("bookings", "127.0.0.1:1"), codec)
	wantText(t, err, "producer to bookings: ", "hidden has no exported field")
	_, err = kafka.NewConsumerWithCodec(kafka.NewConsumerConfig("bookings", "test", "127.0.0.1:1"), codec, func(context.Context, kafka.Message[hidden]) error { return nil })
	wantText(t, err, "consumer of bookings: ", "hidden has no exported field")
}

func TestASchemaMustBeThere(t *testing.T) {
	registry := startRegistry(t)
	cfg := schemaregistry.Config{Client: registry.client(t), Topic: "bookings"}
	_, err := schemaregistry.Avro[booking](cfg, nil)
	wantText(t, err, "subject bookings-value does not have this schema: register it, or set Config.Register")
	if registry.SubjectExists("bookings-value") {
		t.Fatal("it was registered")
	}

	cfg.Register = true
	registered := must(schemaregistry.Avro[booking](cfg, nil))
	cfg.Register = false
	found := must(schemaregistry.Avro[booking](cfg, nil))
	first, err := registered.Encode(booking{"b-7", 2})
	second, again := found.Encode(booking{"b-7", 2})
	if err := errors.Join(err, again); err != nil || string(first) != string(second) || first[0] != 0 {
		t.Errorf("%q and %q (%v)", first, second, err)
	}

	_, err = schemaregistry.JSONSchema[booking](schemaregistry.Config{Client: cfg.Client, Subject: "bookings-value"}, bookingJSON)
	wantText(t, err, "subject bookings-value does not have this schema")

	_, err = must(schemaregistry.Avro[booking](registry.reading(t), nil)).Encode(booking{})
	wantText(t, err, "the codec only reads: set schemaregistry.Config.Topic or Subject")
}

func TestRegistriesThatAreAwayAreNamedAtOnce(t *testing.T) {
	registry := startRegistry(t, srfake.WithAuth("Bearer right"))
	for name, test := range map[string]struct {
		client *sr.Client
		parts  []string
	}{
		"nobody there":      {registry.client(t, sr.URLs("http://user:MARK@127.0.0.1:1")), []string{"look up the schema of subject bookings-value", "connection refused"}},
		"wrong credentials": {registry.client(t, sr.BearerToken("wrong")), []string{"it answers 403 Forbidden"}},
		"none":              {registry.client(t), []string{"it answers 401 Unauthorized"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schemaregistry.Avro[booking](schemaregistry.Config{Client: test.client, Topic: "bookings"}, nil)
			wantText(t, err, test.parts...)
		})
	}
	must(schemaregistry.Avro[booking](schemaregistry.Config{Client: registry.client(t, sr.BearerToken("right")), Topic: "bookings", Register: true}, nil))
}

// What may pass is retried, and what the registry itself says it does not know is not.
func TestWhatTheRegistryAnswersDecidesTheClass(t *testing.T) {
	registry := startRegistry(t)
	const value = "\x00\x00\x00\x00\x07MARK"
	decodeWithin := func(timeout time.Duration, client *sr.Client) error {
		cfg := schemaregistry.Config{Client: client, Timeout: timeout}
		return must(schemaregistry.JSONSchema[booking](cfg, "")).Decode([]byte(value), new(booking))
	}
	decode := func(client *sr.Client) error { return decodeWithin(time.Minute, client) }
	for _, status := range []int32{401, 403, 404, 408, 429, 500, 502, 503} {
		registry.failNext(status, 1)
		wantClass(t, decode(registry.client(t)), kafka.ClassTransient, "schema registry: it answers", http.StatusText(int(status)))
	}
	wantClass(t, decode(registry.client(t, sr.URLs("http://user:MARK@127.0.0.1:1"))), kafka.ClassTransient, "schema registry: Get", "connection refused")
	wantClass(t, decode(registry.client(t)), kafka.ClassPermanent, "schema 7: the registry does not know it")

	silent := make(chan struct{})
	registry.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-silent:
			return false
		case <-r.Context().Done():
			return true
		}
	})
	wantClass(t, decodeWithin(50*time.Millisecond, registry.client(t)), kafka.ClassTransient, "deadline exceeded")
	close(silent)
	registry.ClearInterceptors()
	registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte("<html>MARK</html>"))
		return true
	})
	wantClass(t, decode(registry.client(t)), kafka.ClassTransient, "its answer can't be read")
	registry.ClearInterceptors()
	long := `{"error_code":50001,"message":"` + strings.Repeat("x", 10_000) + `"}`
	registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, long, http.StatusInternalServerError)
		return true
	})
	if err := decode(registry.client(t)); len(err.Error()) > 500 {
		t.Errorf("%d bytes of error", len(err.Error()))
	}
}

func TestOtherFormatsAreNamed(t *testing.T) {
	registry := startRegistry(t)
	registry.seed(7, sr.TypeAvro, `"string"`)
	registry.seed(8, sr.TypeJSON, bookingJSON)
	registry.seed(9, sr.TypeProtobuf, `syntax = "proto3"; message M {}`)
	json := must(schemaregistry.JSONSchema[booking](registry.reading(t), ""))
	avro := must(schemaregistry.Avro[booking](registry.reading(t), nil))
	wantClass(t, json.Decode([]byte("\x00\x00\x00\x00\x07\x08MARK"), new(booking)), kafka.ClassPermanent, "schema 7: it is AVRO, want JSON")
	wantClass(t, json.Decode([]byte("\x00\x00\x00\x00\x09\x08MARK"), new(booking)), kafka.ClassPermanent, "schema 9: it is PROTOBUF, want JSON")
	wantClass(t, avro.Decode([]byte("\x00\x00\x00\x00\x08{}"), new(booking)), kafka.ClassPermanent, "schema 8: it is JSON, want AVRO")

	var got booking
	if err := json.Decode([]byte("\x00\x00\x00\x00\x08{\"id\":\"b-7\"}"), &got); err != nil || got.ID != "b-7" {
		t.Errorf("read %+v (%v)", got, err)
	}
	wantClass(t, json.Decode([]byte("\x00\x00\x00\x00\x08{\"id\":777}"), &got), kafka.ClassPermanent, "schema 8: JSON number does not fit string")
	wantClass(t, json.Decode([]byte("\x00\x00\x00\x00\x08"), &got), kafka.ClassPermanent, "schema 8: empty value")
	for _, data := range []string{"", "\x00", "\x00\x00\x00\x00", "\x01\x00\x00\x00\x08{}", "{\"id\":\"MARK\"}"} {
		wantClass(t, json.Decode([]byte(data), &got), kafka.ClassPermanent, "not Schema Registry's format, in ", "bytes")
	}
}
