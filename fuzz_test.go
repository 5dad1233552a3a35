package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// echoingText quotes its text in its error.
type echoingText string

func (*echoingText) UnmarshalText(text []byte) error { return fmt.Errorf("bad value %s", text) }

// decodeErrorText is all that a decoding error may say: nothing in it is from the value but numbers of bytes, the name of an unknown
// field, and a schema's id.
var decodeErrorText = regexp.MustCompile(`^decode value: (empty value, want JSON|JSON null, want a value|` +
	`(invalid JSON|JSON (string|number|bool|object|array) does not fit [a-zA-Z0-9_.\[\]*]+( in field "(Name|When|Items|Count|Table|Data|Address|[0-9*]+|\.)+")?,?) ?at byte \d+, in \d+ bytes|` +
	`(JSON refused with \*?[a-zA-Z0-9_.]+|unknown field( "[A-Za-z_][A-Za-z0-9_-]*")?|` +
	`field "(Name|When|Items|Count|Table|Data|Address)" (twice|in another case)|a name twice in an object(, or names that differ only in case)?), in \d+ bytes|` +
	`value begins with Schema Registry's magic byte \(schema id \d+\): use codec/schemaregistry)$`)

// FuzzJSONDecode: no bytes make decoding panic, every error is a DecodeError, and its text repeats nothing of the value.
func FuzzJSONDecode(f *testing.F) {
	for _, seed := range []string{
		``, ` `, `null`, " \n null\t", `nul`, `nullx`, `{}`, `{}x`, `[]`, `0`, `-0`, `1e999`, `"`, `"\ud800"`, "\"\xff\"", "\x00", "\ufeff{}",
		`{"Name":"a","When":"2026-01-02T03:04:05Z","Items":[{"Count":1}],"Table":{"k":1},"Data":"AAE=","Address":"b"}`,
		`{"Name":1}`, `{"When":"MARK"}`, `{"When":1}`, `{"Items":[{"Count":300}]}`, `{"Items":[{"Count":"MARK"}]}`, `{"Items":"MARK"}`, `{"Table":{"MARK":"x"}}`,
		`{"Data":"MARK!"}`, `{"Address":"MARK"}`, `{"Address":{}}`, `{"name":1,"NAME":2,"Name":true}`, `{"Items":null,"Table":null}`,
		"\x00\x00\x00\x00\x07MARK", `{"Unknown":1}`, `{"MARK@":1}`, `{"Table":{"Table":{"MARK":1}}}`,
		`{"Name":"a","Name":"b"}`, `{"Table":{"MARK":1,"MARK":2}}`, `{"Items":[{"count":1}]}`, `{"MARK":1,"mark":2}`,
		`[[[[[[`, `{"Table":{"Table":{"Table":`,
	} {
		f.Add([]byte(seed))
	}
	type item struct{ Count int8 } // named, since errors name types
	type target struct {
		Name    string
		When    time.Time
		Items   []item
		Table   map[string]uint16
		Data    []byte
		Address echoingText
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		for _, into := range []any{new(target), new(any), new(json.RawMessage), new(int8), new(string), new(map[string]target), new([]time.Time)} {
			lenient := decodeJSON(data, into, json.Unmarshal)
			fresh := reflect.New(reflect.TypeOf(into).Elem()).Interface()
			strict := decodeJSON(data, fresh, unmarshalStrict)
			if strict == nil && (lenient != nil || !reflect.DeepEqual(into, fresh)) {
				t.Fatalf("%q: the strict codec read %+v, the other %+v (%v)", data, fresh, into, lenient)
			}
			for _, err := range []error{lenient, strict} {
				checkFault(t, data, into, err)
			}
		}
		if !bytes.Equal(data, before) {
			t.Fatalf("decoding changed the record's bytes to %q", data)
		}
	})
}

// checkFault looks at what came of decoding data.
func checkFault(t *testing.T, data []byte, into any, err error) {
	t.Helper()
	if err == nil {
		if !json.Valid(data) || string(bytes.TrimSpace(data)) == "null" {
			t.Fatalf("%q was decoded into %T", data, into)
		}
		return
	}
	if _, ok := err.(*DecodeError); !ok || ClassOf(err) != ClassPermanent {
		t.Fatalf("%T of class %s, want a permanent DecodeError", err, ClassOf(err))
	}
	if text := err.Error(); !decodeErrorText.MatchString(text) {
		t.Fatalf("%q into %T: the error may repeat the value: %s", data, into, text)
	}
}

// FuzzDeadLetterHeaders: whatever headers a record claims, parsing them does not panic and stays within its bounds, and
// dead-lettering a letter again changes nothing but what the failure says.
func FuzzDeadLetterHeaders(f *testing.F) {
	const stamp = "2026-03-04T05:06:07.891Z"
	for _, s := range [][11]string{
		{"orders", "3", "42", "bookings", "4", "transient", "card declined", stamp, stamp, "0", "x"},
		{"orders", "", "", "", "", "", "", "", "", "", ""},
		{"orders", "-1", "-1", "\xff", "-4", "no such class", "\xff\xfe", "yesterday", "0000-01-01T00:00:00Z", "-1", "__dlq.errors."},
		{"a/b", "3", "42", "", "4", "", "", stamp, stamp, "1001", "__dlq.errors.custom"},
		{"orders", "2147483648", "9223372036854775808", "", "99999999999999999999", "", "", "", "", "99999999999999999999", "__dlq.errors.topic"},
		{"orders", " 3", "+42", "", "0x4", "", strings.Repeat("é", 511) + "€", "2026-03-04T05:06:07.123456789+14:00", "", "+7", "correlation-id"},
		{"orders", "0", "0", "", "1", "", "", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "", ""},
		{strings.Repeat("x", 249), "0", "0", strings.Repeat("g", 50), "0", "", strings.Repeat("a\xff", 300), "", "", "1000", "\x00"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], uint16(0), byte(0))
		f.Add(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], uint16(0b1000000110), byte(1))
	}
	names := []string{
		dlqheader.Topic, dlqheader.Partition, dlqheader.Offset, dlqheader.Group, dlqheader.DeliveryCount, dlqheader.Class, dlqheader.Message,
		dlqheader.Timestamp, dlqheader.FailedAt, dlqheader.RedriveCount,
	}
	f.Fuzz(func(t *testing.T, topic, partition, offset, group, count, class, message, timestamp, failed, redrives, extra string, absent uint16, level byte) {
		r := &kgo.Record{Key: []byte(group), Value: []byte(message), Headers: headers(extra, message, "unknown", extra)}
		for i, value := range []string{topic, partition, offset, group, count, class, message, timestamp, failed, redrives} {
			if absent&(1<<i) == 0 {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: names[i], Value: []byte(value)})
			}
		}
		r.Headers = append(r.Headers, headers(extra, redrives)...)

		claimed, ok := parseDeadLetter(r.Headers)
		var faults faults
		faults.checkTopic("topic", claimed.Topic)
		switch {
		case !ok && claimed != (DeadLetter{}):
			t.Fatalf("not believed, but returned: %+v", claimed)
		case ok && (len(faults) > 0 || claimed.Partition < -1 || claimed.Offset < -1 || (claimed.Partition < 0) != (claimed.Offset < 0)):
			t.Fatalf("believed without a place: %+v", claimed)
		case claimed.Attempts < 0 || claimed.Redrives < 0 || claimed.HeadersCut < 0 || claimed.Redrives > maxRedriveCount:
			t.Fatalf("out of bounds: %+v", claimed)
		}

		failure := someLetter()
		failure.Message, failure.Class, failure.Attempts = message, Class(class), len(count)
		which := letterHeaders(level % 3)
		once := newDeadLetter("dlq-orders", r, failure, which)
		twice := newDeadLetter("dlq-orders", once, failure, which)
		if !reflect.DeepEqual(once, twice) {
			t.Fatalf("a second round changed the letter from %q to %q", once.Headers, twice.Headers)
		}

		own := func(h kgo.RecordHeader) bool { return strings.HasPrefix(h.Key, dlqheader.Prefix) }
		kept := slices.DeleteFunc(slices.Clone(once.Headers), own)
		if want := slices.DeleteFunc(slices.Clone(r.Headers), own); !reflect.DeepEqual(kept, want) {
			t.Fatalf("the record's own headers are %q, want %q", kept, want)
		}
		if !bytes.Equal(once.Key, r.Key) || !bytes.Equal(once.Value, r.Value) || len(ours(t, once)) > 12 {
			t.Fatalf("the letter of %q is %q", r.Value, once.Headers)
		}

		written, ok2 := parseDeadLetter(once.Headers)
		if ok2 != (which != noHeaders) {
			t.Fatalf("our own headers are believed: %t, want %t", ok2, !ok2)
		}
		if !utf8.ValidString(written.Message) || len(written.Message) > 1024 {
			t.Fatalf("the message has %d bytes, or invalid ones: %q", len(written.Message), written.Message)
		}
		if ok2 && (written.Topic != failure.Topic || written.Partition != failure.Partition || written.Offset != failure.Offset || written.Redrives != failure.Redrives) {
			t.Fatalf("the origin %+v became %+v", failure, written)
		}
	})
}

// FuzzHeaders: setting a header leaves exactly one of its name and every other one where it was.
func FuzzHeaders(f *testing.F) {
	f.Add([]byte{}, "", "")
	f.Add([]byte("a\x001\x00b\x002\x00a\x003"), "a", "4")
	f.Add([]byte("message-id\x00"), "message-id", "")
	f.Add([]byte("message-id\x00first\x00message-id\x00"), "x", "y")
	f.Add([]byte("message-id\x00\x00message-id\x00last"), "message-id", "\xff")
	f.Add([]byte("Message-Id\x00x\x00\xff\x00\xfe"), "\xff", "\x00")
	f.Fuzz(func(t *testing.T, data []byte, name, value string) {
		var list []kgo.RecordHeader // of names and values in turn, between zero bytes
		for pair := range slices.Chunk(bytes.Split(data, []byte{0}), 2) {
			h := kgo.RecordHeader{Key: string(pair[0])}
			if len(pair) == 2 {
				h.Value = pair[1]
			}
			list = append(list, h)
		}
		wantLast := func(list []kgo.RecordHeader, name string) {
			want, wantOK := "", false
			for _, h := range list {
				if h.Key == name {
					want, wantOK = string(h.Value), true
				}
			}
			if got, ok := lastHeader(list, name); got != want || ok != wantOK {
				t.Fatalf("last of %q named %q is %q, %t; want %q, %t", list, name, got, ok, want, wantOK)
			}
		}
		without := func(list []kgo.RecordHeader, name string) []kgo.RecordHeader {
			return slices.DeleteFunc(slices.Clone(list), func(h kgo.RecordHeader) bool { return h.Key == name })
		}
		wantLast(list, name)

		set := setHeader(slices.Clone(list), name, []byte(value))
		others := without(list, name)
		if last := set[len(set)-1]; last.Key != name || string(last.Value) != value || len(set) != len(others)+1 {
			t.Fatalf("setting %q to %q in %q gives %q", name, value, list, set)
		}
		for i := range others {
			if !reflect.DeepEqual(set[i], others[i]) {
				t.Fatalf("setting %q moved or changed others: %q of %q", name, set, list)
			}
		}
		wantLast(set, name)

		before, _ := lastHeader(list, HeaderMessageID)
		withID := withMessageID(slices.Clone(list))
		id, _ := lastHeader(withID, HeaderMessageID)
		if before != "" {
			if !reflect.DeepEqual(withID, list) {
				t.Fatalf("a message with an id has other headers: %q, not %q", withID, list)
			}
		} else if parsed, err := uuid.Parse(id); err != nil || parsed.Version() != 7 || len(withID) != len(without(list, HeaderMessageID))+1 {
			t.Fatalf("headers with a message id: %q", withID)
		}
		if again := withMessageID(slices.Clone(withID)); !reflect.DeepEqual(again, withID) {
			t.Fatalf("the message id %q was replaced: %q", id, again)
		}
	})
}

// FuzzEnvironmentLists: a list loses its commas and outer white space, and nothing else.
func FuzzEnvironmentLists(f *testing.F) {
	for _, seed := range []string{
		"", ",", " ", ",,a,,", "kafka-1:9092,kafka-2:9092", " a , b ", "a\u00a0,\u2003b\u0085", "\xff,\xc2,\x85", "a b,c\td", "\n", "[::1]:9092", "\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list := splitList(text)
		for _, item := range list {
			if item == "" || item != strings.TrimSpace(item) || strings.Contains(item, ",") {
				t.Fatalf("%q holds the item %q", text, item)
			}
		}
		for _, comma := range []string{",", " ,\t", ",,", "\r\n,"} {
			if again := splitList(comma + strings.Join(list, comma) + comma); !slices.Equal(again, list) {
				t.Fatalf("the list %q became %q", list, again)
			}
		}
		dense := func(text string) string {
			return strings.Map(func(r rune) rune {
				if unicode.IsSpace(r) || r == ',' {
					return -1
				}
				return r
			}, text)
		}
		if dense(strings.Join(list, ",")) != dense(text) {
			t.Fatalf("%q became %q", text, list)
		}
	})
}

// FuzzHeaderLimits: whatever the headers, what is kept for the letter is within the limits together with the letter's own, in
// their order, and a record within the limits keeps all.
func FuzzHeaderLimits(f *testing.F) {
	f.Add([]byte{}, uint16(0), uint16(0))
	f.Add([]byte("a\x001\x00message-id\x002\x00__dlq.errors.topic\x00orders"), uint16(2), uint16(5000))
	f.Add(bytes.Repeat([]byte{0}, 300), uint16(20), uint16(5000))
	f.Fuzz(func(t *testing.T, data []byte, count, size uint16) {
		r := &kgo.Record{Topic: "orders", Key: data, Value: data}
		for pair := range slices.Chunk(bytes.Split(data, []byte{0}), 2) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: string(pair[0]), Value: pair[len(pair)-1]})
		}
		limits := headerLimits{int(count), int(size)}
		short, lost := limits.cut(r)
		if limits.check(r.Headers) == nil {
			if short != r || lost != 0 {
				t.Fatalf("%d headers within the limits were cut by %d", len(r.Headers), lost)
			}
			return
		}
		if lost+len(short.Headers) != len(r.Headers) || len(short.Headers) > max(0, int(count)-letterHeaderCount) || headerBytes(short.Headers) > max(0, int(size)-letterHeaderBytes) {
			t.Fatalf("limits %+v kept %d of %d headers, %d bytes, and say that %d are lost", limits, len(short.Headers), len(r.Headers), headerBytes(short.Headers), lost)
		}
		at := 0
		for _, h := range short.Headers {
			for at < len(r.Headers) && !reflect.DeepEqual(r.Headers[at], h) {
				at++
			}
			if at++; at > len(r.Headers) {
				t.Fatalf("%q is not what the record has in this order", h)
			}
		}
		if !bytes.Equal(short.Key, data) || !bytes.Equal(short.Value, data) {
			t.Fatal("key or value changed")
		}
	})
}

// FuzzToken: a token that passes stands alone in the message to the broker, and an error repeats nothing of one that does not.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{"", "abc.def-_~+/=", "a b", "a\x01auth=Bearer b", "\xff", "é", "a\n"} {
		f.Add(seed, []byte(nil))
		f.Add(seed, []byte(`{"status":"invalid_token"}`+seed))
	}
	f.Fuzz(func(t *testing.T, token string, answer []byte) {
		session, first, err := newBearer(SASLConfig{Token: func(context.Context) (Secret, error) { return NewSecret(token), nil }}).Authenticate(t.Context(), "kafka:9092")
		if err != nil {
			if len(token) > 8 && strings.Contains(err.Error(), token) || !isAuthentication(err) {
				t.Fatalf("%v", err)
			}
			return
		}
		if fields := bytes.Split(first, []byte{1}); len(fields) != 4 || string(fields[1]) != "auth=Bearer "+token {
			t.Fatalf("%q is sent as %q", token, first)
		}
		done, next, err := session.Challenge(answer)
		if done != (len(answer) == 0) || (err == nil) != done || len(next) > 0 {
			t.Fatalf("%q: %t, %q, %v", answer, done, next, err)
		}
		if err != nil && (!isAuthentication(err) || strings.ContainsFunc(err.Error(), unicode.IsControl) || len(err.Error()) > 8*maxBrokerAnswer) {
			t.Fatalf("%q: %q", answer, err)
		}
	})
}
