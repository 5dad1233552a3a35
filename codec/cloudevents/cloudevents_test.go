package cloudevents_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/cloudevents"
)

type booking struct{ Seats int }

var when = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

func aMessage() *kafka.MessageBuilder[booking] {
	return kafka.NewMessage[booking]().WithKey("k").WithValue(booking{2}).WithMessageID("m-1").WithSource("/gateway").WithEventType("booking.create").WithTimestamp(when)
}

func TestAMessageBecomesAnEvent(t *testing.T) {
	msg := aMessage().WithHeader("ce_id", "old").WithHeader("ce_old", "old").WithHeader("other", "x").Build()
	before := slices.Clone(msg.Headers)
	got, err := cloudevents.Write(msg, cloudevents.Event{Subject: "b-7", DataSchema: "https://schemas/booking", Extensions: map[string]string{"b": "größe", "a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"message-id=m-1", "source=/gateway", "event-type=booking.create", "other=x", "ce_specversion=1.0", "ce_id=m-1", "ce_source=/gateway",
		"ce_type=booking.create", "ce_subject=b-7", "ce_dataschema=https://schemas/booking", "ce_a=1", "ce_b=größe", "ce_time=2026-01-02T03:04:05.678Z",
	}
	if text := texts(got.Headers); !slices.Equal(text, want) {
		t.Errorf("headers\n%q, want\n%q", text, want)
	}
	if !reflect.DeepEqual(msg.Headers, before) || !got.Timestamp.Equal(when) {
		t.Errorf("the message changed: %q, %v", texts(msg.Headers), got.Timestamp)
	}

	read, err := cloudevents.Read(got)
	wantEvent := cloudevents.Event{
		ID: "m-1", Source: "/gateway", Type: "booking.create", Subject: "b-7", Time: when, DataSchema: "https://schemas/booking",
		Extensions: map[string]string{"a": "1", "b": "größe"},
	}
	if err != nil || !reflect.DeepEqual(read, wantEvent) {
		t.Errorf("read %+v (%v)", read, err)
	}
}

func texts(headers []kgo.RecordHeader) (all []string) {
	for _, header := range headers {
		all = append(all, header.Key+"="+string(header.Value))
	}
	return all
}

func TestAnEventsOwnAttributesWin(t *testing.T) {
	own := cloudevents.Event{ID: "e-1", Source: "urn:shop", Type: "booked", Time: when.Add(time.Hour)}
	msg, err := cloudevents.Write(aMessage().Build(), own)
	if got, readErr := cloudevents.Read(msg); errors.Join(err, readErr) != nil || !reflect.DeepEqual(got, own) {
		t.Errorf("read %+v (%v, %v)", got, err, readErr)
	}
	if msg.GetMessageID() != "m-1" || !msg.Timestamp.Equal(when) {
		t.Errorf("the message's own became %s, %v", msg.GetMessageID(), msg.Timestamp)
	}
	msg, err = cloudevents.Write(aMessage().WithTimestamp(time.Time{}).Build(), cloudevents.Event{})
	if got, readErr := cloudevents.Read(msg); errors.Join(err, readErr) != nil || msg.Timestamp.IsZero() || !got.Time.Equal(msg.Timestamp) {
		t.Errorf("time %v, timestamp %v (%v, %v)", got.Time, msg.Timestamp, err, readErr)
	}
}

func TestWhatIsNoEventIsNotWritten(t *testing.T) {
	for part, test := range map[string]struct {
		msg   *kafka.MessageBuilder[booking]
		event cloudevents.Event
	}{
		"ce_source is missing":        {kafka.NewMessage[booking]().WithEventType("x"), cloudevents.Event{}},
		"ce_type is missing":          {kafka.NewMessage[booking]().WithSource("x"), cloudevents.Event{}},
		"ce_subject is not text":      {aMessage(), cloudevents.Event{Subject: "MARK\n"}},
		"ce_id is not text":           {aMessage(), cloudevents.Event{ID: "MARK\xff"}},
		"ce_a is not text":            {aMessage(), cloudevents.Event{Extensions: map[string]string{"a": "\x00"}}},
		"ce_source is no URI":         {aMessage(), cloudevents.Event{Source: "http://%MARK"}},
		"ce_time is in no year":       {aMessage(), cloudevents.Event{Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"ce_dataschema is no URI":     {aMessage(), cloudevents.Event{DataSchema: "MARK"}},
		`"A" is no extension's name`:  {aMessage(), cloudevents.Event{Extensions: map[string]string{"A": "x"}}},
		`"id" is no extension's name`: {aMessage(), cloudevents.Event{Extensions: map[string]string{"id": "x"}}},
		`"" is no extension's name`:   {aMessage(), cloudevents.Event{Extensions: map[string]string{"": "x"}}},
	} {
		_, err := cloudevents.Write(test.msg.Build(), test.event)
		if err == nil || !strings.HasPrefix(err.Error(), "cloudevents: "+part) || strings.Contains(err.Error(), "MARK") {
			t.Errorf("got %v, want %s", err, part)
		}
	}
	if _, err := cloudevents.Write(kafka.Message[booking]{}, cloudevents.Event{Source: "a", Type: "b"}); err == nil || !strings.Contains(err.Error(), "ce_id is missing") {
		t.Errorf("without an id: %v", err)
	}
}

// event is a message with the headers of an event, others in place of some.
func event(changes ...string) kafka.Message[booking] {
	all := aMessage().WithHeader("ce_specversion", "1.0").WithHeader("ce_id", "1").WithHeader("ce_source", "a").WithHeader("ce_type", "b")
	for i := 0; i < len(changes); i += 2 {
		all.WithHeader(changes[i], changes[i+1])
	}
	return all.Build()
}

func TestUnreadableEventsArePermanentErrors(t *testing.T) {
	for part, msg := range map[string]kafka.Message[booking]{
		"not a CloudEvent":              aMessage().Build(),
		"a CloudEvent in structured":    aMessage().WithHeader("content-type", "Application/CloudEvents+json; charset=UTF-8").Build(),
		"ce_specversion is not 1.0":     event("ce_specversion", "MARK"),
		"ce_id is missing":              event("ce_id", ""),
		"ce_time is no time":            event("ce_time", "MARK"),
		"ce_type is not text":           event("ce_type", "MARK\r\n"),
		"ce_traceparent is not text":    event("ce_traceparent", "MARK\xff"),
		"ce_source is no URI reference": event("ce_source", "http://%MARK"),
	} {
		_, err := cloudevents.Read(msg)
		if err == nil || !strings.HasPrefix(err.Error(), "cloudevents: "+part) || strings.Contains(err.Error(), "MARK") || kafka.ClassOf(err) != kafka.ClassPermanent {
			t.Errorf("got %v of class %s, want %s", err, kafka.ClassOf(err), part)
		}
	}
	got, err := cloudevents.Read(event("ce_Odd-Name", "x", "ce_", "x", "ce_time", "2026-01-02T04:04:05.678+01:00", "content-type", "text/plain"))
	if err != nil || got.Extensions != nil || !got.Time.Equal(when) || got.DataContentType != "text/plain" {
		t.Errorf("read %+v (%v)", got, err)
	}
}

// What writers send that the binding does not have: none of it is a reason to refuse the event.
func TestEventsOfWritersThatStrayAreRead(t *testing.T) {
	for name, test := range map[string]struct {
		msg  kafka.Message[booking]
		want cloudevents.Event
	}{
		"a content type of its own":       {event("ce_datacontenttype", "application/json"), cloudevents.Event{DataContentType: "application/json"}},
		"two content types":               {event("ce_datacontenttype", "text/plain", "content-type", "application/json"), cloudevents.Event{DataContentType: "application/json"}},
		"in another order":                {event("content-type", "application/json", "ce_datacontenttype", "text/plain"), cloudevents.Event{DataContentType: "application/json"}},
		"an envelope's type of the data":  {event("ce_datacontenttype", "application/cloudevents+json"), cloudevents.Event{DataContentType: "application/cloudevents+json"}},
		"a content type in another case":  {event("Content-Type", "application/json"), cloudevents.Event{DataContentType: "application/json"}},
		"an empty content type":           {event("ce_datacontenttype", ""), cloudevents.Event{}},
		"a patch version":                 {event("ce_specversion", "1.0.2"), cloudevents.Event{}},
		"a time in lower case":            {event("ce_time", "2026-01-02t03:04:05.678z"), cloudevents.Event{Time: when}},
		"an offset without a colon":       {event("ce_time", "2026-01-02T04:04:05.678+0100"), cloudevents.Event{Time: when}},
		"no time":                         {event("ce_time", ""), cloudevents.Event{}},
		"no subject, schema or extension": {event("ce_subject", "", "ce_dataschema", "", "ce_a", ""), cloudevents.Event{}},
		"a schema's file":                 {event("ce_dataschema", "booking.avsc"), cloudevents.Event{DataSchema: "booking.avsc"}},
		"data in a header":                {event("ce_data", "x"), cloudevents.Event{}},
	} {
		t.Run(name, func(t *testing.T) {
			test.want.ID, test.want.Source, test.want.Type = "1", "a", "b"
			got, err := cloudevents.Read(test.msg)
			if err != nil || !got.Time.Equal(test.want.Time) {
				t.Fatalf("read %+v (%v)", got, err)
			}
			got.Time = test.want.Time
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("read %+v, want %+v", got, test.want)
			}
		})
	}
}

// Through a broker: our event, one of somebody who knows CloudEvents alone, an envelope, and a message that is none.
func TestEventsGoThroughABroker(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "bookings", "dlq-bookings"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	broker := cluster.ListenAddrs()[0]
	ours, err := cloudevents.Write(aMessage().Build(), cloudevents.Event{ID: "e-1", Subject: "b-7"})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, broker, kafka.JSON[booking](), ours)
	foreign, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic("bookings"))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	err = foreign.ProduceSync(t.Context(),
		&kgo.Record{Value: []byte(`{"Seats":3}`), Headers: []kgo.RecordHeader{
			header("ce_specversion", "1.0"), header("ce_id", "f-1"), header("ce_source", "/foreign"), header("ce_type", "booking.changed"), header("content-type", "application/json"),
		}},
		&kgo.Record{Value: []byte(`{"specversion":"1.0"}`), Headers: []kgo.RecordHeader{header("content-type", "application/cloudevents+json")}},
		&kgo.Record{Value: []byte(`{"Seats":4}`), Headers: []kgo.RecordHeader{header("event-type", "plain")}},
	).FirstErr()
	if err != nil {
		t.Fatal(err)
	}

	ctx, done := context.WithTimeout(t.Context(), 2*time.Minute) // for a test that fails
	defer done()
	var got []kafka.Message[booking]
	keep := func(_ context.Context, msg kafka.Message[booking]) error {
		got = append(got, msg)
		return nil
	}
	router := kafka.NewRouter()
	kafka.On(router, "booking.create", keep)
	kafka.On(router, "booking.changed", keep)
	kafka.On(router, "plain", func(ctx context.Context, msg kafka.Message[booking]) error {
		done()
		return keep(ctx, msg)
	})
	consumer, err := kafka.NewConsumerWithCodec(kafka.NewConsumerConfig("bookings", "test", broker), kafka.Bytes(), cloudevents.Handler(router.Handle))
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	if err := consumer.Start(ctx); err != nil || len(got) != 3 {
		t.Fatalf("%d messages (%v)", len(got), err)
	}
	first, _ := cloudevents.Read(got[0])
	if first.ID != "e-1" || got[0].GetMessageID() != "m-1" || first.Subject != "b-7" || first.DataContentType != "application/json" || !first.Time.Equal(when) || got[0].Value.Seats != 2 {
		t.Errorf("ours: %+v, %+v", first, got[0].Value)
	}
	if msg := got[1]; msg.GetMessageID() != "f-1" || msg.GetSource() != "/foreign" || msg.Value.Seats != 3 {
		t.Errorf("the foreign one: %q %+v", texts(msg.Headers), msg.Value)
	}
	if msg := got[2]; msg.GetMessageID() != "" || msg.Value.Seats != 4 {
		t.Errorf("the plain one: %q %+v", texts(msg.Headers), msg.Value)
	}
	if letters := cluster.PartitionInfo("dlq-bookings", 0); letters == nil || letters.HighWatermark != 1 {
		t.Errorf("dead letters: %+v, want the envelope", letters)
	}
}

func publish[T any](t *testing.T, broker string, codec kafka.Codec[T], msg kafka.Message[T]) {
	t.Helper()
	producer, err := kafka.NewProducerWithCodec(kafka.NewProducerConfig("bookings", broker), codec)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.Publish(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
}

func TestATombstoneMayBeAnEvent(t *testing.T) {
	msg, err := cloudevents.Write(aMessage().WithTombstone().Build(), cloudevents.Event{})
	if got, readErr := cloudevents.Read(msg); errors.Join(err, readErr) != nil || !msg.Tombstone || got.ID != "m-1" {
		t.Errorf("read %+v (%v, %v)", got, err, readErr)
	}
}

// FuzzRead: no headers make reading panic, errors are permanent, and what is read can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add("1.0", "1", "/a", "b", "2026-01-02T03:04:05Z", "traceparent", "x", "application/json")
	f.Add("0.3", "\xff", "http://%", "", "yesterday", "ID", "\x00", "application/cloudevents")
	f.Add("1.0", "1", "a", "b", "9999-12-31T23:59:59-23:59", "time", "0000-01-01T00:00:00+23:59", "")
	f.Fuzz(func(t *testing.T, version, id, source, kind, stamp, name, value, contentType string) {
		msg := kafka.Message[booking]{}
		for _, h := range [][2]string{{"ce_specversion", version}, {"ce_id", id}, {"ce_source", source}, {"ce_type", kind}, {"ce_time", stamp}, {"ce_" + name, value}, {"content-type", contentType}} {
			msg.Headers = append(msg.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
		event, err := cloudevents.Read(msg)
		if err != nil {
			if kafka.ClassOf(err) != kafka.ClassPermanent {
				t.Fatalf("%v of class %s", err, kafka.ClassOf(err))
			}
			return
		}
		written, err := cloudevents.Write(kafka.Message[booking]{}, event)
		if err != nil {
			t.Fatalf("%+v was read, and can't be written: %v", event, err)
		}
		again, err := cloudevents.Read(written)
		if err != nil || !again.Time.Equal(event.Time) && !event.Time.IsZero() {
			t.Fatalf("%+v became %+v (%v)", event, again, err)
		}
		for name, value := range event.Extensions { // an empty one is not written
			if again.Extensions[name] != value {
				t.Fatalf("%+v became %+v", event, again)
			}
		}
	})
}
