package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file bounds what is fetched and not settled, and alone pauses and resumes fetching.

// reliefAfter is how long the queues may be full before partitions that stand still are looked for. Handlers that
// merely work hard make room sooner, and pausing throws away what franz-go has fetched.
const reliefAfter = 100 * time.Millisecond

// pauseReason is why a partition is not fetched.
type pauseReason uint8

const (
	pausedFull    pauseReason = 1 << iota // it holds more than its share of the queues, and stands still
	pausedUnread                          // what comes next can't be read; it is tried again
	pausedStopped                         // nothing more of it is handled
	pausedNotDue                          // its next record waits in its retry topic until it is due
)

// flow is what a partition holds of the queues' budget, and whether it is fetched. The partition's lock guards it, so
// that a pause can't come after the resume that should have ended it.
type flow struct {
	client *kgo.Client
	topic  string
	id     int32
	budget *budget

	paused pauseReason
	halted bool        // nothing more of it is begun
	ended  bool        // the partition is not assigned any more: a pause would outlive that
	held   int64       // the cost of all that is fetched and not settled
	full   int64       // held, when fetching was paused for it
	lent   int64       // by how much the budget's limit is raised while it is: half of what is held
	due    *time.Timer // ends pausedNotDue; nil before the first
}

// take notes what was fetched.
func (f *flow) take(cost int64) {
	f.held += cost
	f.budget.take(cost)
}

// settle notes that a record is settled or let go, for which the caller gives the budget its cost. It tells whether
// fetching goes on that was paused.
func (f *flow) settle(cost int64) (resumed bool) {
	f.held -= cost
	switch {
	case f.paused&pausedFull == 0:
	case f.held <= f.full/2:
		return f.resumeFull()
	default:
		f.lend()
	}
	return false
}

// halt lets go of what is not begun. It tells whether fetching goes on that was paused.
func (f *flow) halt(dropped int64) (resumed bool) {
	f.halted = true
	f.held -= dropped
	f.budget.give(dropped)
	return f.resumeFull() // a pause outlives the assignment
}

// pauseFull pauses fetching if at least share is held, and lends the other partitions half of that.
func (f *flow) pauseFull(share int64) bool {
	if f.halted || f.paused&pausedFull != 0 || f.held < max(1, share) {
		return false
	}
	f.full = f.held
	f.lend()
	f.pause(pausedFull)
	return true
}

// resumeFull undoes pauseFull. It tells whether there was anything to undo.
func (f *flow) resumeFull() bool {
	if f.paused&pausedFull == 0 {
		return false
	}
	f.budget.raise(-f.lent)
	f.full, f.lent = 0, 0
	f.resume(pausedFull)
	return true
}

// lend raises the budget's limit by half of what the paused partition holds now.
func (f *flow) lend() {
	lent := f.held / 2
	f.budget.raise(lent - f.lent)
	f.lent = lent
}

// pause has the partition not fetched until each reason for that is gone.
func (f *flow) pause(why pauseReason) {
	if f.ended {
		return
	}
	if f.paused == 0 {
		f.client.PauseFetchPartitions(map[string][]int32{f.topic: {f.id}})
	}
	f.paused |= why
}

func (f *flow) resume(why pauseReason) {
	if f.paused&why == 0 {
		return
	}
	if f.paused &^= why; f.paused == 0 {
		f.client.ResumeFetchPartitions(map[string][]int32{f.topic: {f.id}})
	}
}

// pauseUntilDue pauses fetching while what was fetched is not due. It goes on a little before that: what is fetched then
// comes in time, and what is due soon is not worth a pause, which throws away what franz-go has fetched.
func (f *flow) pauseUntilDue(wait time.Duration, over func()) {
	if wait < 2*fetchMaxWait || f.ended || f.paused&pausedNotDue != 0 {
		return
	}
	f.pause(pausedNotDue)
	f.due = time.AfterFunc(wait-fetchMaxWait, over)
}

// end is called when the partition is taken away.
func (f *flow) end() {
	if f.due != nil {
		f.due.Stop()
	}
	f.resume(f.paused)
	f.ended = true
}

// awaitRoom waits until the queues have room; false means that ctx ended. full is since when they have been full, or as
// good as full: slow handlers make room for one record after another, which the next poll fills from the same
// partition.
func (c *consumer) awaitRoom(ctx context.Context, full *time.Time) bool {
	for c.beat(); ctx.Err() == nil; c.beat() {
		switch room := c.queued.room(); {
		case room > c.queued.half()/2:
			*full = time.Time{}
		case room <= 0 && full.IsZero():
			*full = time.Now()
		}
		if !full.IsZero() && time.Since(*full) >= reliefAfter {
			*full = time.Now()
			if c.relieve() {
				return true
			}
		}
		if c.queued.room() > 0 {
			return true
		}
		c.handOverPartialBatches()
		patience, cancel := context.WithTimeout(ctx, reliefAfter)
		_ = c.queued.acquire(patience, 0)
		cancel()
	}
	return false
}

// handOverPartialBatches ends the wait of batches for more: nothing more comes while the queues are full, whichever partition's
// records fill them.
func (c *consumer) handOverPartialBatches() {
	if c.newMessages == nil {
		return
	}
	for _, p := range c.assignedNow() {
		p.tasks.look()
	}
}

// relieve keeps partitions that stand still from stopping the others. The queues are full; if some partition has
// nothing to do, fetching pauses for those that hold more than their share, and half of what they hold is added to
// the limit. So whatever stands still takes at most half of what is left, and there is always something left. The sum
// never passes the whole budget, unless one poll brought records far larger than those before it. Then nothing may be
// left, and relieve returns true: all that is held stands still, and one more record may be polled for the others.
func (c *consumer) relieve() (starved bool) {
	paused, starved := c.pauseLargest()
	for _, p := range paused {
		c.hooks.paused(p.topic, p.id)
	}
	return starved
}

func (c *consumer) pauseLargest() (paused []*partition, starved bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	running, held, idle := 0, int64(0), false
	for _, p := range c.partitions {
		holds, isPaused := p.load()
		if isPaused {
			continue
		}
		running++
		held += holds
		idle = idle || holds == 0
	}
	if !idle {
		return nil, false // everyone has work: nothing to relieve
	}
	for _, p := range c.partitions {
		if p.pauseFull(held / int64(running)) { // at least one holds the mean or more
			paused = append(paused, p)
		}
	}
	return paused, held == 0
}

// load returns what is fetched and not settled, and whether fetching is paused.
func (p *partition) load() (held int64, paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flow.held, p.flow.paused&^pausedNotDue != 0 // what is not due may have to make room as well
}

// pauseUntilDue has nothing more fetched while a record that was is not due. The caller holds p.mu.
func (p *partition) pauseUntilDue(r *kgo.Record) {
	p.flow.pauseUntilDue(p.untilDue(r), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.flow.resume(pausedNotDue)
	})
}

// pauseFull pauses fetching if the partition holds at least share.
func (p *partition) pauseFull(share int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flow.pauseFull(share)
}

// endFlow lets the partition be fetched by its next owner, should that be this client.
func (p *partition) endFlow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flow.resumeFull()
	p.flow.end()
}
