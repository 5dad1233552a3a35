//go:build synctests

package simulation

import (
	"context"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// wires are the connections between members and brokers. Each end, by its name (a member's, or a broker's port), can be cut off,
// can be slow, and can hear nothing.
type wires struct {
	mu   sync.Mutex
	off  map[string]bool
	deaf map[string]bool // what is sent to it is lost, and nobody says so
	slow map[string]time.Duration
	open []wire
}

type wire struct {
	net.Conn
	all          *wires
	member, port string
}

// latency is what a request takes, and what a connection takes to be made or refused. Without any, a client that is answered at
// once, and asks again at once, would stop the clock.
const latency = 5 * time.Millisecond

func (w wire) Write(p []byte) (int, error) {
	takes, lost := w.all.condition(w.member, w.port)
	time.Sleep(takes)
	if lost {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

func (w *wires) condition(member, port string) (takes time.Duration, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return latency + w.slow[member] + w.slow[port], w.deaf[member] || w.deaf[port]
}

// errCut is what a dial to a dead host returns. franz-go goes by its type.
var errCut = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func (w *wires) dial(ctx context.Context, to *kfake.VirtualNetwork, member, network, address string) (net.Conn, error) {
	time.Sleep(latency)
	conn, err := to.DialContext(ctx, network, address) // not under the lock: it waits
	port := address[strings.LastIndex(address, ":")+1:]
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.off[member] || w.off[port]:
		if err == nil {
			_ = conn.Close()
		}
		return nil, errCut
	case err != nil:
		return nil, err
	}
	open := wire{conn, w, member, port}
	w.open = append(w.open, open)
	return open, nil
}

// cut closes the connections of one end, and lets it have no other.
func (w *wires) cut(end string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off[end] = true
	w.close(end)
}

// silence loses what is sent over the connections of one end. Whoever waits for an answer has to give up by itself.
func (w *wires) silence(end string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf[end] = true
}

func (w *wires) delay(end string, by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow[end] = by
}

// mend lets the end be as it was. Connections that have lost something are of no use.
func (w *wires) mend(end string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf[end] {
		w.close(end)
	}
	delete(w.off, end)
	delete(w.deaf, end)
	delete(w.slow, end)
}

func (w *wires) close(end string) {
	kept := w.open[:0]
	for _, wire := range w.open {
		if wire.member == end || wire.port == end {
			_ = wire.Close()
		} else {
			kept = append(kept, wire)
		}
	}
	w.open = kept
}
