package kafka

import (
	"context"
	"sync"
)

// membership is a consumer's standing in its group, as the group's callbacks report it.
type membership struct {
	mu     sync.Mutex
	member bool          // partitions, or none, were assigned, and that was not lost since
	ever   bool          // partitions, or none, were assigned once
	stable chan struct{} // closed while no rebalance is under way
}

func newMembership() *membership {
	m := &membership{stable: make(chan struct{})}
	close(m.stable)
	return m
}

// assigned notes the end of a rebalance.
func (m *membership) assigned() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.member, m.ever = true, true
	m.settle()
}

// rebalancing notes that a rebalance has begun; assigned or lost follows.
func (m *membership) rebalancing() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.stable:
		m.stable = make(chan struct{})
	default:
	}
}

// lost notes that the group has removed the member.
func (m *membership) lost() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.member = false
	m.settle()
}

// settle ends the wait of awaitStable. The caller holds m.mu.
func (m *membership) settle() {
	select {
	case <-m.stable:
	default:
		close(m.stable)
	}
}

func (m *membership) isMember() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.member
}

// everAssigned reports whether the group has ever answered.
func (m *membership) everAssigned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ever
}

// awaitStable waits for the end of a rebalance that is under way, or of ctx. A member must not leave before: franz-go
// cancels what the group's leader then asks the brokers, takes its partitions for lost, and what is finished would not
// be committed.
func (m *membership) awaitStable(ctx context.Context) {
	m.mu.Lock()
	stable := m.stable
	m.mu.Unlock()
	select {
	case <-stable:
	case <-ctx.Done():
	}
}
