// Package container has a [kafkatest.Broker] on real Kafka, in a container of Docker's: the tests that run on [kafkatest.Start] run on
// it, too. It is a module of its own, so that testcontainers' dependencies are only with those who ask for it.
//
//	func TestOnKafka(t *testing.T) {
//		if err := container.Available(t.Context()); err != nil {
//			t.Skip("no Docker: ", err) // or t.Fatal, where there must be one
//		}
//		broker := container.Start(t, "orders")
//		…
//	}
//
// A container takes some seconds to start, and a few hundred MB. Start one in a test that has the others as subtests, each with topics
// of its own ([kafkatest.Broker.CreateTopic]).
//
// The image is confluentinc/confluent-local, or the one that the variable KAFKA_TEST_IMAGE names: one that testcontainers' Kafka
// module can run.
package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	tckafka "github.com/testcontainers/testcontainers-go/modules/kafka"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

const (
	defaultImage = "confluentinc/confluent-local:7.5.0"
	startTimeout = 5 * time.Minute // with the pull of the image
)

// Available returns nil if Docker answers.
func Available(ctx context.Context) error {
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return fmt.Errorf("container: docker does not answer: %w", err)
	}
	return docker.Close()
}

// Start starts Kafka, with topics of three partitions and their dead letter topics, as [kafkatest.Start] does. The container is gone
// when the test ends.
func Start(t testing.TB, topics ...string) *kafkatest.Broker {
	t.Helper()
	image := os.Getenv("KAFKA_TEST_IMAGE")
	if image == "" {
		image = defaultImage
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := pull(ctx, image); err != nil {
		t.Fatalf("container: %v", err)
	}
	container, err := tckafka.Run(ctx, image, testcontainers.WithLogger(log.NewNoopLogger()), // its errors reach us as errors
		testcontainers.WithEnv(map[string]string{
			"KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false", // a topic that nobody created is missing, as in production
		}))
	t.Cleanup(func() { // also of one that did not come up
		// No grace: the container's first process is a shell that ignores SIGTERM, for which Docker would wait 10 s.
		if err := testcontainers.TerminateContainer(container, testcontainers.StopTimeout(0)); err != nil {
			t.Errorf("container: stop Kafka: %v", err)
		}
	})
	if err != nil {
		t.Fatalf("container: start %s: %v", image, err)
	}
	brokers, err := container.Brokers(ctx)
	if err != nil {
		t.Fatalf("container: %v", err)
	}
	return kafkatest.Connect(t, kafka.ClientConfig{Brokers: brokers}, topics...)
}

// pull fetches the image when Docker lacks it. It tries once: testcontainers would try for a quarter of an hour where there is no
// network.
func pull(ctx context.Context, image string) (err error) {
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return fmt.Errorf("docker does not answer: %w", err)
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	if _, err := docker.ImageInspect(ctx, image); err == nil {
		return nil
	}
	progress, err := docker.ImagePull(ctx, image, client.ImagePullOptions{})
	if err == nil {
		err = progress.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	return nil
}
