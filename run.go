package kafka

import (
	"context"
	"errors"
	"sync"
)

// Runner is a part of a service that [Run] runs: a [Consumer], a [BatchConsumer], or a server of the service's own.
type Runner interface {
	// Start runs until ctx ends, and then returns nil. An error is why it ended before that, or did not end well.
	Start(ctx context.Context) error
	// Close releases what the runner holds. Run calls it once Start has returned.
	Close() error
}

// Run starts the runners together and returns once all of them have ended, which they do when ctx ends. The first one
// whose Start returns an error ends the others too; one whose Start returns nil does not. Then Run closes them, in the
// order of the arguments, whatever their Start returned.
//
// Run returns all errors of Start and Close, joined, or nil.
func Run(ctx context.Context, runners ...Runner) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, 2*len(runners)) // first those of Start
	var running sync.WaitGroup
	for i, runner := range runners {
		running.Go(func() {
			if errs[i] = runner.Start(ctx); errs[i] != nil {
				stop()
			}
		})
	}
	running.Wait()
	for i, runner := range runners {
		errs[len(runners)+i] = runner.Close()
	}
	return errors.Join(errs...)
}

// Consume consumes a topic of JSON as a member of a group until ctx ends, with the settings of the environment: it is
// [NewConsumerConfigFromEnv], [NewConsumer] and [Run] in one. Its error is that of the first of these that fails.
//
//	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
//	defer stop()
//	err := kafka.Consume(ctx, "bookings", "bookings-service", handle)
func Consume[T any](ctx context.Context, topic, group string, handle Handler[T], plugins ...ConsumerPlugin) error {
	cfg, err := NewConsumerConfigFromEnv(topic, group)
	if err != nil {
		return err
	}
	consumer, err := NewConsumer(cfg, handle, plugins...)
	if err != nil {
		return err
	}
	return Run(ctx, consumer)
}
