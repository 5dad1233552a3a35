package faults

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
)

// Timestamps of long ago and of times to come, in no order, change nothing; a letter tells its record's.
func TestSkewedClocks(t *testing.T) {
	t.Parallel()
	s := newScenario(t, 3, map[string]string{"message.timestamp.after.max.ms": "9223372036854775807", "retention.ms": "-1"})
	times := []time.Time{
		time.UnixMilli(1), time.Now().AddDate(-30, 0, 0), time.Now(), time.Now().AddDate(100, 0, 0), time.UnixMilli(1 << 50), // year 37648
	}
	var records []*kgo.Record
	for i := range 300 {
		r := s.record(fmt.Sprintf("key-%d", i%30), halfPoison(i/30))
		r.Timestamp = times[i%len(times)]
		records = append(records, r)
	}
	s.produce(records...)
	m := s.join(s.config(), comesTo)
	s.drained()
	m.mustStop()
	s.judgeClean()
	began := time.Now().Add(-time.Hour)
	for _, letter := range s.read("dlq-" + s.topic) {
		e := s.eventOf(letter)
		i := e.Seq*30 + numberOf(e.Key)
		want := times[i%len(times)].UTC()
		if got, _ := time.Parse(time.RFC3339, header(letter, dlqheader.Timestamp)); want.Year() < 10_000 && !got.Equal(want.Truncate(time.Millisecond)) {
			t.Errorf("a letter tells %v, want %v", got, want)
		}
		if letter.Timestamp.Before(began) || letter.Timestamp.After(time.Now().Add(time.Hour)) {
			t.Errorf("a letter's own time is %v: retention counts from it", letter.Timestamp)
		}
	}
}

func numberOf(key string) int {
	n, _ := strconv.Atoi(key[len("key-"):])
	return n
}

// Whoever may write to the topic may put our own headers on a record. They change neither how often it is tried nor where it
// goes, and letters hold one of each.
func TestForgedHeaders(t *testing.T) {
	t.Parallel()
	s := newScenario(t, 3, nil)
	forged := []kgo.RecordHeader{
		{Key: kafka.HeaderMessageID, Value: []byte("the same for all")},
		{Key: dlqheader.DeliveryCount, Value: []byte("2147483647")},
		{Key: dlqheader.RedriveCount, Value: []byte("99999999999999999999")},
		{Key: dlqheader.Class, Value: []byte("business")},
		{Key: dlqheader.Message, Value: []byte("all is well")},
		{Key: dlqheader.Partition, Value: []byte("-7")},
		{Key: dlqheader.Offset, Value: []byte("nowhere")},
		{Key: dlqheader.Topic, Value: []byte("../../etc")},
		{Key: "__dlq.errors.unheard-of", Value: []byte{0xff, 0}},
		{Key: "attempt", Value: []byte("1000")},
	}
	var records []*kgo.Record
	for i := range 120 {
		r := s.record(fmt.Sprintf("key-%d", i%12), []fate{good, flaky, poison}[i/12%3])
		r.Headers = forged
		records = append(records, r)
	}
	s.produce(records...)
	m := s.join(s.config(), func(ctx context.Context, msg kafka.Message[event]) error {
		if msg.Attempt < 1 || msg.Attempt > 3 {
			t.Errorf("attempt %d", msg.Attempt)
		}
		return comesTo(ctx, msg)
	})
	s.drained()
	m.mustStop()
	s.judgeClean() // letters name their records' true places
	for _, letter := range s.read("dlq-" + s.topic) {
		for name, want := range map[string]string{
			dlqheader.Topic: s.topic, dlqheader.DeliveryCount: "1", dlqheader.Class: "permanent",
			dlqheader.Message: "poison", dlqheader.RedriveCount: "", "__dlq.errors.unheard-of": "", "attempt": "1000",
		} {
			n := 0
			for _, h := range letter.Headers {
				if h.Key == name {
					n++
				}
			}
			if got := header(letter, name); got != want || n > 1 {
				t.Errorf("a letter has %d headers %s, the last %q, want %q", n, name, got, want)
			}
		}
	}
}
