package container_test

import (
	"os"
	"testing"

	"github.com/skeji/kafka/kafkatest/container"
	"github.com/skeji/kafka/kafkatest/internal/suite"
)

// TestTheBrokerInAContainer is what package kafkatest's own tests run on the broker in process. KAFKA_TEST_CONTAINERS=off forbids
// containers; =required makes the lack of Docker a failure.
func TestTheBrokerInAContainer(t *testing.T) {
	containers := os.Getenv("KAFKA_TEST_CONTAINERS")
	if containers == "off" {
		t.Skip("SKIPPED: KAFKA_TEST_CONTAINERS=off")
	}
	if err := container.Available(t.Context()); err != nil && containers != "required" {
		t.Skip("SKIPPED: ", err)
	}
	suite.Run(t, container.Start(t))
}
