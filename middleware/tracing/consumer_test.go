package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/middleware/tracing"
)

var errBroken = errors.New("broken")

// attempts is the consumer's plugin, called as a consumer calls it.
type attempts struct {
	around kafka.ConsumerMiddleware
	hooks  kafka.ConsumerHooks
}

func newAttempts(options ...tracing.Option) attempts {
	around, hooks := tracing.ConsumerMiddleware(options...).ForConsumer(kafka.ConsumerInfo{
		ClientID: "booker", Topic: "orders", Group: "service", DLQTopic: "dlq-orders",
	})
	return attempts{around, hooks}
}

// handle is a record's one attempt, which ends with err. It returns the handler's context.
func (a attempts) handle(ctx context.Context, r *kafka.Record, err error) (within context.Context) {
	r.Attempt = 1
	ctx = a.hooks.RecordBegun(ctx, r.Record)
	_ = a.around(func(ctx context.Context, _ *kafka.Record) error {
		within = ctx
		return err
	})(ctx, r)
	return within
}

// letter is one that a consumer makes of the record.
func letter(r *kafka.Record) *kafka.Record {
	dead := *r.Record
	dead.Topic, dead.Offset = "dlq-orders", 7
	dead.Headers = append(dead.Headers, kgo.RecordHeader{Key: dlqheader.Topic, Value: []byte("orders")})
	return &kafka.Record{Record: &dead, Group: "service", Attempt: r.Attempt}
}

type unspeakable struct{}

func (unspeakable) Error() string { panic("MARK") }

type unclassifiable struct{ error }

func (unclassifiable) Unwrap() error { panic("MARK") }

func TestAnAttemptsSpanTellsItsOutcome(t *testing.T) {
	const intro = `
process orders: consumer, trace 1`
	attributes := func(more ...string) string {
		return "\n  " + strings.Join(append(more, "messaging.client.id = booker", "messaging.consumer.group.name = service",
			"messaging.destination.name = orders", "messaging.destination.partition.id = 3", "messaging.kafka.attempt = 1"), "\n  ")
	}
	const ids = `
  messaging.kafka.offset = 42
  messaging.message.conversation_id = v-1
  messaging.message.correlation_id = c-1
  messaging.message.id = m-1
  messaging.operation.name = process
  messaging.operation.type = process
  messaging.system = kafka`
	failed := func(kind, class, text, goType string) string {
		return intro + "\n  status Error " + text + attributes("error.type = "+kind) + "\n  messaging.kafka.error.class = " + class + ids +
			"\n  event exception\n    exception.message = " + text + "\n    exception.type = " + goType + "\n"
	}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"handled": {nil, intro + attributes() + ids + "\n"},
		"business": {fmt.Errorf("book: %w", kafka.NewBusinessError("card declined", nil)), intro + attributes() + "\n  messaging.kafka.error.class = business" + ids +
			"\n  event rejected by business rule\n    exception.message = book: card declined\n"},
		"transient":    {kafka.NewTransientError("save", errBroken), failed("transient", "transient", "save: broken", "*kafka.TransientError")},
		"unclassified": {errBroken, failed("transient", "transient", "broken", "*errors.errorString")},
		"permanent":    {kafka.NewPermanentError("parse", errBroken), failed("permanent", "permanent", "parse: broken", "*kafka.PermanentError")},
		"decode": {&kafka.DecodeError{Reason: "invalid JSON", Err: errors.New("MARK")},
			failed("decode", "permanent", "decode value: invalid JSON", "*kafka.DecodeError")},
		"decode, to be tried again": {kafka.NewTransientError("schema registry", &kafka.DecodeError{Reason: "no schema"}),
			failed("transient", "transient", "schema registry: decode value: no schema", "*kafka.TransientError")},
		"panic": {fmt.Errorf("handle: %w", &kafka.PanicError{Value: "out of seats"}),
			failed("panic", "permanent", "handle: handler panicked: out of seats", "*fmt.wrapError")},
		"no text": {kafka.NewTransientError("", unspeakable{}),
			failed("transient", "transient", "*kafka.TransientError, whose text can't be had", "*kafka.TransientError")},
		"no class":  {unclassifiable{errBroken}, failed("panic", "permanent", "broken", "tracing_test.unclassifiable")},
		"long text": {errors.New(strings.Repeat("é", 600)), failed("transient", "transient", strings.Repeat("é", 512), "*errors.errorString")},
		"not UTF-8": {errors.New("\xff\xff!"), failed("transient", "transient", "\uFFFD!", "*errors.errorString")},
	} {
		t.Run(name, func(t *testing.T) {
			recorded := newSpans()
			a := newAttempts(recorded.option())
			r := record()
			r.Attempt = 1
			var got *kafka.Record
			err := a.around(func(_ context.Context, r *kafka.Record) error { got = r; return test.err })(a.hooks.RecordBegun(t.Context(), r.Record), r)
			if got != r || err != test.err {
				t.Error("the handler's record or error is another")
			}
			recorded.want(t, test.want)
		})
	}
}

func TestARecordWithoutATraceStartsOne(t *testing.T) {
	recorded := newSpans()
	ctx, around := recorded.within(t) // of who called Start, and never of the record
	newAttempts(recorded.option()).handle(ctx, record(), nil)
	if span := recorded.only(t); span.Parent.IsValid() || span.SpanContext.TraceID() == around.TraceID() || len(span.Links) > 0 {
		t.Errorf("it is not a root:%s", recorded)
	}
}

// Baggage is whatever a publisher says: a handler's context has it only if somebody asked for it.
func TestTheHandlersContextCarriesTheSpanAndBaggageIfAsked(t *testing.T) {
	for want, options := range map[string][]tracing.Option{"": nil, "t-1": {tracing.WithBaggage()}} {
		recorded := newSpans()
		r := record()
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "baggage", Value: []byte("tenant=t-1")})
		within := newAttempts(append(options, recorded.option())...).handle(t.Context(), r, nil)
		if !trace.SpanContextFromContext(within).Equal(recorded.only(t).SpanContext) {
			t.Error("the handler's context has another span")
		}
		if got := baggage.FromContext(within).Member("tenant").Value(); got != want {
			t.Errorf("the handler's context has the tenant %q, want %q", got, want)
		}
	}
}

// Anybody may have written the headers.
func TestForgedHeadersDoNoHarm(t *testing.T) {
	const good = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	garbage := map[string]string{
		"empty": "", "nonsense": "MARK", "random": string(random[:55]), "1 MB": string(random), "zeros": "00-" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16) + "-01",
		"upper case": strings.ToUpper(good), "long": good + strings.Repeat("-MARK", 200_000), "cut": good[:54], "version ff": "ff" + good[2:], "NUL": "\x00" + good[1:],
	}
	for name, value := range garbage {
		t.Run(name, func(t *testing.T) {
			recorded := newSpans()
			r := record()
			for _, header := range []string{"traceparent", "tracestate", "baggage", tracing.HeaderDeadLetterTraceparent, kafka.HeaderMessageID, kafka.HeaderConversationID} {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: header, Value: []byte(value)})
			}
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: kafka.HeaderMessageID, Value: []byte("m-2")}, kgo.RecordHeader{Key: kafka.HeaderConversationID})
			newAttempts(recorded.option()).handle(t.Context(), r, nil)
			span := recorded.only(t)
			if span.Parent.IsValid() || len(span.Links) > 0 {
				t.Errorf("it was believed:%s", recorded)
			}
			recorded.wantNoLine(t, "MARK")
		})
		t.Run(name+", before a good one", func(t *testing.T) {
			recorded := newSpans()
			r := record()
			for _, traceparent := range []string{good, value, good} {
				r.Headers = append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte(traceparent)})
			}
			newAttempts(recorded.option()).handle(t.Context(), r, nil)
			if span := recorded.only(t); traceparent(span.Parent) != good {
				t.Errorf("the parent is %s", traceparent(span.Parent))
			}
			r.Headers = r.Headers[:len(r.Headers)-1] // now the last one is not good
			newAttempts(recorded.option()).handle(t.Context(), r, nil)
			if span := recorded.ended()[1]; span.Parent.IsValid() {
				t.Errorf("the parent is %s, of a header that is not the last", traceparent(span.Parent))
			}
		})
	}
}

func TestIDsAreShortAndUTF8(t *testing.T) {
	recorded := newSpans()
	r := record()
	r.Headers = []kgo.RecordHeader{
		{Key: kafka.HeaderMessageID, Value: []byte(strings.Repeat("é", 1<<19))}, {Key: kafka.HeaderCorrelationID, Value: []byte("c\xff1")},
	}
	newAttempts(recorded.option()).handle(t.Context(), r, nil)
	recorded.wantLines(t, "messaging.message.id = "+strings.Repeat("é", 64), "messaging.message.correlation_id = c\uFFFD1")
	if !utf8.ValidString(recorded.String()) {
		t.Error("not UTF-8")
	}
}

// A panic of the middleware within, or runtime.Goexit, leaves no span open, and is not stopped.
func TestAnAttemptThatDoesNotReturnIsAnError(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("MARK") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			recorded := newSpans()
			a := newAttempts(recorded.option())
			r := record()
			r.Attempt = 1
			var went any = "it returned"
			var other sync.WaitGroup
			other.Go(func() {
				defer func() { went = recover() }()
				_ = a.around(func(context.Context, *kafka.Record) error { leave(); return nil })(a.hooks.RecordBegun(t.Context(), r.Record), r)
			})
			other.Wait()
			if want := map[string]any{"panic": "MARK", "Goexit": nil}[name]; went != want {
				t.Errorf("recovered %v, want %v", went, want)
			}
			recorded.wantLines(t, "status Error panic in middleware, or runtime.Goexit", "error.type = panic", "messaging.kafka.error.class = permanent")
			recorded.wantNoLine(t, "MARK")
		})
	}
}

func TestAContextThatEndedIsNoted(t *testing.T) {
	recorded := newSpans()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kafka.ErrPartitionLost)
	newAttempts(recorded.option()).handle(ctx, record(), nil)
	recorded.wantLines(t, "event context ended", "exception.message = partition lost")
	recorded.wantNoLine(t, "status")
	recorded.exporter.Reset()
	newAttempts(recorded.option()).handle(t.Context(), record(), nil)
	recorded.wantNoLine(t, "context ended")
}

// Other middleware may give the attempt a context of its own. Then attempts are not linked, and all else is as ever.
func TestAttemptsWithoutTheRecordsContextAreTracedToo(t *testing.T) {
	recorded := newSpans()
	a := newAttempts(recorded.option())
	r := record()
	for r.Attempt = 1; r.Attempt <= 2; r.Attempt++ {
		_ = a.around(func(context.Context, *kafka.Record) error { return errBroken })(t.Context(), r)
	}
	recorded.wantLines(t, "process orders: consumer, trace 1", "process orders (2): consumer, trace 2")
	recorded.wantNoLine(t, "link")
}

// Middleware around this one may fail by itself: then the letter is under its record's sender.
func TestALetterWithoutAnAttemptIsUnderItsRecordsSender(t *testing.T) {
	recorded := newSpans()
	a := newAttempts(recorded.option())
	_, sender := recorded.within(t)
	r := record()
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte(traceparent(sender))})
	var got published
	a.hooks.DeadLetters(got.atOnce)(a.hooks.RecordBegun(t.Context(), r.Record), letter(r), func(error) {})
	if span := recorded.only(t); span.Parent.SpanID() != sender.SpanID() || len(span.Links) > 0 {
		t.Errorf("recorded:%s", recorded)
	}
}

func TestALetterWithoutAProviderHasNoHeaderMore(t *testing.T) {
	a := newAttempts(withoutProvider)
	r := record()
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: []byte("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")})
	ctx := a.hooks.RecordBegun(t.Context(), r.Record)
	_ = a.around(func(context.Context, *kafka.Record) error { return errBroken })(ctx, r)
	var got published
	dead := letter(r)
	want := fmt.Sprint(dead.Headers)
	a.hooks.DeadLetters(got.atOnce)(ctx, dead, func(error) {})
	if fmt.Sprint(got.headers) != want {
		t.Errorf("headers %q", got.headers)
	}
}

func TestManyRecordsAreHandledAtOnce(t *testing.T) {
	recorded := newSpans()
	a := newAttempts(recorded.option())
	var all sync.WaitGroup
	for partition := range int32(50) {
		all.Go(func() {
			r := record()
			r.Partition = partition
			ctx := a.hooks.RecordBegun(t.Context(), r.Record)
			for r.Attempt = 1; r.Attempt <= 3; r.Attempt++ {
				_ = a.around(func(ctx context.Context, _ *kafka.Record) error {
					all.Go(func() { a.hooks.RetryScheduled(ctx, r.Record, kafka.Retry{Wait: time.Second}) }) // one that was left running
					return errBroken
				})(ctx, r)
				a.hooks.RetryScheduled(ctx, r.Record, kafka.Retry{Wait: time.Second})
			}
			a.hooks.DeadLetters(func(_ context.Context, _ *kafka.Record, done func(error)) { go done(nil) })(ctx, letter(r), func(error) {})
		})
	}
	all.Wait()
	for deadline := time.Now().Add(time.Minute); len(recorded.ended()) < 200 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	byPartition := map[trace.TraceID]bool{}
	links := 0
	for _, span := range recorded.ended() {
		links += len(span.Links)
		if !span.Parent.IsValid() {
			byPartition[span.SpanContext.TraceID()] = true
		}
	}
	if n := len(recorded.ended()); n != 200 || links != 50*3 || len(byPartition) != 150 {
		t.Errorf("%d spans, %d links, %d roots; want 200, 150 and 150", n, links, len(byPartition))
	}
}
