package kafka

import (
	"context"
	"sync"
	"time"
)

// membership is a consumer's standing in its group, as the group's callbacks report it.
type membership struct {
	mu     sync.Mutex
	member bool          // partitions, or none, were assigned, and that was not lost since
	ever   bool          // partitions, or none, were assigned once
	stable chan struct{} // closed while no rebalance is under way
	joins  time.Time     // since when it waits to join again; zero: it does not
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
	m.joins = time.Time{} // an answer to the latest request to join may be what has partitions handed over
	select {
	case <-m.stable:
		m.stable = make(chan struct{})
	default:
	}
}

// joinsAgain notes that what a rebalance takes is handed over: the member asks to join again, and waits for the answer.
func (m *membership) joinsAgain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.stable:
	default:
		m.joins = time.Now()
	}
}

// joiningSince returns since when the member waits to join again; the zero time if it does not.
func (m *membership) joiningSince() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joins
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
	m.joins = time.Time{}
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

// awaitStable waits for the end of a rebalance that is under way, no longer than patience, or until ctx ends. It reports
// whether none is under way. A member must not leave before: franz-go
// cancels what the group's leader then asks the brokers, takes its partitions for lost, and what is finished would not
// be committed.
func (m *membership) awaitStable(ctx context.Context, patience time.Duration) bool {
	m.mu.Lock()
	stable := m.stable
	m.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-stable:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
