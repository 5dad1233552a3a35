// Package cloudevents reads and writes CloudEvents 1.0 in the binary mode of their Kafka binding: the attributes are headers that begin
// with ce_, and the value is the event's data, in whatever format the codec has. It works beside any codec.
//
//	msg, err := cloudevents.Write(kafka.NewMessage[Booking]().WithKey(id).WithValue(b).WithSource("/gateway").
//		WithEventType("booking.create").Build(), cloudevents.Event{Subject: id})
//	err = producer.Publish(ctx, msg)
//
// The message's own headers stay, so that readers need not know of CloudEvents. Where senders know nothing of our headers, [Handler]
// fills them in from the event's, and GetMessageID, GetSource, GetEventType and a Router work.
//
// The structured mode, in which the value is an envelope with attributes and data, is refused: a codec would take the envelope for the
// data. To read it, consume without this package, with a T that is the envelope.
//
// A tombstone may be an event: one without data.
package cloudevents

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

const (
	prefix      = "ce_"
	specVersion = "1.0"
	structured  = "application/cloudevents" // what the content type of the structured and the batch mode begins with
)

// Errors that [errors.Is] finds in what this package returns.
var (
	// ErrNoEvent: the message has no ce_specversion header.
	ErrNoEvent = errors.New("not a CloudEvent")
	// ErrStructured: the event is in structured mode.
	ErrStructured = errors.New("a CloudEvent in structured mode, want binary mode")
)

// Event has the attributes of an event. Its data is the message's value.
type Event struct {
	ID              string            // names the event among those of its source; required
	Source          string            // a URI reference: who sent it; required
	Type            string            // what happened, such as booking.create; required
	Subject         string            // what it happened to
	Time            time.Time         // when it happened; zero if it does not say
	DataSchema      string            // a URI of the data's schema
	DataContentType string            // the content-type header, which codecs set; see Write
	Extensions      map[string]string // others, by their names: lower-case letters and digits
}

// Read returns the event that a message is. Its errors are permanent, name the attribute and hold none of its value.
//
// It takes what writers send that the binding does not have: the data's content type as ce_datacontenttype, where there
// is no content-type header; headers named Content-Type; versions such as 1.0.2; times with a lower-case t and z, or an
// offset without a colon; empty attributes, as if they were not there; and a ce_dataschema that is no absolute URI. It
// ignores ce_data.
func Read[T any](msg kafka.Message[T]) (Event, error) {
	event, err := read(msg.Headers)
	if err != nil {
		return Event{}, kafka.NewPermanentError("cloudevents", err)
	}
	return event, nil
}

func read(headers []kgo.RecordHeader) (event Event, err error) {
	version, contentType := "", ""
	for _, header := range headers { // of two headers of a name the last counts, as everywhere
		name, ours := strings.CutPrefix(header.Key, prefix)
		value := string(header.Value)
		switch {
		case strings.EqualFold(header.Key, kafka.HeaderContentType):
			event.DataContentType = value
		case !ours || value == "" && !slices.Contains([]string{"specversion", "id", "source", "type"}, name):
		case name == "datacontenttype":
			contentType = value
		case name == "data":
		case name == "specversion":
			version = value
		case name == "id":
			event.ID = value
		case name == "source":
			event.Source = value
		case name == "type":
			event.Type = value
		case name == "subject":
			event.Subject = value
		case name == "dataschema":
			event.DataSchema = value
		case name == "time":
			if event.Time, err = parseTime(value); err != nil {
				return event, err
			}
		case isName(name):
			if event.Extensions == nil {
				event.Extensions = map[string]string{}
			}
			event.Extensions[name] = value
		}
	}
	switch {
	case strings.HasPrefix(strings.ToLower(event.DataContentType), structured):
		return event, ErrStructured
	case version == "":
		return event, ErrNoEvent
	case version != specVersion && !strings.HasPrefix(version, specVersion+"."):
		return event, errors.New("ce_specversion is not " + specVersion)
	}
	if event.DataContentType == "" {
		event.DataContentType = contentType
	}
	return event, event.check()
}

// parseTime reads a time as RFC 3339 has it, which allows for lower-case letters, and with an offset as ISO 8601 also
// writes it.
func parseTime(value string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if parsed, err := time.Parse(layout, strings.ToUpper(value)); err == nil {
			return parsed, nil
		}
	}
	return time.Time{}, errors.New("ce_time is no time as RFC 3339 writes it") // time's own text repeats the value
}

// Write returns the message with the headers of an event. ID, Source and Type that are empty are the message's own, which
// its builder sets. A Time that is zero is the message's timestamp; if there is none either, both become the present.
//
// DataContentType may be left empty: the producer sets the codec's. Only [kafka.Bytes], which knows nothing of the data, keeps another.
// Headers of an event that the message had are gone. The message that was given stays as it was.
func Write[T any](msg kafka.Message[T], event Event) (kafka.Message[T], error) {
	if event.ID == "" {
		event.ID = msg.GetMessageID()
	}
	if event.Source == "" {
		event.Source = msg.GetSource()
	}
	if event.Type == "" {
		event.Type = msg.GetEventType()
	}
	stamp := msg.Timestamp
	if event.Time.IsZero() {
		if stamp.IsZero() {
			stamp = time.Now().Truncate(time.Millisecond) // as a record keeps it
		}
		event.Time = stamp
	}
	err := event.check()
	if err == nil && event.DataSchema != "" {
		if schema, parseErr := url.Parse(event.DataSchema); parseErr != nil || !schema.IsAbs() {
			err = fmt.Errorf("%sdataschema is no URI", prefix)
		}
	}
	if err != nil {
		return msg, fmt.Errorf("cloudevents: %w", err)
	}
	msg.Timestamp = stamp
	replaced := func(h kgo.RecordHeader) bool {
		return strings.HasPrefix(h.Key, prefix) || h.Key == kafka.HeaderContentType && event.DataContentType != ""
	}
	msg.Headers = append(slices.DeleteFunc(slices.Clone(msg.Headers), replaced), event.headers()...)
	return msg, nil
}

func (e Event) headers() (headers []kgo.RecordHeader) {
	add := func(name, value string) {
		if value != "" {
			headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
		}
	}
	add(prefix+"specversion", specVersion)
	for _, attribute := range e.texts() {
		add(prefix+attribute.name, attribute.value)
	}
	add(prefix+"time", e.Time.UTC().Format(time.RFC3339Nano))
	add(kafka.HeaderContentType, e.DataContentType)
	return headers
}

type attribute struct {
	name, value string
	required    bool
}

// texts are the attributes that are text, extensions by their names.
func (e Event) texts() []attribute {
	all := []attribute{
		{"id", e.ID, true}, {"source", e.Source, true}, {"type", e.Type, true}, {"subject", e.Subject, false}, {"dataschema", e.DataSchema, false},
	}
	known := len(all)
	for name, value := range e.Extensions {
		all = append(all, attribute{name, value, false})
	}
	slices.SortFunc(all[known:], func(a, b attribute) int { return strings.Compare(a.name, b.name) })
	return all
}

// check says what the specification forbids, and Read does not take.
func (e Event) check() error {
	for name := range e.Extensions {
		if !isName(name) || slices.Contains([]string{"specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype", "data"}, name) {
			return fmt.Errorf("%q is no extension's name: want lower-case letters and digits, and no attribute's", name)
		}
	}
	for _, attribute := range e.texts() {
		if attribute.required && attribute.value == "" {
			return fmt.Errorf("%s%s is missing", prefix, attribute.name)
		}
		if !isText(attribute.value) {
			return fmt.Errorf("%s%s is not text: it is not UTF-8, or has control characters", prefix, attribute.name)
		}
	}
	if year := e.Time.UTC().Year(); year < 0 || year > 9999 {
		return fmt.Errorf("%stime is in no year that RFC 3339 has", prefix)
	}
	if _, err := url.Parse(e.Source); err != nil {
		return fmt.Errorf("%ssource is no URI reference", prefix)
	}
	return nil
}

func isName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func isText(value string) bool {
	return utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl)
}
