package kafka

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// gathering is one attempt at a group of tasks. Each goes through the middleware and the codec by itself, down to door; there it
// waits while the next one does the same, on top of it. The last to arrive calls the handler, and all return, each to its own
// middleware. So middleware and codecs see records one by one, as with a Handler, without a goroutine for each.
type gathering struct {
	p       *partition
	left    []*task // not tried yet
	trying  *task   // the latest that was
	arrived []*task // at the door

	over     bool  // the handler was called
	err      error // what it returned
	unnamed  bool  // that is about all of them
	messages any   // *[]Message[T], of those that arrived
	ctx      context.Context
}

type gatheringKey struct{}

// next tries another task, until it arrives or fails before it does. It returns false if there is none.
func (g *gathering) next() bool {
	if len(g.left) == 0 {
		return false
	}
	t := g.left[0]
	g.left = g.left[1:]
	g.trying = t
	g.p.try(context.WithValue(t.ctx, gatheringKey{}, g), t)
	return true
}

// of returns what the handler said of the i-th that arrived.
func (g *gathering) of(i int) error {
	if named, ok := g.err.(BatchError); ok {
		return named[i]
	}
	return g.err
}

// door is where the messages of a batch wait for each other.
func door[T any](handle BatchHandler[T]) Handler[T] {
	return func(ctx context.Context, msg Message[T]) error {
		g, ok := ctx.Value(gatheringKey{}).(*gathering)
		if !ok || g.over { // middleware calls twice, or has a context of its own making
			alone := &gathering{ctx: ctx, messages: &[]Message[T]{msg}}
			handleAll(alone, handle)
			return alone.of(0)
		}
		if g.messages == nil {
			g.ctx, g.messages = ctx, new([]Message[T])
		}
		messages := g.messages.(*[]Message[T])
		place := len(*messages)
		*messages = append(*messages, msg)
		g.arrived = append(g.arrived, g.trying)
		for !g.over && g.next() {
		}
		if !g.over {
			handleAll(g, handle)
		}
		return g.of(place)
	}
}

// handleAll calls the handler with all that have arrived, and contains its panics.
func handleAll[T any](g *gathering, handle BatchHandler[T]) {
	g.over, g.unnamed = true, true // unless it returns
	messages := *g.messages.(*[]Message[T])
	defer func() {
		if value := recover(); value != nil {
			g.err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	err := handle(g.ctx, messages)
	if named, ok := errors.AsType[BatchError](err); ok {
		for i := range named {
			if i < 0 || i >= len(messages) {
				g.err = NewPermanentError(fmt.Sprintf("the handler names message %d of a batch of %d", i, len(messages)), err)
				return
			}
		}
		err, g.unnamed = named, false
	}
	g.err, g.unnamed = err, g.unnamed && err != nil
}

// batch is what a worker has in hand: groups of tasks, to be tried one after another, each together.
type batch struct {
	groups  [][]*task
	tried   bool    // the first group was, and is to be judged
	suspect []*task // of that group: those whose error may be another's
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
		b = p.nextBatch()
	}
	ended = true
	p.cancel(nil)
	close(p.done)
}

// nextBatch waits for MaxBatchSize records, or MaxBatchWait after the first. It returns nil when the worker is to end.
func (p *partition) nextBatch() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	size, patience := p.c.cfg.MaxBatchSize, p.c.cfg.MaxBatchWait
	var alarm *time.Timer
	due := patience == 0
	for !p.stopped {
		n := len(p.queue)
		if n >= size || n > 0 && due {
			return p.beginBatch(min(n, size))
		}
		if n > 0 && alarm == nil {
			alarm = time.AfterFunc(patience, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				due = true
				p.ready.Signal()
			})
			defer alarm.Stop()
		}
		p.idle = true
		p.ready.Wait()
		p.idle = false
	}
	return nil
}

func (p *partition) beginBatch(n int) *batch {
	group := make([]*task, n)
	for i, r := range p.queue[:n] {
		place := p.tracker.add(r.Offset, r.LeaderEpoch)
		group[i] = p.begin(task{record: r, place: place, earlier: p.doneEarlier(r)})
		group[i].stage.become(ActivityIdle, 1)
	}
	clear(p.queue[:n])
	p.queue = p.queue[n:]
	return &batch{groups: [][]*task{group}}
}

// settleBatch works on a batch until all of it is over.
func (p *partition) settleBatch(b *batch) {
	for len(b.groups) > 0 {
		group := b.groups[0]
		if !b.tried {
			if group = p.passEarlier(group); len(group) > 0 && group[0].attempt > 0 && p.halting() {
				p.leave(b)
				return
			}
			b.groups[0], b.tried = group, true
			p.tryTogether(b)
		}
		b.tried, b.groups = false, b.groups[1:]
		if !p.judgeGroup(b, group) {
			p.leave(b)
			return
		}
	}
}

// passEarlier returns the tasks that no earlier owner of the partition has settled.
func (p *partition) passEarlier(group []*task) []*task {
	return slices.DeleteFunc(group, func(t *task) bool {
		if t.earlier {
			p.finish(t, true)
			p.putDown(t)
		}
		return t.earlier
	})
}

// tryTogether makes an attempt at the first group.
func (p *partition) tryTogether(b *batch) {
	group := b.groups[0]
	b.suspect = nil
	if len(group) == 0 {
		return
	}
	for _, t := range group {
		if t.ctx == nil {
			t.ctx = p.c.hooks.begun(p.ctx, t.record)
		}
		t.verdict = judge(ErrNotHandled)
	}
	p.become(group[0], ActivityHandling) // for all of them: who looks for stalls names one
	g := &gathering{p: p, left: group}
	defer func() {
		b.suspect = slices.DeleteFunc(slices.Clone(group), func(t *task) bool { return !t.exited })
		if g.unnamed {
			b.suspect = g.arrived
		}
		for _, t := range g.left { // something took the goroutine with it
			t.attempt++ // as of the others that were not handled; judgeGroup takes it back
		}
	}()
	for g.next() {
	}
	p.become(group[0], ActivityIdle)
}

// judgeGroup settles what is over and puts the rest before the other groups. It returns false if anything has to be left.
func (p *partition) judgeGroup(b *batch, group []*task) bool {
	var again []*task
	var pause time.Duration
	oneByOne := false
	for i, t := range group {
		t.exited = false // there is another goroutine by now
		delay := time.Duration(0)
		if errors.Is(t.verdict.err, ErrNotHandled) && p.ctx.Err() == nil {
			t.attempt--
			again = append(again, t)
			continue
		}
		if p.failedWithOthers(b, t) {
			oneByOne = true
		} else if end, over := p.conclude(t); !over {
			delay = p.delay(t)
		} else if end.Outcome == OutcomeLeft {
			b.groups = slices.Concat([][]*task{again, group[i:]}, b.groups)
			return false
		} else {
			p.end(t, end)
			continue
		}
		p.c.hooks.retryScheduled(t.ctx, t.record, Retry{t.attempt, delay, t.verdict.err})
		pause = max(pause, delay)
		again = append(again, t)
	}
	switch {
	case len(again) == 0:
		return true
	case oneByOne:
		b.groups = append(slices.Collect(slices.Chunk(again, 1)), b.groups...)
	default:
		b.groups = append([][]*task{again}, b.groups...)
	}
	p.become(again[0], ActivityBackoff)
	return wait(pause, p.stop)
}

// failedWithOthers tells whether a task is given up for an error that may be another's.
func (p *partition) failedWithOthers(b *batch, t *task) bool {
	final := t.verdict.class == ClassPermanent || t.verdict.class == ClassTransient && t.attempt > p.c.cfg.MaxRetries
	return final && len(b.suspect) > 1 && p.ctx.Err() == nil && slices.Contains(b.suspect, t)
}

// leave lets all go that is not settled.
func (p *partition) leave(b *batch) {
	for _, group := range b.groups {
		for _, t := range group {
			p.end(t, t.ends(OutcomeLeft))
		}
	}
	b.groups = nil
}

// end is the end of a task.
func (p *partition) end(t *task, s Settlement) {
	p.finish(t, s.Outcome != OutcomeLeft)
	p.putDown(t)
	p.c.hooks.settled(t.ctx, t.record, s)
}

// putDown takes a task out of those in hand.
func (p *partition) putDown(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(t)
}

// become notes what is done with a task of a batch.
func (p *partition) become(t *task, activity Activity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.stage.become(activity, t.attempt+1)
}
