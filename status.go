package kafka

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// stage is what is done with one task, for whoever asks. The scheduler's lock guards it.
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
	progress time.Time // when a record was last settled, or the partition assigned
	end      int64     // of the partition; -1: not known
	endAt    time.Time // when that was learned
}

// rewind is a step in what is fetched: back, if from is above to.
type rewind struct {
	of       topicPartition
	from, to int64
}

func newStatus(now time.Time) status {
	return status{progress: now, end: -1}
}

func (s *status) lag(position int64) int64 {
	if position < 0 || s.end < 0 {
		return -1
	}
	return max(0, s.end-position)
}

// stalls calls each with the tasks whose attempt has just passed limit, or twice what it had when they were last returned.
func (s *scheduler) stalls(limit time.Duration, each func(t *task, running time.Duration)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.inHand {
		running := time.Since(t.stage.since)
		if t.stage.activity != ActivityHandling || running < max(limit, 2*t.stage.told) {
			continue
		}
		t.stage.told = running
		each(t, running)
	}
}

// health fills in what the scheduler knows, and returns what is wrong with tasks, by offset.
func (s *scheduler) health(state *PartitionHealth, stallTimeout time.Duration) (problems map[int64]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state.QueuedRecords, state.RecordsInHand = len(s.queue)+s.lanes.behind, len(s.inHand)
	state.Activity, state.Since, state.Offset = ActivityIdle, s.idleSince, -1
	if s.blocked != "" {
		state.Activity = s.blocked
	}
	if t := s.foremost(); t != nil {
		state.Activity, state.Since, state.Offset, state.Attempt = t.stage.activity, t.stage.since, t.record.Offset, t.stage.attempt
	}
	for _, t := range s.inHand {
		state.Stalled = state.Stalled || t.stage.told > 0
		if problem := t.problem(stallTimeout); problem != "" {
			if problems == nil {
				problems = map[int64]string{}
			}
			problems[t.record.Offset] = problem
		}
	}
	return problems
}

// foremost returns the attempt that has stalled for longest or else the task that holds the commit up; nil if none is in hand.
func (s *scheduler) foremost() *task {
	if len(s.inHand) == 0 {
		return nil
	}
	return slices.MinFunc(s.inHand, compareForemost)
}

// stalls returns the attempts in hand that have just passed limit, or twice what they had when they were last returned.
func (p *partition) stalls(limit time.Duration) (stalls []Stall) {
	p.tasks.stalls(limit, func(t *task, running time.Duration) {
		stalls = append(stalls, Stall{Topic: p.topic, Partition: p.id, Offset: t.record.Offset, Attempt: t.stage.attempt, For: running})
	})
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
	state = PartitionHealth{Topic: p.topic, Partition: p.id}
	for offset, problem := range p.tasks.health(&state, p.c.cfg.StallTimeout) {
		problems = append(problems, fmt.Sprintf("%s-%d offset %d: %s", p.topic, p.id, offset, problem))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	state.Lag, state.QueuedBytes, state.Paused = p.status.lag(p.offsets.Position()), p.flow.held, p.flow.paused&^pausedNotDue != 0
	state.LastProgress = p.status.progress
	if state.Stuck = p.stuckProblem(); state.Stuck != "" {
		problems = append(problems, fmt.Sprintf("%s-%d: %s", p.topic, p.id, state.Stuck))
	}
	if p.parking != nil {
		state.ParkedKeys = p.parking.keys()
	}
	return state, problems
}

// compareForemost puts first the attempt that has stalled for longest or else the task that holds the commit up.
func compareForemost(a, b *task) int {
	return cmp.Or(-cmp.Compare(a.stage.told, b.stage.told), cmp.Compare(a.place, b.place))
}

// problem says what is wrong with a task; "" for nothing. The caller holds the scheduler's lock.
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
