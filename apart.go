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
func (s *scheduler) keepApart(tasks ...*task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tasks {
		s.copyOut(t)
	}
}

// copyOut gives a task a copy of its record, and so those behind it. The caller holds s.mu.
func (s *scheduler) copyOut(t *task) {
	t.record, t.own = ownCopy(t.record), nil
	s.copyBehind(t)
}

// copyBehind gives the records behind a task copies. Until its lane is empty, those that follow get copies from the start, so
// that none is copied twice. The caller holds s.mu.
func (s *scheduler) copyBehind(t *task) {
	if !t.keyed || s.lanes.waiting == nil || s.lanes.apart[t.lane] {
		return
	}
	behind := s.lanes.waiting[t.lane]
	for i := range behind {
		behind[i].record = ownCopy(behind[i].record)
	}
	if s.lanes.apart == nil {
		s.lanes.apart = map[uint64]bool{}
	}
	s.lanes.apart[t.lane] = true
}

// apartAfter is how long an attempt may run before what is behind it gets copies.
const apartAfter = time.Second

// watchLanes has what waits behind handlers that take long copied. Few records of busy keys are: copying them all would be
// noticed. It runs until Start is about to return.
func (c *consumer) watchLanes(ctx context.Context) {
	if c.cfg.Concurrency == 1 || c.newMessages != nil {
		return
	}
	for range ticks(ctx, apartAfter) {
		for _, p := range c.assignedNow() {
			p.tasks.copyBehindSlow()
		}
	}
}

func (s *scheduler) copyBehindSlow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, t := range s.inHand {
		if t.keyed && !t.slept && now.Sub(t.stage.since) >= apartAfter && len(s.lanes.waiting[t.lane]) > 0 {
			s.copyBehind(t)
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
