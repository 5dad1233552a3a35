package kafka

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file decides which record a worker takes next. With a Concurrency of 1 that is the queue's first, once the one before
// it is settled. With more, each key has a lane: its records are begun one after another, whatever the other keys do.

// maxAhead is how many records of a partition may have been begun, or wait for their key, since the first that is not done.
// It bounds the tracker (2.4 MB for a partition) and what a crash can redeliver while one key fails for long.
const maxAhead = 100_000

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

	// partition.mu guards these.
	index int         // in partition.inHand
	alarm *time.Timer // while it is asleep
	stage stage
}

// waiting is a record behind another one of its key.
type waiting struct {
	record *kgo.Record
	place  int64
}

// laneSeed makes lanes of keys. Two keys that share a lane by chance are handled one after another, which harms nobody.
var laneSeed = maphash.MakeSeed()

// next returns the task to work on, once settled (nil for none) no longer keeps its key's next record back. It returns nil
// when the worker is to end.
func (p *partition) next(settled *task) (t *task, last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.status.progress // one record's end is the next one's beginning: the clock is read once for both
	if settled == nil {
		now = time.Now()
	} else {
		p.release(settled, now)
		if !settled.slept { // no alarm can come late
			p.spare = settled
		}
	}
	for {
		if t := p.pick(now); t != nil {
			p.callWorker() // for what else there is
			return t, false
		}
		if p.stopped || p.idle {
			p.workers--
			return nil, p.stopped && p.workers == 0
		}
		p.awaitWork()
		now = time.Now()
	}
}

// awaitWork has a worker wait until there may be work for it, or the partition stops. The caller holds p.mu.
func (p *partition) awaitWork() {
	p.idle = true
	if p.spare != nil {
		p.spare.empty()
	}
	p.ready.Wait()
	p.idle = false
}

// empty lets go of a task's record, which would keep its whole batch in memory, and of what the handler got, which middleware may keep.
func (t *task) empty() { *t = task{} }

// callWorker sees to it that somebody looks for work, if there may be any. One worker at most stays idle. The caller holds
// p.mu.
func (p *partition) callWorker() {
	switch {
	case len(p.due) == 0 && (len(p.queue) == 0 || !p.mayBegin()):
	case p.idle:
		p.ready.Signal()
	case p.workers > 0 && p.workers < p.c.cfg.Concurrency: // none before the first, who may have to wait for a predecessor
		p.workers++
		go p.work(nil)
	}
}

// pick returns a task whose turn has come, or else begins the queue's first record whose key has none in hand.
func (p *partition) pick(now time.Time) *task {
	if len(p.due) > 0 {
		t := p.due[0]
		p.due[0] = nil
		p.due = p.due[1:]
		t.stage.become(ActivityHandling, t.attempt+1, now)
		return t
	}
	for len(p.queue) > 0 && p.mayBegin() {
		r := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		place, skip := p.admit(r)
		if skip != "" || p.c.cfg.Concurrency == 1 || r.Key == nil {
			return p.begin(task{record: r, place: place, skip: skip}, now)
		}
		lane := maphash.Bytes(laneSeed, r.Key)
		behind, busy := p.lanes[lane]
		if busy {
			if p.apart[lane] {
				r = ownCopy(r)
			}
			p.lanes[lane] = append(behind, waiting{r, place})
			p.behind++
			continue
		}
		p.lanes[lane] = nil // busy from now on
		return p.begin(task{record: r, place: place, lane: lane, keyed: true}, now)
	}
	return nil
}

// admit returns the record's place, and why it is not handled.
func (p *partition) admit(r *kgo.Record) (place int64, skip SkipReason) {
	place, finished := p.offsets.Begin(r.Offset, r.LeaderEpoch)
	if finished {
		return place, skippedFinished
	}
	return place, p.skips(r)
}

// mayBegin tells whether the queue's first record may be taken.
func (p *partition) mayBegin() bool {
	if p.c.cfg.Concurrency == 1 {
		return len(p.inHand) == 0
	}
	return p.offsets.Begun() < maxAhead
}

func (p *partition) begin(begun task, now time.Time) *task {
	t := p.spare
	p.spare = nil
	if t == nil {
		t = new(task)
	}
	begun.own = t.own
	*t = begun
	t.index = len(p.inHand)
	p.inHand = append(p.inHand, t)
	t.stage.become(ActivityHandling, t.attempt+1, now)
	return t
}

// forget takes a task out of those in hand.
func (p *partition) forget(t *task, now time.Time) {
	last := len(p.inHand) - 1
	p.inHand[t.index] = p.inHand[last]
	p.inHand[t.index].index = t.index
	p.inHand[last] = nil
	p.inHand = p.inHand[:last]
	if last == 0 {
		p.status.idleSince = now
	}
}

// release lets the next record of a settled task's key follow.
func (p *partition) release(t *task, now time.Time) {
	p.forget(t, now)
	if !t.keyed {
		return
	}
	behind, busy := p.lanes[t.lane]
	switch {
	case !busy: // the partition has stopped
	case len(behind) == 0:
		delete(p.lanes, t.lane)
		delete(p.apart, t.lane)
	default:
		p.lanes[t.lane] = behind[1:]
		p.behind--
		next := p.begin(task{record: behind[0].record, place: behind[0].place, lane: t.lane, keyed: true}, now)
		next.stage.become(ActivityBackoff, 0, now) // all workers may be held back
		p.due = append(p.due, next)
	}
}

// sleep takes the task out of its worker's hands until it is due again. Who stops the partition wakes it at once.
func (p *partition) sleep(t *task, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !t.slept {
		p.copyOut(t)
	}
	t.slept = true
	if p.stopped || delay <= 0 {
		p.due = append(p.due, t)
		return
	}
	t.stage.become(ActivityBackoff, t.attempt, time.Now())
	t.alarm = time.AfterFunc(delay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wake(t)
	})
}

// wake is called with p.mu held.
func (p *partition) wake(t *task) {
	if t.alarm == nil {
		return // it was woken before
	}
	t.alarm.Stop()
	t.alarm = nil
	p.due = append(p.due, t)
	p.callWorker()
}

// drop gives up what is not begun. The caller holds p.mu.
func (p *partition) drop() {
	var cost int64
	for _, r := range p.queue {
		cost += p.c.queued.cost(r)
	}
	for _, behind := range p.lanes {
		for _, w := range behind {
			cost += p.c.queued.cost(w.record)
		}
	}
	begun := p.due[:0]
	for _, t := range p.due {
		if t.attempt > 0 {
			begun = append(begun, t)
			continue
		}
		cost += p.c.queued.cost(t.record)
		p.forget(t, time.Now())
	}
	clear(p.due[len(begun):])
	p.queue, p.lanes, p.apart, p.behind, p.due = nil, nil, nil, 0, begun
	p.flow.held -= cost
	p.c.queued.give(cost)
}
