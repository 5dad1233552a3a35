package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/topics"
)

// Promise 2, beyond failures: with ParkKeys a key's records follow each other, though one of them is dead-lettered and sent back
// later, and though members come and go meanwhile.
func (s Suite) parking(t *testing.T, protocol string) {
	const keys, perKey, failing, broken = 40, 50, 4, 10 // every fourth key fails, from its tenth record on
	const records = keys * perKey
	topic := fmt.Sprintf("conformance-%08x", rand.Uint32())
	dlq := "dlq-" + topic
	s.makeTopics(t, topics.Topic{Name: topic, Partitions: 4}, topics.Topic{Name: dlq, Partitions: 3}) // one of which takes letters of two partitions
	s.seed(t, topic, records, keys)
	cfg := s.config(topic, topic)
	cfg.ParkKeys, cfg.MaxRetries, cfg.GroupProtocol = true, 1, kafka.GroupProtocol(protocol)
	cfg.MaxQueuedRecords = 200
	cfg.Options = []kgo.Opt{kgo.HeartbeatInterval(200 * time.Millisecond)} // how soon a member hears of a rebalance
	handled := newLedger()
	next := newGate(2 * broken) // No member handles all there is before the next one is there: from this one of their key on, records wait.
	var healed atomic.Bool
	join := func() *member {
		worked := make(chan struct{}, 1)
		m := startHeld(s, t, cfg, next, func(ctx context.Context, msg kafka.Message[event], p *pass) error {
			select {
			case worked <- struct{}{}:
			default:
			}
			n, _ := strconv.Atoi(strings.TrimPrefix(msg.Value.Key, "key-"))
			if !healed.Load() && n%failing == 0 && msg.Value.Seq >= broken {
				return fmt.Errorf("attempt %d: the database is down", msg.Attempt)
			}
			p.wait(ctx, msg.Partition, func(limit int64) bool { return int64(msg.Value.Seq) >= limit })
			handled.add(msg)
			return nil
		})
		within(t, "the new member gets records", worked)
		return m
	}
	settled := func() {
		t.Helper()
		eventually(t, "all that is there is settled", func() bool { return sum(s.committed(t, topic, topic)) == s.count(t, topic) })
	}
	first := join()
	handled.await(t, 2*broken*keys-broken*keys/failing)
	second := join() // which has to know what the first has parked
	first.mustStop()
	next.set(perKey)
	settled()
	letters := s.letters(t, dlq)
	if n := len(letters); n != records/failing*(perKey-broken)/perKey {
		t.Fatalf("%d letters, want %d", n, records/failing*(perKey-broken)/perKey)
	}
	classes := map[kafka.Class]int{}
	for _, letter := range letters {
		info, _ := kafka.Message[event]{Headers: letter.Headers}.DeadLetter()
		classes[info.Class]++
	}
	if classes[kafka.ClassTransient] != keys/failing || classes[kafka.ClassParked] != len(letters)-keys/failing {
		t.Errorf("letters are %v, want one transient of each of %d keys", classes, keys/failing)
	}

	healed.Store(true)
	next.set(0)
	sent := map[place]bool{}
	s.sendBack(t, letters[:len(letters)/2], sent) // a run that was ended in the middle
	third := join()
	second.mustStop()
	next.set(perKey + 1)
	settled()
	runs := 0
	for letters = s.letters(t, dlq); len(letters) > len(sent); letters = s.letters(t, dlq) {
		if runs++; runs > 10 {
			t.Fatalf("%d letters now, and each run makes more", len(letters))
		}
		s.sendBack(t, letters, sent)
		settled()
	}
	s.produceMore(t, topic, keys, perKey)
	handled.await(t, records+keys)
	settled()
	third.mustStop()
	handled.judge(t, records+keys)
	if n := len(s.letters(t, dlq)); n != len(letters) {
		t.Errorf("%d letters at the end, want %d as before: all keys are free", n, len(letters))
	}
}

// produceMore publishes one more event of each key.
func (s Suite) produceMore(t *testing.T, topic string, keys, seq int) {
	t.Helper()
	records := make([]*kgo.Record, keys)
	for i := range records {
		key := fmt.Sprintf("key-%d", i)
		records[i] = &kgo.Record{Topic: topic, Key: []byte(key), Value: fmt.Appendf(nil, `{"key":%q,"seq":%d}`, key, seq)}
	}
	s.produce(t, records...)
}

// letters returns what the dead letter topic holds besides marks, the oldest of each partition first.
func (s Suite) letters(t *testing.T, dlq string) []*kgo.Record {
	t.Helper()
	return slices.DeleteFunc(s.read(t, dlq, int(s.count(t, dlq))), isMark)
}

// isMark tells whether a record of a dead letter topic is no letter.
func isMark(r *kgo.Record) bool {
	return slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == dlqheader.Unparked })
}

// sendBack puts letters where they came from that were not sent before. Of their own headers they keep the place.
func (s Suite) sendBack(t *testing.T, letters []*kgo.Record, sent map[place]bool) {
	t.Helper()
	var records []*kgo.Record
	for _, letter := range letters {
		at := place{letter.Partition, letter.Offset}
		if sent[at] {
			continue
		}
		sent[at] = true
		info, _ := kafka.Message[event]{Headers: letter.Headers}.DeadLetter()
		headers := slices.DeleteFunc(slices.Clone(letter.Headers), func(h kgo.RecordHeader) bool {
			origin := h.Key == dlqheader.Topic || h.Key == dlqheader.Partition || h.Key == dlqheader.Offset
			return strings.HasPrefix(h.Key, "__dlq.") && !origin
		})
		headers = append(headers, kgo.RecordHeader{Key: dlqheader.WrittenTo, Value: []byte(info.Topic)})
		records = append(records, &kgo.Record{Topic: info.Topic, Partition: info.Partition, Key: letter.Key, Value: letter.Value, Headers: headers})
	}
	s.place(t, records...)
}
