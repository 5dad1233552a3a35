package tracing_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware/tracing"
)

// spans is a provider that keeps what has ended.
type spans struct {
	*sdk.TracerProvider
	exporter *tracetest.InMemoryExporter
}

func newSpans(options ...sdk.TracerProviderOption) spans {
	exporter := tracetest.NewInMemoryExporter()
	return spans{sdk.NewTracerProvider(append(options, sdk.WithSyncer(exporter))...), exporter}
}

func (s spans) option() tracing.Option { return tracing.WithTracerProvider(s) }

// ended returns the spans in the order of their starts.
func (s spans) ended() tracetest.SpanStubs {
	all := s.exporter.GetSpans()
	slices.SortStableFunc(all, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	return all
}

// only returns the one span that has ended.
func (s spans) only(t *testing.T) tracetest.SpanStub {
	t.Helper()
	all := s.ended()
	if len(all) != 1 {
		t.Fatalf("%d spans ended, want one: %s", len(all), s)
	}
	return all[0]
}

// within returns a context with a span that never ends.
func (s spans) within(t *testing.T) (context.Context, trace.SpanContext) {
	ctx, span := s.Tracer("test").Start(t.Context(), "around")
	return ctx, span.SpanContext()
}

// await returns once a span of that name has ended.
func (s spans) await(t *testing.T, name string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		for _, span := range s.exporter.GetSpans() {
			if span.Name == name {
				return
			}
		}
	}
	t.Fatalf("no span %q within a minute: %s", name, s)
}

// String is all that was recorded, but for times and random ids: spans are called by their names and, from the second of a
// name on, by a number.
func (s spans) String() string {
	names, count := map[trace.SpanID]string{}, map[string]int{}
	traces := map[trace.TraceID]int{}
	for _, span := range s.ended() {
		count[span.Name]++
		names[span.SpanContext.SpanID()] = span.Name
		if n := count[span.Name]; n > 1 {
			names[span.SpanContext.SpanID()] = fmt.Sprintf("%s (%d)", span.Name, n)
		}
		if _, ok := traces[span.SpanContext.TraceID()]; !ok {
			traces[span.SpanContext.TraceID()] = len(traces) + 1
		}
	}
	nameOf := func(other trace.SpanContext) string {
		name := cmp.Or(names[other.SpanID()], "unknown span")
		if other.TraceState().Len() > 0 {
			name += " " + other.TraceState().String()
		}
		return name
	}
	var b strings.Builder
	for _, span := range s.ended() {
		fmt.Fprintf(&b, "\n%s: %s, trace %d", names[span.SpanContext.SpanID()], span.SpanKind, traces[span.SpanContext.TraceID()])
		if span.Parent.IsValid() {
			fmt.Fprintf(&b, ", under %s", nameOf(span.Parent))
		}
		if span.Status.Code != codes.Unset {
			fmt.Fprintf(&b, "\n  status %s %s", span.Status.Code, span.Status.Description)
		}
		attributes := func(indent string, all []attribute.KeyValue) {
			for _, line := range slices.Sorted(maps.Keys(lines(all))) {
				fmt.Fprintf(&b, "\n%s%s", indent, line)
			}
		}
		for _, link := range span.Links {
			fmt.Fprintf(&b, "\n  link to %s", nameOf(link.SpanContext))
			attributes("    ", link.Attributes)
		}
		attributes("  ", span.Attributes)
		for _, event := range span.Events {
			fmt.Fprintf(&b, "\n  event %s", event.Name)
			attributes("    ", event.Attributes)
		}
	}
	return b.String() + "\n"
}

func lines(attributes []attribute.KeyValue) map[string]bool {
	all := map[string]bool{}
	for _, a := range attributes {
		all[fmt.Sprintf("%s = %s", a.Key, a.Value.String())] = true
	}
	return all
}

// want compares all that was recorded.
func (s spans) want(t *testing.T, want string) {
	t.Helper()
	if got := s.String(); got != want {
		t.Errorf("recorded:%s\nwant:%s", got, want)
	}
	if strings.Contains(s.String(), "MARK") {
		t.Error("a key, value or header is in it")
	}
}

// wantLines looks for some of what was recorded.
func (s spans) wantLines(t *testing.T, want ...string) {
	t.Helper()
	all := strings.Split(s.String(), "\n")
	for _, line := range want {
		if !slices.ContainsFunc(all, func(have string) bool { return strings.TrimSpace(have) == line }) {
			t.Errorf("no line %q in:%s", line, s)
		}
	}
}

func (s spans) wantNoLine(t *testing.T, unwanted string) {
	t.Helper()
	if strings.Contains(s.String(), unwanted) {
		t.Errorf("unwanted %q in:%s", unwanted, s)
	}
}

// record is one whose key, value and headers are marked, but for the ids.
func record() *kafka.Record {
	return &kafka.Record{Record: &kgo.Record{
		Topic: "orders", Partition: 3, Offset: 42, Key: []byte("MARK"), Value: []byte(`{"a":"MARK"}`),
		Headers: []kgo.RecordHeader{
			{Key: "MARK", Value: []byte("MARK")}, {Key: kafka.HeaderMessageID, Value: []byte("MARK of an earlier hop")},
			{Key: kafka.HeaderMessageID, Value: []byte("m-1")}, {Key: kafka.HeaderCorrelationID, Value: []byte("c-1")},
			{Key: kafka.HeaderConversationID, Value: []byte("v-1")}, {Key: kafka.HeaderSource, Value: []byte("MARK")},
		},
	}}
}

func text(headers []kgo.RecordHeader, name string) (values []string) {
	for _, h := range headers {
		if h.Key == name {
			values = append(values, string(h.Value))
		}
	}
	return values
}

func traceparent(span trace.SpanContext) string {
	return fmt.Sprintf("00-%s-%s-%s", span.TraceID(), span.SpanID(), span.TraceFlags())
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
