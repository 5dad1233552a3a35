package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
)

// record is one whose key, value and headers are marked, but for the correlation id.
func record() *kafka.Record {
	return &kafka.Record{
		Record: &kgo.Record{
			Topic: "orders", Partition: 3, Offset: 42, Key: []byte("MARK"), Value: []byte(`{"a":"MARK"}`),
			Headers: []kgo.RecordHeader{
				{Key: "MARK", Value: []byte("MARK")}, {Key: kafka.HeaderCorrelationID, Value: []byte("MARK of an earlier hop")},
				{Key: kafka.HeaderCorrelationID, Value: []byte("c-1")}, {Key: kafka.HeaderMessageID, Value: []byte("MARK")},
				{Key: "Correlation-Id", Value: []byte("MARK")},
			},
		},
		Group: "bookings", Attempt: 2,
	}
}

func consuming(plugin kafka.ConsumerPlugin) kafka.ConsumerMiddleware {
	middleware, _ := plugin.ForConsumer(kafka.ConsumerInfo{Logger: slog.Default()})
	return middleware
}

func producing(plugin kafka.ProducerPlugin) kafka.ProducerMiddleware {
	middleware, _ := plugin.ForProducer(kafka.ProducerInfo{Logger: slog.Default()})
	return middleware
}

// lines is a logger that keeps its lines.
type lines struct{ bytes.Buffer }

func (l *lines) option() middleware.LoggingOption {
	return middleware.WithLogger(slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// only returns the one line that was logged, without its time, duration and message, which it must have.
func (l *lines) only(t *testing.T) map[string]any {
	t.Helper()
	var line map[string]any
	if strings.Count(l.String(), "\n") != 1 || json.Unmarshal(l.Bytes(), &line) != nil {
		t.Fatalf("logged %q, want one line", l.String())
	}
	for _, name := range []string{"time", "duration", "msg"} {
		if _, ok := line[name]; !ok {
			t.Errorf("the line has no %s: %v", name, line)
		}
		delete(line, name)
	}
	return line
}

func TestEveryAttemptLogsOneLineByItsOutcome(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		level string
		class string
	}{
		"handled":      {nil, "DEBUG", ""},
		"business":     {kafka.NewBusinessError("charge", errors.New("card declined")), "INFO", "business"},
		"transient":    {kafka.NewTransientError("save", errors.New("timeout")), "WARN", "transient"},
		"unclassified": {errors.New("timeout"), "WARN", "transient"},
		"permanent":    {kafka.NewPermanentError("parse", errors.New("no such seat")), "WARN", "permanent"},
		"undecodable":  {&kafka.DecodeError{Reason: "invalid JSON at byte 3, in 8 bytes", Err: errors.New("MARK")}, "WARN", "permanent"},
		"wrapped":      {fmt.Errorf("book: %w", kafka.NewBusinessError("declined", nil)), "INFO", "business"},
	} {
		t.Run(name, func(t *testing.T) {
			var logged lines
			var got *kafka.Record
			r := record()
			handle := consuming(middleware.LoggingConsumerMiddleware(logged.option()))(func(_ context.Context, r *kafka.Record) error {
				got = r
				return test.err
			})
			if err := handle(t.Context(), r); err != test.err || got != r {
				t.Errorf("it returned %v of %v, want what the handler returned of the record", err, got)
			}
			want := map[string]any{
				"level": test.level, "topic": "orders", "partition": 3.0, "offset": 42.0, "group": "bookings",
				"attempt": 2.0, "correlation_id": "c-1",
			}
			if test.err != nil {
				want["class"], want["error"] = test.class, test.err.Error()
			}
			line := logged.only(t)
			want["key_hash"] = line["key_hash"]
			if hash, _ := line["key_hash"].(string); !maps.Equal(line, want) || len(hash) < 8 {
				t.Errorf("logged %v, want %v", line, want)
			}
			wantNoPayload(t, logged.String())
		})
	}
}

func TestEveryMessageLogsOneLineByItsOutcome(t *testing.T) {
	for name, err := range map[string]error{
		"stored":     nil,
		"not stored": fmt.Errorf("%w: %w", kafka.ErrTopicMissing, errors.New("UNKNOWN_TOPIC_OR_PARTITION")),
	} {
		t.Run(name, func(t *testing.T) {
			var logged lines
			var later func(error)
			publish := producing(middleware.LoggingProducerMiddleware(logged.option()))(func(_ context.Context, _ *kafka.Record, done func(error)) {
				later = done
			})
			var outcomes []error
			r := record()
			r.Group, r.Attempt = "", 0
			publish(t.Context(), r, func(err error) { outcomes = append(outcomes, err) })
			if logged.Len() > 0 || len(outcomes) > 0 {
				t.Fatalf("before the outcome is known, %q is logged and %v passed on", logged.String(), outcomes)
			}
			later(err)
			if !slices.Equal(outcomes, []error{err}) {
				t.Errorf("passed on %v, want %v once", outcomes, err)
			}
			line := logged.only(t)
			want := map[string]any{"level": "DEBUG", "topic": "orders", "correlation_id": "c-1"}
			if err != nil {
				want["level"], want["error"] = "ERROR", err.Error()
			} else {
				want["partition"], want["offset"] = 3.0, 42.0
			}
			for name, value := range want {
				if line[name] != value {
					t.Errorf("%s is %v, want %v", name, line[name], value)
				}
			}
			wantNoPayload(t, logged.String())
		})
	}
}

func wantNoPayload(t *testing.T, text string) {
	t.Helper()
	// In the line, or as the base64 of bytes in JSON.
	for _, part := range []string{"MARK", "TUFSS", "1BUk", "NQVJL"} {
		if strings.Contains(text, part) {
			t.Errorf("a key, value or header is logged: %s", text)
		}
	}
}

func TestLinesWithoutCorrelationIDSayNothingOfIt(t *testing.T) {
	var logged lines
	handle := consuming(middleware.LoggingConsumerMiddleware(logged.option()))(func(context.Context, *kafka.Record) error { return nil })
	r := record()
	r.Headers = nil
	if err := handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, ok := logged.only(t)["correlation_id"]; ok {
		t.Errorf("logged %s", logged.String())
	}
}

// A correlation id comes from outside.
func TestCorrelationIDsAreCut(t *testing.T) {
	var logged lines
	handle := consuming(middleware.LoggingConsumerMiddleware(logged.option()))(func(context.Context, *kafka.Record) error { return nil })
	r := record()
	r.Headers = []kgo.RecordHeader{{Key: kafka.HeaderCorrelationID, Value: bytes.Repeat([]byte("x"), 1<<20)}}
	if err := handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if id := logged.only(t)["correlation_id"]; id != strings.Repeat("x", 128) {
		t.Errorf("%d bytes of it are logged, want 128", len(id.(string)))
	}
}

func TestLevelsThatAreOffLogNothing(t *testing.T) {
	var out bytes.Buffer
	logger := middleware.WithLogger(slog.New(slog.NewTextHandler(&out, nil))) // Info and above
	handle := consuming(middleware.LoggingConsumerMiddleware(logger))(func(context.Context, *kafka.Record) error { return nil })
	if err := handle(t.Context(), record()); err != nil || out.Len() > 0 {
		t.Errorf("logged %q (error: %v)", out.String(), err)
	}
	publish := producing(middleware.LoggingProducerMiddleware(logger))(func(_ context.Context, _ *kafka.Record, done func(error)) { done(nil) })
	published := false
	publish(t.Context(), record(), func(error) { published = true })
	if !published || out.Len() > 0 {
		t.Errorf("published: %t, logged %q", published, out.String())
	}
}

// One setting, ClientConfig.Logger, says where all lines go.
func TestLinesGoWhereTheConsumersOwnGo(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	handle, _ := middleware.LoggingConsumerMiddleware().ForConsumer(kafka.ConsumerInfo{Logger: logger})
	fails := handle(func(context.Context, *kafka.Record) error { return errors.New("away") })
	if err := fails(t.Context(), record()); err == nil || !strings.Contains(out.String(), "level=WARN") || !strings.Contains(out.String(), "error=away") {
		t.Errorf("logged %q", out.String())
	}
	publish, _ := middleware.LoggingProducerMiddleware().ForProducer(kafka.ProducerInfo{Logger: logger})
	publish(func(_ context.Context, _ *kafka.Record, done func(error)) { done(errors.New("away")) })(t.Context(), record(), func(error) {})
	if strings.Count(out.String(), "level=ERROR") != 1 {
		t.Errorf("logged %q", out.String())
	}
}

// The handler's own lines can be found beside ours, and say as little of the payload.
func TestHandlersGetALoggerThatKnowsTheirRecord(t *testing.T) {
	var logged lines
	handle := consuming(middleware.LoggingConsumerMiddleware(logged.option()))(func(ctx context.Context, r *kafka.Record) error {
		middleware.Logger(ctx).With("seat", 7).Info("seat taken")
		return nil
	})
	r := record()
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: kafka.HeaderConversationID, Value: []byte("conv-1")})
	if err := handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(logged.String(), "\n")
	var line map[string]any
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatal(err)
	}
	hash, _ := line["key_hash"].(string)
	want := map[string]any{
		"level": "INFO", "msg": "seat taken", "topic": "orders", "partition": 3.0, "offset": 42.0, "attempt": 2.0, "group": "bookings",
		"correlation_id": "c-1", "conversation_id": "conv-1", "seat": 7.0, "key_hash": hash, "time": line["time"],
	}
	if !maps.Equal(line, want) || len(hash) < 8 {
		t.Errorf("logged %v, want %v", line, want)
	}
	if !strings.Contains(strings.SplitN(logged.String(), "\n", 2)[1], `"conversation_id":"conv-1"`) {
		t.Errorf("the attempt's own line lacks the conversation: %s", logged.String())
	}
	wantNoPayload(t, logged.String())
	for key, same := range map[string]bool{"MARK": true, "other": false} {
		logged.Reset()
		r.Key = []byte(key)
		if err := handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(logged.String(), hash) != same {
			t.Errorf("the hash of key %q: %s; that of MARK is %s", key, logged.String(), hash)
		}
	}
}

func TestKeyHashesCanBeOnesOwn(t *testing.T) {
	var logged lines
	own := middleware.WithKeyHash(func(key []byte) string { return fmt.Sprintf("own-%d", len(key)) })
	handle := consuming(middleware.LoggingConsumerMiddleware(logged.option(), own))(func(ctx context.Context, r *kafka.Record) error {
		middleware.Logger(ctx).Info("seat taken")
		return nil
	})
	if err := handle(t.Context(), record()); err != nil || !strings.Contains(logged.String(), `"key_hash":"own-4"`) {
		t.Errorf("logged %s", logged.String())
	}
}

func TestWithoutMiddlewareTheLoggerIsTheDefault(t *testing.T) {
	if middleware.Logger(t.Context()) != slog.Default() {
		t.Error("another one")
	}
}

// A thousand failures a second need no thousand lines, but one must see that there were as many.
func TestFloodsAreHeldBackAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged lines
		outcome := errors.New("away")
		handle := consuming(middleware.LoggingConsumerMiddleware(logged.option(), middleware.WithSampling(10, 100, time.Second)))(
			func(context.Context, *kafka.Record) error { return outcome })
		flood := func(n int) (written, withheld int) {
			logged.Reset()
			for range n {
				if err := handle(t.Context(), record()); err != outcome {
					t.Fatal(err)
				}
			}
			for line := range strings.Lines(logged.String()) {
				var attrs struct {
					Withheld int `json:"lines_withheld"`
				}
				if err := json.Unmarshal([]byte(line), &attrs); err != nil {
					t.Fatal(err)
				}
				written++
				withheld += attrs.Withheld
			}
			return written, withheld
		}
		if written, withheld := flood(1010); written != 20 || withheld != 10*99 {
			t.Errorf("of 1,010 lines, %d were written, which told of %d others; want 20 and 990", written, withheld)
		}
		flood(50) // withheld
		time.Sleep(time.Second)
		if written, withheld := flood(5); written != 5 || withheld != 50 {
			t.Errorf("a second later, of 5 lines %d were written, which told of %d others; want 5 and 50", written, withheld)
		}
		outcome = kafka.NewPermanentError("never", nil)
		if written, _ := flood(5); written != 5 {
			t.Errorf("%d of 5 lines of another kind were written", written)
		}
		outcome = nil // Debug
		if written, _ := flood(1000); written != 1000 {
			t.Errorf("%d of 1000 debug lines were written", written)
		}
	})
}

func TestSamplingCanBeOff(t *testing.T) {
	var logged lines
	handle := consuming(middleware.LoggingConsumerMiddleware(logged.option(), middleware.WithSampling(0, 0, 0)))(
		func(context.Context, *kafka.Record) error { return errors.New("away") })
	for range 1000 {
		_ = handle(t.Context(), record())
	}
	if n := strings.Count(logged.String(), "\n"); n != 1000 {
		t.Errorf("%d of 1000 lines were written", n)
	}
}
