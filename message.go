package kafka

import (
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/jsontype"
	"github.com/skeji/kafka/internal/recordheader"
)

// Names of the headers that carry a message's metadata, as UTF-8 text. The message's time is the record's own timestamp.
const (
	HeaderMessageID      = "message-id"      // a UUID version 7, set by Build or Publish
	HeaderCorrelationID  = "correlation-id"  // what an answer has in common with its question
	HeaderConversationID = "conversation-id" // what all messages of a longer exchange have in common
	HeaderEventType      = "event-type"      // such as booking.create, for topics that carry several
	HeaderSource         = "source"          // the service that published
	HeaderContentType    = "content-type"    // set from the codec; Bytes keeps the one that is there
)

// Names of the headers by which a [Requester] and [Respond] understand each other, as UTF-8 text, beside the correlation id.
const (
	HeaderReplyTopic        = "reply-topic"         // where the reply is to go
	HeaderReplyPartition    = "reply-partition"     // which partition of it, decimal; without it the key decides
	HeaderRequesterID       = "requester-id"        // of the instance that asks; its replies have it, too
	HeaderReplyToken        = "reply-token"         // a random secret of the request, which its reply repeats
	HeaderRequestPlace      = "request-place"       // which record a reply answers: <topic>/<partition>/<offset>
	HeaderDeadline          = "deadline"            // until when the reply is waited for, RFC 3339 with nanoseconds
	HeaderReplyErrorClass   = "reply-error-class"   // of a reply that is an error: transient, permanent or business
	HeaderReplyErrorMessage = "reply-error-message" // its text, up to 1 KiB
)

// Header is a name and a value: franz-go's, so that nobody has to import it for that.
type Header = kgo.RecordHeader

// Message is a decoded record on its way to a handler, or a value on its way to a topic.
type Message[T any] struct {
	// Key decides the partition: messages with one key stay in order. A message without a key ("") goes to any
	// partition and has no order, unless EmptyKey is set.
	Key string
	// EmptyKey tells a key that is empty from none, as Kafka does: it is a key like others, with a partition and an order, and
	// compacted topics take it. It is for messages of other clients, and counts only while Key is "".
	EmptyKey bool
	// Value is the decoded value; T's zero for a tombstone.
	Value T
	// Headers in the order they have on the wire; names may repeat. Unknown ones pass through untouched.
	Headers []Header
	// Timestamp is the record's time, to the millisecond; zero for a record that has none. Zero when publishing: now.
	Timestamp time.Time
	// Tombstone is a record with a nil value, which deletes its key from a compacted topic. Value is then T's zero.
	// Handlers see one only with ConsumerConfig.HandleTombstones; Publish sends one when it is set.
	Tombstone bool

	// Topic, Partition and Offset say where the record is. Publish ignores them: a producer writes to its own topic.
	Topic     string
	Partition int32 // see Topic
	Offset    int64 // see Topic
	// Attempt is 1 for the first call of the handler with this record, 2 for the first retry, and so on.
	Attempt int
	// LastAttempt says that no retry is left: a transient error goes to the dead letter topic, too. (In a batch, what failed with
	// others comes once more, alone; and what the flood guard has held back comes until it lets letters pass.)
	LastAttempt bool

	raw []byte // the record's value, for DecodeValue
}

// Header returns the last header with that name, as Kafka's own lastHeader does.
func (m Message[T]) Header(name string) (value string, ok bool) {
	return lastHeader(m.Headers, name)
}

// GetMessageID returns the message-id header, or "".
func (m Message[T]) GetMessageID() string { return m.text(HeaderMessageID) }

// GetCorrelationID returns the correlation-id header, or "".
func (m Message[T]) GetCorrelationID() string { return m.text(HeaderCorrelationID) }

// GetConversationID returns the conversation-id header, or "".
func (m Message[T]) GetConversationID() string { return m.text(HeaderConversationID) }

// GetEventType returns the event-type header, or "".
func (m Message[T]) GetEventType() string { return m.text(HeaderEventType) }

// GetSource returns the source header, or "".
func (m Message[T]) GetSource() string { return m.text(HeaderSource) }

func (m Message[T]) text(name string) string {
	value, _ := m.Header(name)
	return value
}

// DeadLetter returns where a dead letter came from and why it failed; false if the message is none. All of it is what the
// headers claim, which the record's writer can forge; a consumer with a ClientConfig.ControlKey leaves forged ones out.
func (m Message[T]) DeadLetter() (DeadLetter, bool) { return parseDeadLetter(m.Headers) }

// Place is where and when a record was stored.
type Place struct {
	Topic     string    // where it was stored
	Partition int32     // see Topic
	Offset    int64     // see Topic
	Timestamp time.Time // the record's own, zero if it has none
}

// First returns where and when the message was first, whatever retry topic or dead letter topic it has been in since: what
// makes a delivery the same as an earlier one. Of one that came through none, that is where it is. A place that headers
// claim counts only if they were written for the topic that the message was read from; see [Message.DeadLetter] for
// who can forge them.
func (m Message[T]) First() Place {
	letter, ok := m.DeadLetter()
	if writtenTo, _ := m.Header(dlqheader.WrittenTo); ok && writtenTo == m.Topic && letter.Offset >= 0 {
		return Place{letter.Topic, letter.Partition, letter.Offset, letter.Timestamp}
	}
	return Place{m.Topic, m.Partition, m.Offset, m.Timestamp}
}

// DecodeValue decodes the message's JSON into v, a pointer. It serves topics that carry several event types: consume
// Message[json.RawMessage], look at GetEventType, decode. Its error is a [DecodeError], which a handler can return as it is.
func (m Message[T]) DecodeValue(v any) error {
	if m.Tombstone {
		return &DecodeError{Reason: ErrTombstone.Error(), Err: ErrTombstone}
	}
	data := m.raw
	if data == nil { // not consumed but built, in a test for example
		switch value := any(m.Value).(type) {
		case json.RawMessage:
			data = value
		case []byte:
			data = value
		default:
			encoded, err := json.Marshal(&value)
			if err != nil {
				return &DecodeError{Reason: describeJSON(err), Err: err}
			}
			data = encoded
		}
	}
	if err := jsontype.CheckRead(reflect.TypeOf(v)); err != nil {
		return &DecodeError{Reason: err.Error(), Err: err}
	}
	return decodeJSON(data, v, json.Unmarshal)
}

// MessageBuilder builds a [Message] step by step. Make one with [NewMessage].
type MessageBuilder[T any] struct{ msg Message[T] }

// NewMessage starts a message:
//
//	msg := kafka.NewMessage[Booking]().WithKey(id).WithValue(b).WithEventType("booking.create").Build()
func NewMessage[T any]() *MessageBuilder[T] { return &MessageBuilder[T]{} }

// WithKey sets the key. Messages with one key are handled in the order they were published.
func (b *MessageBuilder[T]) WithKey(key string) *MessageBuilder[T] {
	b.msg.Key = key
	return b
}

// WithValue sets the value.
func (b *MessageBuilder[T]) WithValue(value T) *MessageBuilder[T] {
	b.msg.Value, b.msg.Tombstone = value, false
	return b
}

// WithTombstone makes the message a tombstone: a nil value, which deletes its key from a compacted topic.
func (b *MessageBuilder[T]) WithTombstone() *MessageBuilder[T] {
	var none T
	b.msg.Value, b.msg.Tombstone = none, true
	return b
}

// WithHeader sets a header, in place of any other with that name.
func (b *MessageBuilder[T]) WithHeader(name, value string) *MessageBuilder[T] {
	b.msg.Headers = setHeader(b.msg.Headers, name, []byte(value))
	return b
}

// WithMessageID sets the message id, in place of the UUID that Build makes.
func (b *MessageBuilder[T]) WithMessageID(id string) *MessageBuilder[T] {
	return b.WithHeader(HeaderMessageID, id)
}

// WithCorrelationID sets the id that a request, its replies and all that follows from it share.
func (b *MessageBuilder[T]) WithCorrelationID(id string) *MessageBuilder[T] {
	return b.WithHeader(HeaderCorrelationID, id)
}

// WithConversationID sets the id of the longer exchange that the message belongs to.
func (b *MessageBuilder[T]) WithConversationID(id string) *MessageBuilder[T] {
	return b.WithHeader(HeaderConversationID, id)
}

// WithEventType sets what happened or is asked for, such as "booking.create".
func (b *MessageBuilder[T]) WithEventType(eventType string) *MessageBuilder[T] {
	return b.WithHeader(HeaderEventType, eventType)
}

// WithSource sets the service that sends the message.
func (b *MessageBuilder[T]) WithSource(source string) *MessageBuilder[T] {
	return b.WithHeader(HeaderSource, source)
}

// WithTimestamp sets the message's time, kept to the millisecond. Default: when it is published.
func (b *MessageBuilder[T]) WithTimestamp(t time.Time) *MessageBuilder[T] {
	b.msg.Timestamp = t
	return b
}

// Build returns the message, with a message id. The builder can go on to build others; each Build makes a new id unless
// one was set.
func (b *MessageBuilder[T]) Build() Message[T] {
	msg := b.msg
	msg.Headers = withMessageID(slices.Clone(msg.Headers))
	return msg
}

func withMessageID(headers []kgo.RecordHeader) []kgo.RecordHeader {
	if id, _ := lastHeader(headers, HeaderMessageID); id != "" {
		return headers
	}
	id, _ := uuid.Must(uuid.NewV7()).MarshalText() // which never fails
	return setHeader(headers, HeaderMessageID, id)
}

// timeOf returns a record's timestamp, or zero for none: Kafka's word for that is -1, which would read as 1969.
func timeOf(r *kgo.Record) time.Time {
	if r.Timestamp.UnixMilli() < 0 {
		return time.Time{}
	}
	return r.Timestamp
}

func lastHeader(list []kgo.RecordHeader, name string) (value string, ok bool) {
	bytes, ok := recordheader.Last(list, name)
	return string(bytes), ok
}

// setHeader replaces every header of that name by one. It may change the slice it is given.
func setHeader(headers []kgo.RecordHeader, name string, value []byte) []kgo.RecordHeader {
	headers = slices.DeleteFunc(headers, func(h kgo.RecordHeader) bool { return h.Key == name })
	return append(headers, kgo.RecordHeader{Key: name, Value: value})
}
