// Package platform is what the example services have in common: how they start and end, the shape of their topics, and how
// they serve HTTP.
package platform

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// Main runs a service until SIGTERM, and exits with 1 if it ended with an error.
func Main(run func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("service ended", "error", err)
		os.Exit(1)
	}
}

// Connect returns a client of the cluster, once the topics are there that the service uses.
func Connect(ctx context.Context, cfg kafka.ClientConfig, list topics.List) (*kafka.Client, error) {
	client, err := kafka.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	if err := topics.Ensure(ctx, client, list...); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// Topics are topics as the platform has them. examples/topics.yaml says the same.
func Topics(names ...string) (list topics.List) {
	for _, name := range names {
		list = append(list, topics.New(name, 12).WithRetention(7*24*time.Hour))
	}
	return list
}

// Consumer is a kafka.Consumer of any type.
type Consumer interface {
	kafka.HealthReporter
	kafka.Runner
}

// Consume serves the consumers' probes and consumes until ctx ends, or one of them fails: a service with one deaf ear is
// better started again.
func Consume(ctx context.Context, consumers ...Consumer) error {
	reporters := make([]kafka.HealthReporter, len(consumers))
	runners := make([]kafka.Runner, len(consumers))
	for i, consumer := range consumers {
		reporters[i], runners[i] = consumer, consumer
	}
	probes, err := ServeProbes(reporters...)
	if err != nil {
		return err
	}
	defer probes.Close()
	return kafka.Run(ctx, runners...)
}
