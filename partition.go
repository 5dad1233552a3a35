package kafka

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// partition is one assigned partition: a queue and the one goroutine that works it off in order, a record at a time.
//
// The poll loop puts records in. The worker takes them out, and ends when stop is closed, when a record could not be
// settled, and never in the middle of a record. Whoever closed stop waits for done, then fences.
type partition struct {
	c        *consumer
	client   *kgo.Client
	topic    string
	id       int32
	previous <-chan struct{} // done of this partition's last worker here, if it ignored its context; else nil

	ctx    context.Context // the handlers'
	cancel context.CancelCauseFunc
	stop   chan struct{} // closed: start nothing new
	done   chan struct{} // closed by the worker at its end

	// The worker's own, which no one else touches.
	inHand    *kgo.Record
	recordCtx context.Context // of the record in hand: ctx, and what hooks add to it
	attempt   int
	exited    *verdict // of an attempt that took its goroutine with it

	mu      sync.Mutex
	ready   sync.Cond // the queue is not empty, or stopped
	queue   []*kgo.Record
	queued  int64 // the cost of the queue and of the record in hand
	stopped bool
	fenced  bool  // commit nothing more: the partition may be another member's
	left    bool  // the last record in hand was not settled
	parked  int64 // the queue's cost when fetching was paused; 0 while it is not
	lent    int64 // by how much the budget's limit is raised for a paused partition: half of what it holds
	status  status
}

func newPartition(c *consumer, client *kgo.Client, topic string, id int32, previous <-chan struct{}) *partition {
	p := &partition{
		c: c, client: client, topic: topic, id: id, previous: previous,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancelCause(c.handlerCtx)
	p.ready.L = &p.mu
	p.status = newStatus(time.Now())
	return p
}

// enqueue takes polled records and returns what they cost, and how far they go back, if they do. It never waits: the poll
// loop holds up rebalances while it runs. end is the partition's, as the fetch said.
func (p *partition) enqueue(records []*kgo.Record, end int64) (cost int64, back rewind) {
	for _, r := range records {
		cost += p.c.queued.cost(r)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return cost, rewind{} // fetched again by the next owner
	}
	back = rewind{p.id, p.status.next, records[0].Offset}
	p.status.fetched(records, end, len(p.queue), time.Now())
	p.queue = append(p.queue, records...)
	p.queued += cost
	p.c.queued.take(cost)
	p.ready.Signal()
	return cost, back
}

// next returns the next record to handle, or nil when the worker is to end.
func (p *partition) next() *kgo.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.stopped {
		p.ready.Wait()
	}
	if p.stopped {
		return nil
	}
	r := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	p.status.taken(r, time.Now())
	return r
}

// work is the worker. consumer.assigned starts it.
func (p *partition) work() {
	ended := false
	defer func() {
		if !ended {
			go p.work() // a handler called runtime.Goexit, which took the goroutine with it
			return
		}
		p.cancel(nil)
		close(p.done)
	}()
	if p.previous != nil { // two handlers must not have one key in hand
		p.now(ActivityBlocked)
		select {
		case <-p.previous:
		case <-p.stop:
		}
		p.now(ActivityIdle)
	}
	for p.step() {
	}
	ended = true
}

// step settles one record; false ends the worker.
func (p *partition) step() bool {
	if p.inHand == nil {
		if p.inHand = p.next(); p.inHand == nil {
			return false
		}
		p.attempt = 0
		p.recordCtx = p.c.hooks.begun(p.ctx, p.inHand)
	}
	end := p.settle(p.inHand)
	settled := end.Outcome != OutcomeLeft
	p.finish(p.inHand, settled)
	p.c.hooks.settled(p.recordCtx, p.inHand, end)
	p.inHand, p.recordCtx = nil, nil
	return settled
}

// finish gives the record's memory back and, once it is settled, lets its offset be committed. The lock keeps a late
// completion from marking a partition that was taken away: the mark would rewind the new owner's commits.
func (p *partition) finish(r *kgo.Record, settled bool) {
	cost := p.c.queued.cost(r)
	p.c.queued.give(cost)
	if p.account(r, cost, settled) {
		p.c.hooks.resumed(p.id) // not under the lock: a hook may ask for the partition's health
	}
}

// account tells whether fetching goes on that was paused.
func (p *partition) account(r *kgo.Record, cost int64, settled bool) (resumed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued -= cost
	p.left = !settled
	p.status.finished(r, settled, time.Now())
	switch {
	case p.parked == 0:
	case p.queued <= p.parked/2:
		resumed = p.resume()
	default:
		p.lend()
	}
	if settled && !p.fenced {
		p.client.MarkCommitRecords(r)
	}
	return resumed
}

// settle handles the record until it is done: handled, rejected by the business, or in the dead letter topic. OutcomeLeft
// means that it is not, and that its offset must not be passed.
func (p *partition) settle(r *kgo.Record) Settlement {
	for {
		v := p.try(r)
		p.exited = nil // this goroutine goes on
		end := func(outcome Outcome) Settlement { return Settlement{outcome, v.class, p.attempt, v.err} }
		switch {
		case v.err == nil:
			return end(OutcomeHandled)
		case p.ctx.Err() != nil:
			return end(OutcomeLeft) // we took the context away: whatever the handler made of that is no verdict
		case v.class == ClassBusiness:
			return end(OutcomeRejected)
		case v.class == ClassTransient && p.attempt <= p.c.cfg.MaxRetries:
			delay := p.delay(v)
			p.c.hooks.retryScheduled(p.recordCtx, r, Retry{p.attempt, delay, v.err})
			p.now(ActivityBackoff)
			if !wait(delay, p.stop) {
				return end(OutcomeLeft)
			}
			p.now(ActivityHandling)
		default:
			if !p.giveUp(r, v) {
				return end(OutcomeLeft)
			}
			return end(OutcomeDeadLettered)
		}
	}
}

// try runs the handler once and contains its panics.
func (p *partition) try(r *kgo.Record) (v verdict) {
	if p.exited != nil {
		v, p.exited = *p.exited, nil
		return v
	}
	p.attempt++
	returned := false
	defer func() {
		if returned {
			return
		}
		err := &PanicError{Value: recover(), Stack: debug.Stack()}
		v = verdict{err: err, class: ClassPermanent, text: textOf(err), stack: err.Stack}
		if err.Value == nil {
			p.exited = &v // the goroutine is ending: work starts another, which comes back here
		}
	}()
	v = judge(p.c.handle(p.recordCtx, p.copyOf(r)))
	returned = true
	return v
}

// copyOf is what handlers and middleware get: whatever they do to it, the letter, the mark and the budget stay what they
// would have been. The bytes of key, value and headers are shared.
func (p *partition) copyOf(r *kgo.Record) *Record {
	own := &struct {
		Record
		fetched kgo.Record
	}{Record{Group: p.c.cfg.Group, Attempt: p.attempt}, *r}
	own.fetched.Headers = slices.Clone(r.Headers)
	own.Record.Record = &own.fetched
	return &own.Record
}

func (p *partition) delay(v verdict) time.Duration {
	if v.after > 0 {
		return v.after
	}
	return backoff(p.attempt, p.c.cfg.RetryBackoff, p.c.cfg.RetryBackoffMax)
}

func (p *partition) log(level slog.Level, text string, r *kgo.Record, attrs ...slog.Attr) {
	p.c.log.LogAttrs(p.ctx, level, text, append([]slog.Attr{
		slog.String("topic", p.topic), slog.Int("partition", int(p.id)), slog.Int64("offset", r.Offset),
		slog.String("group", p.c.cfg.Group),
	}, attrs...)...)
}

// halt closes stop and drops the queue. The record in hand goes on.
func (p *partition) halt() {
	if p.stopQueue() {
		p.c.hooks.resumed(p.id)
	}
}

func (p *partition) stopQueue() (resumed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	p.stopped = true
	var dropped int64
	for _, r := range p.queue {
		dropped += p.c.queued.cost(r)
	}
	p.queue = nil
	p.queued -= dropped
	p.c.queued.give(dropped)
	resumed = p.resume() // a pause outlives the assignment
	close(p.stop)
	p.ready.Signal()
	return resumed
}

// fence makes late completions count for nothing.
func (p *partition) fence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fenced = true
}

// leftRecord tells whether the worker ended without settling the record it had in hand.
func (p *partition) leftRecord() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left
}

// load returns what the queue holds, and whether fetching is paused.
func (p *partition) load() (queued int64, paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queued, p.parked > 0
}

// park pauses fetching if the queue holds at least share, and lends the others half of what it holds.
func (p *partition) park(share int64) (parked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.parked > 0 || p.queued < max(1, share) {
		return false
	}
	p.parked = p.queued
	p.lend()
	p.client.PauseFetchPartitions(map[string][]int32{p.topic: {p.id}})
	return true
}

// resume undoes park. The caller holds p.mu, so that a pause can't come after the resume that should have ended it.
func (p *partition) resume() bool {
	if p.parked == 0 {
		return false
	}
	p.c.queued.raise(-p.lent)
	p.parked, p.lent = 0, 0
	p.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.id}})
	return true
}

// lend raises the budget's limit by half of what the paused partition holds now. The caller holds p.mu.
func (p *partition) lend() {
	lent := p.queued / 2
	p.c.queued.raise(lent - p.lent)
	p.lent = lent
}
