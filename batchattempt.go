package kafka

import (
	"context"
	"runtime/debug"
	"slices"
	"sync/atomic"
)

// This file makes an attempt at the records of a batch: each is decoded by itself, and those that can be are handled in one call.

// batchCall is the call with those that could be decoded.
type batchCall struct {
	newMessages func(size int) batchMessages
	messages    batchMessages
	handled     atomic.Bool // the handler was called with these
	records     []*Record   // nil if nobody but the handler sees them
}

// callBatch is what the innermost BatchMiddleware calls.
func callBatch(ctx context.Context, records []*Record) error {
	if len(records) == 0 || records[0] == nil || records[0].batch == nil || !slices.Equal(records, records[0].batch.records) {
		return NewPermanentError("a BatchMiddleware has given next other records than it got: it must pass on all, in their order", nil)
	}
	return records[0].batch.do(ctx)
}

// do calls the handler. Called again, it decodes the records once more: the messages are the handler's, who may have changed them.
func (c *batchCall) do(ctx context.Context) error {
	messages := c.messages
	if c.handled.Swap(true) {
		messages = c.newMessages(len(c.records))
		for _, r := range c.records {
			if err := messages.add(r); err != nil {
				return err
			}
		}
	}
	return messages.handle(ctx)
}

// worksInBatches reports whether its records are handled together. Those of retry topics, which a batch consumer may find, are due one
// by one.
func (p *partition) worksInBatches() bool { return p.c.newMessages != nil && !p.route.isRetryTopic() }

// batchesOfOne handles single records with the handler of batches. refuse is for those that get no further.
func (c *consumer) batchesOfOne(refuse HandlerFunc) HandlerFunc {
	return func(ctx context.Context, r *Record) error {
		call := &batchCall{newMessages: c.newMessages, messages: c.newMessages(1)}
		if err := call.messages.add(r); err != nil {
			r.refused = err
			return refuse(ctx, r)
		}
		if !c.showsRecords() {
			return BatchOutcomes(call.do(ctx), 1)(0)
		}
		call.show(r, ctx)
		return BatchOutcomes(c.handleBatch(ctx, []*Record{r}), 1)(0)
	}
}

// show adds a copy of a record to what middleware sees. own is the record's context.
func (c *batchCall) show(r *Record, own context.Context) {
	r.batch = c
	if fetched := r.Context; fetched != nil { // a franz-go hook's
		own = deliveryContext{own, fetched}
	}
	r.Context = own
	c.records = append(c.records, r)
}

// tryTogether makes an attempt at the group.
func (p *partition) tryTogether(b *batch) {
	first := b.group[0]
	p.tasks.become(first, ActivityHandling, first.attempt+1) // for all of them: who looks for stalls names one
	for _, t := range b.group {
		if t.ctx == nil {
			t.ctx = p.c.hooks.begun(p.ctx, t.record)
		}
		t.attempt++            // judgeFirst takes back what is not handled,
		t.verdict = notHandled // as all are if the goroutine ends before that
	}
	call := &batchCall{newMessages: p.c.newMessages, messages: p.c.newMessages(len(b.group))}
	if decoded := p.decodeEach(b.group, call); len(decoded) > 0 {
		p.handleTogether(decoded, call)
	}
	p.tasks.become(first, ActivityIdle, first.attempt)
}

// decodeEach puts the records that can be decoded into the call, and returns their tasks. The others have failed.
func (p *partition) decodeEach(group []*task, call *batchCall) (decoded []*task) {
	own, shown := new(ownRecord), []ownRecord(nil)
	if p.c.showsRecords() { // each is kept, perhaps
		shown = make([]ownRecord, len(group))
		call.records = make([]*Record, 0, len(group))
	}
	for i, t := range group {
		if shown != nil {
			own = &shown[i]
		}
		p.copyTo(own, t)
		r := &own.Record
		if err := p.decode(t, r, call.messages); err != nil {
			r.refused = err
			p.try(t, r, p.c.handle)
			if len(decoded) == i { // the first that fails: the group stays what it is
				decoded = slices.Clip(decoded)
			}
			continue
		}
		if len(decoded) == i {
			decoded = group[:i+1]
		} else {
			decoded = append(decoded, t)
		}
		if shown != nil {
			call.show(r, t.ctx)
		}
	}
	return decoded
}

// decode contains the codec's panics.
func (p *partition) decode(t *task, r *Record, messages batchMessages) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		panicked := &PanicError{Value: recover(), Stack: debug.Stack()}
		if err = panicked; panicked.Value == nil {
			t.verdict = judge(err) // runtime.Goexit: another goroutine goes on with the batch
		}
	}()
	err = messages.add(r)
	returned = true
	return err
}

// handleTogether calls middleware and handler once, and judges what that came to for each task.
func (p *partition) handleTogether(tasks []*task, call *batchCall) {
	returned := false
	all := func(v verdict) {
		v.others = len(tasks) > 1
		for _, t := range tasks {
			t.verdict = v
		}
	}
	defer func() {
		if !returned { // a panic of middleware, or runtime.Goexit: workBatches starts another goroutine then
			all(judge(&PanicError{Value: recover(), Stack: debug.Stack()}))
		}
	}()
	var err error
	if call.records == nil {
		err = call.do(p.ctx)
	} else {
		err = p.c.handleBatch(p.ctx, slices.Clone(call.records))
	}
	outcomes, isAll := outcomesOf(err, len(tasks))
	if isAll {
		all(judge(outcomes.All))
	} else {
		for i, t := range tasks {
			t.verdict = judgeContained(outcomes.Of(i))
		}
	}
	returned = true
}

// judgeContained contains panics of the error's methods, so that one message's error costs no other.
func judgeContained(err error) (v verdict) {
	if err == nil {
		return verdict{}
	}
	defer func() {
		if value := recover(); value != nil {
			v = judge(&PanicError{Value: value, Stack: debug.Stack()})
		}
	}()
	return judge(err)
}
