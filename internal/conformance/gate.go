package conformance

import (
	"context"
	"sync"

	"github.com/skeji/kafka"
)

// gate makes handlers wait, so that there is work left when members come and go, however fast or slow the machine is.
type gate struct {
	mu      sync.Mutex
	limit   int64         // its meaning is the test's
	changed chan struct{} // closed and replaced when handlers have to look again
}

func newGate(limit int64) *gate { return &gate{limit: limit, changed: make(chan struct{})} }

// set changes the limit.
func (g *gate) set(limit int64) { g.change(func() { g.limit = limit }) }

func (g *gate) change(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
	close(g.changed)
	g.changed = make(chan struct{})
}

// pass is a member's way through the gate. The member's in-flight records must finish before its partitions can move or it can
// shut down, so they don't wait then.
type pass struct {
	gate    *gate
	leaving map[int32]bool // partitions that are being revoked; the gate's mutex guards it, and ended
	ended   bool
}

// wait returns when the record may be handled: held is asked again whenever the limit changes.
func (p *pass) wait(ctx context.Context, partition int32, held func(limit int64) bool) {
	for {
		p.gate.mu.Lock()
		waits, changed := !p.ended && !p.leaving[partition] && held(p.gate.limit), p.gate.changed
		p.gate.mu.Unlock()
		if !waits {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// end opens the gate for the member.
func (p *pass) end() { p.gate.change(func() { p.ended = true }) }

// ForConsumer opens the gate for the partitions that the member is giving up.
func (p *pass) ForConsumer(kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	leave := func(leaving bool) func(string, []int32) {
		return func(_ string, partitions []int32) {
			p.gate.change(func() {
				for _, partition := range partitions {
					p.leaving[partition] = leaving
				}
			})
		}
	}
	return nil, kafka.ConsumerHooks{PartitionsAssigned: leave(false), PartitionsRevoked: leave(true), PartitionsLost: leave(true)}
}
