package kafkatest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Run starts a consumer, such as a [kafka.Consumer] or a [kafka.BatchConsumer], and closes it at the test's end, or when stop is
// called. It returns at once: wait for what the consumer does. The test fails if Start or Close returns an error.
func Run(t testing.TB, consumer interface {
	Start(ctx context.Context) error
	Close() error
}, options ...RunOption) (stop func()) {
	t.Helper()
	run := func(ctx context.Context) error {
		err := consumer.Start(ctx)
		if closing := consumer.Close(); err == nil {
			err = closing
		}
		return err
	}
	return RunFunc(t, run, options...)
}

// RunOption changes [Run] and [RunFunc].
type RunOption func(*running)

// running is what options change.
type running struct{ patience time.Duration }

// EndsWithin sets how long stop, or the test's end, waits for what runs to end before the test fails. Default 30s.
func EndsWithin(d time.Duration) RunOption { return func(r *running) { r.patience = d } }

// RunFunc is [Run] with a whole service: what its main calls with a context that SIGTERM ends. See [Broker.Env].
func RunFunc(t testing.TB, run func(ctx context.Context) error, options ...RunOption) (stop func()) {
	t.Helper()
	set := running{patience: patience}
	for _, option := range options {
		option(&set)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // so that stop ends it, and not the cleanups before
	ended := make(chan struct{})
	var abandoned atomic.Bool // the test may be over: it takes no more errors
	go func() {               // stop waits for it
		defer close(ended)
		if err := run(ctx); err != nil && !abandoned.Load() {
			t.Errorf("kafkatest: what runs has ended: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() {
		t.Helper()
		cancel()
		select {
		case <-ended:
		case <-time.After(set.patience):
			abandoned.Store(true)
			t.Errorf("kafkatest: what runs does not end: its context did so %v ago", set.patience)
		}
	})
	t.Cleanup(stop)
	return stop
}
