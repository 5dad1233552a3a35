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
