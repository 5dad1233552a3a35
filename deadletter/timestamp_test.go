package deadletter

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// -1 is Kafka's word for no timestamp, and would read as 1969.
func TestALetterWithoutATimestampHasNone(t *testing.T) {
	failed := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	letter := newLetter(&kgo.Record{Topic: "dlq-orders", Timestamp: time.UnixMilli(-1), Headers: []kgo.RecordHeader{
		{Key: HeaderTopic, Value: []byte("orders")}, {Key: HeaderTimestamp, Value: []byte("1969-12-31T23:59:59.999Z")},
	}})
	if !letter.Timestamp.IsZero() || !letter.Origin.Timestamp.IsZero() || !letter.failedAt().IsZero() {
		t.Errorf("written %v, published %v, failed %v", letter.Timestamp, letter.Origin.Timestamp, letter.failedAt())
	}
	dated := newLetter(&kgo.Record{Topic: "dlq-orders", Timestamp: failed, Headers: letter.Headers})
	var stats Stats
	for _, l := range []Letter{dated, letter} {
		stats.add(l)
	}
	if !stats.Oldest.Equal(failed) || !stats.Newest.Equal(failed) {
		t.Errorf("from %v to %v", stats.Oldest, stats.Newest)
	}
}
