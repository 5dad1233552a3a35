package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

type booking struct {
	ID    string `json:"id"`
	Seats int    `json:"seats"`
}

// consumed returns the message that a handler gets of the record.
func consumed[T any](t *testing.T, codec kafka.Codec[T], r *kgo.Record) (msg kafka.Message[T]) {
	t.Helper()
	handle := kafka.Typed(codec, func(_ context.Context, m kafka.Message[T]) error {
		msg = m
		return nil
	}, true)
	if err := handle(t.Context(), &kafka.Record{Record: r, Group: "bookings", Attempt: 2}); err != nil {
		t.Fatal(err)
	}
	return msg
}

func TestBuilderSetsWhatItIsTold(t *testing.T) {
	now := time.Now()
	msg := kafka.NewMessage[booking]().WithKey("booking-1").WithValue(booking{"1", 2}).WithMessageID("m").WithCorrelationID("c").
		WithConversationID("v").WithEventType("booking.create").WithSource("gateway").WithHeader("tenant", "t1").
		WithTimestamp(now).Build()
	want := kafka.Message[booking]{
		Key: "booking-1", Value: booking{"1", 2}, Timestamp: now,
		Headers: headers("message-id", "m", "correlation-id", "c", "conversation-id", "v", "event-type", "booking.create", "source", "gateway", "tenant", "t1"),
	}
	if !reflect.DeepEqual(msg, want) {
		t.Errorf("built %+v, want %+v", msg, want)
	}
	for name, pair := range map[string][2]string{
		"GetMessageID": {msg.GetMessageID(), "m"}, "GetCorrelationID": {msg.GetCorrelationID(), "c"},
		"GetConversationID": {msg.GetConversationID(), "v"}, "GetEventType": {msg.GetEventType(), "booking.create"},
		"GetSource": {msg.GetSource(), "gateway"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s returns %q, want %q", name, pair[0], pair[1])
		}
	}
	if _, ok := msg.DeadLetter(); ok {
		t.Error("a new message says that it is a dead letter")
	}
}

func TestGettersOfAbsentHeadersReturnNothing(t *testing.T) {
	var msg kafka.Message[int]
	if all := msg.GetMessageID() + msg.GetCorrelationID() + msg.GetConversationID() + msg.GetEventType() + msg.GetSource(); all != "" {
		t.Errorf("got %q", all)
	}
	if value, ok := msg.Header("absent"); value != "" || ok {
		t.Errorf("an absent header is %q, %t", value, ok)
	}
	msg.Headers = []kgo.RecordHeader{{Key: "nil"}, {Key: "empty", Value: []byte{}}}
	for _, name := range []string{"nil", "empty"} {
		if value, ok := msg.Header(name); value != "" || !ok {
			t.Errorf("the %s header is %q, %t; want an empty one that is there", name, value, ok)
		}
	}
}

func TestMessageIDsAreUUIDsVersion7AndUnique(t *testing.T) {
	builder := kafka.NewMessage[int]()
	seen := map[string]bool{}
	for range 1000 {
		text := builder.Build().GetMessageID()
		id, err := uuid.Parse(text)
		if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 || id.String() != text {
			t.Fatalf("message id %q is no UUID version 7: %v", text, err)
		}
		if seen[text] {
			t.Fatalf("message id %s was given twice", text)
		}
		seen[text] = true
	}
}

func TestBuildsAreIndependent(t *testing.T) {
	builder := kafka.NewMessage[int]().WithHeader("a", "1").WithHeader("b", "1")
	first := builder.Build()
	before := slices.Clone(first.Headers)
	second := builder.WithHeader("a", "2").WithKey("k").Build()
	third := builder.WithValue(3).Build()
	second.Headers = append(second.Headers, kgo.RecordHeader{Key: "mine"})
	second.Headers[0].Key = "changed"

	if !reflect.DeepEqual(first.Headers, before) || first.Key != "" || first.Value != 0 {
		t.Errorf("the first message became %+v", first)
	}
	if a, _ := third.Header("a"); a != "2" || third.Key != "k" || third.Value != 3 || len(third.Headers) != 3 {
		t.Errorf("the third message is %+v", third)
	}
	if first.GetMessageID() == third.GetMessageID() || second.GetMessageID() == third.GetMessageID() {
		t.Error("two builds share a message id")
	}
	if _, ok := builder.Build().Header("mine"); ok {
		t.Error("a header added to a built message is in the next one")
	}

	builder.WithMessageID("fixed")
	fixed := builder.Build()
	before = slices.Clone(fixed.Headers)
	if again := builder.WithHeader("b", "2").Build(); fixed.GetMessageID() != "fixed" || again.GetMessageID() != "fixed" {
		t.Errorf("message ids %q and %q, want the one that was set", fixed.GetMessageID(), again.GetMessageID())
	}
	if !reflect.DeepEqual(fixed.Headers, before) {
		t.Errorf("the message with a set id became %+v", fixed)
	}
	if id := builder.WithMessageID("").Build().GetMessageID(); uuid.Validate(id) != nil {
		t.Errorf("an empty message id was kept: %q", id)
	}
}

func TestLastOfEqualHeadersWins(t *testing.T) {
	msg := kafka.Message[int]{Headers: headers("correlation-id", "first", "x", "1", "correlation-id", "last", "Correlation-Id", "another")}
	if got := msg.GetCorrelationID(); got != "last" {
		t.Errorf("GetCorrelationID returns %q", got)
	}
	builder := kafka.NewMessage[int]()
	kafka.SetHeaders(builder, slices.Clone(msg.Headers))
	built := builder.WithCorrelationID("new").WithMessageID("m").Build()
	want := headers("x", "1", "Correlation-Id", "another", "correlation-id", "new", "message-id", "m")
	if !reflect.DeepEqual(built.Headers, want) {
		t.Errorf("headers are %s, want %s", built.Headers, want)
	}
}

func TestTombstonesAndValuesReplaceEachOther(t *testing.T) {
	builder := kafka.NewMessage[booking]().WithKey("k").WithValue(booking{Seats: 1})
	if msg := builder.WithTombstone().Build(); !msg.Tombstone || msg.Value != (booking{}) {
		t.Errorf("the tombstone is %+v", msg)
	}
	if msg := builder.WithValue(booking{Seats: 2}).Build(); msg.Tombstone || msg.Value.Seats != 2 {
		t.Errorf("the message is %+v", msg)
	}
}

// -1 is Kafka's word for none, and would read as 1969.
func TestARecordWithoutATimestampHasNone(t *testing.T) {
	for _, none := range []time.Time{time.UnixMilli(-1), time.UnixMilli(-12345), {}} {
		if msg := consumed(t, kafka.JSON[booking](), &kgo.Record{Value: []byte(`{}`), Timestamp: none}); !msg.Timestamp.IsZero() {
			t.Errorf("the message of %v has the time %v", none, msg.Timestamp)
		}
	}
	if msg := consumed(t, kafka.JSON[booking](), &kgo.Record{Value: []byte(`{}`), Timestamp: time.UnixMilli(0)}); msg.Timestamp.IsZero() {
		t.Error("1970 is a time")
	}
}

func TestMessagesCarryAllOfTheirRecord(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	r := &kgo.Record{
		Key: []byte("k"), Value: []byte(`{"id":"1","seats":2}`), Headers: headers("unknown", "u", "unknown", "v"), Timestamp: at,
		Topic: "orders", Partition: 3, Offset: 42,
	}
	msg := consumed(t, kafka.JSON[booking](), r)
	msg = kafka.WithoutRaw(msg)
	want := kafka.Message[booking]{
		Key: "k", Value: booking{"1", 2}, Headers: r.Headers, Timestamp: at, Topic: "orders", Partition: 3, Offset: 42, Attempt: 2,
	}
	if !reflect.DeepEqual(msg, want) {
		t.Errorf("the handler got %+v, want %+v", msg, want)
	}
	if msg := consumed(t, kafka.JSON[booking](), &kgo.Record{Key: []byte("k")}); !msg.Tombstone || msg.Value != (booking{}) {
		t.Errorf("a nil value makes %+v, want a tombstone", msg)
	}
	if msg := consumed(t, kafka.Bytes(), &kgo.Record{Value: []byte{}}); msg.Tombstone || msg.Value == nil {
		t.Errorf("an empty value makes %+v, want no tombstone", msg)
	}
}

func TestTombstonesAreToldApartUnlessAskedFor(t *testing.T) {
	handle := kafka.Typed(kafka.JSON[booking](), func(context.Context, kafka.Message[booking]) error {
		t.Error("the handler was called")
		return nil
	}, false)
	err := handle(t.Context(), &kafka.Record{Record: &kgo.Record{}})
	if !errors.Is(err, kafka.ErrTombstone) || kafka.ClassOf(err) != kafka.ClassPermanent {
		t.Errorf("got %v of class %s, want a permanent ErrTombstone", err, kafka.ClassOf(err))
	}
	err = handle(t.Context(), &kafka.Record{Record: &kgo.Record{Value: []byte{}}})
	if errors.Is(err, kafka.ErrTombstone) || kafka.ClassOf(err) != kafka.ClassPermanent {
		t.Errorf("an empty value is %v, want a permanent error that is no ErrTombstone", err)
	}
}

// Kafka's keys and headers are bytes. Text that is no UTF-8 goes through unchanged, from record to message to record.
func TestInvalidUTF8PassesThrough(t *testing.T) {
	const odd = "\xff\xfe\x00a\xc3"
	r := &kgo.Record{Key: []byte(odd), Value: []byte(`1`), Headers: headers(odd, odd, kafka.HeaderCorrelationID, odd, kafka.HeaderEventType, odd)}
	msg := consumed(t, kafka.JSON[int](), r)
	if value, ok := msg.Header(odd); !ok || value != odd || msg.Key != odd || msg.GetCorrelationID() != odd || msg.GetEventType() != odd {
		t.Errorf("the message is %q", msg.Headers)
	}
	built := kafka.NewMessage[int]().WithKey(odd).WithCorrelationID(odd).WithHeader(odd, odd).WithMessageID(odd).Build()
	sent := published(t, built)
	if string(sent.Key) != odd {
		t.Errorf("the key is %q", sent.Key)
	}
	if want := headers(kafka.HeaderCorrelationID, odd, odd, odd, kafka.HeaderMessageID, odd, kafka.HeaderContentType, "application/json"); !reflect.DeepEqual(sent.Headers, want) {
		t.Errorf("the headers are %q, want %q", sent.Headers, want)
	}
}

// published returns the record that Publish makes of the message.
func published[T any](t *testing.T, msg kafka.Message[T]) (sent *kgo.Record) {
	t.Helper()
	producer := kafka.NewProducerTo[T](func(r *kafka.Record) { sent = r.Record })
	if err := producer.Publish(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	return sent
}

func TestPublishLeavesTheMessageAsItIs(t *testing.T) {
	for _, id := range []string{"", "m-1"} {
		list := make([]kgo.RecordHeader, 0, 10) // with room, into which an append would write
		list = append(list, headers("content-type", "mine", "x", "1", "content-type", "mine too", "x", "2", kafka.HeaderMessageID, id)...)
		msg := kafka.Message[booking]{Key: "k", Value: booking{"1", 2}, Headers: list, Timestamp: time.UnixMilli(5), Topic: "elsewhere", Partition: 7, Offset: 9}
		before := slices.Clone(list[:cap(list)])
		sent := published(t, msg)
		if !reflect.DeepEqual(list[:cap(list)], before) {
			t.Errorf("publishing changed the message's headers to %s", list[:cap(list)])
		}
		if sent.Topic != "orders" || string(sent.Key) != "k" || string(sent.Value) != `{"id":"1","seats":2}` || !sent.Timestamp.Equal(msg.Timestamp) {
			t.Errorf("sent %+v", sent)
		}
		sentID, _ := lastHeader(sent.Headers, kafka.HeaderMessageID)
		if id == "" && uuid.Validate(sentID) != nil || id != "" && sentID != id {
			t.Errorf("sent message id %q for %q", sentID, id)
		}
		if want := headers("x", "1", "x", "2", kafka.HeaderMessageID, sentID, kafka.HeaderContentType, "application/json"); !reflect.DeepEqual(sent.Headers, want) {
			t.Errorf("sent headers %s, want %s", sent.Headers, want)
		}
	}

	if sent := published(t, kafka.Message[booking]{Key: "k", Tombstone: true}); sent.Value != nil {
		t.Errorf("a tombstone has the value %q", sent.Value)
	}
	if sent := published(t, kafka.Message[int]{}); sent.Key != nil {
		t.Errorf("a message without a key has the key %q", sent.Key)
	}
}

func TestDecodeValueReadsConsumedMessages(t *testing.T) {
	wire := []byte(`{"id":"1","seats":2,"more":"than booking knows"}`)
	want := struct {
		booking
		More string `json:"more"`
	}{booking{"1", 2}, "than booking knows"}
	for name, decode := range map[string]func(v any) error{
		"of one type":        consumed(t, kafka.JSON[booking](), &kgo.Record{Value: wire}).DecodeValue,
		"of several types":   consumed(t, kafka.JSON[json.RawMessage](), &kgo.Record{Value: wire}).DecodeValue,
		"of any type":        consumed(t, kafka.JSON[any](), &kgo.Record{Value: wire}).DecodeValue,
		"of bytes":           consumed(t, kafka.Bytes(), &kgo.Record{Value: wire}).DecodeValue,
		"built as raw JSON":  kafka.Message[json.RawMessage]{Value: wire}.DecodeValue,
		"built as bytes":     kafka.Message[[]byte]{Value: wire}.DecodeValue,
		"built of a struct":  kafka.NewMessage[any]().WithValue(want).Build().DecodeValue,
		"built of a pointer": kafka.NewMessage[any]().WithValue(&want).Build().DecodeValue,
		"built of a map":     kafka.Message[map[string]any]{Value: map[string]any{"id": "1", "seats": 2, "more": want.More}}.DecodeValue,
	} {
		t.Run(name, func(t *testing.T) {
			got := want
			got.ID, got.Seats, got.More = "", 0, ""
			if err := decode(&got); err != nil || got != want {
				t.Errorf("decoded %+v, want %+v (error: %v)", got, want, err)
			}
			err := decode(new([]int))
			if !isType[*kafka.DecodeError](err) || kafka.ClassOf(fmt.Errorf("a: %w", err)) != kafka.ClassPermanent {
				t.Errorf("into a list: %v of class %s, want a permanent DecodeError", err, kafka.ClassOf(err))
			}
		})
	}
}

// Else a deletion would pass for a value of zeros.
func TestDecodeValueTellsTombstonesApart(t *testing.T) {
	for name, decode := range map[string]func(v any) error{
		"consumed, of one type":      consumed(t, kafka.JSON[booking](), &kgo.Record{Key: []byte("k")}).DecodeValue,
		"consumed, of several types": consumed(t, kafka.JSON[json.RawMessage](), &kgo.Record{Key: []byte("k")}).DecodeValue,
		"consumed, of bytes":         consumed(t, kafka.Bytes(), &kgo.Record{Key: []byte("k")}).DecodeValue,
		"built":                      kafka.NewMessage[booking]().WithKey("k").WithTombstone().Build().DecodeValue,
	} {
		if err := decode(new(booking)); !errors.Is(err, kafka.ErrTombstone) || !isType[*kafka.DecodeError](err) {
			t.Errorf("%s: %v, want a DecodeError that is ErrTombstone", name, err)
		}
	}
}

func TestDecodeValueRefusesWhatHasNoValue(t *testing.T) {
	for name, decode := range map[string]func(v any) error{
		"empty bytes":   consumed(t, kafka.Bytes(), &kgo.Record{Value: []byte{}}).DecodeValue,
		"null bytes":    consumed(t, kafka.Bytes(), &kgo.Record{Value: []byte(" null ")}).DecodeValue,
		"nothing built": kafka.NewMessage[json.RawMessage]().Build().DecodeValue,
		"nil built":     kafka.NewMessage[*booking]().Build().DecodeValue,
		"not encodable": kafka.NewMessage[chan int]().WithValue(make(chan int)).Build().DecodeValue,
	} {
		t.Run(name, func(t *testing.T) {
			var got booking
			if err := decode(&got); !isType[*kafka.DecodeError](err) {
				t.Errorf("decoded %+v with %v, want a DecodeError", got, err)
			}
		})
	}
}
