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

// promises is the conformance suite on real Kafka. A variant joins with the protocols that it is given; with -long, each variant joins
// with all protocols and repeats every test, with a large backlog.
func promises(t *testing.T, protocols ...string) conformance.Suite {
	t.Helper()
	s := conformance.Suite{Brokers: brokers(t), Sizes: conformance.RealKafka, Protocols: protocols}
	switch {
	case testing.Short():
		s.Sizes = conformance.Short
	case *long:
		s.Sizes, s.Protocols, s.Full = conformance.Long, []string{"classic", "consumer"}, true
	}
	return s
}

// TestPromises runs the conformance suite.
func TestPromises(t *testing.T) {
	t.Parallel()
	promises(t, "classic", "consumer").Run(t)
}

// TestPromisesWithConcurrency runs it with many keys of each partition in flight at once.
func TestPromisesWithConcurrency(t *testing.T) {
	notShort(t)
	t.Parallel()
	s := promises(t, "consumer")
	s.Concurrency = 8
	s.Run(t)
}

// TestPromisesWithBatches runs it with BatchConsumers.
func TestPromisesWithBatches(t *testing.T) {
	notShort(t)
	t.Parallel()
	s := promises(t, "classic")
	s.Batches = true
	s.Run(t)
}

// TestMetricsTellWhatHappened runs it with all middleware on, tracing too, and compares every counter with other witnesses. The
// backlog is never large: what is to be proved here is the counting.
func TestMetricsTellWhatHappened(t *testing.T) {
	notShort(t)
	t.Parallel()
	spans := &spanCounter{}
	provider := tracing.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans)))
	s := promises(t, "consumer")
	s.Sizes = conformance.RealKafka
	s.Consuming = []kafka.ConsumerPlugin{tracing.ConsumerMiddleware(provider)}
	s.Producing = []kafka.ProducerPlugin{tracing.ProducerMiddleware(provider)}
	s.RunWithAllMiddleware(t)
	begun, ended, processed := spans.begun.Load(), spans.ended.Load(), spans.processed.Load()
	t.Logf("%d spans, %d of them of attempts", ended, processed)
	if begun != ended || processed < int64(s.Sizes.Rebalance*len(s.Protocols)) || ended == processed {
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
