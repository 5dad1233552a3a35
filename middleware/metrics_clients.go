package middleware

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kprom"
)

// clientMetrics are those that kprom keeps for each franz-go client. kprom would register each client's apart, under the same
// names, which a registry refuses: so they are collected here, with a label for each client.
type clientMetrics struct {
	mu      sync.Mutex
	clients map[clientLabels]*clientHook
}

// clientLabels tell clients apart. Names are used again once their client is closed, so that there are never many.
type clientLabels struct{ id, name string }

// clientHook is one client's metrics. What kprom does, it does as franz-go's hook.
type clientHook struct {
	*kprom.Metrics
	client *kgo.Client
	labels clientLabels
	all    *clientMetrics
}

// hook returns the client's metrics: the same for all producers that share it.
func (c *clientMetrics) hook(client *kgo.Client, id string) kgo.Hook {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, hook := range c.clients {
		if hook.client == client {
			return hook
		}
	}
	use := "producer"
	if group, ok := client.OptValue(kgo.ConsumerGroup).(string); ok && group != "" {
		use = "consumer"
	}
	labels := clientLabels{id: id}
	for n := 0; labels.name == "" || c.clients[labels] != nil; n++ {
		labels.name = fmt.Sprintf("%s-%d", use, n)
	}
	hook := &clientHook{
		kprom.NewMetrics("kafka_client", kprom.Registry(nil),
			kprom.WithStaticLabel(prometheus.Labels{"client_id": labels.id, "client": labels.name}),
			kprom.Histograms(kprom.RequestDurationE2E, kprom.RequestThrottled)),
		client, labels, c,
	}
	hook.OnNewClient(client)
	if c.clients == nil {
		c.clients = map[clientLabels]*clientHook{}
	}
	c.clients[labels] = hook
	return hook
}

// OnClientClosed ends the client's metrics.
func (h *clientHook) OnClientClosed(*kgo.Client) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	delete(h.all.clients, h.labels)
}

// Describe says nothing: clients come and go.
func (c *clientMetrics) Describe(chan<- *prometheus.Desc) {}

func (c *clientMetrics) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, hook := range c.clients {
		hook.Metrics.Collect(out)
	}
}
