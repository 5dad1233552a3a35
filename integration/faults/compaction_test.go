package faults

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Compaction leaves gaps between offsets. What is left is handled once, and committed across the gaps.
func TestCompactionGaps(t *testing.T) {
	t.Parallel()
	const n, keys = 100, 7
	s := newScenario(t, 1, map[string]string{
		"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001", "max.compaction.lag.ms": "100",
	})
	for i := range n {
		r := s.record(fmt.Sprint("key-", i%keys), good)
		r.Headers = []kgo.RecordHeader{{Key: "fill", Value: make([]byte, 1000)}}
		s.put(s.client, r)
	}
	var left []*kgo.Record
	s.until("most are compacted away", func() bool {
		s.put(s.client, s.record("roll", good)) // only segments that are complete are compacted
		left = s.read(s.topic)
		return len(left) < n/2
	})
	m := s.join(s.config(), comesTo)
	s.until("the last is handled", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		attempts := s.history.Attempts
		return len(attempts) > 0 && attempts[len(attempts)-1].Place.Offset == left[len(left)-1].Offset
	})
	// The cleaner may have taken more of the older ones meanwhile: what was handled is judged, and of each key the latest
	// must be among it.
	latest, handled := map[string]*kgo.Record{}, 0
	for _, r := range left {
		latest[string(r.Key)] = r
	}
	s.mu.Lock()
	seen := map[int64]bool{}
	for _, a := range s.history.Attempts {
		seen[a.Place.Offset] = true
	}
	s.mu.Unlock()
	for _, r := range left {
		if seen[r.Offset] || latest[string(r.Key)] == r {
			s.stored(r)
			handled++
		}
	}
	s.drained()
	m.mustStop()
	s.judgeClean()
	if last := left[len(left)-1].Offset; int64(handled) > last/2 {
		t.Errorf("%d of %d offsets handled: no gaps", handled, last+1)
	}
}
