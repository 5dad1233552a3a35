package kafka

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// headers returns headers of names and values in turn.
func headers(pairs ...string) (list []kgo.RecordHeader) {
	for pair := range slices.Chunk(pairs, 2) {
		list = append(list, kgo.RecordHeader{Key: pair[0], Value: []byte(pair[1])})
	}
	return list
}

var (
	handledAt = time.Date(2026, 3, 4, 5, 6, 7, 891_000_000, time.UTC)
	failedAt  = time.Date(2026, 3, 4, 6, 6, 7, 1_000_000, time.FixedZone("", 3600))
)

func someLetter() DeadLetter {
	return DeadLetter{
		Topic: "orders", Partition: 3, Offset: 42, Timestamp: handledAt, Group: "bookings", Attempts: 4,
		Class: ClassTransient, Message: "card declined", FailedAt: failedAt,
	}
}

// ours returns the letter's headers that the library adds, and fails on a repeated one.
func ours(t *testing.T, r *kgo.Record) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, h := range r.Headers {
		if strings.HasPrefix(h.Key, dlqheader.Prefix) {
			if _, twice := found[h.Key]; twice {
				t.Errorf("header %s is there twice", h.Key)
			}
			found[h.Key] = string(h.Value)
		}
	}
	return found
}

// The names are a contract with Kafka's KIP-1191 and with whoever reads dead letters.
func TestDeadLettersCarryTheirStory(t *testing.T) {
	letter := newDeadLetter("dlq-orders", &kgo.Record{Partition: 3}, someLetter(), allHeaders)
	want := map[string]string{
		"__dlq.errors.topic":          "orders",
		"__dlq.errors.written.to":     "dlq-orders",
		"__dlq.errors.partition":      "3",
		"__dlq.errors.offset":         "42",
		"__dlq.errors.group":          "bookings",
		"__dlq.errors.delivery.count": "4",
		"__dlq.errors.message":        "card declined",
		"__dlq.errors.class":          "transient",
		"__dlq.errors.timestamp":      "2026-03-04T05:06:07.891Z",
		"__dlq.errors.failed.at":      "2026-03-04T05:06:07.001Z",
	}
	if got := ours(t, letter); !maps.Equal(got, want) {
		t.Errorf("headers are %v, want %v", got, want)
	}
	info, ok := Message[int]{Headers: letter.Headers}.DeadLetter()
	wantInfo := someLetter()
	if !ok || !info.Timestamp.Equal(wantInfo.Timestamp) || !info.FailedAt.Equal(wantInfo.FailedAt) {
		t.Errorf("read back %+v, %t; want %+v", info, ok, wantInfo)
	}
	info.Timestamp, info.FailedAt = wantInfo.Timestamp, wantInfo.FailedAt
	if info != wantInfo {
		t.Errorf("read back %+v, want %+v", info, wantInfo)
	}
}

func TestMessagesNeverStoredHaveNoPlace(t *testing.T) {
	refused := DeadLetter{Topic: "orders", Partition: -1, Offset: -1, Attempts: 1, Class: ClassPermanent, Message: "too large", FailedAt: failedAt}
	letter := newDeadLetter("dlq-orders", &kgo.Record{}, refused, allHeaders)
	for _, name := range []string{dlqheader.Partition, dlqheader.Offset, dlqheader.Group, dlqheader.Timestamp, dlqheader.RedriveCount} {
		if value, there := ours(t, letter)[name]; there {
			t.Errorf("header %s is %q, want none", name, value)
		}
	}
	info, ok := parseDeadLetter(letter.Headers)
	if !ok || info.Partition != -1 || info.Offset != -1 || info.Topic != "orders" || !info.Timestamp.IsZero() {
		t.Errorf("read back %+v, %t", info, ok)
	}
}

func TestDeadLettersGoWhereTheirRecordWas(t *testing.T) {
	r := &kgo.Record{Topic: "orders", Partition: 5, Offset: 42, Timestamp: handledAt, LeaderEpoch: 1, ProducerID: 7}
	letter := newDeadLetter("dlq-orders", r, someLetter(), allHeaders)
	if letter.Topic != "dlq-orders" || letter.Partition != 5 || !letter.Timestamp.IsZero() || letter.Offset != 0 || letter.ProducerID != 0 {
		t.Errorf("the letter is %+v; want partition 5 of dlq-orders, with a time of its own", letter)
	}
	for n, want := range map[int]int{1: 0, 3: 2, 5: 0, 6: 5, 12: 5} {
		if got := (samePartition{}).ForTopic("dlq-orders").Partition(letter, n); got != want {
			t.Errorf("of %d partitions it goes to %d, want %d", n, got, want)
		}
	}
}

func TestReentryKeepsTheFirstOriginAndTheLastError(t *testing.T) {
	payload := headers("correlation-id", "c", "unknown", "1", "unknown", "2")
	r := &kgo.Record{Topic: "orders", Partition: 3, Offset: 42, Key: []byte("k"), Value: []byte("v"), Headers: payload, Timestamp: handledAt}
	first := someLetter()
	r = newDeadLetter("dlq-orders", r, first, allHeaders)
	count := len(r.Headers)
	p := &partition{route: &route{tier: tier{source: "orders"}}}

	for round := 1; round <= 5; round++ {
		r.Topic, r.Partition, r.Offset, r.Timestamp = fmt.Sprint("retry-", round), int32(round), int64(1000+round), handledAt.Add(time.Hour)
		if round%2 == 0 { // as a redrive says it
			r.Headers = setHeader(r.Headers, dlqheader.RedriveCount, fmt.Append(nil, round/2))
		}
		again := DeadLetter{
			Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp, Group: fmt.Sprint("group-", round),
			Attempts: round, Class: ClassPermanent, Message: fmt.Sprint("error ", round), FailedAt: failedAt.Add(time.Duration(round) * time.Hour),
		}
		r.Headers = setHeader(r.Headers, dlqheader.WrittenTo, []byte(r.Topic))
		place, ok := p.firstPlace(r)
		if !ok {
			t.Fatalf("round %d: the first place is not known", round)
		}
		again.from(place)
		r = newDeadLetter("dlq-orders", r, again, allHeaders)

		info, ok := parseDeadLetter(r.Headers)
		if !ok || info.Topic != first.Topic || info.Partition != first.Partition || info.Offset != first.Offset || !info.Timestamp.Equal(first.Timestamp) {
			t.Errorf("round %d: the origin is %+v, want the first", round, info)
		}
		if info.Group != again.Group || info.Attempts != round || info.Class != ClassPermanent || info.Message != again.Message || !info.FailedAt.Equal(again.FailedAt) {
			t.Errorf("round %d: the error is %+v, want the last", round, info)
		}
		if info.Redrives != round/2 {
			t.Errorf("round %d: sent back %d times, want %d", round, info.Redrives, round/2)
		}
		want := count
		if info.Redrives > 0 {
			want++
		}
		if len(r.Headers) != want {
			t.Errorf("round %d: %d headers, want %d: %s", round, len(r.Headers), want, r.Headers)
		}
		ours(t, r)
		if !reflect.DeepEqual(r.Headers[:len(payload)], payload) {
			t.Errorf("round %d: the record's own headers are %s", round, r.Headers[:len(payload)])
		}
	}
}

func TestRecordsWithoutRoomGetFewerHeaders(t *testing.T) {
	r := &kgo.Record{Partition: 3, Key: []byte("k"), Value: []byte("v"), Headers: headers("x", "1", "x", "2")}
	place := []string{dlqheader.Topic, dlqheader.Partition, dlqheader.Offset, dlqheader.WrittenTo}
	all := append(slices.Clone(place), dlqheader.Group, dlqheader.DeliveryCount, dlqheader.Class, dlqheader.Message, dlqheader.Timestamp, dlqheader.FailedAt)
	for _, source := range []*kgo.Record{r, newDeadLetter("x", r, someLetter(), allHeaders)} { // and at re-entry
		for which, names := range map[letterHeaders][]string{allHeaders: all, placeHeaders: place, noHeaders: nil} {
			letter := newDeadLetter("dlq-orders", source, someLetter(), which)
			got := slices.Sorted(maps.Keys(ours(t, letter)))
			slices.Sort(names)
			if !slices.Equal(got, names) {
				t.Errorf("level %d has the headers %v, want %v", which, got, names)
			}
			if string(letter.Key) != "k" || string(letter.Value) != "v" || !reflect.DeepEqual(letter.Headers[:2], r.Headers) {
				t.Errorf("level %d changed the record: %s", which, letter.Headers)
			}
			if _, ok := parseDeadLetter(letter.Headers); ok != (which != noHeaders) {
				t.Errorf("level %d reads back: %t", which, ok)
			}
		}
	}
}

func TestForgedHeadersAreClampedOrLeftOut(t *testing.T) {
	good := map[string]string{
		dlqheader.Topic: "orders", dlqheader.Partition: "3", dlqheader.Offset: "42", dlqheader.Group: "bookings", dlqheader.DeliveryCount: "4",
		dlqheader.Class: "transient", dlqheader.Message: "m", dlqheader.Timestamp: "2026-03-04T05:06:07.891Z", dlqheader.FailedAt: "2026-03-04T05:06:07Z",
		dlqheader.RedriveCount: "7",
	}
	parse := func(name, value string) (DeadLetter, bool) {
		forged := maps.Clone(good)
		forged[name] = value
		var list []kgo.RecordHeader
		for name, value := range forged {
			list = append(list, kgo.RecordHeader{Key: name, Value: []byte(value)})
		}
		return parseDeadLetter(list)
	}
	if info, ok := parse(dlqheader.RedriveCount, "7"); !ok || info.Redrives != 7 || info.Attempts != 4 || info.Offset != 42 {
		t.Fatalf("the good headers read as %+v, %t", info, ok)
	}

	// Without a place it is no dead letter.
	for name, values := range map[string][]string{
		dlqheader.Topic:     {"", ".", "..", "a b", "a/b", "\xff", strings.Repeat("x", 250)},
		dlqheader.Partition: {"", "-1", "x", " 3", "3 ", "0x3", "2147483648", "9223372036854775808", "1.5", "\xff"},
		dlqheader.Offset:    {"", "-1", "x", "9223372036854775808", "1e3"},
	} {
		for _, value := range values {
			if info, ok := parse(name, value); ok || info != (DeadLetter{}) {
				t.Errorf("%s %q is believed: %+v", name, value, info)
			}
		}
	}

	for name, values := range map[string]map[string]int{
		dlqheader.RedriveCount:  {"": 0, "x": 0, "-7": 0, "0": 0, "1000": 1000, "1001": 1000, "2147483647": 1000},
		dlqheader.DeliveryCount: {"": 0, "x": 0, "-4": 0, "0": 0, "2147483647": 2147483647, "99999999999": 0},
	} {
		for value, want := range values {
			info, ok := parse(name, value)
			if got := map[string]int{dlqheader.RedriveCount: info.Redrives, dlqheader.DeliveryCount: info.Attempts}[name]; !ok || got != want {
				t.Errorf("%s %q reads as %d, %t; want %d", name, value, got, ok, want)
			}
		}
	}
	for _, value := range []string{"", "yesterday", "2026-13-04T05:06:07Z", "1772600767", "\xff"} {
		if info, ok := parse(dlqheader.Timestamp, value); !ok || !info.Timestamp.IsZero() || info.FailedAt.IsZero() {
			t.Errorf("timestamp %q reads as %+v, %t", value, info, ok)
		}
		if info, ok := parse(dlqheader.FailedAt, value); !ok || !info.FailedAt.IsZero() || info.Timestamp.IsZero() {
			t.Errorf("failed.at %q reads as %+v, %t", value, info, ok)
		}
	}
	if _, ok := parseDeadLetter(nil); ok {
		t.Error("a record without headers is a dead letter")
	}
	if info, ok := parseDeadLetter(headers(dlqheader.Topic, "first", dlqheader.Topic, "last")); !ok || info.Topic != "last" {
		t.Errorf("of two topics %+v is read, want the last", info)
	}
}

// Such times come of microseconds taken for milliseconds, or are forged. RFC 3339 has no text for them, and one that can't
// be read back would lose the origin's at the next round.
func TestTimesBeyondRFC3339AreLeftOut(t *testing.T) {
	for _, stamp := range []time.Time{time.UnixMilli(handledAt.UnixMicro()), time.UnixMilli(-1 << 60), time.UnixMilli(1 << 60), time.UnixMilli(-1)} {
		letter := someLetter()
		letter.Timestamp = stamp
		if text, there := ours(t, newDeadLetter("dlq-orders", &kgo.Record{}, letter, allHeaders))[dlqheader.Timestamp]; there {
			t.Errorf("the time %v is written as %q", stamp, text)
		}
	}
	for _, text := range []string{
		"9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", // in UTC the years 10000 and -1
		"1969-12-31T23:59:59.999Z", // of a record without a timestamp
	} {
		info, ok := parseDeadLetter(headers(dlqheader.Topic, "orders", dlqheader.Timestamp, text, dlqheader.FailedAt, text))
		if !ok || !info.Timestamp.IsZero() || !info.FailedAt.IsZero() {
			t.Errorf("%s reads as %+v, %t", text, info, ok)
		}
	}
}

func TestShortenKeepsValidTextWithinItsBound(t *testing.T) {
	const limit = 16
	for text, want := range map[string]string{
		"":                       "",
		"sixteen bytes ok":       "sixteen bytes ok",
		"seventeen bytes !":      "seventeen byt…",
		"123456789012é and more": "123456789012…", // é would end at 14
		"12345678901é and more":  "12345678901é…",
		"123456789012😀😀":         "123456789012…",
		"1234567890😀😀":           "1234567890…",
		"é\xff\xfe!":             "é\uFFFD!",
		"\xff\xff\xff":           "\uFFFD",
	} {
		if got := shorten(text, limit); got != want {
			t.Errorf("shorten(%q) = %q, want %q", text, got, want)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "é", "€", "😀", "\xff", "\xc3", "\xf0\x9f", "\x00", "…", "\uFFFD"}
	for range 10_000 {
		var text strings.Builder
		for range random.IntN(30) {
			text.WriteString(alphabet[random.IntN(len(alphabet))])
		}
		got := shorten(text.String(), limit)
		whole := strings.ToValidUTF8(text.String(), "\uFFFD")
		if !utf8.ValidString(got) || len(got) > limit || got != whole && !strings.HasPrefix(whole, strings.TrimSuffix(got, "…")) {
			t.Fatalf("shorten(%q) = %q", text.String(), got)
		}
		if got != whole && (len(whole) <= limit || len(got) < limit-5) { // 3 of a cut rune, 2 for good measure
			t.Fatalf("shorten(%q) = %q is shorter than needed", text.String(), got)
		}
	}
}

func TestErrorTextsInDeadLettersAreBounded(t *testing.T) {
	long := someLetter()
	long.Message = strings.Repeat("é\xff", 5000)
	got := ours(t, newDeadLetter("dlq-orders", &kgo.Record{}, long, allHeaders))[dlqheader.Message]
	if len(got) > 1024 || len(got) < 1000 || !utf8.ValidString(got) {
		t.Errorf("the message has %d bytes, valid: %t; want up to 1024 of valid text", len(got), utf8.ValidString(got))
	}
}

// Whatever a record holds, its letter holds the same bytes, at every level and after any number of rounds.
func TestDeadLettersKeepTheRecordByteForByte(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	chunk := func() []byte {
		switch random.IntN(4) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		data := make([]byte, random.IntN(40))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		return data
	}
	names := []string{"", "x", "X", "correlation-id", "__dlq", "__dlq.", "__dlq.error", "__dlq.errors", "dlq.errors.topic", " __dlq.errors.topic", "\xff"}
	for range 2000 {
		r := &kgo.Record{Partition: random.Int32N(100), Offset: random.Int64N(1000), Key: chunk(), Value: chunk()}
		for range random.IntN(8) {
			name := names[random.IntN(len(names))]
			if random.IntN(4) == 0 {
				name = "r" + string(chunk())
			}
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: chunk()})
		}
		r.Headers = slices.Clip(r.Headers)
		before := &kgo.Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Headers: slices.Clone(r.Headers)}

		letter := r
		for range 1 + random.IntN(3) {
			letter = newDeadLetter("dlq-orders", letter, someLetter(), letterHeaders(random.IntN(3)))
		}
		own := slices.DeleteFunc(slices.Clone(letter.Headers), func(h kgo.RecordHeader) bool { return strings.HasPrefix(h.Key, dlqheader.Prefix) })
		if !reflect.DeepEqual(letter.Key, before.Key) || !reflect.DeepEqual(letter.Value, before.Value) || len(own) != len(before.Headers) {
			t.Fatalf("seed %d: of %q %q %q the letter is %q %q %q", seed, before.Key, before.Value, before.Headers, letter.Key, letter.Value, own)
		}
		for i := range own {
			if !reflect.DeepEqual(own[i], before.Headers[i]) {
				t.Fatalf("seed %d: header %d is %q, want %q", seed, i, own[i], before.Headers[i])
			}
		}
		if !reflect.DeepEqual(r.Headers, before.Headers) || !reflect.DeepEqual(r.Value, before.Value) {
			t.Fatalf("seed %d: the record itself was changed", seed)
		}
	}
}

func TestMiddlewareAndLettersShareNoHeaders(t *testing.T) {
	list := make([]kgo.RecordHeader, 0, 50) // with room, into which an append would write
	list = append(list, headers("x", "1", dlqheader.Topic, "orders", "y", "2")...)
	before := slices.Clone(list[:cap(list)])
	newDeadLetter("dlq-orders", &kgo.Record{Headers: list}, someLetter(), allHeaders)
	if !reflect.DeepEqual(list[:cap(list)], before) {
		t.Errorf("the record's headers became %s", list[:cap(list)])
	}
}
