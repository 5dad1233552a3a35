package kafka

import (
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// clientHooks pass on what franz-go tells its hooks to those that come later: Use is called on clients that exist, and
// franz-go takes hooks only before.
type clientHooks struct {
	mu     sync.RWMutex
	client *kgo.Client // nil until it is made
	makers []func(*kgo.Client) kgo.Hook
	hooks  []kgo.Hook
}

// add takes what makes hooks for the client, now or once there is one.
func (c *clientHooks) add(maker func(*kgo.Client) kgo.Hook) {
	if maker == nil {
		return
	}
	c.mu.Lock()
	client := c.client
	if client == nil {
		c.makers = append(c.makers, maker)
	}
	c.mu.Unlock()
	if client == nil {
		return
	}
	if hook := maker(client); hook != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.hooks = append(c.hooks, hook)
	}
}

// OnNewClient is called before the client does anything.
func (c *clientHooks) OnNewClient(client *kgo.Client) {
	c.mu.Lock()
	c.client = client
	makers := c.makers
	c.makers = nil
	c.mu.Unlock()
	for _, maker := range makers {
		c.add(maker)
	}
}

// tell calls those hooks that want to know.
func tell[H kgo.Hook](c *clientHooks, event func(H)) {
	c.mu.RLock()
	hooks := c.hooks // only ever appended to
	c.mu.RUnlock()
	for _, hook := range hooks {
		if interested, ok := hook.(H); ok {
			event(interested)
		}
	}
}

func (c *clientHooks) OnClientClosed(client *kgo.Client) {
	tell(c, func(h kgo.HookClientClosed) { h.OnClientClosed(client) })
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
