package kafka

import (
	"errors"
	"slices"
	"time"
)

// batch is what a worker has in hand.
type batch struct {
	group []*task // to be tried together or, once they were, to be judged one after another
	tried bool    // they were
	begun bool    // there was an attempt

	again    []*task       // of those that are judged: to be tried again
	advanced bool          // one of them was settled, or its attempt counts
	oneByOne bool          // not together
	pause    time.Duration // before that
	rest     [][]*task     // the groups after that
}

// workBatches is a worker of batches, the partition's only one. It begins with b, if that is not nil.
func (p *partition) workBatches(b *batch) {
	ended := false
	defer func() {
		if !ended {
			go p.workBatches(b) // a handler called runtime.Goexit, which took the goroutine with it
		}
	}()
	if b == nil {
		b = p.nextBatch()
	}
	for b != nil {
		p.settleBatch(b)
		b = nil // while the worker waits for the next one, this one's records are not kept
		b = p.nextBatch()
	}
	ended = true
	p.cancel(nil)
	close(p.done)
}

// nextBatch returns nil when the worker is to end.
func (p *partition) nextBatch() *batch {
	full := func() bool { return p.c.queued.room() <= 0 } // whichever partition's records fill the queues
	group := p.tasks.nextGroup(p.c.cfg.MaxBatchSize, p.c.cfg.MaxBatchWait, full)
	if group == nil {
		return nil
	}
	return &batch{group: group}
}

// settleBatch works on a batch until all of it is over. Its state is in b: should the goroutine end, another one goes on with it.
func (p *partition) settleBatch(b *batch) {
	b.group = p.skipSome(b.group)
	for len(b.group) > 0 {
		if !b.tried {
			if b.begun && p.halting() || !p.awaitResume(b.group...) || !p.mayTry(b.group...) {
				p.leave(b)
				return
			}
			b.begun, b.tried = true, true
			p.tryTogether(b)
			if slices.ContainsFunc(b.group, func(t *task) bool { return t.verdict.err != nil }) {
				p.tasks.keepApart(b.group...) // one of them may wait, and the others for it
			}
		}
		for len(b.group) > 0 {
			if !p.judgeFirst(b) {
				p.leave(b)
				return
			}
		}
		b.tried = false
		if !p.regroup(b) {
			p.leave(b)
			return
		}
	}
}

// skipSome returns the tasks that are to be handled. The others are done.
func (p *partition) skipSome(group []*task) []*task {
	return slices.DeleteFunc(group, func(t *task) bool {
		if t.skip == "" {
			return false
		}
		p.skip(t)
		p.tasks.putDown(t)
		t.empty()
		return true
	})
}

// judgeFirst settles the group's first task, or puts it to those that are to be tried again. It returns false if it has to be left.
func (p *partition) judgeFirst(b *batch) bool {
	t := b.group[0]
	t.exited = false // there is another goroutine by now
	p.judgeProbe(t)
	notHandled := errors.Is(t.verdict.err, ErrNotHandled) && p.ctx.Err() == nil
	b.advanced = b.advanced || !notHandled
	switch {
	case notHandled:
		t.attempt--
	case p.failedWithOthers(t):
		b.oneByOne = true
		p.c.hooks.retryScheduled(t.ctx, t.record, Retry{t.attempt, 0, t.verdict.err})
	default:
		if t.verdict.err != nil {
			p.tasks.become(t, ActivityIdle, t.attempt) // its letter, should it get one, is of this attempt
		}
		end, over := p.conclude(t)
		if over && end.Outcome == OutcomeLeft {
			return false
		}
		if over {
			b.group = b.group[1:]
			p.end(t, end)
			return true
		}
		delay := p.delay(t)
		b.pause = max(b.pause, delay)
		p.c.hooks.retryScheduled(t.ctx, t.record, Retry{t.attempt, delay, t.verdict.err})
	}
	b.group = b.group[1:]
	b.again = append(b.again, t)
	return true
}

// regroup makes the next group: what is to be tried again, in its order, comes before all else. It returns false if the partition
// stops meanwhile.
func (p *partition) regroup(b *batch) bool {
	again, pause := b.again, b.pause
	if !b.advanced {
		pause = backoff(1, p.c.cfg.RetryBackoff, p.c.cfg.RetryBackoffMax) // the handler does nothing at all
	}
	switch {
	case len(again) == 0:
	case b.oneByOne:
		b.rest = append(slices.Collect(slices.Chunk(again, 1)), b.rest...)
	default:
		b.rest = append([][]*task{again}, b.rest...)
	}
	b.again, b.pause, b.oneByOne, b.advanced = nil, 0, false, false
	if pause > 0 {
		p.tasks.become(again[0], ActivityBackoff, again[0].attempt)
		if !wait(pause, p.stop) {
			return false
		}
	}
	if len(b.rest) > 0 {
		b.group, b.rest = b.rest[0], b.rest[1:]
	}
	return true
}

// failedWithOthers tells whether a task is given up for an error that may be another's.
func (p *partition) failedWithOthers(t *task) bool {
	final := t.verdict.class == ClassPermanent || t.verdict.class == ClassTransient && t.attempt > p.route.maxRetries
	return final && t.verdict.others && p.ctx.Err() == nil
}

// leave lets all go that is not settled. What the handler has done counts, though something before it is left: the commit tells
// the next owner.
func (p *partition) leave(b *batch) {
	for b.tried && len(b.group) > 0 {
		t := b.group[0]
		b.group = b.group[1:]
		switch {
		case t.verdict.err == nil:
			p.end(t, t.ends(OutcomeHandled))
		case t.verdict.class == ClassBusiness && p.ctx.Err() == nil:
			p.end(t, t.ends(OutcomeRejected))
		default:
			b.again = append(b.again, t)
		}
	}
	for _, group := range slices.Concat([][]*task{b.again, b.group}, b.rest) {
		for _, t := range group {
			p.end(t, t.ends(OutcomeLeft))
		}
	}
}

// end is the end of a task.
func (p *partition) end(t *task, s Settlement) {
	p.finish(t, s.Outcome != OutcomeLeft)
	p.tasks.putDown(t)
	if t.ctx != nil { // or it was not even begun
		p.c.hooks.settled(t.ctx, t.record, s)
	}
	t.empty() // its batch may wait for long
}
