package integration

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/conformance"
	"github.com/skeji/kafka/middleware/tracing"
)

// TestPromises runs the conformance suite on real Kafka.
func TestPromises(t *testing.T) {
	conformance.Suite{
		Brokers: brokers(t), Backlog: 100_000, Protocols: []string{"classic", "consumer"},
	}.Run(t)
}

// TestPromisesWithConcurrency runs it with many keys of each partition in hand at once.
func TestPromisesWithConcurrency(t *testing.T) {
	conformance.Suite{
		Brokers: brokers(t), Backlog: 100_000, Protocols: []string{"classic", "consumer"}, Concurrency: 8,
	}.Run(t)
}

func TestPromisesWithBatches(t *testing.T) {
	conformance.Suite{
		Brokers: brokers(t), Backlog: 100_000, Protocols: []string{"classic", "consumer"}, Batches: true,
	}.Run(t)
}

// TestMetricsTellWhatHappened runs it with all middleware on, tracing too, and compares every counter with other witnesses. The
// backlog is smaller: what is to be proved here is the counting.
func TestMetricsTellWhatHappened(t *testing.T) {
	const backlog = 20_000
	spans := &spanCounter{}
	provider := tracing.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans)))
	conformance.Suite{
		Brokers: brokers(t), Backlog: backlog, Protocols: []string{"classic", "consumer"},
		Consuming: []kafka.ConsumerPlugin{tracing.ConsumerMiddleware(provider)},
		Producing: []kafka.ProducerPlugin{tracing.ProducerMiddleware(provider)},
	}.RunWithAllMiddleware(t)
	begun, ended, processed := spans.begun.Load(), spans.ended.Load(), spans.processed.Load()
	t.Logf("%d spans, %d of them of attempts", ended, processed)
	if begun != ended || processed < 2*backlog || ended == processed {
		t.Errorf("%d spans began, %d ended, %d of them of attempts", begun, ended, processed)
	}
}

// spanCounter counts spans and keeps none.
type spanCounter struct{ begun, ended, processed atomic.Int64 }

func (c *spanCounter) OnStart(context.Context, trace.ReadWriteSpan) { c.begun.Add(1) }

func (c *spanCounter) OnEnd(span trace.ReadOnlySpan) {
	c.ended.Add(1)
	if strings.HasPrefix(span.Name(), "process ") {
		c.processed.Add(1)
	}
}

func (c *spanCounter) Shutdown(context.Context) error   { return nil }
func (c *spanCounter) ForceFlush(context.Context) error { return nil }
