package deadletter

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func markOf(text string, offset int64) *kgo.Record {
	return &kgo.Record{Offset: offset, Key: []byte(text), Headers: []kgo.RecordHeader{{Key: HeaderRedriven, Value: []byte(text)}}}
}

// A mark says of every letter whether it was sent.
func TestMarksSayWhatWasSent(t *testing.T) {
	for range 200 {
		base, set := rand.Int64N(1000), sentOffsets{}
		set.base = base
		var sent []int64
		for offset := base; offset < base+300; offset++ {
			if rand.IntN(3) > 0 {
				sent = append(sent, offset)
			}
		}
		set.learn(markOf(formatRanges(sent), base+300))
		for offset := base - 5; offset < base+310; offset++ {
			if _, want := slices.BinarySearch(sent, offset); set.has(offset) != (want || offset < base) {
				t.Fatalf("%s: has %d: %v", formatRanges(sent), offset, !want)
			}
		}
	}
	if got := formatRanges([]int64{0, 1, 2, 5, 7, 8}); got != "0-2,5,7-8" {
		t.Errorf("ranges %q", got)
	}
}

// FuzzMarks: whatever a mark claims, it says nothing of letters behind it, and costs no more than a bit for each before it.
func FuzzMarks(f *testing.F) {
	for _, seed := range []string{"", "0-2,5", "5-0", "-1", "0-9223372036854775807", "9223372036854775806-9223372036854775807", ",", "1-2-3", "99"} {
		f.Add(seed, int64(100), int64(10))
	}
	f.Fuzz(func(t *testing.T, text string, offset, base int64) {
		offset, base = min(max(offset, 0), 10_000), min(max(base, 0), 10_000)
		set := sentOffsets{base: base}
		set.learn(markOf(text, offset))
		for behind := max(base, offset); behind < max(base, offset)+100; behind++ {
			if set.has(behind) {
				t.Fatalf("%q at %d says that %d was sent", text, offset, behind)
			}
		}
		if int64(len(set.bits)) > max(0, offset-base)/64+1 {
			t.Fatalf("%q at %d takes %d words", text, offset, len(set.bits))
		}
	})
}

// FuzzLetters: headers come from outside. Whatever they hold, a letter is read, and sent to a partition that is there or left.
func FuzzLetters(f *testing.F) {
	f.Add("__dlq.errors.topic", []byte("orders"), "__dlq.errors.partition", []byte("1"))
	f.Add("kafka_dlt-original-topic", []byte("orders"), "kafka_dlt-original-partition", []byte{0, 0, 0, 9})
	f.Add("kafka_original-topic", []byte("orders"), "kafka_original-partition", []byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Add("__connect.errors.topic", []byte("orders"), "__connect.errors.partition", []byte("-4"))
	f.Fuzz(func(t *testing.T, name string, value []byte, name2 string, value2 []byte) {
		letter := newLetter(&kgo.Record{Topic: "dlq-orders", Key: value, Headers: []kgo.RecordHeader{{Key: name, Value: value}, {Key: name2, Value: value2}}})
		if (letter.Err == nil) != (letter.Origin.Topic != "") {
			t.Fatalf("%+v", letter)
		}
		known := &groups{reads: map[groupTopic]bool{{"any", "orders"}: true}}
		d := destinations{counts: map[string]int32{"orders": 3}, group: "any", groups: known}
		r, why, err := d.record(t.Context(), letter)
		if err != nil || (r == nil) == (why == "") || r != nil && (r.Topic != "orders" || r.Partition < 0 || r.Partition > 2) {
			t.Fatalf("%+v, %s", r, why)
		}
	})
}

// What was not used of a rate is not made up for.
func TestPace(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPace(10)
	for range 3 {
		p.taken(now)
	}
	if got := p.wait(now); got != 300*time.Millisecond {
		t.Errorf("wait %v after three letters, want 300ms", got)
	}
	now = now.Add(time.Hour)
	p.taken(now)
	if got := p.wait(now); got > 100*time.Millisecond || got <= 0 {
		t.Errorf("wait %v after an hour and a letter, want up to 100ms", got)
	}
	slow := newPace(1e-12)
	slow.taken(now)
	if got := slow.wait(now); got <= 0 {
		t.Errorf("wait %v at the slowest of rates", got)
	}
	free := newPace(0)
	free.taken(now)
	if got := free.wait(now); got != 0 {
		t.Errorf("wait %v without a rate", got)
	}
}
