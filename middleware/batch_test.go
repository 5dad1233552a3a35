package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
)

// aroundBatches returns what a plugin puts around batches.
func aroundBatches(plugin kafka.ConsumerPlugin) kafka.BatchMiddleware {
	_, hooks := plugin.ForConsumer(kafka.ConsumerInfo{
		Topic: "orders", Group: "bookings", Logger: slog.Default(), Health: func() kafka.Health { return kafka.Health{} },
	})
	return hooks.Batches
}

// records are n first attempts.
func records(n int) (all []*kafka.Record) {
	for i := range n {
		all = append(all, &kafka.Record{Record: &kgo.Record{Topic: "orders", Partition: 3, Offset: int64(40 + i)}, Group: "bookings", Attempt: 1})
	}
	return all
}

type unspeakable struct{}

func (unspeakable) Error() string { panic("MARK") }
func (unspeakable) Unwrap() error { panic("MARK") }

// Of five records each ends in its own way; the last is not come to.
func inFiveWays() error {
	return kafka.BatchError{
		0: errors.New("away"), 1: kafka.NewPermanentError("never", nil), 2: kafka.NewBusinessError("declined", nil), 4: kafka.ErrNotHandled,
	}
}

func TestMetricsCountTheRecordsOfABatch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handle func() error
		want   string
	}{
		"handled":  {func() error { return nil }, "5 consumed; 5 "},
		"each":     {inFiveWays, "4 consumed; 1 ; 1 business; 1 permanent; 1 transient"}, // 5 with its next attempt
		"together": {func() error { return errors.New("away") }, "5 consumed; 5 transient"},
		"panicked": {func() error { panic("a bug") }, "5 consumed; 5 panic"},
		"an error that can't be read": {func() error { return kafka.BatchError{2: unspeakable{}, 3: errors.New("away")} },
			"5 consumed; 3 ; 1 panic; 1 transient"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			registry := prometheus.NewRegistry()
			around := aroundBatches(middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(registry)))
			func() {
				defer func() { _ = recover() }()
				_ = around(func(context.Context, []*kafka.Record) error { return test.handle() })(t.Context(), records(5))
			}()
			var got []string
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				for _, metric := range family.GetMetric() {
					switch family.GetName() {
					case "messaging_client_consumed_messages_total":
						got = append(got, fmt.Sprint(metric.GetCounter().GetValue(), " consumed"))
					case "messaging_process_duration_seconds":
						for _, label := range metric.GetLabel() {
							if label.GetName() == "error_type" && metric.GetHistogram().GetSampleCount() > 0 {
								got = append(got, fmt.Sprint(metric.GetHistogram().GetSampleCount(), " ", label.GetValue()))
							}
						}
					}
				}
			}
			if said := strings.Join(got, "; "); said != test.want {
				t.Errorf("metrics say %q, want %q", said, test.want)
			}
		})
	}
}

func TestLinesOfABatchesRecords(t *testing.T) {
	t.Parallel()
	var logged lines
	around := aroundBatches(middleware.LoggingConsumerMiddleware(logged.option()))
	handle := around(func(ctx context.Context, _ []*kafka.Record) error {
		middleware.Logger(ctx).Info("inserted")
		return inFiveWays()
	})
	_ = handle(t.Context(), records(5))
	text := logged.String()
	for _, want := range []string{
		`"msg":"inserted","topic":"orders","partition":3,"first_offset":40,"last_offset":44,"messages":5,"group":"bookings"}`,
		`"WARN","msg":"attempt failed","topic":"orders","partition":3,"offset":40,`, `"WARN","msg":"record can't be handled","topic":"orders","partition":3,"offset":41,`,
		`"INFO","msg":"record rejected by business rule","topic":"orders","partition":3,"offset":42,`,
		`"DEBUG","msg":"record handled","topic":"orders","partition":3,"offset":43,`,
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("no line, or several, with %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `"offset":44`) {
		t.Errorf("a record that was not handled has a line:\n%s", text)
	}
	// One that can't be read costs its own line, and no other record anything.
	want := kafka.BatchError{0: unspeakable{}, 1: errors.New("away")}
	logged.Reset()
	err := around(func(context.Context, []*kafka.Record) error { return want })(t.Context(), records(2))
	if _, ok := err.(kafka.BatchError); !ok || !strings.Contains(logged.String(), `"offset":41`) {
		t.Errorf("got %T:\n%s", err, logged.String())
	}
}

func TestABatchHasOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		around := aroundBatches(middleware.TimeoutConsumerMiddleware(5 * time.Second))
		declined := kafka.NewBusinessError("declined", nil)
		for _, ends := range []func(error) error{
			func(err error) error { return fmt.Errorf("insert: %w", err) },
			func(err error) error { return kafka.BatchError{1: err, 2: declined} },
		} {
			err := around(func(ctx context.Context, _ []*kafka.Record) error {
				<-ctx.Done()
				return ends(ctx.Err())
			})(t.Context(), records(3))
			of := kafka.BatchOutcomes(err, 3)
			if !errors.Is(of(1), middleware.ErrAttemptTimeout) || kafka.ClassOf(of(1)) != kafka.ClassTransient {
				t.Errorf("of the one that it ended: %v", of(1))
			}
			if _, named := errors.AsType[kafka.BatchError](err); named && (of(0) != nil || of(2) != declined) {
				t.Errorf("of the others: %v, %v", of(0), of(2))
			}
		}
	})
}

func TestAPanicOfBatchMiddlewareIsAnErrorOutside(t *testing.T) {
	t.Parallel()
	handle := aroundBatches(middleware.RecoveryConsumerMiddleware())(func(context.Context, []*kafka.Record) error { panic("MARK") })
	panicked, ok := errors.AsType[*kafka.PanicError](handle(t.Context(), records(1)))
	if !ok || panicked.Value != "MARK" || len(panicked.Stack) == 0 {
		t.Errorf("got %v", panicked)
	}
}
