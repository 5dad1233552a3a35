package kafka

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines bounds how long messages may be on their way. franz-go has an option for that, kgo.RecordDeliveryTimeout, which
// counts from the record's own timestamp: a message that is an hour old, such as one that is passed on, would fail at once
// and take its whole partition's buffer along.
//
// A context of its own for each message would cost a timer each, so that those of a short time share one.
type deadlines struct {
	timeout time.Duration
	shared  atomic.Pointer[context.Context] // nil: the next message makes one
	mu      sync.Mutex                      // held to make one
}

// deliveryContext has the caller's values and a deadline that is not the caller's.
type deliveryContext struct {
	context.Context // the deadline
	values          context.Context
}

// Value asks the deadline first, which has no values but those by which package context finds its cause.
func (c deliveryContext) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.values.Value(key)
}

// bound returns a context with ctx's values that ends timeout from now, or a little later.
func (d *deadlines) bound(ctx context.Context) context.Context {
	shared := d.shared.Load()
	if shared == nil {
		shared = d.share()
	}
	return deliveryContext{*shared, ctx}
}

// share makes the context of all messages of a short time.
func (d *deadlines) share() *context.Context {
	const parts = 64 // a short time: that part of the timeout
	d.mu.Lock()
	defer d.mu.Unlock()
	if shared := d.shared.Load(); shared != nil {
		return shared
	}
	share := d.timeout / parts
	if d.timeout > math.MaxInt64-share {
		share = 0
	}
	shared, cancel := context.WithTimeout(context.Background(), d.timeout+share)
	context.AfterFunc(shared, cancel) // go vet wants it called; at the deadline it does nothing
	d.shared.Store(&shared)
	time.AfterFunc(share, func() { d.shared.Store(nil) })
	return &shared
}
