// Package recordheader reads a record's headers, for everybody alike.
package recordheader

import (
	"log/slog"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxLogged is how much of an id a log line holds: ids come from outside.
const maxLogged = 128

// IsControl reports whether a header has the library skip, attribute, route or time a record.
func IsControl(name string) bool {
	switch name {
	case "reply-topic", "reply-partition", "requester-id", "reply-token", "request-place", "deadline",
		"reply-error-class", "reply-error-message":
		return true
	}
	return strings.HasPrefix(name, "__dlq.errors.")
}

// Last returns the last header of that name, as Kafka's own lastHeader does.
func Last(headers []kgo.RecordHeader, name string) (value []byte, ok bool) {
	for i := len(headers) - 1; i >= 0; i-- {
		if headers[i].Key == name {
			return headers[i].Value, true
		}
	}
	return nil, false
}

// printable escapes what is no text, as Go's quoted strings do: whoever publishes chooses these ids, and a slog handler that prints
// them as they are would let him write lines of his own, or move a terminal's cursor.
func printable(text string) string {
	for _, r := range text {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			quoted := strconv.Quote(text)
			return quoted[1 : len(quoted)-1]
		}
	}
	return text
}

// IDs returns the ids that a record's log lines have, cut, and escaped where they hold more than text. correlation and conversation are the names of their headers.
func IDs(headers []kgo.RecordHeader, correlation, conversation string) (attrs []slog.Attr) {
	for _, id := range [...]struct{ key, header string }{{"correlation_id", correlation}, {"conversation_id", conversation}} {
		if value, _ := Last(headers, id.header); len(value) > 0 {
			attrs = append(attrs, slog.String(id.key, printable(string(value[:min(len(value), maxLogged)]))))
		}
	}
	return attrs
}
