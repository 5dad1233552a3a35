package tracing_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware/tracing"
)

// inBatch is records as a consumer gives them to middleware of batches.
func inBatch(t *testing.T, a attempts, n int) (records []*kafka.Record) {
	for i := range n {
		r := &kafka.Record{Record: &kgo.Record{Topic: "orders", Partition: 3, Offset: int64(i)}, Group: "service", Attempt: 1}
		r.Context = a.hooks.RecordBegun(t.Context(), r.Record)
		records = append(records, r)
	}
	return records
}

func find(span tracetest.SpanStub, key attribute.Key) string {
	for _, attr := range span.Attributes {
		if attr.Key == key {
			return attr.Value.String()
		}
	}
	return ""
}

// In a batch each record's attempt has its span and its own outcome, and the call of the handler has another, linked to them.
func TestSpansOfABatch(t *testing.T) {
	never := kafka.NewPermanentError("never", nil)
	for name, test := range map[string]struct {
		err  error
		want []string // the attempts' classes, and the batch's status
	}{
		"handled":    {nil, []string{"", "", "", "Unset"}},
		"each":       {kafka.BatchError{1: never, 2: kafka.ErrNotHandled}, []string{"", "permanent", "", "Unset"}},
		"together":   {errBroken, []string{"transient", "transient", "transient", "Error"}},
		"unreadable": {kafka.BatchError{1: unclassifiable{errBroken}}, []string{"", "permanent", "", "Unset"}},
	} {
		t.Run(name, func(t *testing.T) {
			recorded := newSpans()
			a := newAttempts(recorded.option())
			ctx, outer := recorded.within(t)
			records := inBatch(t, a, 3)
			var within trace.SpanContext
			err := a.hooks.Batches(func(ctx context.Context, _ []*kafka.Record) error {
				within = trace.SpanContextFromContext(ctx)
				return test.err
			})(ctx, records)
			if fmt.Sprint(err) != fmt.Sprint(test.err) {
				t.Errorf("got %v", err)
			}
			all := recorded.ended()
			if len(all) != 4 {
				t.Fatalf("%d spans: %s", len(all), recorded)
			}
			whole := all[3]
			var got []string
			for i, span := range all[:3] {
				got = append(got, find(span, tracing.ErrorClassKey))
				if span.Name != "process orders" || find(span, "messaging.kafka.offset") != fmt.Sprint(i) || find(span, tracing.AttemptKey) != "1" ||
					whole.Links[i].SpanContext.SpanID() != span.SpanContext.SpanID() {
					t.Errorf("span %d: %+v", i, span)
				}
			}
			if got = append(got, whole.Status.Code.String()); !slices.Equal(got, test.want) {
				t.Errorf("outcomes %q, want %q", got, test.want)
			}
			if whole.Name != "process_batch orders" || find(whole, "messaging.batch.message_count") != "3" || whole.Parent.IsValid() ||
				whole.SpanContext.TraceID() == outer.TraceID() || within.SpanID() != whole.SpanContext.SpanID() {
				t.Errorf("the batch's span: %+v", whole)
			}
		})
	}
}

// A goroutine that ends takes no span along.
func TestSpansOfABatchEndWithTheGoroutine(t *testing.T) {
	recorded := newSpans()
	a := newAttempts(recorded.option())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = a.hooks.Batches(func(context.Context, []*kafka.Record) error { runtime.Goexit(); return nil })(t.Context(), inBatch(t, a, 2))
	}()
	<-ended
	if n := strings.Count(recorded.String(), "status Error panic"); n != 3 {
		t.Errorf("%d spans say so, want 3: %s", n, recorded)
	}
}

// A single record's handler goes on with its trace, its next attempt knows the one before, and its letter the last.
func TestABatchOfOneIsAnAttempt(t *testing.T) {
	recorded := newSpans()
	a := newAttempts(recorded.option())
	r := inBatch(t, a, 1)[0]
	var within trace.SpanContext
	handle := a.hooks.Batches(func(ctx context.Context, _ []*kafka.Record) error {
		within = trace.SpanContextFromContext(ctx)
		return errBroken
	})
	_ = handle(t.Context(), []*kafka.Record{r})
	r.Attempt = 2
	_ = handle(t.Context(), []*kafka.Record{r})
	a.hooks.DeadLetters(func(_ context.Context, _ *kafka.Record, done func(error)) { done(nil) })(r.Context, letter(r), func(error) {})
	all := recorded.ended()
	if len(all) != 3 || all[1].Links[0].SpanContext.SpanID() != all[0].SpanContext.SpanID() || within.SpanID() != all[1].SpanContext.SpanID() ||
		all[2].Parent.SpanID() != all[1].SpanContext.SpanID() {
		t.Errorf("spans: %s", recorded)
	}
}
