package kafka

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/seal"
)

// This file writes dead letters, and records that are put off, to their topics, and waits until they are stored.

// sink is a topic that takes dead letters, or records that are put off.
type sink struct {
	name   string
	client *Client
	send   PublishFunc // the hooks' middleware around store
	// One letter at a time per partition of the topic: then a batch holds one letter, and a refusal for its size is
	// about that letter.
	slots []chan struct{}
}

func newSink(name string, partitions int32, client *Client, maxBytes int32, hooks consumerHooks) *sink {
	client.limits.Store(name, maxBytes)
	var around []ProducerMiddleware
	for _, h := range hooks {
		if h.DeadLetters != nil {
			around = append(around, h.DeadLetters)
		}
	}
	d := &sink{name: name, client: client, slots: make([]chan struct{}, max(1, partitions))}
	d.send = chain(d.store, around)
	for i := range d.slots {
		d.slots[i] = make(chan struct{}, 1)
	}
	return d
}

// partitionOf returns the partition that takes the letters of one of the source's.
func (d *sink) partitionOf(source int32) int32 { return source % int32(len(d.slots)) }

// write returns the letter once the brokers have stored it. It calls overdue when they have neither stored nor refused it for
// longer than DeliveryTimeout, which does not end that: they may have stored it, with too few replicas for example, so that
// franz-go repeats it until they say.
func (d *sink) write(ctx context.Context, r *kgo.Record, letter DeadLetter, overdue func(time.Duration)) (*Record, error) {
	slot := d.slots[d.partitionOf(r.Partition)]
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	limit := d.client.cfg.DeliveryTimeout
	limit = max(limit, limit+limit/8) // what ends at its time is told as a refusal; the longest of times has no later one
	alarm := time.AfterFunc(limit, func() { overdue(limit) })
	defer alarm.Stop()
	stored := make(chan error, 1)
	sent := &Record{Record: newDeadLetter(d.name, r, letter, allHeaders), Group: letter.Group, Attempt: letter.Attempts}
	d.attempt(ctx, sent, func(err error) {
		select {
		case stored <- err:
		default: // middleware says so twice
		}
	})
	select {
	case err := <-stored:
		return sent, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// attempt sends the letter through the hooks' middleware, whose panics are a failure to store it.
func (d *sink) attempt(ctx context.Context, letter *Record, done func(error)) {
	defer func() {
		if value := recover(); value != nil {
			done(&PanicError{Value: value, Stack: debug.Stack()})
		}
	}()
	d.send(ctx, letter, done)
}

// store is the innermost PublishFunc. A letter that is too large with our headers is written with fewer, at last with its
// record's own alone; the value is never touched. It waits for the brokers, since the worker does so anyway.
func (d *sink) store(ctx context.Context, r *Record, done func(error)) {
	for which := allHeaders; ; which++ {
		letter := *r.Record
		letter.Headers = shed(r.Headers, which)
		out, _ := ctx.Value(sentLetterKey{}).(*sentLetter)
		if out != nil && which == noHeaders { // what middleware has added may be too much
			letter.Headers = shed(out.record.Headers, which)
		}
		letter.Headers = d.client.seals.Seal(&letter, seal.ToTopic) // as it is stored: middleware may have changed it
		stored := make(chan error, 1)
		d.client.produce(ctx, &letter, func(err error) { stored <- err })
		var err error
		select {
		case err = <-stored:
		case <-ctx.Done():
			done(context.Cause(ctx))
			return
		}
		if errors.Is(err, kerr.InvalidRecord) && r.Key == nil { // a compacted topic takes no record without a key
			r.Record = withKey(r.Record)
			which-- // again, with as many headers
			continue
		}
		if which == noHeaders || !errors.Is(err, kerr.MessageTooLarge) {
			if err == nil {
				r.Partition, r.Offset, r.Timestamp = letter.Partition, letter.Offset, letter.Timestamp
				if out != nil {
					out.stored.Store(&letter)
				}
			}
			done(err)
			return
		}
	}
}

// letterContext is the partition's context with the values of the record's: a hook's deadline is for attempts, not for the
// letter. store finds what it needs in it.
type letterContext struct {
	context.Context
	values context.Context
	out    *sentLetter
}

// sentLetter is a letter's record, and the letter as it was stored: middleware in between may pass on another.
type sentLetter struct {
	record *kgo.Record
	stored atomic.Pointer[kgo.Record] // nil if middleware says that it is and it is not
}

type sentLetterKey struct{}

func (c letterContext) Value(key any) any {
	if key == (sentLetterKey{}) {
		return c.out
	}
	return c.values.Value(key)
}

// mark stores a record that is no letter: no middleware sees it. It is alone in its batch, as letters are.
func (d *sink) mark(ctx context.Context, r *kgo.Record) error {
	slot := d.slots[d.partitionOf(r.Partition)]
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.Headers = d.client.seals.Seal(r, seal.ToTopic)
	stored := make(chan error, 1)
	d.client.produce(ctx, r, func(err error) { stored <- err })
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
