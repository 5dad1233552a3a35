package kafka

import (
	"context"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// budget bounds the memory of records that wait: published ones for their acknowledgement, fetched ones for their
// handler. One number bounds both count and bytes, since each record costs its bytes and a share on top.
type budget struct {
	perRecord int64

	mu      sync.Mutex
	limit   int64
	used    int64
	waiters []*waiter // in order of arrival
}

type waiter struct {
	cost int64
	turn chan struct{} // closed, under budget.mu, when the cost has been taken
}

func newBudget(records int, bytes int64) *budget {
	return &budget{limit: bytes, perRecord: max(1, bytes/int64(max(1, records)))}
}

// halved returns b with half of its limit, at the same cost for each record.
func (b *budget) halved() *budget {
	b.limit = max(1, b.limit/2) // a limit of 0 would never have room
	return b
}

// headerMemory is a header's own, beside its bytes: two bytes on the wire can be one.
const headerMemory = 40 // a string and a slice

func (b *budget) cost(r *kgo.Record) int64 {
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += len(h.Key) + len(h.Value) + headerMemory
	}
	return int64(size) + b.perRecord
}

// take spends without waiting, over the limit if need be.
func (b *budget) take(cost int64) {
	b.mu.Lock()
	b.used += cost
	b.mu.Unlock()
}

// acquire waits until less than the limit is spent, then takes the cost. Waiters are served in order, so that a large
// record is not passed over for ever. It fails only with ctx's error, and has then taken nothing.
func (b *budget) acquire(ctx context.Context, cost int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	if b.used < b.limit && len(b.waiters) == 0 {
		b.used += cost
		b.mu.Unlock()
		return nil
	}
	w := &waiter{cost, make(chan struct{})}
	b.waiters = append(b.waiters, w)
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
		return ctx.Err()
	}
	return nil // the turn came at the same moment: the cost is ours
}

// give returns what was taken.
func (b *budget) give(cost int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= cost
	b.serve()
}

// raise moves the limit, down if by is negative.
func (b *budget) raise(by int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit += by
	b.serve()
}

// serve gives waiters their turn. The caller holds mu.
func (b *budget) serve() {
	for len(b.waiters) > 0 && b.used < b.limit {
		w := b.waiters[0]
		b.waiters = slices.Delete(b.waiters, 0, 1)
		b.used += w.cost
		close(w.turn)
	}
}

// half returns half of the limit.
func (b *budget) half() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limit / 2
}

// room returns what is left below the limit; it is negative when more is taken.
func (b *budget) room() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limit - b.used
}
