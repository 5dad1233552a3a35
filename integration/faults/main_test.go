package faults

import (
	"os"
	"runtime"
	"testing"

	"github.com/skeji/kafka/integration/internal/cluster"
)

// TestMain is also the main of the processes that tests start.
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(child(role))
	}
	cluster.RunSideBySide(8)
	os.Exit(m.Run())
}

// clusterBrokers is the bootstrap list of the three brokers.
func clusterBrokers(t *testing.T) []string {
	t.Helper()
	brokers := cluster.Brokers()
	if len(brokers) == 0 {
		t.Skip("SKIPPED: KAFKA_TEST_CLUSTER_BROKERS names no cluster")
	}
	return brokers
}

func goexit() { runtime.Goexit() }
