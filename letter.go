package kafka

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// This file is a dead letter's headers: what they say, how they are written, and how they are read.

const (
	deadLetterMessageBytes = 1024 // of the error's text: enough to read, little beside a record's limit
	maxRedriveCount        = 1000 // what a header may claim
	deadLetterTimeFormat   = "2006-01-02T15:04:05.000Z07:00"
)

// DeadLetter says where a dead letter came from and why it failed.
type DeadLetter struct {
	// Topic, Partition and Offset are the record's first place, kept when a letter is sent back and fails again. Partition
	// and Offset are -1 for a message that a producer could not store.
	Topic     string
	Partition int32     // see Topic
	Offset    int64     // see Topic
	Timestamp time.Time // the record's own, zero if it has none; the letter's timestamp is when it was written

	Group    string    // whose handler failed
	Attempts int       // how often it was tried
	Class    Class     // ClassTransient, ClassPermanent or ClassParked
	Message  string    // the error's text, shortened to 1 KiB
	FailedAt time.Time // when it was given up
	Redrives int       // how often it was sent back and tried; what is parked again is not tried

	HeadersCut int // how many of the record's headers are left out, since they were above ConsumerConfig's limits

	// ValueBytes and ValueSHA256, in hexadecimal, are of the record's value where the letter does not have it: it is a stub,
	// since its topic did not take the value (ConsumerConfig.Oversize). ValueSHA256 is "" otherwise.
	ValueBytes  int64
	ValueSHA256 string // see ValueBytes

	parked string    // dlqheader.Parked; "" for none
	due    time.Time // dlqheader.Due; zero for none
	hops   int       // dlqheader.Hops
}

// letterHeaders says how much of a DeadLetter goes into headers. A record at its topic's size limit may have no room.
type letterHeaders int

const (
	allHeaders letterHeaders = iota
	placeHeaders
	noHeaders
)

// from takes over the first place of a record, and how often it was sent back.
func (d *DeadLetter) from(first DeadLetter) {
	d.Topic, d.Partition, d.Offset = first.Topic, first.Partition, first.Offset
	d.Timestamp, d.Redrives = first.Timestamp, first.Redrives
	d.HeadersCut += first.HeadersCut
}

// newDeadLetter returns the record to write: key, value and headers as they were, and ours in place of older ones. Its
// timestamp is its own, since retention counts from it.
func newDeadLetter(dlqTopic string, r *kgo.Record, letter DeadLetter, which letterHeaders) *kgo.Record {
	headers := slices.Clone(r.Headers)
	headers = slices.DeleteFunc(headers, func(h kgo.RecordHeader) bool { return strings.HasPrefix(h.Key, dlqheader.Prefix) })
	add := func(name, value string) {
		headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	add(dlqheader.Topic, letter.Topic)
	add(dlqheader.WrittenTo, dlqTopic)
	if letter.Partition >= 0 {
		add(dlqheader.Partition, strconv.Itoa(int(letter.Partition)))
		add(dlqheader.Offset, strconv.FormatInt(letter.Offset, 10))
	}
	if letter.Redrives > 0 {
		add(dlqheader.RedriveCount, strconv.Itoa(letter.Redrives))
	}
	if letter.HeadersCut > 0 {
		add(dlqheader.HeadersCut, strconv.Itoa(letter.HeadersCut))
	}
	if letter.Group != "" {
		add(dlqheader.Group, letter.Group)
	}
	if letter.hops > 0 {
		add(dlqheader.Hops, strconv.Itoa(letter.hops))
	}
	if letter.parked != "" {
		add(dlqheader.Parked, letter.parked)
	}
	if !letter.due.IsZero() {
		add(dlqheader.Due, formatTime(letter.due))
	}
	letter.addStub(add)
	add(dlqheader.DeliveryCount, strconv.Itoa(letter.Attempts))
	add(dlqheader.Class, string(letter.Class))
	add(dlqheader.Message, shorten(letter.Message, deadLetterMessageBytes))
	if text := formatTime(letter.Timestamp); text != "" {
		add(dlqheader.Timestamp, text)
	}
	add(dlqheader.FailedAt, letter.FailedAt.UTC().Format(deadLetterTimeFormat))
	return &kgo.Record{Topic: dlqTopic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: shed(headers, which)}
}

// shed returns the headers without those of ours that are not to be kept.
func shed(headers []kgo.RecordHeader, keep letterHeaders) []kgo.RecordHeader {
	kept := make([]kgo.RecordHeader, 0, len(headers))
	for _, h := range headers {
		place := h.Key == dlqheader.Topic || h.Key == dlqheader.Partition || h.Key == dlqheader.Offset || h.Key == dlqheader.RedriveCount || h.Key == dlqheader.Parked ||
			h.Key == dlqheader.WrittenTo || h.Key == dlqheader.Due || h.Key == dlqheader.KeyAbsent || h.Key == dlqheader.Hops
		if keep == allHeaders || keep == placeHeaders && place || !strings.HasPrefix(h.Key, dlqheader.Prefix) {
			kept = append(kept, h)
		}
	}
	return kept
}

// parseDeadLetter reads the headers of a letter; false if they don't name its place. They may be forged: what does not
// parse is left out, counts are clamped.
func parseDeadLetter(headers []kgo.RecordHeader) (DeadLetter, bool) {
	text := func(name string) string {
		value, _ := lastHeader(headers, name)
		return value
	}
	number := func(name string, bits int) int64 {
		n, err := strconv.ParseInt(text(name), 10, bits)
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	letter := DeadLetter{
		ValueBytes:  max(0, number(dlqheader.ValueBytes, 64)),
		ValueSHA256: text(dlqheader.ValueSHA256),
		Topic:       text(dlqheader.Topic),
		Partition:   int32(number(dlqheader.Partition, 32)),
		Offset:      number(dlqheader.Offset, 64),
		Group:       text(dlqheader.Group),
		Attempts:    int(max(0, number(dlqheader.DeliveryCount, 32))),
		Class:       Class(text(dlqheader.Class)),
		Message:     text(dlqheader.Message),
		HeadersCut:  int(max(0, number(dlqheader.HeadersCut, 32))),
		Redrives:    int(min(max(0, number(dlqheader.RedriveCount, 32)), maxRedriveCount)),
	}
	var faults faults
	faults.checkTopic("topic", letter.Topic)
	placeless := text(dlqheader.Partition) == "" && text(dlqheader.Offset) == ""
	if len(faults) > 0 || !placeless && (letter.Partition < 0 || letter.Offset < 0) {
		return DeadLetter{}, false
	}
	letter.Timestamp, letter.FailedAt = parseTime(text(dlqheader.Timestamp)), parseTime(text(dlqheader.FailedAt))
	return letter, true
}

// formatTime returns "" for a time that no record has, before 1970, and for what RFC 3339 has no text for: a year of more than four
// digits comes of microseconds taken for milliseconds, for example.
func formatTime(t time.Time) string {
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
		return ""
	}
	return t.Format(deadLetterTimeFormat)
}

func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || formatTime(t) == "" {
		return time.Time{}
	}
	return t
}

// shorten cuts text to at most limit bytes of valid UTF-8.
func shorten(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	const mark = "…"
	cut := limit - len(mark)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}
