package kafkatest

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

const (
	mostTold      = 10  // records, the latest ones
	mostValueTold = 200 // bytes of each
)

// tell says what the topic holds, for the text of a test that fails.
func (r *reader) tell() string {
	var b strings.Builder
	if r.failure != nil {
		fmt.Fprintf(&b, "; the latest fetch failed: %v", r.failure)
	}
	records := r.inOrder()
	if len(records) == 0 {
		b.WriteString("; it holds nothing")
		return b.String()
	}
	fmt.Fprintf(&b, "; it holds %d:", len(records))
	if left := len(records) - mostTold; left > 0 {
		fmt.Fprintf(&b, "\n\t… %d more", left)
		records = records[left:]
	}
	for _, record := range records {
		b.WriteString("\n\t")
		b.WriteString(describe(record))
		if err := r.undecodable[record]; err != nil {
			fmt.Fprintf(&b, " (%v)", err)
		}
	}
	return b.String()
}

// describe is one line about a record. Its value is test data, and tells most.
func describe(record *kgo.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s-%d offset %d", record.Topic, record.Partition, record.Offset)
	msg, err := decode(kafka.Bytes(), record)
	if err != nil {
		return b.String()
	}
	if eventType := msg.GetEventType(); eventType != "" {
		fmt.Fprintf(&b, " %s", eventType)
	}
	if msg.Key != "" {
		fmt.Fprintf(&b, " key %q", msg.Key)
	}
	if letter, ok := msg.DeadLetter(); ok {
		fmt.Fprintf(&b, " from %s-%d offset %d after %d attempts: %s: %q", letter.Topic, letter.Partition, letter.Offset, letter.Attempts, letter.Class, letter.Message)
	}
	b.WriteString(": ")
	switch value := record.Value; {
	case msg.Tombstone:
		b.WriteString("tombstone")
	case len(value) > mostValueTold:
		fmt.Fprintf(&b, "%s… (%d bytes)", printable(value[:mostValueTold]), len(value))
	default:
		b.WriteString(printable(value))
	}
	return b.String()
}

// printable leaves text, such as JSON, as it is.
func printable(value []byte) string {
	if text := string(value); utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return text
	}
	return fmt.Sprintf("%q", value)
}
