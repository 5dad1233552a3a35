package kafka_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// waiting is a record of a retry topic as the library writes it. due is its header; "" for none.
func waiting(topic, source string, n int, due string) *kgo.Record {
	fields := []string{
		dlqheader.WrittenTo, topic, dlqheader.Topic, source, dlqheader.Partition, "0", dlqheader.Offset, fmt.Sprint(n),
		dlqheader.Group, "group", dlqheader.DeliveryCount, "2",
	}
	if due != "" {
		fields = append(fields, "__dlq.errors.due", due)
	}
	return &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, `{"n":%d}`, n), Headers: headers(fields...)}
}

// rfc3339 is a time as a due time is written.
func rfc3339(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// triedIn returns the minute of record n's only attempt, such as "minute 3".
func (a *attempts) triedIn(n int) string {
	calls := a.of(n)
	if len(calls) != 1 {
		return fmt.Sprintf("%q", calls)
	}
	return calls[0][strings.LastIndex(calls[0], "minute"):]
}

// A record that is delayed says when it is due, in a header that counts in its retry topic alone.
func TestADelayedRecordSaysWhenItIsDue(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.putOff()
		a := &attempts{began: time.Now(), fails: func(int, int) error { return errAway }}
		_, stop := b.start(cfg, a.handle)
		time.Sleep(12 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for i, name := range cfg.RetryTopics() {
			r := b.read(name, 1)[0]
			due, _ := lastHeader(r.Headers, "__dlq.errors.due")
			at, err := time.Parse(time.RFC3339, due)
			if wait := at.Sub(r.Timestamp); err != nil || wait > cfg.RetryDelays[i] || wait < cfg.RetryDelays[i]-time.Second {
				t.Errorf("%s: due at %q, %v after it was written, want about %v", name, due, wait, cfg.RetryDelays[i])
			}
			if n := countHeaders(r.Headers, "__dlq.errors.due"); n != 1 {
				t.Errorf("%s: %d due times", name, n)
			}
		}
		if due, ok := lastHeader(b.readLetters(1)[0].Headers, "__dlq.errors.due"); ok {
			t.Errorf("the dead letter is due at %s", due)
		}
	})
}

func countHeaders(headers []kgo.RecordHeader, name string) (n int) {
	for _, h := range headers {
		if h.Key == name {
			n++
		}
	}
	return n
}

// What was promised to a record counts, whatever the delay of its topic is now.
func TestChangedDelaysKeepDueTimes(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 20)
		cfg := b.putOff() // 1m, 10m
		a := &attempts{began: time.Now(), fails: func(n, attempt int) error {
			if n%2 == 0 && attempt < 4 { // in both retry topics
				return errAway
			}
			return nil
		}}
		_, stop := b.start(cfg, a.handle)
		time.Sleep(3 * time.Minute) // ten records wait in the second topic until minute 11
		if err := stop(); err != nil {
			t.Error(err)
		}
		cfg.RetryDelays = []time.Duration{2 * time.Minute, 30 * time.Minute}
		_, stop = b.start(cfg, a.handle)
		time.Sleep(9 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for n := range 20 {
			calls := a.of(n)
			want := "minute 0"
			if n%2 == 0 {
				want = "minute 11"
			}
			if last := calls[len(calls)-1]; !strings.HasSuffix(last, want) {
				t.Errorf("record %d: %q, want the last in %s", n, calls, want)
			}
		}
		if len(a.order) != 20 || b.letters() != 0 {
			t.Errorf("%d of 20 records handled, %d dead letters", len(a.order), b.letters())
		}
	})
}

// A due time is a claim: it makes no wait longer than the longest of RetryDelays, and where it is none the topic's
// delay counts.
func TestDueTimesAreClamped(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.putOff() // 1m, 10m
		first := cfg.RetryTopics()[0]
		began := time.Now()
		in := func(d time.Duration) string { return rfc3339(began.Add(d)) }
		records := []*kgo.Record{
			waiting(first, "orders", 0, in(3*time.Minute)),
			waiting(first, "orders", 1, in(1000*time.Hour)),
			waiting(first, "orders", 2, in(-time.Hour)),
			waiting(first, "orders", 3, ""),
			waiting(first, "orders", 4, "tomorrow"),
			waiting(first, "orders", 5, "99999-01-01T00:00:00.000Z"),
			waiting(first, "orders", 6, "1969-01-01T00:00:00.000Z"),
			waiting(first, "orders", 7, in(5*time.Minute)),           // for another topic
			waiting(first, "orders", 8, in(1000*time.Hour)),          // written long ago
			waiting(first, "orders", 9, in(1000*time.Hour)),          // written in the future
			waiting(first, "orders", 10, "9999-12-31T23:59:59.999Z"), // the last time that there is
		}
		records[7].Headers[0].Value = []byte("orders")
		records[8].Timestamp = began.Add(-6 * time.Minute)
		records[9].Timestamp = began.Add(9000 * time.Hour)
		client := b.raw()
		defer client.Close()
		for _, r := range records {
			r.Key = r.Value // a lane each, or one would wait for the other
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		cfg.Concurrency = 16
		a := &attempts{began: began, fails: func(int, int) error { return nil }}
		_, stop := b.start(cfg, a.handle)
		time.Sleep(11 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for n, want := range []string{
			"minute 3", "minute 10", "minute 0", "minute 1", "minute 1", "minute 1", "minute 1", "minute 1", "minute 4", "minute 10", "minute 10",
		} {
			if got := a.triedIn(n); got != want {
				t.Errorf("record %d was tried in %s, want %s", n, got, want)
			}
		}
	})
}
