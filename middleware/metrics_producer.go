package middleware

import (
	"context"
	"strings"
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
	if info.DisableMiddleware {
		return nil, kafka.ProducerHooks{}
	}
	m := metricsIn(p.options.registerer)
	sending, published := m.sending.WithLabelValues(info.Topic), m.published(info.Topic)
	hooks := kafka.ProducerHooks{
		Publishing: func(*kafka.Record) { sending.Inc() },
		Published: func(_ *kafka.Record, took time.Duration, err error) {
			sending.Dec()
			published(took, err)
		},
	}
	if p.options.clientMetrics {
		hooks.Client = func(client *kgo.Client) kgo.Hook { return m.clients.hook(client, info.ClientID) }
	}
	return nil, hooks
}

// published returns what counts a message to the topic.
func (m *metrics) published(topic string) func(took time.Duration, err error) {
	sent, duration := m.sent.WithLabelValues(topic, ""), m.send.WithLabelValues(topic, "") // with every message: looked up once
	return func(took time.Duration, err error) {
		if err == nil {
			sent.Inc()
			duration.Observe(took.Seconds())
			return
		}
		kind := errortype.OfBrokers(err)
		m.sent.WithLabelValues(topic, kind).Inc()
		m.send.WithLabelValues(topic, kind).Observe(took.Seconds())
	}
}

// aroundLetter measures each try to store a dead letter, or a record in a retry topic.
func (m *metrics) aroundLetter(info kafka.ConsumerInfo) kafka.ProducerMiddleware {
	if info.DLQTopic != "" { // a rate sees the first only if there was a 0
		for topic := range strings.SplitSeq(info.DLQTopic, ",") {
			m.sending.WithLabelValues(topic)
			m.published(topic)
		}
	}
	return func(next kafka.PublishFunc) kafka.PublishFunc {
		return func(ctx context.Context, r *kafka.Record, done func(error)) {
			sending, published, began := m.sending.WithLabelValues(r.Topic), m.published(r.Topic), time.Now()
			sending.Inc()
			next(ctx, r, func(err error) {
				sending.Dec()
				published(time.Since(began), err)
				if err != nil {
					m.deadLettersRefused.WithLabelValues(info.Topic, info.Group, errortype.OfBrokers(err)).Inc()
				}
				done(err)
			})
		}
	}
}
