// Package schemaregistry has codecs of the wire format that Schema Registry's serializers share: a zero byte, the id of the schema that
// wrote the value, and the value, in Avro, Protocol Buffers or JSON.
//
//	registry, err := sr.NewClient(sr.URLs("https://registry:8081"), sr.BasicAuth(user, password))
//	codec, err := schemaregistry.Avro[Booking](schemaregistry.Config{Client: registry, Topic: "bookings"}, nil)
//	producer, err := kafka.NewProducerWithCodec(cfg, codec)
//
// # Writing
//
// The schema is looked up once, when the codec is made: Publish asks nobody. By default it must be there, under the subject that the
// topic name strategy gives it, such as bookings-value; with [Config.Register] it is registered if it is not. A codec without a Topic
// and a Subject only reads.
//
// # Reading
//
// The schema of an id is fetched when the id is first met, by one goroutine while others that met it wait, and kept: up
// to 1,000 of them for each codec, of which the one that was not used for longest makes room. What becomes of the
// record then:
//
//   - The registry does not answer, or with anything but an answer to the question: a transient error. The record is retried, up to
//     MaxRetries, and dead-lettered after that: raise MaxRetries to sit out longer outages. Ids that are known need no registry.
//   - The registry does not know the id: a permanent error, for this record and those that come within the next 10 seconds.
//   - The schema is of another format, or what it writes can't be read as T, or the registry's answer is longer than 2
//     MiB: a permanent error.
//   - A hundred ids were refused in short time for one of these reasons, as when somebody publishes made-up ids: then a
//     codec asks for 20 new ids in a second. A record with an id beyond that is a transient error, and tried again
//     after half a second to one. Schemas that are known stay known: refused ids are kept apart from them, up to 1,000.
//   - The value is not in the wire format, or is empty: a permanent error.
//
// Confluent's serializers may put the schema's id or GUID into the header __value_schema_id, and nothing before the
// value. Consumers read such records, too: the header counts if it is there. Values are always written with the id
// before them, and without the header.
//
// Errors name the schema's id and hold none of the value, and no password of a registry's address.
//
// A tombstone is a message of its own, see [kafka.MessageBuilder.WithTombstone], and with ConsumerConfig.HandleTombstones it reaches the
// handler with T's zero, which the codec never sees. The content-type header of published messages is application/octet-stream:
// what follows the id is Avro, Protocol Buffers or JSON, and the value as a whole is none of them.
package schemaregistry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

const defaultTimeout = 5 * time.Second // as sr's own HTTP client has it

// Config says where schemas are.
type Config struct {
	// Client asks the registry. It is required; its options are the registry's addresses, credentials and certificates.
	// Credentials are refused with an http address beyond loopback, see AllowPlaintext. The codec takes over the
	// client's options and its HTTP client, and reads no answer of more than 2 MiB.
	Client *sr.Client
	// AllowPlaintext lets credentials be sent unencrypted to a registry beyond this machine. Without it a client with
	// credentials and such an address is an error, and so is a request that gets credentials from a hook, or is
	// redirected to such an address.
	AllowPlaintext bool
	// Topic whose values are written. Their schema's subject is Topic + "-value", as the topic name strategy has it. With neither
	// Topic nor Subject the codec only reads.
	Topic string
	// Subject in place of the topic's, for the other naming strategies.
	Subject string
	// Register has a schema registered that the subject has not. By default that is an error: in many places schemas are
	// reviewed, and a service may not register any. Schema Registry: auto.register.schemas, whose default is true.
	Register bool
	// MessageIndex says how the topic's writers number the messages of a Protocol Buffers schema. Default AnyIndex.
	MessageIndex MessageIndex
	// Timeout bounds what is asked of the registry at a time: when the codec is made, and for each id. A handler's shutdown waits
	// for it: keep it below DrainTimeout. Default 5s.
	Timeout time.Duration
}

// checked returns the config with a client that is watched.
func (c Config) checked() (Config, error) {
	err := c.validate()
	if err == nil {
		c.Client, err = guarded(c.Client, c.AllowPlaintext)
	}
	return c, err
}

func (c Config) validate() error {
	switch {
	case c.Client == nil:
		return errors.New("schemaregistry: Config.Client is nil: make one with sr.NewClient")
	case c.Topic != "" && c.Subject != "":
		return fmt.Errorf("schemaregistry: Topic %q and Subject %q: set one of them", c.Topic, c.Subject)
	case c.Register && c.subject() == "":
		return errors.New("schemaregistry: Register without a Topic: set it, or Subject")
	case c.MessageIndex < AnyIndex || c.MessageIndex > DescriptorIndex:
		return fmt.Errorf("schemaregistry: MessageIndex is %d: want AnyIndex, DeclaredIndex or DescriptorIndex",
			int(c.MessageIndex))
	case c.Timeout < 0:
		return fmt.Errorf("schemaregistry: Timeout is %v", c.Timeout)
	}
	return nil
}

func (c Config) subject() string {
	if c.Topic != "" {
		return c.Topic + "-value"
	}
	return c.Subject
}

// context bounds one conversation with the registry.
func (c Config) context() (context.Context, context.CancelFunc) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	return context.WithTimeout(context.Background(), timeout)
}

// MessageIndex is how messages of a Protocol Buffers schema are numbered in a value. A map field has a message of its
// own for its entries, which only the schema's descriptor has, and not its text. Writers disagree on whether the
// entries are numbered, so that a message behind a map field has two numbers, and a number may mean two messages:
//
//	message Order {
//	  map<string, Place> stops = 1;
//	  message Line { … }  // Order.Line: 0 in Order for Java and this library, 1 for Go and Python
//	  message Last { … }  // Order.Last: 1 in Order for Java and this library, 2 for Go and Python
//	}
type MessageIndex int

const (
	// AnyIndex reads a value if either numbering makes it a T, and writes as DeclaredIndex. If the other numbering
	// makes it another message, the value is refused if it has fields that only the other has. If its fields are those
	// of both, it is read as a T: on a topic with several such messages, and writers of one kind, set the numbering.
	AnyIndex MessageIndex = iota
	// DeclaredIndex numbers the messages that the schema's text declares: Confluent's serializer for Java, and this
	// library.
	DeclaredIndex
	// DescriptorIndex numbers the entries of map fields, too: Confluent's serializers for Go and Python. Values are
	// written so, too.
	DescriptorIndex
)

// String names the writers.
func (m MessageIndex) String() string {
	switch m {
	case DeclaredIndex:
		return "Confluent's Java client or this library"
	case DescriptorIndex:
		return "Confluent's Go or Python client"
	}
	return "any client"
}
