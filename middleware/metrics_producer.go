package middleware

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/errortype"
)

// MetricsProducerMiddleware counts and times what a producer publishes, for Prometheus; see [MetricsConsumerMiddleware].
func MetricsProducerMiddleware(options ...MetricsOption) kafka.ProducerPlugin {
	return producerMetrics{newMetricsOptions(options)}
}

type producerMetrics struct{ options metricsOptions }

func (p producerMetrics) ForProducer(info kafka.ProducerInfo) (kafka.ProducerMiddleware, kafka.ProducerHooks) {
	m := metricsIn(p.options.registerer)
	var hooks kafka.ProducerHooks
	if p.options.clientMetrics {
		hooks.Client = func(client *kgo.Client) kgo.Hook { return m.clients.hook(client, info.ClientID) }
	}
	return m.aroundPublish(info.Topic), hooks
}

// publishing is one message on its way.
type publishing struct {
	began    time.Time
	done     func(error)
	finished func(error) // finish, bound once: a closure for each message would be an allocation for each
}

// aroundPublish measures each publish. topic is where nearly all go: other middleware may send one elsewhere.
func (m *metrics) aroundPublish(topic string) kafka.ProducerMiddleware {
	sent, took, sending := m.sent.WithLabelValues(topic, ""), m.send.WithLabelValues(topic, ""), m.sending.WithLabelValues(topic)
	pool := sync.Pool{}
	pool.New = func() any {
		p := &publishing{}
		p.finished = func(err error) {
			began, done := p.began, p.done
			p.done = nil
			pool.Put(p)
			sending.Dec()
			seconds := time.Since(began).Seconds()
			if err == nil {
				sent.Inc()
				took.Observe(seconds)
			} else {
				kind := errortype.OfBrokers(err)
				m.sent.WithLabelValues(topic, kind).Inc()
				m.send.WithLabelValues(topic, kind).Observe(seconds)
			}
			done(err)
		}
		return p
	}
	return func(next kafka.PublishFunc) kafka.PublishFunc {
		return func(ctx context.Context, r *kafka.Record, done func(error)) {
			p := pool.Get().(*publishing)
			p.began, p.done = time.Now(), done
			sending.Inc()
			next(ctx, r, p.finished)
		}
	}
}
