package middleware_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
)

// BenchmarkMetrics is what metrics add to a record that is handled at once, on all processors.
func BenchmarkMetrics(b *testing.B) {
	around, hooks := middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(prometheus.NewRegistry())).ForConsumer(kafka.ConsumerInfo{
		Topic: "orders", Group: "billing", Health: func() kafka.Health { return kafka.Health{} },
	})
	handle := around(func(context.Context, *kafka.Record) error { return nil })
	end := kafka.Settlement{Outcome: kafka.OutcomeHandled, Attempts: 1}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		r := &kafka.Record{Record: &kgo.Record{Topic: "orders"}, Group: "billing", Attempt: 1}
		for pb.Next() {
			_ = handle(b.Context(), r)
			hooks.RecordSettled(b.Context(), r.Record, end)
		}
	})
}
