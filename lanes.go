package kafka

import (
	"hash/maphash"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file is about a concurrency above 1: each key has a lane, whose records are begun one after another, whatever the
// other keys do.

// maxAhead is how many records of a partition may have been begun, or wait for their key, since the first that is not done.
// It bounds the tracker (2.4 MB for a partition) and what a crash can redeliver while one key fails for long.
const maxAhead = 100_000

// waiting is a record behind another one of its key.
type waiting struct {
	record *kgo.Record
	place  int64
}

// lanes are those with a record in hand. The scheduler's lock guards them.
type lanes struct {
	waiting map[uint64][]waiting // those behind it; nil once the scheduler has stopped
	behind  int                  // how many these are
	apart   map[uint64]bool      // the lanes whose waiting records are copies, as those will be that follow
}

// laneSeed makes lanes of keys. Two keys that share a lane by chance are handled one after another, which harms nobody.
var laneSeed = maphash.MakeSeed()

// drop returns the records behind others, and forgets all lanes.
func (l *lanes) drop() (dropped []*kgo.Record) {
	for _, behind := range l.waiting {
		for _, w := range behind {
			dropped = append(dropped, w.record)
		}
	}
	*l = lanes{}
	return dropped
}

// pick returns a task whose turn has come, or else begins the queue's first record whose key has none in hand.
func (s *scheduler) pick(now time.Time) *task {
	if len(s.due) > 0 {
		t := s.due[0]
		s.due[0] = nil
		s.due = s.due[1:]
		t.stage.become(ActivityHandling, t.attempt+1, now)
		return t
	}
	for len(s.queue) > 0 && s.mayBegin() {
		r := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		place, skip := s.admit(r)
		if skip != "" || s.concurrency == 1 || r.Key == nil {
			return s.begin(task{record: r, place: place, skip: skip}, now)
		}
		lane := maphash.Bytes(laneSeed, r.Key)
		behind, busy := s.lanes.waiting[lane]
		if busy {
			if s.lanes.apart[lane] {
				r = ownCopy(r)
			}
			s.lanes.waiting[lane] = append(behind, waiting{r, place})
			s.lanes.behind++
			continue
		}
		s.lanes.waiting[lane] = nil // busy from now on
		return s.begin(task{record: r, place: place, lane: lane, keyed: true}, now)
	}
	return nil
}

// mayBegin tells whether the queue's first record may be taken.
func (s *scheduler) mayBegin() bool {
	if s.concurrency == 1 {
		return len(s.inHand) == 0
	}
	return s.begun() < maxAhead
}

// release lets the next record of a settled task's key follow.
func (s *scheduler) release(t *task, now time.Time) {
	s.forget(t, now)
	if !t.keyed {
		return
	}
	behind, busy := s.lanes.waiting[t.lane]
	switch {
	case !busy: // the scheduler has stopped
	case len(behind) == 0:
		delete(s.lanes.waiting, t.lane)
		delete(s.lanes.apart, t.lane)
	default:
		s.lanes.waiting[t.lane] = behind[1:]
		s.lanes.behind--
		next := s.begin(task{record: behind[0].record, place: behind[0].place, lane: t.lane, keyed: true}, now)
		next.stage.become(ActivityBackoff, 0, now) // all workers may be held back
		s.due = append(s.due, next)
	}
}
