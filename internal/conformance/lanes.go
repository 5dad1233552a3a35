package conformance

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Promise 2, with many keys of a partition in hand at once.
func (s Suite) lanes(t *testing.T) {
	t.Run("ARetryBlocksItsOwnKeyAlone", func(t *testing.T) {
		const keys, perKey = 50, 20
		topic := s.topic(t, 1, nil)
		s.seed(t, topic, keys*perKey, keys)
		cfg := s.config(topic, topic)
		cfg.Concurrency = 8
		handled := newLedger()
		asleep := make(chan struct{}, keys*perKey)
		first := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
			if msg.Key == "key-7" && msg.Value.Seq == 3 {
				asleep <- struct{}{}
				return kafka.NewTransientError("busy", nil).WithRetryAfter(24 * time.Hour)
			}
			handled.add(msg)
			return nil
		})
		const blocked, stuckAt = perKey - 3, 3*keys + 7
		handled.await(t, keys*perKey-blocked)
		within(t, "the key that waits has failed", asleep)
		eventually(t, "what may be committed is", func() bool { return s.committed(t, topic, topic)[0] == stuckAt })
		first.mustStop()
		if at := s.committed(t, topic, topic)[0]; at != stuckAt {
			t.Errorf("committed %d, want %d: the record there is not done", at, stuckAt)
		}

		// A clean handover: the next member gets what was not done, and nothing else.
		second := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
			if msg.Key != "key-7" || msg.Value.Seq < 3 {
				t.Errorf("%s %d is handled again", msg.Key, msg.Value.Seq)
			}
			handled.add(msg)
			return nil
		})
		handled.await(t, keys*perKey)
		second.mustStop()
		handled.judge(t, keys*perKey)
		if at := s.committed(t, topic, topic)[0]; at != keys*perKey {
			t.Errorf("committed %d, want %d", at, keys*perKey)
		}
	})

	t.Run("AsManyAtOnceAsAllowed", func(t *testing.T) {
		const concurrency = 5
		topic := s.topic(t, 1, nil)
		var records []*kgo.Record
		for i := range 10 * concurrency { // every other one without a key
			r := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, `{"seq":%d}`, i)}
			if i%2 == 0 {
				r.Key = fmt.Append(nil, i)
			}
			records = append(records, r)
		}
		s.produce(t, records...)
		cfg := s.config(topic, topic)
		cfg.Concurrency = concurrency
		var mu sync.Mutex
		running, most := 0, 0
		busy, release := make(chan struct{}, len(records)), make(chan struct{})
		handled := newLedger()
		m := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			busy <- struct{}{}
			<-release
			mu.Lock()
			running--
			mu.Unlock()
			handled.add(msg)
			return nil
		})
		for range concurrency {
			within(t, "handlers run side by side", busy)
		}
		close(release)
		handled.await(t, len(records))
		m.mustStop()
		if most != concurrency {
			t.Errorf("%d handlers at once, want %d", most, concurrency)
		}
	})
}
