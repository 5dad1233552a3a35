// Package pause holds attempts back for as long as somebody asks for that.
package pause

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Gate is closed while at least one holder keeps it closed. The zero value is open. It is safe for concurrent use.
type Gate struct {
	closed atomic.Bool // for who need not know more, under no lock

	mu      sync.Mutex
	holders []holder // in the order in which they came
	since   time.Time
	opened  chan struct{} // closed when the gate opens; nil while it is open
}

type holder struct{ name, reason string }

// Close has the holder keep the gate closed, for a reason that replaces its earlier one. It reports whether the gate was
// open.
func (g *Gate) Close(name, reason string) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := g.index(name); i >= 0 {
		g.holders[i].reason = reason
		return false
	}
	g.holders = append(g.holders, holder{name, reason})
	if len(g.holders) > 1 {
		return false
	}
	g.since, g.opened = time.Now(), make(chan struct{})
	g.closed.Store(true)
	return true
}

// Open has the holder keep the gate closed no more. It reports whether that has opened it.
func (g *Gate) Open(name string) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.index(name)
	if i < 0 {
		return false
	}
	if g.holders = slices.Delete(g.holders, i, i+1); len(g.holders) > 0 {
		return false
	}
	g.closed.Store(false)
	close(g.opened)
	g.opened = nil
	return true
}

func (g *Gate) index(name string) int {
	return slices.IndexFunc(g.holders, func(h holder) bool { return h.name == name })
}

// Closed reports whether the gate is closed.
func (g *Gate) Closed() bool { return g.closed.Load() }

// State returns since when the gate is closed, and the reasons; the zero time if it is open.
func (g *Gate) State() (since time.Time, reasons string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.holders) == 0 {
		return time.Time{}, ""
	}
	texts := make([]string, len(g.holders))
	for i, h := range g.holders {
		texts[i] = h.reason
	}
	return g.since, strings.Join(texts, "; ")
}

// Await waits until the gate is open. It returns false if stop is closed before that.
func (g *Gate) Await(stop <-chan struct{}) bool {
	for g.closed.Load() {
		g.mu.Lock()
		opened := g.opened
		g.mu.Unlock()
		if opened == nil {
			continue // it has just been opened
		}
		select {
		case <-opened:
		case <-stop:
			return false
		}
	}
	return true
}
