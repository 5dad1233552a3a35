package kafka

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/engine"
)

// partition is one assigned partition: a queue, and the workers that work it off, ConsumerConfig.Concurrency of them at most.
//
// The poll loop puts records in. Workers take them out, as lanes.go decides, and end when stop is closed, never in the middle
// of an attempt or a letter. A record that could not be settled closes stop. Whoever else does waits for done, then fences.
type partition struct {
	c        *consumer
	client   *kgo.Client
	route    *route
	topic    string
	id       int32
	member   string          // to whom it was assigned
	previous <-chan struct{} // done of this partition's last workers here, if one ignored its context; else nil

	ctx    context.Context // the handlers'
	cancel context.CancelCauseFunc
	stop   chan struct{} // closed: start nothing new
	done   chan struct{} // closed by the last worker at its end

	offsets *engine.Offsets
	settled atomic.Int64 // records that an attempt settled

	tasks *scheduler

	mu      sync.Mutex
	parking *parkedKeys // nil without ParkKeys; set before the first worker
	flow    flow
	left    bool // a record in hand was not settled
	status  status
	stuck   stuck
}

func newPartition(c *consumer, client *kgo.Client, topic string, id int32, member string, previous <-chan struct{}) *partition {
	p := &partition{
		c: c, client: client, route: c.routes[topic], topic: topic, id: id, member: member, previous: previous,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancelCause(c.handlerCtx)
	p.offsets = engine.NewOffsets(func(at kgo.EpochOffset) {
		client.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{topic: {id: at}})
	})
	p.tasks = newScheduler(c.cfg.Concurrency, p.admit, p.offsets.Begun, func() { go p.work(nil) })
	p.flow = flow{client: client, topic: topic, id: id, budget: c.queued}
	p.status = newStatus(time.Now())
	return p
}

// enqueue takes polled records and returns what they cost, and how far they go back, if they do. It never waits: the poll
// loop holds up rebalances while it runs. end is the partition's, as the fetch said.
func (p *partition) enqueue(records []*kgo.Record, end int64) (cost int64, back rewind) {
	for _, r := range records {
		cost += p.c.queued.cost(r)
	}
	first, last := records[0].Offset, records[len(records)-1].Offset
	back, now := rewind{p.place(), -1, first}, time.Now() // should it have stopped: fetched again by the next owner
	p.tasks.add(records, now, func() {
		back.from = p.offsets.Fetched(first, last)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.status.end, p.status.endAt = end, now
		p.flow.take(cost)
		p.pauseUntilDue(records[0])
	})
	return cost, back
}

// admit returns the record's place, and why it is not handled.
func (p *partition) admit(r *kgo.Record) (place int64, skip SkipReason) {
	place, finished := p.offsets.Begin(r.Offset, r.LeaderEpoch)
	if finished {
		return place, skippedFinished
	}
	return place, p.skips(r)
}

// run starts the first worker. consumer.assigned calls it.
func (p *partition) run() {
	if p.previous != nil { // two handlers must not have one key in hand
		p.tasks.block(ActivityBlocked)
		select {
		case <-p.previous:
		case <-p.stop:
		}
		p.tasks.block("")
	}
	if p.route.parksKeys {
		p.recall()
	}
	p.tasks.open()
	if p.worksInBatches() {
		p.workBatches(nil)
		return
	}
	p.work(nil)
}

// waitsForPrevious reports whether the partition's last workers here have not ended, so that this one's have not begun.
func (p *partition) waitsForPrevious() bool {
	select {
	case <-p.previous:
		return false
	default:
		return p.previous != nil
	}
}

// work is a worker. It begins with t, if that is not nil.
func (p *partition) work(t *task) {
	ended := false
	defer func() {
		if !ended {
			go p.work(t) // a handler called runtime.Goexit, which took the goroutine with it
		}
	}()
	last := false
	if t == nil {
		t, last = p.tasks.next(nil)
	}
	for t != nil {
		var settled *task
		if p.step(t) {
			settled = t
		}
		t = nil // while the worker waits for the next one, this one's record is not kept
		t, last = p.tasks.next(settled)
	}
	ended = true
	if last {
		p.cancel(nil)
		close(p.done)
	}
}

// step works on a task until it is over, or asleep. It returns false for the latter.
func (p *partition) step(t *task) (over bool) {
	if t.skip != "" {
		p.skip(t)
		return true
	}
	if t.ctx == nil {
		wait := p.untilDue(t.record)
		switch {
		case t.slept && p.halting(): // it was woken for that, and nobody has begun it
			p.finish(t, false)
			return true
		case wait > 0 && !t.slept:
			p.tasks.sleep(t, wait)
			return false
		}
		t.ctx = p.c.hooks.begun(p.ctx, t.record)
	}
	end, over := p.settle(t)
	if !over {
		return false
	}
	p.finish(t, end.Outcome != OutcomeLeft)
	p.c.hooks.settled(t.ctx, t.record, end)
	return true
}

// finish gives the record's memory back and, once it is settled, lets its offset be committed. Nothing may come after a
// record that is not.
func (p *partition) finish(t *task, settled bool) {
	cost := p.c.queued.cost(t.record)
	p.c.queued.give(cost)
	if p.account(t, cost, settled) {
		p.c.hooks.resumed(p.topic, p.id) // not under the lock: a hook may ask for the partition's health
	}
	if !settled {
		p.halt()
	}
}

// account tells whether fetching goes on that was paused.
func (p *partition) account(t *task, cost int64, settled bool) (resumed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	resumed = p.flow.settle(cost)
	t.settled = time.Now()
	if !settled {
		p.left = true
		return resumed
	}
	if t.attempt > 0 { // a record that is passed over, or parked, says nothing of what may be broken
		p.settled.Add(1)
	}
	p.status.progress = t.settled
	p.offsets.Done(t.place)
	return resumed
}

func (p *partition) log(level slog.Level, text string, r *kgo.Record, attrs ...slog.Attr) {
	p.c.log.LogAttrs(p.ctx, level, text, append([]slog.Attr{
		slog.String("topic", p.topic), slog.Int("partition", int(p.id)), slog.Int64("offset", r.Offset),
		slog.String("group", p.c.cfg.Group),
	}, attrs...)...)
}

// logSparsely is log for what a bad deploy, or a dead database, can make true of every record.
func (p *partition) logSparsely(level slog.Level, text string, r *kgo.Record, attrs ...slog.Attr) {
	withheld, ok := p.c.floods.Pass(text)
	if !ok {
		return
	}
	if withheld > 0 {
		attrs = append(attrs, slog.Int("lines_withheld", withheld))
	}
	p.log(level, text, r, attrs...)
}

// halt closes stop and drops what is not begun. Records in hand go on, those that are asleep are let go.
func (p *partition) halt() {
	if p.stopQueue() {
		p.c.hooks.resumed(p.topic, p.id)
	}
}

func (p *partition) stopQueue() (resumed bool) {
	p.tasks.stop(func(dropped []*kgo.Record) {
		var cost int64
		for _, r := range dropped {
			cost += p.c.queued.cost(r)
		}
		p.mu.Lock()
		resumed = p.flow.halt(cost)
		p.mu.Unlock()
		close(p.stop)
	})
	return resumed
}

func (p *partition) place() topicPartition { return topicPartition{p.topic, p.id} }

// leftRecord tells whether a record in hand was not settled.
func (p *partition) leftRecord() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}
