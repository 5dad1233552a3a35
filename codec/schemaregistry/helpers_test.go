package schemaregistry_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
	"github.com/skeji/kafka/kafkatest"
)

// fake is a registry in this process.
type fake struct {
	*srfake.Registry
	requests atomic.Int32
	status   atomic.Int32 // that it answers with while failures are left
	failures atomic.Int32
}

// failNext has the next requests answered with a status and a page that is not the registry's.
func (f *fake) failNext(status, requests int32) {
	f.status.Store(status)
	f.failures.Store(requests)
}

func startRegistry(t testing.TB, options ...srfake.Option) *fake {
	f := &fake{Registry: srfake.New(options...)}
	t.Cleanup(f.Close)
	f.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		f.requests.Add(1)
		if f.failures.Add(-1) < 0 {
			return false
		}
		http.Error(w, "<html>MARK</html>", int(f.status.Load()))
		return true
	})
	return f
}

func (f *fake) client(t testing.TB, options ...sr.ClientOpt) *sr.Client {
	t.Helper()
	client, err := sr.NewClient(append([]sr.ClientOpt{sr.URLs(f.URL())}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// writing is a config of a codec that writes bookings, and registers what it writes.
func (f *fake) writing(t testing.TB) schemaregistry.Config {
	return schemaregistry.Config{Client: f.client(t), Topic: "bookings", Register: true}
}

// reading is a config of a codec that only reads.
func (f *fake) reading(t testing.TB) schemaregistry.Config {
	return schemaregistry.Config{Client: f.client(t)}
}

// seed has a schema of that id.
func (f *fake) seed(id int, kind sr.SchemaType, text string, references ...sr.SchemaReference) {
	f.SeedSchema("seeded", id, id, sr.Schema{Schema: text, Type: kind, References: references})
}

// must is for the codecs' constructors.
func must[T any](codec kafka.Codec[T], err error) kafka.Codec[T] {
	if err != nil {
		panic(err)
	}
	return codec
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), "MARK") {
		t.Errorf("the error shows what it must not: %v", err)
	}
}

// wantClass wants a text, too, with none of the value.
func wantClass(t *testing.T, err error, class kafka.Class, parts ...string) {
	t.Helper()
	wantText(t, err, parts...)
	if got := kafka.ClassOf(err); got != class {
		t.Errorf("%v is %s, want %s", err, got, class)
	}
	_, decode := err.(*kafka.DecodeError)
	_, transient := err.(*kafka.TransientError)
	if !decode && !transient {
		t.Errorf("%T, which the consumer would not take as it is", err)
	}
}

// consumed returns what a consumer hands over, once it is done with all that is published.
func consumed[T any](t *testing.T, broker *kafkatest.Broker, codec kafka.Codec[T]) (got []kafka.Message[T]) {
	t.Helper()
	cfg := broker.ConsumerConfig("bookings", "test")
	cfg.HandleTombstones = true
	consumer, err := kafka.NewConsumerWithCodec(cfg, codec, func(_ context.Context, msg kafka.Message[T]) error {
		got = append(got, msg) // of one key: one after another
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := kafkatest.Run(t, consumer)
	kafkatest.AwaitDone(t, broker, "bookings", "test")
	stop()
	return got
}
