package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka/internal/conformance"
)

// TestPromises runs the conformance suite on an in-process broker. The integration module runs it on real Kafka.
func TestPromises(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{
		"group.consumer.heartbeat.interval.ms": "200", // how soon a member hears of a rebalance
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	conformance.Suite{
		Brokers: cluster.ListenAddrs(), Backlog: 10_000, Protocols: []string{"classic", "consumer"},
	}.Run(t)
}
