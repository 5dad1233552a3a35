package kafka

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Queued records say that a worker stands still only if it had time to see them.
func TestARecordForAnIdleWorkerIsNoStandstill(t *testing.T) {
	s := newScheduler(1, nil, nil, nil)
	later := time.Now().Add(time.Hour)
	s.add([]*kgo.Record{{}, {}}, later, func() {})
	if !s.idleSince.Equal(later) {
		t.Errorf("idle since %v, want %v", s.idleSince, later)
	}
	s.add([]*kgo.Record{{}}, later.Add(time.Hour), func() {}) // it does not take what is there
	if !s.idleSince.Equal(later) {
		t.Errorf("idle since %v, want %v", s.idleSince, later)
	}
}

// Whatever workers do, a key's records are begun one after another and in order, one of each key at most is in hand, and each
// record is begun once, or dropped when the scheduler stops.
func TestTheSchedulerKeepsKeysInOrder(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		concurrency := 1 + random.IntN(5)
		begun, open := int64(0), 0
		admit := func(r *kgo.Record) (int64, SkipReason) {
			begun++
			open++
			return begun, ""
		}
		s := newScheduler(concurrency, admit, func() int { return open }, func() {})
		var hand []*task
		var log []string
		latest, seen, added := map[string]int64{}, map[int64]bool{}, int64(0)
		take := func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if t := s.pick(time.Now()); t != nil {
				hand = append(hand, t)
			}
		}
		judge := func(task *task) {
			key := string(task.record.Key)
			inOrder := concurrency == 1 || task.record.Key != nil
			if offset := task.record.Offset; !task.slept && (seen[offset] || inOrder && offset <= latest[key]-1) {
				t.Fatalf("seed %d: %d of key %q after %d: %q", seed, offset, key, latest[key]-1, log)
			}
			seen[task.record.Offset], latest[key] = true, task.record.Offset+1
			for _, other := range hand {
				if other != task && task.record.Key != nil && string(other.record.Key) == key {
					t.Fatalf("seed %d: %d and %d of key %q are in hand at once: %q", seed, other.record.Offset, task.record.Offset, key, log)
				}
			}
		}
		for range 400 {
			switch n := random.IntN(10); {
			case n < 2 && added < 200:
				var records []*kgo.Record
				for range 1 + random.IntN(10) {
					r := &kgo.Record{Offset: added, Key: fmt.Append(nil, random.IntN(6))}
					if random.IntN(4) == 0 {
						r.Key = nil
					}
					records = append(records, r)
					added++
				}
				s.add(records, time.Now(), func() {})
			case n < 6 && len(hand) < concurrency:
				before := len(hand)
				if take(); len(hand) > before {
					log = append(log, fmt.Sprint("begin ", hand[before].record.Offset))
					judge(hand[before])
					hand[before].attempt++
				}
			case len(hand) > 0:
				i := random.IntN(len(hand))
				task := hand[i]
				hand = slices.Delete(hand, i, i+1)
				if random.IntN(4) == 0 && !task.slept {
					log = append(log, fmt.Sprint("retry ", task.record.Offset))
					s.sleep(task, 0)
					take() // its key stays its own
					judge(hand[len(hand)-1])
					continue
				}
				log = append(log, fmt.Sprint("settle ", task.record.Offset))
				s.mu.Lock()
				s.release(task, time.Now())
				s.mu.Unlock()
				open--
			}
		}
		dropped := 0
		s.stop(func(records []*kgo.Record) {
			for _, r := range records {
				if dropped++; seen[r.Offset] {
					t.Errorf("seed %d: %d is dropped, and was begun", seed, r.Offset)
				}
			}
		})
		if len(seen)+dropped != int(added) {
			t.Errorf("seed %d: %d records went in, %d were begun and %d dropped", seed, added, len(seen), dropped)
		}
		if s.add([]*kgo.Record{{}}, time.Now(), func() { t.Error("accepted") }) {
			t.Error("it takes records after it has stopped")
		}
	}
}
