package kafka

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// budget bounds the memory of records that wait: published ones for their acknowledgement, fetched ones for their
// handler. One number bounds both count and bytes, since each record costs its bytes and a share on top.
type budget struct {
	perRecord int64
	limit     atomic.Int64
	used      atomic.Int64
	waiting   atomic.Int64 // how many waiters there are: while nobody waits, nobody needs the lock

	mu      sync.Mutex
	waiters []*waiter // in order of arrival
}

type waiter struct {
	cost int64
	turn chan struct{} // closed, under budget.mu, when the cost has been taken
}

func newBudget(records int, bytes int64) *budget {
	b := &budget{perRecord: max(1, bytes/int64(max(1, records)))}
	b.limit.Store(bytes)
	return b
}

// halved returns b with half of its limit, at the same cost for each record.
func (b *budget) halved() *budget {
	b.limit.Store(max(1, b.limit.Load()/2)) // a limit of 0 would never have room
	return b
}

// headerMemory is a header's own, beside its bytes: two bytes on the wire can be one.
const headerMemory = 40 // a string and a slice

func (b *budget) cost(r *kgo.Record) int64 {
	return int64(recordBytes(r)+len(r.Headers)*headerMemory) + b.perRecord
}

// take spends without waiting, over the limit if need be.
func (b *budget) take(cost int64) { b.used.Add(cost) }

// acquire waits until less than the limit is spent, then takes the cost. Waiters are served in order, so that a large
// record is not passed over for ever. It fails only with ctx's error, and has then taken nothing.
func (b *budget) acquire(ctx context.Context, cost int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.waiting.Load() == 0 && b.tryTake(cost) {
		return nil
	}
	w := &waiter{cost, make(chan struct{})}
	b.mu.Lock()
	b.waiters = append(b.waiters, w)
	b.waiting.Add(1)
	b.serve() // whoever gave before that saw nobody waiting
	b.mu.Unlock()

	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.waiters, w); i >= 0 {
		b.waiters = slices.Delete(b.waiters, i, i+1)
		b.waiting.Add(-1)
		return ctx.Err()
	}
	return nil // the turn came at the same moment: the cost is ours
}

// tryTake takes the cost unless the limit is spent.
func (b *budget) tryTake(cost int64) bool {
	for {
		used := b.used.Load()
		if used >= b.limit.Load() {
			return false
		}
		if b.used.CompareAndSwap(used, used+cost) {
			return true
		}
	}
}

// give returns what was taken.
func (b *budget) give(cost int64) {
	b.used.Add(-cost)
	b.wake()
}

// raise moves the limit, down if by is negative.
func (b *budget) raise(by int64) {
	b.limit.Add(by)
	b.wake()
}

// wake serves waiters, if there are any.
func (b *budget) wake() {
	if b.waiting.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve()
}

// serve gives waiters their turn. The caller holds mu.
func (b *budget) serve() {
	for len(b.waiters) > 0 && b.tryTake(b.waiters[0].cost) {
		close(b.waiters[0].turn)
		b.waiters = slices.Delete(b.waiters, 0, 1)
		b.waiting.Add(-1)
	}
}

// half returns half of the limit.
func (b *budget) half() int64 { return b.limit.Load() / 2 }

// room returns what is left below the limit; it is negative when more is taken.
func (b *budget) room() int64 { return b.limit.Load() - b.used.Load() }
