package kafkatest_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
	"github.com/skeji/kafka/kafkatest/internal/suite"
)

// fakeConsumer ends when its context does, or with failure.
type fakeConsumer struct {
	failure, closing error
	closed           atomic.Int32
}

func (c *fakeConsumer) Start(ctx context.Context) error {
	if c.failure == nil {
		<-ctx.Done()
	}
	return c.failure
}

func (c *fakeConsumer) Close() error {
	c.closed.Add(1)
	return c.closing
}

func TestRunEndsWithTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forgotten, stopped := &fakeConsumer{}, &fakeConsumer{}
		t.Cleanup(func() { // after the cleanups of Run
			if forgotten.closed.Load() != 1 || stopped.closed.Load() != 1 {
				t.Errorf("closed %d and %d times, want once each", forgotten.closed.Load(), stopped.closed.Load())
			}
		})
		kafkatest.Run(t, forgotten)
		stop := kafkatest.Run(t, stopped)
		synctest.Wait()
		if forgotten.closed.Load() != 0 || stopped.closed.Load() != 0 {
			t.Error("closed before the end")
		}
		stop()
		if stopped.closed.Load() != 1 {
			t.Error("stop returned before Close was called")
		}
		stop()
	})
}

func TestRunTellsErrors(t *testing.T) {
	for _, c := range []*fakeConsumer{{failure: errors.New("no such topic")}, {closing: errors.New("no such topic")}} {
		mustFail(t, func(t testing.TB) { kafkatest.Run(t, c)() }, "no such topic")
		if c.closed.Load() != 1 {
			t.Errorf("closed %d times, want once", c.closed.Load())
		}
	}
}

// It is an error at the moment when it happens, not only at the test's end.
func TestRunTellsErrorsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := kafkatest.StartInBubble(t)
		f := &fakeTest{TB: t}
		consumer, err := kafka.NewConsumer(b.ConsumerConfig("absent", "group"), func(context.Context, kafka.Message[suite.Booking]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		kafkatest.Run(f, consumer)
		time.Sleep(time.Minute)
		if !strings.Contains(f.text(), "absent") {
			t.Errorf("told %q", f.text())
		}
	})
}

func TestWhatDoesNotEndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang, f := make(chan struct{}), &fakeTest{TB: t}
		f.run(func(t testing.TB) {
			stop := kafkatest.RunFunc(t, func(context.Context) error {
				<-hang
				return errors.New("too late to be told")
			})
			stop()
		})
		close(hang)
		synctest.Wait()
		if !f.Failed() || strings.Contains(f.text(), "too late") {
			t.Errorf("told %q", f.text())
		}
	})
}

// How long the end of what runs is waited for can be set.
func TestTheWaitForAnEndLastsAsLongAsIsAsked(t *testing.T) {
	for want, options := range map[time.Duration][]kafkatest.RunOption{
		30 * time.Second: nil, 2 * time.Second: {kafkatest.EndsWithin(2 * time.Second)}, time.Hour: {kafkatest.EndsWithin(time.Hour)},
	} {
		synctest.Test(t, func(t *testing.T) {
			hang := make(chan struct{})
			begun := time.Now()
			mustFail(t, func(t testing.TB) {
				kafkatest.RunFunc(t, func(context.Context) error { <-hang; return nil }, options...)()
			}, "did so "+want.String()+" ago")
			if took := time.Since(begun); took != want {
				t.Errorf("waited for %v, want %v", took, want)
			}
			begun = time.Now()
			mustFail(t, func(t testing.TB) { kafkatest.Run(t, hanging(hang), options...)() }, "did so "+want.String()+" ago")
			if took := time.Since(begun); took != want {
				t.Errorf("a consumer was waited for for %v, want %v", took, want)
			}
			close(hang)
		})
	}
}

// hanging is a consumer that does not end before it is closed.
type hanging chan struct{}

func (h hanging) Start(context.Context) error { <-h; return nil }
func (h hanging) Close() error                { return nil }

// A handler that hangs doesn't hold up the test's end for long, and is told.
func TestAHandlerThatHangsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := kafkatest.StartInBubble(t, "bookings")
		begun := make(chan struct{})
		consumer, err := kafka.NewConsumer(b.ConsumerConfig("bookings", "group"), func(ctx context.Context, _ kafka.Message[suite.Booking]) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		kafkatest.Publish(t, b, "bookings", suite.BookingOf(1))
		mustFail(t, func(t testing.TB) {
			stop := kafkatest.Run(t, consumer)
			<-begun
			stop()
		}, kafka.ErrDrainTimeout.Error(), "5s")
	})
}
