package kafka

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// stage is what is done with one task, for whoever asks. partition.mu guards it.
type stage struct {
	activity Activity
	since    time.Time
	attempt  int
	told     time.Duration // how long the attempt had been running when it was last named as a stall
	refusal  error         // of the dead letter topic
	refusals time.Time     // since when
}

func (s *stage) become(activity Activity, attempt int, now time.Time) {
	s.activity, s.since, s.attempt, s.told = activity, now, attempt, 0
}

// status is what a partition is about besides its tasks. partition.mu guards it.
type status struct {
	idleSince time.Time
	blocked   Activity  // what its workers wait for before they begin; "" for nothing
	progress  time.Time // when a record was last settled, or the partition assigned
	end       int64     // of the partition; -1: not known
	endAt     time.Time // when that was learned
}

// rewind is a step in what is fetched: back, if from is above to.
type rewind struct {
	of       topicPartition
	from, to int64
}

func newStatus(now time.Time) status {
	return status{idleSince: now, progress: now, end: -1}
}

func (s *status) fetched(end int64, queued int, now time.Time) {
	s.end, s.endAt = end, now
	if queued == 0 && s.blocked == "" {
		s.idleSince = now // it was idle for a reason until now
	}
}

func (s *status) lag(position int64) int64 {
	if position < 0 || s.end < 0 {
		return -1
	}
	return max(0, s.end-position)
}

// now notes what is done with a task from this moment on.
func (p *partition) now(t *task, activity Activity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.stage.become(activity, t.stage.attempt, time.Now())
}

// block notes what the workers have to wait for, or that they begin.
func (p *partition) block(blocked Activity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.blocked, p.status.idleSince = blocked, time.Now()
}

// refused notes why a dead letter is not stored.
func (p *partition) refused(t *task, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.stage.refusal == nil {
		t.stage.refusals = time.Now()
	}
	t.stage.refusal = err
}

// stalls returns the attempts in hand that have just passed limit, or twice what they had when they were last returned.
func (p *partition) stalls(limit time.Duration) (stalls []Stall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.inHand {
		s := &t.stage
		running := time.Since(s.since)
		if s.activity != ActivityHandling || running < max(limit, 2*s.told) {
			continue
		}
		s.told = running
		stalls = append(stalls, Stall{Topic: p.topic, Partition: p.id, Offset: t.record.Offset, Attempt: s.attempt, For: running})
	}
	return stalls
}

func (p *partition) lagIsOld(age time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offsets.Position() < 0 || time.Since(p.status.endAt) > age
}

// learnEnd takes what the brokers said: the partition's end, and where a member begins that has fetched nothing yet.
func (p *partition) learnEnd(end, begin int64) {
	p.offsets.Guess(begin)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.end, p.status.endAt = end, time.Now()
}

// health returns the partition's state, and what is wrong with its records, if anything is.
func (p *partition) health() (state PartitionHealth, problems []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	state = PartitionHealth{
		Topic: p.topic, Partition: p.id, Lag: s.lag(p.offsets.Position()), QueuedRecords: len(p.queue) + p.behind, QueuedBytes: p.flow.held, Paused: p.flow.paused != 0,
		RecordsInHand: len(p.inHand), Activity: ActivityIdle, Since: s.idleSince, Offset: -1, LastProgress: s.progress,
	}
	if s.blocked != "" {
		state.Activity = s.blocked
	}
	if state.Stuck = p.stuckProblem(); state.Stuck != "" {
		problems = append(problems, fmt.Sprintf("%s-%d: %s", p.topic, p.id, state.Stuck))
	}
	if p.parking != nil {
		state.ParkedKeys = p.parking.keys()
	}
	if t := p.foremost(); t != nil {
		state.Activity, state.Since, state.Offset, state.Attempt = t.stage.activity, t.stage.since, t.record.Offset, t.stage.attempt
	}
	for _, t := range p.inHand {
		state.Stalled = state.Stalled || t.stage.told > 0
		if problem := t.problem(p.c.cfg.StallTimeout); problem != "" {
			problems = append(problems, fmt.Sprintf("%s-%d offset %d: %s", p.topic, p.id, t.record.Offset, problem))
		}
	}
	return state, problems
}

// foremost returns the attempt that has stalled for longest or else the task that holds the commit up; nil if none is in hand.
func (p *partition) foremost() *task {
	if len(p.inHand) == 0 {
		return nil
	}
	return slices.MinFunc(p.inHand, func(a, b *task) int {
		return cmp.Or(-cmp.Compare(a.stage.told, b.stage.told), cmp.Compare(a.place, b.place))
	})
}

// problem says what is wrong with a task; "" for nothing. The caller holds its partition's mu.
func (t *task) problem(stallTimeout time.Duration) string {
	s := &t.stage
	switch {
	case s.refusal != nil:
		return fmt.Sprintf("since %s %v", s.refusals.UTC().Format(time.RFC3339), s.refusal)
	case s.activity == ActivityDeadLetter && time.Since(s.since) > stallTimeout:
		return fmt.Sprintf("its dead letter has been on its way since %s", s.since.UTC().Format(time.RFC3339))
	case s.told > 0:
		return fmt.Sprintf("the handler has been running since %s", s.since.UTC().Format(time.RFC3339))
	}
	return ""
}
