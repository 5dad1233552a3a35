package integration

import (
	"testing"

	"github.com/skeji/kafka/internal/conformance"
)

// TestPromises runs the conformance suite on real Kafka.
func TestPromises(t *testing.T) {
	conformance.Suite{
		Brokers: brokers(t), Backlog: 100_000, Protocols: []string{"classic", "consumer"},
	}.Run(t)
}

// TestMetricsTellWhatHappened runs it with all middleware on, and compares every counter with other witnesses. The backlog is
// smaller: what is to be proved here is the counting.
func TestMetricsTellWhatHappened(t *testing.T) {
	conformance.Suite{
		Brokers: brokers(t), Backlog: 20_000, Protocols: []string{"classic", "consumer"},
	}.RunWithAllMiddleware(t)
}
