package deadletter

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/recordheader"
	"github.com/skeji/kafka/internal/topicname"
)

// Letter is a record of a dead letter topic.
type Letter struct {
	// Record is the letter as it is stored: its topic is the dead letter topic, its timestamp is when it was written, zero if it has
	// none. Key and value are those of the record that failed. Don't write into it.
	*kgo.Record
	// Origin says where the record came from and why it failed, as far as the letter's headers do. What they don't say is zero;
	// Partition and Offset are then -1.
	Origin kafka.DeadLetter
	// Dialect is whose headers these are.
	Dialect Dialect
	// Pointer says that the letter does not have the record's value, but only says where that is: brokers write such letters,
	// without a key, for share groups, unless errors.deadletterqueue.copy.record.enable is set for the group; consumers write
	// stubs of what their dead letter topic does not take (kafka.ConsumerConfig.Oversize). They can't be sent back.
	Pointer bool
	// Redriven says that a redrive has sent the letter back. Otherwise it is pending.
	Redriven bool
	// Unsealed says that no key of kafka.ClientConfig.ControlKey has sealed the letter's headers: whoever may write to
	// the topic may have made them up, Origin too. Letters of before there was a key are unsealed, and those of other
	// tools. It is false without a key.
	Unsealed bool
	// Err is why the letter can't be sent back to where it came from: its headers don't say where that is. It wraps
	// [ErrUnreadable] and names the letter.
	Err error
}

// Dialect is whose headers a letter has.
type Dialect string

const (
	DialectKafka   Dialect = "kafka"   // this library's, and Kafka's own for share groups (KIP-1191): __dlq.errors.
	DialectSpring  Dialect = "spring"  // Spring Kafka's: kafka_dlt-, and kafka_original- behind its retry topics
	DialectConnect Dialect = "connect" // Kafka Connect's: __connect.errors.
)

// ErrUnreadable is a record of a dead letter topic whose headers don't say where it came from.
var ErrUnreadable = errors.New("deadletter: no headers that say where it came from")

// ErrPointer is a letter that does not have its record: see Letter.Pointer.
var ErrPointer = errors.New("deadletter: the record is not in the letter, which only says where it is")

const (
	kafkaPrefix   = "__dlq.errors."
	connectPrefix = "__connect.errors."
)

// springPrefixes are those of Spring Kafka's dead letters, of those that come from its retry topics, and of the latter's attempts, which a
// record that is sent back must not have made.
var springPrefixes = []string{"kafka_dlt-", "kafka_original-", "kafka_exception-", "kafka_key-exception-", "retry_topic-"}

// dialectOfHeader is whose a header is; "" for the record's own.
func dialectOfHeader(header string) Dialect {
	switch {
	case strings.HasPrefix(header, kafkaPrefix):
		return DialectKafka
	case strings.HasPrefix(header, connectPrefix):
		return DialectConnect
	case slices.ContainsFunc(springPrefixes, func(prefix string) bool { return strings.HasPrefix(header, prefix) }):
		return DialectSpring
	}
	return ""
}

func newLetter(r *kgo.Record) Letter {
	if r.Timestamp.UnixMilli() < 0 { // Kafka's word for none is -1, which would read as 1969
		r.Timestamp = time.Time{}
	}
	letter := Letter{Record: r, Dialect: dialectOf(r.Headers)}
	letter.Pointer = letter.Dialect == DialectKafka && isPointer(r)
	ours, known := kafka.Message[struct{}]{Headers: r.Headers}.DeadLetter()
	switch letter.Dialect {
	case DialectKafka:
		letter.Origin = ours
	case DialectSpring:
		letter.Origin = springOrigin(headers(r.Headers))
	case DialectConnect:
		letter.Origin = connectOrigin(headers(r.Headers))
	}
	if known && letter.Dialect != DialectKafka { // it was sent back, and then another dialect's consumer failed
		letter.Origin.Topic, letter.Origin.Partition, letter.Origin.Offset = ours.Topic, ours.Partition, ours.Offset
		letter.Origin.Timestamp, letter.Origin.Redrives = ours.Timestamp, ours.Redrives
	}
	if topicname.Check(letter.Origin.Topic) != nil {
		letter.Origin.Topic, letter.Origin.Partition, letter.Origin.Offset = "", -1, -1
		letter.Err = fmt.Errorf("%s-%d offset %d: %w", r.Topic, r.Partition, r.Offset, ErrUnreadable)
	}
	return letter
}

// isPointer tells a stub, which has no value, and a letter that is only a place from one whose record had neither key nor value. This library's letters have a class,
// but for those that had no room for it; these don't name a group either.
func isPointer(r *kgo.Record) bool {
	_, class := recordheader.Last(r.Headers, HeaderClass)
	_, group := recordheader.Last(r.Headers, HeaderGroup)
	_, sum := recordheader.Last(r.Headers, HeaderValueSHA256)
	return sum && len(r.Value) == 0 || r.Key == nil && r.Value == nil && group && !class
}

// dialectOf goes by the headers of the latest error: a letter that was sent back and failed again in another dialect has both.
func dialectOf(list []kgo.RecordHeader) (d Dialect) {
	for _, h := range list {
		switch of := dialectOfHeader(h.Key); of {
		case DialectSpring, DialectConnect:
			return of
		case DialectKafka:
			d = of
		}
	}
	return d
}

type headers []kgo.RecordHeader

func (h headers) text(name string) string {
	value, _ := recordheader.Last(h, name)
	return string(value)
}

// number reads a decimal; -1 if there is none.
func (h headers) number(name string, bits int) int64 {
	n, err := strconv.ParseInt(h.text(name), 10, bits)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// springFirst returns the first of Spring's headers of that name: a recoverer that appends to those of earlier failures, in retry topics
// for example, leaves the first place first.
func (h headers) springFirst(name string) []byte {
	for _, header := range h {
		if header.Key == "kafka_dlt-"+name || header.Key == "kafka_"+name {
			return header.Value
		}
	}
	return nil
}

// springLast returns the latest one.
func (h headers) springLast(name string) string {
	for _, header := range slices.Backward(h) {
		if header.Key == "kafka_dlt-"+name || header.Key == "kafka_"+name {
			return string(header.Value)
		}
	}
	return ""
}

// bigEndian reads an integer of 4 or 8 bytes, as Java writes it; -1 if it is none.
func bigEndian(value []byte) int64 {
	n := int64(-1)
	switch len(value) {
	case 4:
		n = int64(int32(binary.BigEndian.Uint32(value)))
	case 8:
		n = int64(binary.BigEndian.Uint64(value))
	}
	return max(n, -1)
}

// springOrigin reads what Spring Kafka's DeadLetterPublishingRecoverer writes.
func springOrigin(h headers) kafka.DeadLetter {
	origin := kafka.DeadLetter{
		Topic: string(h.springFirst("original-topic")), Partition: int32(bigEndian(h.springFirst("original-partition"))),
		Offset: bigEndian(h.springFirst("original-offset")), Group: string(h.springFirst("original-consumer-group")),
		// The cause is what the listener threw, where there is one. That a key can't be deserialized is in headers of its own.
		Class:   kafka.Class(cmp.Or(h.springLast("exception-cause-fqcn"), h.springLast("exception-fqcn"), h.springLast("key-exception-fqcn"))),
		Message: cmp.Or(h.springLast("exception-message"), h.springLast("key-exception-message")),
	}
	if ms := bigEndian(h.springFirst("original-timestamp")); ms >= 0 {
		origin.Timestamp = time.UnixMilli(ms).UTC()
	}
	return origin
}

// connectOrigin reads what a sink connector writes with errors.deadletterqueue.context.headers.enable.
func connectOrigin(h headers) kafka.DeadLetter {
	origin := kafka.DeadLetter{
		Topic: h.text(connectPrefix + "topic"), Partition: int32(h.number(connectPrefix+"partition", 32)),
		Offset: h.number(connectPrefix+"offset", 64), Class: kafka.Class(h.text(connectPrefix + "exception.class.name")),
		Message: h.text(connectPrefix + "exception.message"),
	}
	if connector := h.text(connectPrefix + "connector.name"); connector != "" {
		origin.Group = "connect-" + connector // the group of a sink, by Connect's default
	}
	return origin
}

// saysWhy tells whether the letter says what went wrong. A record that was sent back does not: it only says where it was first.
func (l Letter) saysWhy() bool { return l.Origin.Class != "" || l.Origin.Message != "" }

// failedAt is when the record failed: some dialects don't say, and write the letter then.
func (l Letter) failedAt() time.Time {
	if l.Origin.FailedAt.IsZero() {
		return l.Timestamp
	}
	return l.Origin.FailedAt
}
