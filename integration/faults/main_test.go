package faults

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

// TestMain is also the main of the processes that tests start.
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(child(role))
	}
	os.Exit(m.Run())
}

// clusterBrokers is the bootstrap list of the three brokers.
func clusterBrokers(t *testing.T) []string {
	t.Helper()
	list := os.Getenv("KAFKA_TEST_CLUSTER_BROKERS")
	if list == "" {
		t.Skip("SKIPPED: KAFKA_TEST_CLUSTER_BROKERS names no cluster")
	}
	return strings.Split(list, ",")
}

func goexit() { runtime.Goexit() }
