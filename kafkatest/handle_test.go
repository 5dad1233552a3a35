package kafkatest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
	"github.com/skeji/kafka/kafkatest/internal/suite"
)

func TestHandleSaysWhatWouldBecomeOfAMessage(t *testing.T) {
	t.Parallel()
	none := kafka.NewConsumerConfig("bookings", "group")
	none.DisableDeadLetters, none.MaxRetries = true, kafka.NoRetries
	away := errors.New("away")
	putOff := kafka.NewConsumerConfig("bookings", "group")
	putOff.RetryDelays = []time.Duration{time.Minute}
	for name, c := range map[string]struct {
		err     error
		attempt int
		cfg     kafka.ConsumerConfig
		want    kafkatest.Result
	}{
		"nil":                       {want: kafkatest.Result{Outcome: kafka.OutcomeHandled}},
		"no class":                  {err: away, want: kafkatest.Result{Class: kafka.ClassTransient, Retried: true}},
		"transient":                 {err: kafka.NewTransientError("", away), attempt: 3, want: kafkatest.Result{Class: kafka.ClassTransient, Retried: true}},
		"transient, last attempt":   {err: away, attempt: 4, want: kafkatest.Result{Class: kafka.ClassTransient, Outcome: kafka.OutcomeDeadLettered}},
		"transient, put off":        {err: away, attempt: 4, cfg: putOff, want: kafkatest.Result{Class: kafka.ClassTransient, Outcome: kafka.OutcomePutOff}},
		"permanent, not put off":    {err: kafka.NewPermanentError("", away), cfg: putOff, want: kafkatest.Result{Class: kafka.ClassPermanent, Outcome: kafka.OutcomeDeadLettered}},
		"transient, no retries":     {err: away, cfg: none, want: kafkatest.Result{Class: kafka.ClassTransient, Outcome: kafka.OutcomeLeft}},
		"permanent":                 {err: kafka.NewPermanentError("", away), want: kafkatest.Result{Class: kafka.ClassPermanent, Outcome: kafka.OutcomeDeadLettered}},
		"permanent, no dead letter": {err: kafka.NewPermanentError("", away), cfg: none, want: kafkatest.Result{Class: kafka.ClassPermanent, Outcome: kafka.OutcomeLeft}},
		"business":                  {err: kafka.NewBusinessError("", away), cfg: none, want: kafkatest.Result{Class: kafka.ClassBusiness, Outcome: kafka.OutcomeRejected}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.cfg
			if cfg.Topic == "" {
				cfg = kafka.NewConsumerConfig("bookings", "group")
			}
			msg := suite.BookingOf(1)
			msg.Attempt = c.attempt
			got := kafkatest.HandleWith(t, cfg, kafka.JSON[suite.Booking](), func(_ context.Context, msg kafka.Message[suite.Booking]) error {
				if want := msg.Attempt > cfg.MaxRetries && len(cfg.RetryDelays) == 0; msg.LastAttempt != want {
					t.Errorf("attempt %d: last %t, want %t", msg.Attempt, msg.LastAttempt, want)
				}
				return c.err
			}, msg)
			c.want.Err = c.err
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTheHandlerGetsWhatAConsumerWouldGiveIt(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 123_456_789, time.UTC)
	sent := kafka.NewMessage[suite.Booking]().WithKey("k").WithValue(suite.Booking{Seats: 2}).WithCorrelationID("c").WithTimestamp(at).Build()
	sent.Topic, sent.Partition, sent.Offset, sent.Attempt = "bookings", 2, 7, 3
	var got kafka.Message[suite.Booking]
	result := kafkatest.Handle(t, func(_ context.Context, msg kafka.Message[suite.Booking]) error {
		got = msg
		return nil
	}, sent)
	if result.Err != nil || got.Topic != "bookings" || got.Partition != 2 || got.Offset != 7 || got.Attempt != 3 || got.Key != "k" ||
		got.Value.Seats != 2 || got.GetCorrelationID() != "c" || got.GetMessageID() != sent.GetMessageID() || !got.Timestamp.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("%+v; got %+v", result, got)
	}
	if contentType, _ := got.Header(kafka.HeaderContentType); contentType != "application/json" {
		t.Errorf("content type %q", contentType)
	}

	var plain kafka.Message[suite.Booking]
	kafkatest.Handle(t, func(_ context.Context, msg kafka.Message[suite.Booking]) error {
		plain = msg
		return nil
	}, kafka.Message[suite.Booking]{})
	if plain.Topic == "" || plain.Attempt != 1 || plain.GetMessageID() == "" || plain.Timestamp.IsZero() {
		t.Errorf("of an empty message: %+v", plain)
	}
}

// What the publisher and the consumer call the same need not be the same type.
func TestHandleTakesAnotherPublishersType(t *testing.T) {
	t.Parallel()
	type theirs struct{ Seats string }
	msg := kafka.NewMessage[theirs]().WithValue(theirs{"two"}).Build()
	called := false
	result := kafkatest.Handle(t, func(context.Context, kafka.Message[suite.Booking]) error {
		called = true
		return nil
	}, msg)
	if _, is := errors.AsType[*kafka.DecodeError](result.Err); !is || called || result.Outcome != kafka.OutcomeDeadLettered {
		t.Errorf("got %+v; called: %v", result, called)
	}
}

func TestHandleWithARouter(t *testing.T) {
	t.Parallel()
	router := kafka.NewRouter()
	var got suite.Booking
	kafka.On(router, "booking.create", func(_ context.Context, msg kafka.Message[suite.Booking]) error {
		got = msg.Value
		return nil
	})
	if result := kafkatest.Handle(t, router.Handle, suite.BookingOf(2)); result.Err != nil || got.Seats != 2 {
		t.Errorf("%+v; got %+v", result, got)
	}
	other := kafka.NewMessage[suite.Booking]().WithEventType("booking.lost").Build()
	if result := kafkatest.Handle(t, router.Handle, other); !errors.Is(result.Err, kafka.ErrUnknownEventType) || result.Outcome != kafka.OutcomeDeadLettered {
		t.Errorf("got %+v", result)
	}
}

func TestPanicsAreContained(t *testing.T) {
	t.Parallel()
	result := kafkatest.Handle(t, func(context.Context, kafka.Message[suite.Booking]) error { panic("no table") }, suite.BookingOf(1))
	if panicked, is := errors.AsType[*kafka.PanicError](result.Err); !is || panicked.Value != "no table" || len(panicked.Stack) == 0 || result.Class != kafka.ClassPermanent {
		t.Errorf("got %+v", result)
	}
	cfg := kafka.NewConsumerConfig("bookings", "group")
	result = kafkatest.HandleWith(t, cfg, kafka.Codec[suite.Booking](panickingCodec{kafka.JSON[suite.Booking]()}), func(context.Context, kafka.Message[suite.Booking]) error { return nil }, suite.BookingOf(1))
	if panicked, is := errors.AsType[*kafka.PanicError](result.Err); !is || panicked.Value != "no codec" {
		t.Errorf("got %+v", result)
	}
}

type panickingCodec struct{ kafka.Codec[suite.Booking] }

func (panickingCodec) Decode([]byte, *suite.Booking) error { panic("no codec") }

func TestHandleHeedsTheConfig(t *testing.T) {
	t.Parallel()
	cfg := kafka.NewConsumerConfig("bookings", "group")
	tombstone := kafka.NewMessage[suite.Booking]().WithKey("k").WithTombstone().Build()
	var got kafka.Message[suite.Booking]
	handle := func(_ context.Context, msg kafka.Message[suite.Booking]) error {
		got = msg
		return nil
	}
	if result := kafkatest.HandleWith(t, cfg, kafka.JSON[suite.Booking](), handle, tombstone); !errors.Is(result.Err, kafka.ErrTombstone) {
		t.Errorf("a tombstone: %+v", result)
	}
	cfg.HandleTombstones = true
	if result := kafkatest.HandleWith(t, cfg, kafka.JSON[suite.Booking](), handle, tombstone); result.Err != nil || !got.Tombstone {
		t.Errorf("a tombstone that is handled: %+v, %+v", result, got)
	}
	cfg.MaxHeaders = 1
	if result := kafkatest.HandleWith(t, cfg, kafka.JSON[suite.Booking](), handle, suite.BookingOf(1)); !errors.Is(result.Err, kafka.ErrHeaderLimit) {
		t.Errorf("more headers than one: %+v", result)
	}
}

// The handler is on the test's goroutine: what it asserts may end the test.
func TestAHandlerMayEndTheTest(t *testing.T) {
	t.Parallel()
	mustFail(t, func(t testing.TB) {
		kafkatest.Handle(t, func(_ context.Context, msg kafka.Message[suite.Booking]) error {
			t.Fatalf("%d seats", msg.Value.Seats)
			return nil
		}, suite.BookingOf(1))
		t.Errorf("it went on")
	}, "1 seats")
	mustFail(t, func(t testing.TB) {
		kafkatest.Handle(t, func(context.Context, kafka.Message[suite.Booking]) error { return nil }, kafka.Message[*suite.Booking]{})
	}, "encode value")
}

func TestHandleBatchSaysWhatWouldBecomeOfEach(t *testing.T) {
	t.Parallel()
	away, bad := errors.New("away"), kafka.NewPermanentError("bad", nil)
	retried, dead, done := "retried", string(kafka.OutcomeDeadLettered), string(kafka.OutcomeHandled)
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"nil":               {nil, []string{done, done, done}},
		"of all, transient": {away, []string{retried, retried, retried}},
		"of all, permanent": {bad, []string{retried, retried, retried}}, // one by one
		"business":          {kafka.NewBusinessError("full", nil), []string{"rejected", "rejected", "rejected"}},
		"named":             {kafka.BatchError{0: away, 2: bad}, []string{retried, done, dead}},
		"named, wrapped":    {errors.Join(kafka.BatchError{1: bad}), []string{done, dead, done}},
		"not handled":       {kafka.BatchError{1: bad, 2: kafka.ErrNotHandled}, []string{done, dead, retried}},
		"named none":        {kafka.BatchError{}, []string{retried, retried, retried}}, // one by one
		"named wrongly":     {kafka.BatchError{3: bad}, []string{retried, retried, retried}},
	} {
		t.Run(name, func(t *testing.T) {
			results := kafkatest.HandleBatch(t, func(_ context.Context, batch []kafka.Message[suite.Booking]) error {
				if len(batch) != 3 || batch[2].Value.Seats != 3 || batch[2].Offset != 2 || batch[2].Attempt != 1 {
					t.Errorf("the handler got %+v", batch)
				}
				return c.err
			}, suite.BookingOf(1), suite.BookingOf(2), suite.BookingOf(3))
			if got := outcomes(results); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func outcomes(results []kafkatest.Result) (list []string) {
	for _, result := range results {
		if result.Retried {
			list = append(list, "retried"+string(result.Outcome))
		} else {
			list = append(list, string(result.Outcome))
		}
	}
	return list
}

// One that can't be decoded is no message of the batch; an error of the others is by place among those that are.
func TestHandleBatchKeepsBackWhatCantBeDecoded(t *testing.T) {
	t.Parallel()
	bad := kafka.NewMessage[[]byte]().WithValue([]byte("no JSON")).Build()
	good := kafka.NewMessage[[]byte]().WithValue([]byte(`{"seats":1}`)).Build()
	handle := func(_ context.Context, batch []kafka.Message[suite.Booking]) error {
		return kafka.BatchError{len(batch) - 1: kafka.NewPermanentError("full", nil)}
	}
	dead, done := string(kafka.OutcomeDeadLettered), string(kafka.OutcomeHandled)
	if got := outcomes(kafkatest.HandleBatch(t, handle, bad, good, good)); !slices.Equal(got, []string{dead, done, dead}) {
		t.Errorf("got %v", got)
	}
	if got := outcomes(kafkatest.HandleBatch(t, handle, bad)); !slices.Equal(got, []string{dead}) {
		t.Errorf("got %v", got)
	}
	// At the last attempt: what was not handled has not had it.
	good.Attempt = kafka.NewConsumerConfig("", "").MaxRetries + 1
	stops := func(_ context.Context, batch []kafka.Message[suite.Booking]) error {
		return kafka.FailedAt(batch, 0, errors.New("away"))
	}
	if got := outcomes(kafkatest.HandleBatch(t, stops, good, good)); !slices.Equal(got, []string{dead, "retried"}) {
		t.Errorf("got %v", got)
	}
	panics := func(context.Context, []kafka.Message[suite.Booking]) error { panic("no table") }
	results := kafkatest.HandleBatch(t, panics, good)
	if _, is := errors.AsType[*kafka.PanicError](results[0].Err); !is || results[0].Outcome != kafka.OutcomeDeadLettered {
		t.Errorf("a panic: %+v", results)
	}
}
