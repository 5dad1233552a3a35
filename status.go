package kafka

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// status is what a partition's worker and its queue are about, for whoever asks. partition.mu guards it.
type status struct {
	activity Activity
	since    time.Time
	offset   int64 // of the record in hand; -1 for none
	attempt  int
	told     time.Duration // how long the attempt had been running when it was last named as a stall
	refusal  error         // of the dead letter topic
	refusals time.Time     // since when

	progress time.Time // when a record was last settled, or the partition assigned
	position int64     // the next record to settle; -1: not known
	guessed  bool      // position is where the group is said to be: nothing was fetched yet
	end      int64     // of the partition; -1: not known
	endAt    time.Time // when that was learned
	next     int64     // the next offset to fetch; -1: nothing fetched yet
}

// rewind is a step in what is fetched: back, if from is above to.
type rewind struct {
	partition int32
	from, to  int64
}

func newStatus(now time.Time) status {
	return status{activity: ActivityIdle, since: now, offset: -1, progress: now, position: -1, end: -1, next: -1}
}

func (s *status) fetched(records []*kgo.Record, end int64, queued int, now time.Time) {
	if s.position < 0 || s.guessed || records[0].Offset < s.next {
		s.position, s.guessed = records[0].Offset, false
	}
	s.next, s.end, s.endAt = records[len(records)-1].Offset+1, end, now
	if queued == 0 && s.activity == ActivityIdle {
		s.since = now // it was idle for a reason until now
	}
}

func (s *status) taken(r *kgo.Record, now time.Time) {
	s.activity, s.since, s.offset, s.attempt, s.told = ActivityHandling, now, r.Offset, 1, 0
}

func (s *status) finished(r *kgo.Record, settled bool, now time.Time) {
	s.activity, s.since, s.offset, s.attempt, s.told, s.refusal = ActivityIdle, now, -1, 0, 0, nil
	if settled {
		s.position, s.guessed, s.progress = r.Offset+1, false, now
	}
}

func (s *status) lag() int64 {
	if s.position < 0 || s.end < 0 {
		return -1
	}
	return max(0, s.end-s.position)
}

// now notes what the worker does from this moment on.
func (p *partition) now(activity Activity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	s.activity, s.since, s.told = activity, time.Now(), 0
	if activity == ActivityHandling {
		s.attempt = p.attempt + 1
	}
}

// refused notes why a dead letter is not stored.
func (p *partition) refused(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.refusal == nil {
		p.status.refusals = time.Now()
	}
	p.status.refusal = err
}

// stall returns the attempt in hand if it has just passed limit, or twice what it had when it was last returned.
func (p *partition) stall(limit time.Duration) (Stall, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	running := time.Since(s.since)
	if s.activity != ActivityHandling || running < max(limit, 2*s.told) {
		return Stall{}, false
	}
	s.told = running
	return Stall{Topic: p.topic, Partition: p.id, Offset: s.offset, Attempt: s.attempt, For: running}, true
}

func (p *partition) lagIsOld(age time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.position < 0 || time.Since(p.status.endAt) > age
}

// learnEnd takes what the brokers said: the partition's end, and where a member begins that has fetched nothing yet.
func (p *partition) learnEnd(end, begin int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	s.end, s.endAt = end, time.Now()
	if s.position < 0 || s.guessed { // the group's offsets may have come since the last guess
		s.position, s.guessed = begin, true
	}
}

// health returns the partition's state, and what is wrong with it, if anything is.
func (p *partition) health() (state PartitionHealth, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	state = PartitionHealth{
		Partition: p.id, Lag: s.lag(), QueuedRecords: len(p.queue), QueuedBytes: p.queued, Paused: p.parked > 0,
		Activity: s.activity, Since: s.since, Stalled: s.told > 0, Offset: s.offset, Attempt: s.attempt, LastProgress: s.progress,
	}
	where := fmt.Sprintf("%s-%d offset %d: ", p.topic, p.id, s.offset)
	switch {
	case s.refusal != nil:
		problem = where + fmt.Sprintf("since %s %v", s.refusals.UTC().Format(time.RFC3339), s.refusal)
	case s.activity == ActivityDeadLetter && time.Since(s.since) > p.c.cfg.StallTimeout:
		problem = where + fmt.Sprintf("its dead letter has been on its way since %s", s.since.UTC().Format(time.RFC3339))
	case s.told > 0:
		problem = where + fmt.Sprintf("the handler has been running since %s", s.since.UTC().Format(time.RFC3339))
	}
	return state, problem
}
