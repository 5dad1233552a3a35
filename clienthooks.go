package kafka

import (
	"net"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// clientHooks pass on what franz-go tells its hooks to those that come later: Use is called on clients that exist, and
// franz-go takes hooks only before. Clients that are derived from the first one, of its options, have the same hooks and
// report to them too; they take nothing over and end nothing.
type clientHooks struct {
	mu     sync.RWMutex
	client *kgo.Client // nil until it is made
	waits  []*clientHook
	hooks  []*clientHook // a new slice at each change: tell reads it without a lock
}

// clientHook is one that plugins have added. A plugin of several producers that share the client may return the same hook
// for each: it is told once of what happens, until the last of them is closed.
type clientHook struct {
	maker func(*kgo.Client) kgo.Hook
	hook  kgo.Hook // nil until it is made
	users int
}

// add takes what makes a hook for the client, now or once there is one. The hook is told of nothing more after remove.
func (c *clientHooks) add(maker func(*kgo.Client) kgo.Hook) (remove func()) {
	if maker == nil {
		return func() {}
	}
	added := &clientHook{maker: maker, users: 1}
	c.mu.Lock()
	client := c.client
	if client == nil {
		c.waits = append(c.waits, added)
	}
	c.mu.Unlock()
	if client == nil {
		return func() {} // of a consumer, which closes the client
	}
	if added = c.keep(added, maker(client)); added == nil {
		return func() {}
	}
	return sync.OnceFunc(func() { c.remove(added, client) })
}

// keep returns what to remove later; nil for nothing.
func (c *clientHooks) keep(added *clientHook, hook kgo.Hook) *clientHook {
	if hook == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reflect.TypeOf(hook).Comparable() {
		if i := slices.IndexFunc(c.hooks, func(other *clientHook) bool { return other.hook == hook }); i >= 0 {
			c.hooks[i].users++
			return c.hooks[i]
		}
	}
	added.hook = hook
	c.hooks = append(slices.Clone(c.hooks), added)
	return added
}

// remove ends a hook with its last user, as the end of the client would.
func (c *clientHooks) remove(added *clientHook, client *kgo.Client) {
	c.mu.Lock()
	added.users--
	last := added.users == 0
	if last {
		c.hooks = slices.DeleteFunc(slices.Clone(c.hooks), func(other *clientHook) bool { return other == added })
	}
	c.mu.Unlock()
	if closed, ok := added.hook.(kgo.HookClientClosed); ok && last {
		closed.OnClientClosed(client)
	}
}

// OnNewClient is called before the client does anything.
func (c *clientHooks) OnNewClient(client *kgo.Client) {
	c.mu.Lock()
	if c.client != nil { // this one is derived from it
		c.mu.Unlock()
		return
	}
	c.client = client
	waits := c.waits
	c.waits = nil
	c.mu.Unlock()
	for _, added := range waits {
		c.keep(added, added.maker(client))
	}
}

// tell calls those hooks that want to know.
func tell[H kgo.Hook](c *clientHooks, event func(H)) {
	c.mu.RLock()
	hooks := c.hooks
	c.mu.RUnlock()
	for _, added := range hooks {
		if interested, ok := added.hook.(H); ok {
			event(interested)
		}
	}
}

// OnClientClosed is told of derived clients too.
func (c *clientHooks) OnClientClosed(client *kgo.Client) {
	c.mu.RLock()
	own := c.client == client
	c.mu.RUnlock()
	if own {
		tell(c, func(h kgo.HookClientClosed) { h.OnClientClosed(client) })
	}
}

func (c *clientHooks) OnBrokerConnect(broker kgo.BrokerMetadata, took time.Duration, conn net.Conn, err error) {
	tell(c, func(h kgo.HookBrokerConnect) { h.OnBrokerConnect(broker, took, conn, err) })
}

func (c *clientHooks) OnBrokerDisconnect(broker kgo.BrokerMetadata, conn net.Conn) {
	tell(c, func(h kgo.HookBrokerDisconnect) { h.OnBrokerDisconnect(broker, conn) })
}

func (c *clientHooks) OnBrokerWrite(broker kgo.BrokerMetadata, key int16, bytes int, wait, took time.Duration, err error) {
	tell(c, func(h kgo.HookBrokerWrite) { h.OnBrokerWrite(broker, key, bytes, wait, took, err) })
}

func (c *clientHooks) OnBrokerRead(broker kgo.BrokerMetadata, key int16, bytes int, wait, took time.Duration, err error) {
	tell(c, func(h kgo.HookBrokerRead) { h.OnBrokerRead(broker, key, bytes, wait, took, err) })
}

func (c *clientHooks) OnGroupManageError(err error) {
	tell(c, func(h kgo.HookGroupManageError) { h.OnGroupManageError(err) })
}

func (c *clientHooks) OnBrokerE2E(broker kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	tell(c, func(h kgo.HookBrokerE2E) { h.OnBrokerE2E(broker, key, e2e) })
}

func (c *clientHooks) OnBrokerThrottle(broker kgo.BrokerMetadata, interval time.Duration, after bool) {
	tell(c, func(h kgo.HookBrokerThrottle) { h.OnBrokerThrottle(broker, interval, after) })
}

func (c *clientHooks) OnProduceBatchWritten(broker kgo.BrokerMetadata, topic string, partition int32, batch kgo.ProduceBatchMetrics) {
	tell(c, func(h kgo.HookProduceBatchWritten) { h.OnProduceBatchWritten(broker, topic, partition, batch) })
}

func (c *clientHooks) OnFetchBatchRead(broker kgo.BrokerMetadata, topic string, partition int32, batch kgo.FetchBatchMetrics) {
	tell(c, func(h kgo.HookFetchBatchRead) { h.OnFetchBatchRead(broker, topic, partition, batch) })
}
