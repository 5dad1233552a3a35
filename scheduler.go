package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// scheduler decides which record of a partition a worker takes next. Records go in, tasks come out. With a concurrency of 1
// that is the queue's first, once the one before it is settled; lanes.go is about more. It knows no Kafka client.
//
// Its lock may be held when the partition's is taken, and not the other way round.
type scheduler struct {
	concurrency int
	admit       func(*kgo.Record) (place int64, skip SkipReason)
	begun       func() int // how many records were since the first that is not done, or wait for their key
	hire        func()     // starts another worker

	mu        sync.Mutex
	ready     sync.Cond // for the idle worker: there may be work, or the scheduler has stopped
	workers   int       // goroutines
	idle      bool      // one of them waits for ready
	stopped   bool
	blocked   Activity  // what the workers wait for before they begin; "" for nothing
	idleSince time.Time // since when nothing is in hand, or comes
	queue     []*kgo.Record
	due       []*task // begun, to be worked on before the queue
	inHand    []*task // all that are begun and not settled
	spare     *task   // to be used again
	lanes     lanes
}

// task is a record that has been begun and is not settled: in a worker's hands, or asleep until its next attempt.
type task struct {
	record  *kgo.Record
	place   int64           // in the tracker
	lane    uint64          // its key's, if it has one
	keyed   bool            // it has a lane
	skip    SkipReason      // why it is not handled; "" if it is
	ctx     context.Context // the partition's, and what hooks add to it; nil before the first attempt
	attempt int             // how many were made
	verdict verdict         // of the latest attempt
	exited  bool            // that attempt took its goroutine with it
	own     *ownRecord      // what the handler got; nil before the first attempt
	trial   trial           // of the latest attempt
	slept   bool            // before an attempt
	settled time.Time       // when it was; the next task begins then

	// The scheduler's lock guards these.
	index int         // in scheduler.inHand
	alarm *time.Timer // while it is asleep
	stage stage
}

// empty lets go of a task's record, which would keep its whole batch in memory, and of what the handler got, which middleware may keep.
func (t *task) empty() { *t = task{} }

func newScheduler(concurrency int, admit func(*kgo.Record) (int64, SkipReason), begun func() int, hire func()) *scheduler {
	s := &scheduler{concurrency: concurrency, admit: admit, begun: begun, hire: hire, idleSince: time.Now()}
	s.lanes.waiting = map[uint64][]waiting{}
	s.ready.L = &s.mu
	return s
}

// open lets the first worker begin.
func (s *scheduler) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = 1
}

// add takes records, once accept has noted them. It returns false, and takes none, if the scheduler has stopped.
func (s *scheduler) add(records []*kgo.Record, now time.Time, accept func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	accept()
	if len(s.queue) == 0 && s.blocked == "" {
		s.idleSince = now // it was idle for a reason until now
	}
	s.queue = append(s.queue, records...)
	s.callWorker()
	return true
}

// next returns the task to work on, once settled (nil for none) no longer keeps its key's next record back. It returns nil
// when the worker is to end, and whether it is the last.
func (s *scheduler) next(settled *task) (t *task, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now time.Time
	if settled == nil {
		now = time.Now()
	} else {
		now = settled.settled // one record's end is the next one's beginning: the clock is read once for both
		s.release(settled, now)
		if !settled.slept { // no alarm can come late
			s.spare = settled
		}
	}
	for {
		if t := s.pick(now); t != nil {
			s.callWorker() // for what else there is
			return t, false
		}
		if s.stopped || s.idle {
			s.workers--
			return nil, s.stopped && s.workers == 0
		}
		s.awaitWork()
		now = time.Now()
	}
}

// nextGroup waits for size records, or for patience after the first, or until full says that nothing more would come. It
// returns nil when the worker is to end.
func (s *scheduler) nextGroup(size int, patience time.Duration, full func() bool) (group []*task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var alarm *time.Timer
	due := patience == 0
	for !s.stopped {
		n := len(s.queue)
		if n >= size || n > 0 && (due || full()) {
			return s.beginGroup(min(n, size))
		}
		if n > 0 && alarm == nil {
			alarm = time.AfterFunc(patience, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				due = true
				s.ready.Signal()
			})
			defer alarm.Stop()
		}
		s.awaitWork()
	}
	return nil
}

func (s *scheduler) beginGroup(n int) []*task {
	group, now := make([]*task, n), time.Now()
	for i, r := range s.queue[:n] {
		place, skip := s.admit(r)
		group[i] = s.begin(task{record: r, place: place, skip: skip}, now)
		group[i].stage.become(ActivityIdle, 1, now)
	}
	clear(s.queue[:n])
	s.queue = s.queue[n:]
	return group
}

// look has an idle worker look again whether there is work.
func (s *scheduler) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready.Signal()
}

// awaitWork has a worker wait until there may be work for it, or the scheduler stops. The caller holds s.mu.
func (s *scheduler) awaitWork() {
	s.idle = true
	if s.spare != nil {
		s.spare.empty()
	}
	s.ready.Wait()
	s.idle = false
}

// callWorker sees to it that somebody looks for work, if there may be any. One worker at most stays idle. The caller holds
// s.mu.
func (s *scheduler) callWorker() {
	switch {
	case len(s.due) == 0 && (len(s.queue) == 0 || !s.mayBegin()):
	case s.idle:
		s.ready.Signal()
	case s.workers > 0 && s.workers < s.concurrency: // none before the first, who may have to wait for a predecessor
		s.workers++
		s.hire()
	}
}

func (s *scheduler) begin(begun task, now time.Time) *task {
	t := s.spare
	s.spare = nil
	if t == nil {
		t = new(task)
	}
	begun.own = t.own
	*t = begun
	t.index = len(s.inHand)
	s.inHand = append(s.inHand, t)
	t.stage.become(ActivityHandling, t.attempt+1, now)
	return t
}

// putDown takes a task of a group out of those in hand.
func (s *scheduler) putDown(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(t, time.Now())
}

// forget takes a task out of those in hand.
func (s *scheduler) forget(t *task, now time.Time) {
	last := len(s.inHand) - 1
	s.inHand[t.index] = s.inHand[last]
	s.inHand[t.index].index = t.index
	s.inHand[last] = nil
	s.inHand = s.inHand[:last]
	if last == 0 {
		s.idleSince = now
	}
}

// sleep takes the task out of its worker's hands until it is due again. Stopping wakes it at once.
func (s *scheduler) sleep(t *task, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.slept {
		s.copyOut(t)
	}
	t.slept = true
	if s.stopped || delay <= 0 {
		s.due = append(s.due, t)
		return
	}
	t.stage.become(ActivityBackoff, t.attempt, time.Now())
	t.alarm = time.AfterFunc(delay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wake(t)
	})
}

// wake is called with s.mu held.
func (s *scheduler) wake(t *task) {
	if t.alarm == nil {
		return // it was woken before
	}
	t.alarm.Stop()
	t.alarm = nil
	s.due = append(s.due, t)
	s.callWorker()
}

// stop drops what is not begun, and returns it. Tasks in hand go on, those that are asleep are let go. then is called before
// anybody hears of it. It returns false if it has stopped before.
func (s *scheduler) stop(then func(dropped []*kgo.Record)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.stopped = true
	then(s.drop())
	for _, t := range s.inHand {
		s.wake(t)
	}
	s.ready.Signal()
	return true
}

// drop gives up what is not begun. The caller holds s.mu.
func (s *scheduler) drop() (dropped []*kgo.Record) {
	dropped = append(s.queue, s.lanes.drop()...)
	begun := s.due[:0]
	for _, t := range s.due {
		if t.attempt > 0 {
			begun = append(begun, t)
			continue
		}
		dropped = append(dropped, t.record)
		s.forget(t, time.Now())
	}
	clear(s.due[len(begun):])
	s.queue, s.due = nil, begun
	return dropped
}

// block notes what the workers have to wait for, or that they begin.
func (s *scheduler) block(blocked Activity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked, s.idleSince = blocked, time.Now()
}

func (s *scheduler) isBlocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blocked != ""
}

// become notes what is done with a task from this moment on.
func (s *scheduler) become(t *task, activity Activity, attempt int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.stage.become(activity, attempt, time.Now())
}

// now is become within the same attempt.
func (s *scheduler) now(t *task, activity Activity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.stage.become(activity, t.stage.attempt, time.Now())
}

// refused notes why a task's dead letter is not stored.
func (s *scheduler) refused(t *task, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.stage.refusal == nil {
		t.stage.refusals = time.Now()
	}
	t.stage.refusal = err
}
