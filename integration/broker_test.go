package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	tckafka "github.com/testcontainers/testcontainers-go/modules/kafka"

	"github.com/skeji/kafka/integration/internal/cluster"
	"github.com/skeji/kafka/internal/hostile"
)

const (
	defaultImage = "confluentinc/confluent-local:7.5.0"

	// containerStartTimeout includes the pull of the image.
	containerStartTimeout = 5 * time.Minute
)

var (
	long = flag.Bool("long", false, "large backlogs, and every variant of a test; the default is a selection that takes minutes")

	errNoBroker = errors.New("no Kafka to test against: start Docker, or set KAFKA_BROKERS to one")

	// findBroker runs once, since starting a container takes seconds.
	findBroker = sync.OnceValues(func() ([]string, error) {
		seeds, from, err := chooseBroker()
		if err != nil {
			// Standard error too: without -v, go test shows nothing of a skip.
			fmt.Fprintln(os.Stderr, "integration: THE TESTS THAT NEED A BROKER DO NOT RUN:", err)
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "integration: broker %s (%s)\n", strings.Join(seeds, ","), from)
		return seeds, nil
	})

	// container is set by findBroker, and terminated by TestMain.
	container *tckafka.KafkaContainer
)

func TestMain(m *testing.M) {
	hostile.BeVictim()
	tclog.SetDefault(tclog.NewNoopLogger()) // twenty lines a run; its errors reach us as errors
	cluster.RunSideBySide(12)
	code := m.Run()
	if n := len(leftOut.names); n > 0 {
		fmt.Fprintf(os.Stderr, "integration: -short LEFT OUT %d TESTS; \"cd integration && go test -count=1\" runs them: %s\n", n, strings.Join(leftOut.names, ", "))
	}
	// No grace: the container's first process is a shell that ignores SIGTERM, and Docker would wait 10 s for it.
	if err := testcontainers.TerminateContainer(container, testcontainers.StopTimeout(0)); err != nil {
		fmt.Fprintln(os.Stderr, "integration: stop the broker's container:", err)
	}
	os.Exit(code)
}

// brokers returns the bootstrap list of a plaintext listener of the broker that all tests share.
// Where there is no broker it skips t; where one is promised and missing, it fails t.
func brokers(t *testing.T) []string {
	t.Helper()
	seeds, err := findBroker()
	switch {
	case errors.Is(err, errNoBroker):
		t.Skip("SKIPPED:", err)
	case err != nil:
		t.Fatal(err)
	}
	return seeds
}

// rounds is how often a test repeats what it is about.
func rounds(normally, withLong int) int {
	if *long {
		return withLong
	}
	return normally
}

// notShort skips t with -short. TestMain lists such tests at the end.
func notShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		leftOut.Lock()
		defer leftOut.Unlock()
		leftOut.names = append(leftOut.names, t.Name())
		t.Skip("SKIPPED: -short")
	}
}

var leftOut struct {
	sync.Mutex
	names []string
}

// chooseBroker returns the bootstrap list of the broker to use, and where it is from.
func chooseBroker() (seeds []string, from string, err error) {
	containers := os.Getenv("KAFKA_TEST_CONTAINERS")
	why := errors.New("KAFKA_TEST_CONTAINERS=off")
	if containers != "off" {
		image := os.Getenv("KAFKA_TEST_IMAGE")
		if image == "" {
			image = defaultImage
		}
		if why = startContainer(image); why == nil {
			seeds, err = container.Brokers(context.Background())
			return seeds, "container of " + image, err
		}
		if containers == "required" {
			return nil, "", fmt.Errorf("KAFKA_TEST_CONTAINERS=required: %w", why)
		}
	}
	for seed := range strings.SplitSeq(os.Getenv("KAFKA_BROKERS"), ",") {
		if seed = strings.TrimSpace(seed); seed != "" {
			seeds = append(seeds, seed)
		}
	}
	if len(seeds) == 0 {
		return nil, "", fmt.Errorf("%w (no container: %w)", errNoBroker, why)
	}
	return seeds, fmt.Sprintf("KAFKA_BROKERS; no container: %v", why), nil
}

func startContainer(image string) error {
	ctx, cancel := context.WithTimeout(context.Background(), containerStartTimeout)
	defer cancel()
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return fmt.Errorf("docker does not answer: %w", err)
	}
	defer docker.Close()
	if err := pull(ctx, docker, image); err != nil {
		return fmt.Errorf("pull %s: %w", image, err)
	}
	container, err = tckafka.Run(ctx, image, testcontainers.WithEnv(map[string]string{
		// Like a cluster in production: a topic that nobody created must stay missing.
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
	}))
	if err != nil {
		return fmt.Errorf("start a container of %s: %w", image, err)
	}
	return nil
}

// pull fetches the image when Docker lacks it. It tries once: left to testcontainers, a pull without a network
// is retried for a quarter of an hour.
func pull(ctx context.Context, docker *testcontainers.DockerClient, image string) error {
	if _, err := docker.ImageInspect(ctx, image); err == nil {
		return nil
	}
	progress, err := docker.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	return progress.Wait(ctx)
}
