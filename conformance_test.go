package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka/internal/conformance"
)

func suite(t *testing.T, protocols ...string) conformance.Suite {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{
		"group.consumer.heartbeat.interval.ms": "200", // how soon a member hears of a rebalance
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return conformance.Suite{Brokers: cluster.ListenAddrs(), Sizes: conformance.InProcess, Protocols: protocols}
}

// TestPromises runs the conformance suite on an in-process broker. The integration module runs it on real Kafka.
func TestPromises(t *testing.T) { suite(t, "classic", "consumer").Run(t) }

// TestPromisesWithConcurrency runs it with many keys of each partition in flight at once.
func TestPromisesWithConcurrency(t *testing.T) {
	s := suite(t, "consumer")
	s.Concurrency = 8
	s.Run(t)
}

// TestPromisesWithBatches runs it with BatchConsumers.
func TestPromisesWithBatches(t *testing.T) {
	s := suite(t, "classic")
	s.Batches = true
	s.Run(t)
}

// TestMetricsTellWhatHappened runs it with all middleware on, and compares every counter with other witnesses.
func TestMetricsTellWhatHappened(t *testing.T) { suite(t, "consumer").RunWithAllMiddleware(t) }
