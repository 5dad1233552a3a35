package kafka

import (
	"runtime/debug"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/engine"
)

// settle handles the record until it is done: handled, rejected by the business, or in the dead letter topic. OutcomeLeft
// means that it is not, and that its offset must not be passed. over is false while another attempt is to come: then the task
// is asleep, and not this worker's any more.
func (p *partition) settle(t *task) (s Settlement, over bool) {
	switch {
	case t.exited:
		t.exited = false // judged already; this goroutine goes on with it
	case t.attempt > 0 && p.halting():
		return t.ends(OutcomeLeft), true // it was woken for that
	case !p.awaitResume(t):
		return t.ends(OutcomeLeft), true
	case p.keepBack(t): // which is its verdict
	case !p.mayTry(t):
		return t.ends(OutcomeLeft), true
	default:
		t.attempt++
		p.try(t, p.copyOf(t), p.c.handleAlone)
	}
	p.judgeProbe(t)
	if s, over = p.conclude(t); !over {
		delay := p.delay(t)
		p.c.hooks.retryScheduled(t.ctx, t.record, Retry{t.attempt, delay, t.verdict.err})
		p.tasks.sleep(t, delay)
	}
	if over && !p.unpark(t, s.Outcome) {
		return t.ends(OutcomeLeft), true
	}
	return s, over
}

func (t *task) ends(outcome Outcome) Settlement {
	return Settlement{outcome, t.verdict.class, t.attempt, t.verdict.err}
}

// conclude does what follows from the latest attempt. over is false if that is another one.
func (p *partition) conclude(t *task) (s Settlement, over bool) {
	if t.verdict.err != nil && p.ctx.Err() != nil {
		return t.ends(OutcomeLeft), true // we took the context away: whatever the handler made of that is no verdict
	}
	action := p.policy().Decide(t.verdict.failure(), t.attempt)
	if (action == engine.DeadLetter || action == engine.Stop) && p.withholds(t) {
		action = engine.Retry
	}
	switch action {
	case engine.Done:
		return t.ends(OutcomeHandled), true
	case engine.Reject:
		return t.ends(OutcomeRejected), true
	case engine.Retry:
		return Settlement{}, false
	case engine.RetryLater:
		return t.ends(p.giveUp(t, p.route.retries)), true
	case engine.DeadLetter:
		return t.ends(p.giveUp(t, p.route.deadLetters)), true
	case engine.Stop:
		p.c.fail(&RecordError{Topic: p.topic, Partition: p.id, Offset: t.record.Offset, Attempts: t.attempt, Err: t.verdict.err})
	}
	return t.ends(OutcomeLeft), true
}

// policy is what is done about failures of the partition's records.
func (p *partition) policy() engine.Policy {
	return engine.Policy{MaxRetries: p.route.maxRetries, RetryTopic: p.route.retries != nil, DeadLetters: p.route.deadLetters != nil}
}

// failure is how the attempt ended.
func (v verdict) failure() engine.Failure {
	if v.err == nil {
		return engine.NoFailure
	}
	return engine.FailureOf(string(v.class))
}

// try runs middleware and handler once with the task's copy, and contains their panics.
func (p *partition) try(t *task, r *Record, handle HandlerFunc) {
	returned := false
	defer func() {
		if returned {
			return
		}
		err := &PanicError{Value: recover(), Stack: debug.Stack()}
		t.verdict = verdict{err: err, class: ClassPermanent, text: textOf(err), stack: err.Stack}
		t.exited = err.Value == nil // the goroutine is ending: work starts another, which comes back here
	}()
	t.verdict = judge(handle(t.ctx, r))
	returned = true
}

// ownRecord is a Record and what it points to.
type ownRecord struct {
	Record
	fetched kgo.Record
	value   any
}

// copyOf is what handlers and middleware get: whatever they do to it, the letter, the mark and the budget stay what they
// would have been. The bytes of key, value and headers are shared. Headers above the limits are not copied, but cut as for a
// letter. Middleware may keep it; a typed handler sees no more of it than its message takes, so that without middleware a task
// uses one again and again.
func (p *partition) copyOf(t *task) *Record {
	if t.own == nil || p.c.showsRecords() {
		t.own = new(ownRecord)
	}
	p.copyTo(t.own, t)
	if !p.c.showsRecords() { // middleware may call the handler twice at once
		t.own.room = &t.own.value
	}
	return &t.own.Record
}

// copyTo is copyOf for who has room for the copy.
func (p *partition) copyTo(own *ownRecord, t *task) {
	fetched := t.record
	limits := headerLimits{p.c.cfg.MaxHeaders, p.c.cfg.MaxHeaderBytes}
	refused := limits.check(fetched.Headers)
	switch {
	case refused != nil:
		fetched, _ = limits.cut(fetched)
	case p.c.showsRecords() || len(fetched.Headers) > 0:
		own.fetched = *fetched
		own.fetched.Headers = slices.Clone(fetched.Headers)
		fetched = &own.fetched
	}
	own.Record = Record{
		Record: fetched, Group: p.c.cfg.Group, Attempt: t.attempt,
		LastAttempt: p.policy().Last(t.attempt), refused: refused,
	}
}

// showsRecords reports whether anything but the handler sees records, and may keep them.
func (c *consumer) showsRecords() bool { return len(c.middleware)+len(c.batchMiddleware) > 0 }

func (p *partition) delay(t *task) time.Duration {
	if t.trial.withheld {
		return 0 // the flood guard says when
	}
	if t.verdict.after > 0 {
		return t.verdict.after
	}
	return backoff(t.attempt, p.c.cfg.RetryBackoff, p.c.cfg.RetryBackoffMax)
}

func (p *partition) halting() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}
