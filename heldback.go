package kafka

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// This file is how a consumer heeds its flood guard: attempts wait for it, letters are kept back.

// trial is what the flood guard made of a task's latest attempt.
type trial struct {
	round    int  // of the probes that it belongs to; 0: it is none
	judged   bool // the guard knows how it ended
	withheld bool // it failed for good, and its letter is kept back
}

// mayTry waits until the flood guard and the rate limit let the tasks be tried, and the consumer is not paused. It returns false if the
// partition stops meanwhile. Queued records stay where they are: those that workers have in hand wait here.
func (p *partition) mayTry(tasks ...*task) bool {
	return p.awaitFloodGuard(tasks) && p.awaitRate(tasks) && p.awaitResume(tasks...)
}

// awaitFloodGuard waits while the flood guard has paused the consumer. Of tasks that are tried together, the first stands for all.
func (p *partition) awaitFloodGuard(tasks []*task) bool {
	for _, t := range tasks {
		t.trial = trial{}
	}
	g, t := p.c.guard, tasks[0]
	if g == nil || !g.closed.Load() {
		return true
	}
	p.tasks.keepApart(tasks...)
	p.tasks.now(t, ActivityHeldBack)
	defer p.tasks.now(t, ActivityHandling)
	for !p.halting() {
		may, round, changed, wait := g.ask(time.Now())
		g.tell(p.c.tellFlood)
		if may {
			t.trial.round = round
			return true
		}
		p.awaitGuard(changed, wait)
	}
	return false
}

// awaitGuard returns when it is time to ask again, or the partition stops. A wait of 0 has no end of its own.
func (p *partition) awaitGuard(changed <-chan struct{}, wait time.Duration) {
	var over <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-p.stop:
	case <-changed:
	case <-over:
	}
}

// judgeProbe tells the flood guard how its probe has ended. A transient failure counts at once, before its retries: what is asked
// is whether the cause is gone.
func (p *partition) judgeProbe(t *task) {
	if t.trial.round == 0 || t.trial.judged {
		return
	}
	t.trial.judged = true
	v := t.verdict
	passed := v.err == nil || v.class == ClassBusiness
	failed := !passed && p.ctx.Err() == nil && !errors.Is(v.err, ErrNotHandled)
	p.c.guard.probed(t.trial.round, passed, failed, time.Now())
	p.c.guard.tell(p.c.tellFlood)
}

// withholds tells whether the flood guard keeps the task's letter back. It never does so for a probe: a record that fails on its own
// account, at the head of a partition's only lane, would otherwise be the only one ever to be tried. Nor does it for a parked record:
// that was not tried, and says nothing of what may be broken.
func (p *partition) withholds(t *task) bool {
	if p.c.guard == nil || t.trial.round > 0 || t.verdict.class == ClassParked {
		return false
	}
	withheld := p.c.guard.letter(p.c.settledInAll(), time.Now())
	p.c.guard.tell(p.c.tellFlood)
	if withheld {
		t.trial.withheld = true
		p.tasks.now(t, ActivityHeldBack) // it may have to wait for a worker, too
	}
	return withheld
}

// settledInAll counts the records that this consumer has tried and settled.
func (c *consumer) settledInAll() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.settled
	for _, p := range c.partitions {
		n += p.settled.Load()
	}
	return n
}

// watchFlood ends floods that end by themselves. It runs until Start is about to return.
func (c *consumer) watchFlood(ctx context.Context) {
	const looks = 10 // in each Window
	if c.guard == nil {
		return
	}
	for range ticks(ctx, c.guard.cfg.Window/looks) {
		c.guard.lookAgain(c.settledInAll(), time.Now())
		c.guard.tell(c.tellFlood)
	}
}

// tellFlood tells log and hooks of a change.
func (c *consumer) tellFlood(change Flood) {
	level, text := slog.LevelInfo, "flood of dead letters is over"
	switch change.State {
	case FloodWarned:
		level, text = slog.LevelWarn, "flood of dead letters: most likely not the records are to blame"
	case FloodPaused:
		level, text = slog.LevelError, "flood of dead letters: the consumer pauses, and tries a few records after that"
	case FloodProbing:
		text = "pause for a flood of dead letters is over: a few records are tried"
	}
	c.log.LogAttrs(context.Background(), level, text, slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group),
		slog.Int("letters", change.Letters), slog.Int("records", change.Records), slog.Duration("pause", change.Pause))
	c.hooks.flood(change)
}
