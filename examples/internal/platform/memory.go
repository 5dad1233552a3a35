package platform

import "sync"

// Memory knows the latest ids it was told. A service that must not do a thing twice, ever, keeps them with what it does, in
// its database: this one forgets with its process, and beyond its size.
type Memory struct {
	mu    sync.Mutex
	known map[string]bool
	ring  []string
	next  int
}

// NewMemory is a memory of so many ids.
func NewMemory(size int) *Memory {
	return &Memory{known: map[string]bool{}, ring: make([]string, size)}
}

// Knows tells whether it was told the id.
func (m *Memory) Knows(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[id]
}

// Keep tells it an id.
func (m *Memory) Keep(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known[id] {
		return
	}
	delete(m.known, m.ring[m.next])
	m.ring[m.next], m.known[id] = id, true
	m.next = (m.next + 1) % len(m.ring)
}
