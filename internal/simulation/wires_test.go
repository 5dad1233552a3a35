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

// wires are the connections between members and brokers. Each end can be cut off.
type wires struct {
	mu   sync.Mutex
	off  map[string]bool // by the end's name: a member's, or a broker's port
	open []wire
}

type wire struct {
	net.Conn
	member, port string
}

// latency is what a request takes. Without any, a client that is answered at once, and asks again at once, would stop the
// clock.
const latency = 5 * time.Millisecond

func (w wire) Write(p []byte) (int, error) {
	time.Sleep(latency)
	return w.Conn.Write(p)
}

// errCut is what a dial to a dead host returns. franz-go goes by its type.
var errCut = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func (w *wires) dial(ctx context.Context, to *kfake.VirtualNetwork, member, network, address string) (net.Conn, error) {
	port := address[strings.LastIndex(address, ":")+1:]
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off[member] || w.off[port] {
		return nil, errCut
	}
	conn, err := to.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	open := wire{conn, member, port}
	w.open = append(w.open, open)
	return open, nil
}

// cut closes the connections of one end, and lets it have no other.
func (w *wires) cut(end string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off[end] = true
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

func (w *wires) mend(end string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.off, end)
}
