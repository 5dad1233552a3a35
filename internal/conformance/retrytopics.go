package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// Promise 4, without a wait: a record that is put off comes back after its delay, blocks nothing meanwhile, and is handled or becomes a
// letter of its first place, though members come and go.
func (s Suite) retryTopics(t *testing.T, protocol string) {
	const records, keys = 600, 20
	topic := fmt.Sprintf("conformance-%08x", rand.Uint32())
	cfg := s.config(topic, topic)
	cfg.GroupProtocol, cfg.MaxRetries = kafka.GroupProtocol(protocol), kafka.NoRetries
	cfg.RetryDelays = []time.Duration{time.Second, 2 * time.Second}
	list := topics.List{topics.New(topic, 4)}.WithDeadLetters(cfg)
	resolved, err := list.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	for i := range resolved {
		resolved[i].ReplicationFactor = 1
	}
	s.makeTopics(t, resolved...)
	s.seed(t, topic, records, keys)

	var mu sync.Mutex
	failed := map[event]time.Time{} // when it last did
	tries, done := map[event]int{}, map[event]int{}
	join := func() *member {
		return start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
			mu.Lock()
			defer mu.Unlock()
			if last, ok := failed[msg.Value]; ok && time.Since(last) < cfg.RetryDelays[0]-time.Millisecond { // as exact as Kafka's timestamps are
				t.Errorf("%v came again after %v", msg.Value, time.Since(last))
			}
			tries[msg.Value]++
			// One record in ten needs a second try, one in thirty a third, and one in sixty is beyond help.
			need := map[bool]int{true: 2, false: 1}[msg.Value.Seq%10 == 3]
			switch {
			case msg.Value.Seq == 13:
				need = 3
			case msg.Value.Seq == 23:
				need = 4
			}
			if tries[msg.Value] < need {
				failed[msg.Value] = time.Now()
				return fmt.Errorf("the database is away")
			}
			done[msg.Value]++
			return nil
		})
	}
	handled := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(done)
	}
	first := join()
	eventually(t, "all that goes well at once is handled", func() bool { return handled() >= records-records/10 })
	second := join()
	first.mustStop() // with records that wait
	third := join()
	eventually(t, "the others are handled, or dead letters", func() bool {
		return handled() == records-keys && s.count(t, "dlq-"+topic) == keys
	})
	second.mustStop()
	third.mustStop()
	for e, times := range done {
		if times != 1 {
			t.Errorf("%v was handled %d times", e, times)
		}
	}
	for _, r := range s.letters(t, "dlq-"+topic) {
		letter, ok := kafka.Message[event]{Headers: r.Headers}.DeadLetter()
		if !ok || letter.Topic != topic || letter.Attempts != 3 || letter.Class != kafka.ClassTransient || letter.Group != topic {
			t.Errorf("letter %+v, want one of %s after 3 attempts", letter, topic)
		}
	}
	for _, name := range slices.Concat([]string{topic}, cfg.RetryTopics()) {
		if at := sum(s.committed(t, name, topic)); at != s.count(t, name) {
			t.Errorf("%s: %d committed, want %d", name, at, s.count(t, name))
		}
	}
}
