package kafka

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file takes records that wait out of the batches that they were fetched in. A record of a few bytes would keep its whole
// batch in memory, decompressed, and MaxQueuedBytes counts the record alone.

// keepApart is called by the worker that has the tasks in hand, before it waits for anything but the handler: a letter to be
// stored, a pause to end.
func (p *partition) keepApart(tasks ...*task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range tasks {
		p.copyOut(t)
	}
}

// copyOut gives a task a copy of its record, and so those behind it. The caller holds p.mu.
func (p *partition) copyOut(t *task) {
	t.record, t.own = ownCopy(t.record), nil
	p.copyBehind(t)
}

// copyBehind gives the records behind a task copies. Until its lane is empty, those that follow get copies from the start, so
// that none is copied twice. The caller holds p.mu.
func (p *partition) copyBehind(t *task) {
	if !t.keyed || p.lanes == nil || p.apart[t.lane] {
		return
	}
	behind := p.lanes[t.lane]
	for i := range behind {
		behind[i].record = ownCopy(behind[i].record)
	}
	if p.apart == nil {
		p.apart = map[uint64]bool{}
	}
	p.apart[t.lane] = true
}

// apartAfter is how long an attempt may run before what is behind it gets copies.
const apartAfter = time.Second

// watchLanes has what waits behind handlers that take long copied. Few records of busy keys are: copying them all would be
// noticed. It runs until Start is about to return.
func (c *consumer) watchLanes(ctx context.Context) {
	if c.cfg.Concurrency == 1 || c.batches {
		return
	}
	for range ticks(ctx, apartAfter) {
		for _, p := range c.assignedNow() {
			p.copyBehindSlow()
		}
	}
}

func (p *partition) copyBehindSlow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, t := range p.inHand {
		if t.keyed && !t.slept && now.Sub(t.stage.since) >= apartAfter && len(p.lanes[t.lane]) > 0 {
			p.copyBehind(t)
		}
	}
}

// ownCopy returns a record that shares no memory with others.
func ownCopy(r *kgo.Record) *kgo.Record {
	own := *r
	own.Key, own.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	if len(r.Headers) > 0 {
		own.Headers = make([]kgo.RecordHeader, len(r.Headers))
		for i, h := range r.Headers {
			own.Headers[i] = kgo.RecordHeader{Key: strings.Clone(h.Key), Value: bytes.Clone(h.Value)}
		}
	}
	return &own
}
