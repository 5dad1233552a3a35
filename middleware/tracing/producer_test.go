package tracing_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware/tracing"
)

// publisher is the producer middleware around next, without a producer.
func publisher(next kafka.PublishFunc, options ...tracing.Option) kafka.PublishFunc {
	around, _ := tracing.ProducerMiddleware(options...).ForProducer(kafka.ProducerInfo{ClientID: "booker", Topic: "orders"})
	return around(next)
}

// published is what a publish that succeeds at once was given.
type published struct {
	ctx     context.Context
	headers []kgo.RecordHeader
}

func (p *published) atOnce(ctx context.Context, r *kafka.Record, done func(error)) {
	p.ctx, p.headers = ctx, r.Headers
	done(nil)
}

func TestASendSpanLastsUntilTheOutcomeIsKnown(t *testing.T) {
	recorded := newSpans()
	var later func(error)
	publish := publisher(func(_ context.Context, _ *kafka.Record, done func(error)) { later = done }, recorded.option())
	r := record()
	r.Partition, r.Offset = 0, 0
	outcomes, endedBefore := []error{}, 0
	publish(t.Context(), r, func(err error) {
		endedBefore = len(recorded.ended())
		outcomes = append(outcomes, err)
	})
	if all := recorded.ended(); len(all) > 0 || len(outcomes) > 0 {
		t.Fatalf("before the outcome is known, %v is told and it recorded:%s", outcomes, recorded)
	}
	var other sync.WaitGroup
	other.Go(func() { // as franz-go does
		r.Partition, r.Offset = 3, 42
		later(nil)
	})
	other.Wait()
	if !slices.Equal(outcomes, []error{nil}) || endedBefore != 1 {
		t.Errorf("the caller was told %v, after %d spans had ended; want once, after one", outcomes, endedBefore)
	}
	recorded.want(t, `
send orders: producer, trace 1
  messaging.client.id = booker
  messaging.destination.name = orders
  messaging.destination.partition.id = 3
  messaging.kafka.offset = 42
  messaging.message.conversation_id = v-1
  messaging.message.correlation_id = c-1
  messaging.message.id = m-1
  messaging.operation.name = send
  messaging.operation.type = send
  messaging.system = kafka
`)
}

func TestErrorTypesOfPublishesAreFew(t *testing.T) {
	for want, err := range map[string]error{
		"MESSAGE_TOO_LARGE": fmt.Errorf("refused: %w", kerr.MessageTooLarge),
		"closed":            kafka.ErrClosed,
		"authentication":    fmt.Errorf("%w: for a while", kafka.ErrAuthentication),
		"unreachable":       kafka.ErrUnreachable,
		"delivery_timeout":  fmt.Errorf("not stored: %w", kgo.ErrRecordTimeout),
		"deadline_exceeded": context.DeadlineExceeded,
		"canceled":          context.Canceled,
	} {
		t.Run(want, func(t *testing.T) {
			recorded := newSpans()
			var told error
			r := record()
			r.Value = nil
			publisher(func(_ context.Context, _ *kafka.Record, done func(error)) { done(err) }, recorded.option())(t.Context(), r, func(err error) { told = err })
			if told != err {
				t.Errorf("the caller was told %v", told)
			}
			recorded.wantLines(t, "error.type = "+want, "status Error "+err.Error(), "event exception", "exception.message = "+err.Error(),
				"messaging.kafka.message.tombstone = true")
			recorded.wantNoLine(t, "partition")
			recorded.wantNoLine(t, "offset")
		})
	}
}

func TestTheSpanIsInTheHeadersInPlaceOfAnyOther(t *testing.T) {
	t.Run("trace context alone", func(t *testing.T) { spanInPlaceOfAnyOther(t, nil) })
	t.Run("with baggage", func(t *testing.T) { spanInPlaceOfAnyOther(t, []string{"tenant=t-1"}, tracing.WithBaggage()) })
}

// spanInPlaceOfAnyOther publishes in a context that has baggage, of which wantBaggage is to be in the headers.
func spanInPlaceOfAnyOther(t *testing.T, wantBaggage []string, options ...tracing.Option) {
	t.Helper()
	recorded := newSpans()
	ctx, around := recorded.within(t)
	// Another record shares the slice, with room for one header more, in which it has one.
	r := record()
	shared := append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte("00-old")}, kgo.RecordHeader{Key: "tracestate", Value: []byte("a=MARK")},
		kgo.RecordHeader{Key: "baggage", Value: []byte("b=MARK")}, kgo.RecordHeader{Key: "last", Value: []byte("mine")})
	before := fmt.Sprintf("%q", shared)
	r.Headers = shared[:len(shared)-1]

	var got published
	publisher(got.atOnce, append(options, recorded.option())...)(withBaggage(t, ctx), r, func(error) {})
	span := recorded.only(t)
	if span.Parent.SpanID() != around.SpanID() {
		t.Error("the span is not under the caller's")
	}
	if !trace.SpanContextFromContext(got.ctx).Equal(span.SpanContext) {
		t.Error("what is called next has another span in its context")
	}
	for name, want := range map[string][]string{
		"traceparent": {traceparent(span.SpanContext)}, "tracestate": nil, "baggage": wantBaggage, "MARK": {"MARK"},
		kafka.HeaderMessageID: {"MARK of an earlier hop", "m-1"},
	} {
		if values := text(got.headers, name); !slices.Equal(values, want) {
			t.Errorf("header %s is %q, want %q", name, values, want)
		}
	}
	if after := fmt.Sprintf("%q", shared); after != before {
		t.Errorf("shared headers %s became %s", before, after)
	}
}

// withBaggage returns a context whose baggage says that the tenant is t-1.
func withBaggage(t *testing.T, ctx context.Context) context.Context {
	member, err := baggage.NewMember("tenant", "t-1")
	check(t, err)
	bag, err := baggage.New(member)
	check(t, err)
	return baggage.ContextWithBaggage(ctx, bag)
}

// withoutProvider is what there is before otel.SetTracerProvider, which no test can go back to.
var withoutProvider = tracing.WithTracerProvider(noop.NewTracerProvider())

func TestWithoutAProviderHeadersStayAsTheyAre(t *testing.T) {
	r := record()
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte("theirs")})
	var got published
	publisher(got.atOnce, withoutProvider)(withBaggage(t, t.Context()), r, func(error) {})
	if !slices.Equal(text(got.headers, "traceparent"), []string{"theirs"}) {
		t.Errorf("headers %q", got.headers)
	}
}

func TestTheGlobalProviderIsAskedWhenASpanStarts(t *testing.T) {
	defer otel.SetTracerProvider(noop.NewTracerProvider())
	var got published
	publish := publisher(got.atOnce)
	for range 2 {
		recorded := newSpans()
		otel.SetTracerProvider(recorded)
		publish(t.Context(), record(), func(error) {})
		if span := recorded.only(t); span.InstrumentationScope.Name != "github.com/skeji/kafka/middleware/tracing" || span.InstrumentationScope.SchemaURL == "" {
			t.Errorf("the scope is %+v", span.InstrumentationScope)
		}
	}
}

func TestWhatIsNotSampledStillGoesOn(t *testing.T) {
	recorded := newSpans(sdk.WithSampler(sdk.NeverSample()))
	var got published
	publisher(got.atOnce, recorded.option())(t.Context(), record(), func(error) {})
	span := trace.SpanContextFromContext(got.ctx)
	if !span.IsValid() || span.IsSampled() || !slices.Equal(text(got.headers, "traceparent"), []string{traceparent(span)}) {
		t.Errorf("traceparent %q, want one that says not sampled", text(got.headers, "traceparent"))
	}
	if all := recorded.ended(); len(all) > 0 {
		t.Errorf("recorded:%s", recorded)
	}
}

// b3 is a propagator of another format.
type b3 struct{}

func (b3) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	span := trace.SpanContextFromContext(ctx)
	carrier.Set("b3", span.TraceID().String()+"-"+span.SpanID().String())
}

func (b3) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	traceID, _ := trace.TraceIDFromHex(carrier.Get("b3")[:32])
	spanID, _ := trace.SpanIDFromHex(carrier.Get("b3")[33:])
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: 1}))
}

func (b3) Fields() []string { return []string{"b3"} }

func TestAnotherPropagatorTakesW3CsPlace(t *testing.T) {
	recorded := newSpans()
	var got published
	publisher(got.atOnce, recorded.option(), tracing.WithPropagator(b3{}))(t.Context(), record(), func(error) {})
	sent := recorded.only(t).SpanContext
	if text(got.headers, "b3") == nil || text(got.headers, "traceparent") != nil {
		t.Errorf("headers %q", got.headers)
	}
	r := record()
	r.Headers = got.headers
	newAttempts(recorded.option(), tracing.WithPropagator(b3{})).handle(t.Context(), r, nil)
	if parent := recorded.ended()[1].Parent; parent.SpanID() != sent.SpanID() {
		t.Errorf("the process span is under %v, want the send span", parent.SpanID())
	}
}

func TestManyMayPublishAtOnce(t *testing.T) {
	recorded := newSpans()
	publish := publisher(func(_ context.Context, r *kafka.Record, done func(error)) {
		go func() {
			r.Offset = 7
			done(nil)
		}()
	}, recorded.option())
	shared := append(make([]kgo.RecordHeader, 0, 8), record().Headers...)
	var all sync.WaitGroup
	for range 100 {
		all.Add(1)
		r := record()
		r.Headers = shared
		publish(t.Context(), r, func(error) { all.Done() })
	}
	all.Wait()
	if n := len(recorded.ended()); n != 100 {
		t.Errorf("%d spans, want 100", n)
	}
}
