package kafka

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// Where RetryDelays no longer has the topic's delay, a record without a due time is tried at once, and one that claims
// the far future waits a day, or the longest of RetryDelays.
func TestDueTimesBeyondRetryDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		at := func(due time.Duration) *kgo.Record {
			text := formatTime(now.Add(due))
			return &kgo.Record{Topic: "retry-2-group-orders", Timestamp: now, Headers: headers(dlqheader.WrittenTo, "retry-2-group-orders", dlqheader.Due, text)}
		}
		bare := at(0)
		bare.Headers = nil
		old, young := at(1000*time.Hour), at(1000*time.Hour)
		old.Timestamp, young.Timestamp = now.Add(-20*time.Hour), time.UnixMilli(1<<62)
		for _, test := range []struct {
			name    string
			record  *kgo.Record
			longest time.Duration
			want    time.Duration
		}{
			{"no header", bare, 0, 0},
			{"in an hour", at(time.Hour), 0, time.Hour},
			{"in 1000 hours", at(1000 * time.Hour), 0, maxStrandedWait},
			{"in 1000 hours, with a delay of 48", at(1000 * time.Hour), 48 * time.Hour, 48 * time.Hour},
			{"in 1000 hours, written 20 ago", old, 0, 4 * time.Hour},
			{"in 1000 hours, written in the future", young, 0, maxStrandedWait},
		} {
			cfg := ConsumerConfig{Topic: "orders", Group: "group"}
			if test.longest > 0 {
				cfg.RetryDelays = []time.Duration{test.longest}
			}
			p := &partition{route: &route{tier: cfg.beyondRetryDelays()["retry-2-group-orders"]}}
			if got := p.untilDue(test.record); got != test.want {
				t.Errorf("%s: it waits for %v, want %v", test.name, got, test.want)
			}
		}
	})
}

// A record without room for all headers keeps its due time with its place.
func TestTheDueTimeIsKeptWithThePlace(t *testing.T) {
	letter := someLetter()
	letter.due = handledAt
	for which, want := range map[letterHeaders]string{allHeaders: "2026-03-04T05:06:07.891Z", placeHeaders: "2026-03-04T05:06:07.891Z", noHeaders: ""} {
		r := newDeadLetter("retry-1-group-orders", &kgo.Record{Headers: headers(dlqheader.Due, "2020-01-01T00:00:00Z")}, letter, which)
		if got := ours(t, r)[dlqheader.Due]; got != want {
			t.Errorf("level %d is due at %q, want %q", which, got, want)
		}
	}
}
