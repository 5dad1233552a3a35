package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
)

func TestAnAttemptHasADeadlineOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var cause error
		handle := consuming(middleware.TimeoutConsumerMiddleware(5 * time.Second))(func(ctx context.Context, _ *kafka.Record) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return fmt.Errorf("query: %w", ctx.Err())
		})
		for attempt := range 2 { // each has all of it
			err := handle(t.Context(), record())
			if !errors.Is(err, middleware.ErrAttemptTimeout) || !errors.Is(err, context.DeadlineExceeded) || kafka.ClassOf(err) != kafka.ClassTransient {
				t.Errorf("attempt %d: %v (class %s), want a transient timeout", attempt, err, kafka.ClassOf(err))
			}
			if !errors.Is(cause, middleware.ErrAttemptTimeout) {
				t.Errorf("the context's cause is %v", cause)
			}
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("two attempts took %v", took)
		}
	})
}

func TestATimeoutChangesNoOtherOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, cancelOwn := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancelOwn()
		<-own.Done()
		for name, want := range map[string]error{
			"handled": nil, "failed": errors.New("away"), "business": kafka.NewBusinessError("declined", nil),
			"a deadline of the handler's own": own.Err(),
		} {
			handle := consuming(middleware.TimeoutConsumerMiddleware(5 * time.Second))(func(context.Context, *kafka.Record) error { return want })
			if err := handle(t.Context(), record()); err != want {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		// A class that the handler gives is kept.
		handle := consuming(middleware.TimeoutConsumerMiddleware(time.Second))(func(ctx context.Context, _ *kafka.Record) error {
			<-ctx.Done()
			return kafka.NewPermanentError("query", ctx.Err())
		})
		if err := handle(t.Context(), record()); kafka.ClassOf(err) != kafka.ClassPermanent {
			t.Errorf("%v is %s, want permanent", err, kafka.ClassOf(err))
		}
		// The consumer's own end of the context is no timeout.
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(kafka.ErrPartitionLost)
		handle = consuming(middleware.TimeoutConsumerMiddleware(time.Second))(func(ctx context.Context, _ *kafka.Record) error { return context.Cause(ctx) })
		if err := handle(ctx, record()); !errors.Is(err, kafka.ErrPartitionLost) || errors.Is(err, middleware.ErrAttemptTimeout) {
			t.Errorf("got %v, want ErrPartitionLost alone", err)
		}
	})
}

func TestAPanicOfMiddlewareIsAnErrorOutside(t *testing.T) {
	handle := consuming(middleware.RecoveryConsumerMiddleware())(func(context.Context, *kafka.Record) error { panic("MARK") })
	err := handle(t.Context(), record())
	panicked, ok := errors.AsType[*kafka.PanicError](err)
	if !ok || panicked.Value != "MARK" || len(panicked.Stack) == 0 || kafka.ClassOf(err) != kafka.ClassPermanent {
		t.Errorf("got %v", err)
	}
}
