package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

// tally counts what a contender handles and adds up its checksums, from many goroutines.
type tally struct {
	want  batch
	count atomic.Int64
	sum   atomic.Uint64
	made  time.Time
	first atomic.Int64 // nanoseconds from made until the first was handled
	last  time.Time    // when all were; read once done is closed
	done  chan struct{}

	milestone int64 // closes reached
	reached   chan struct{}
}

func newTally(want batch, milestone int) *tally {
	return &tally{want: want, made: time.Now(), done: make(chan struct{}), milestone: int64(milestone), reached: make(chan struct{})}
}

func (t *tally) add(o order) {
	t.sum.Add(o.checksum()) // before it counts: the last one closes the sum
	if t.first.Load() == 0 {
		t.first.CompareAndSwap(0, int64(time.Since(t.made)))
	}
	n := t.count.Add(1)
	if n == t.milestone {
		close(t.reached)
	}
	if n == int64(t.want.Records) {
		t.last = time.Now()
		close(t.done)
	}
}

func (t *tally) firstAt() time.Time { return t.made.Add(time.Duration(t.first.Load())) }

// check says what is wrong with what was handled, once no more will be.
func (t *tally) check() error {
	if n := t.count.Load(); n != int64(t.want.Records) {
		return fmt.Errorf("%d records came, not %d", n, t.want.Records)
	}
	if t.sum.Load() != t.want.Sum {
		return fmt.Errorf("%d records came, but not the right ones, or not decoded right: the checksum differs", t.want.Records)
	}
	return nil
}
