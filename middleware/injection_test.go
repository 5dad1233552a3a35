package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/middleware"
)

// rawHandler is the careless kind of slog handler: it prints what it is given.
type rawHandler struct {
	mu    *sync.Mutex
	out   io.Writer
	attrs []slog.Attr
}

func (h rawHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h rawHandler) WithGroup(string) slog.Handler            { return h }
func (h rawHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return h
}

func (h rawHandler) Handle(_ context.Context, line slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(h.out, "%s %s", line.Level, line.Message)
	for _, attr := range h.attrs {
		fmt.Fprintf(h.out, " %s=%s", attr.Key, attr.Value)
	}
	line.Attrs(func(attr slog.Attr) bool {
		fmt.Fprintf(h.out, " %s=%s", attr.Key, attr.Value)
		return true
	})
	_, err := fmt.Fprintln(h.out)
	return err
}

// What a publisher puts into a record makes no line of its own, in none of the logs, and no metric. An error's text is the
// handler's: slog's handlers quote it, a careless one prints it.
func TestRecordsCannotForgeLogLines(t *testing.T) {
	const forged = "x\r\nlevel=ERROR msg=forged\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\x1b[2J\x00\u2028\u202e"
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "dlq-orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, value := range []string{`{}`, forged, `{"` + forged + `":1}`, `[1]`} {
		record := &kgo.Record{Topic: "orders", Key: []byte(forged), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: forged, Value: []byte(forged)}}}
		for _, name := range []string{kafka.HeaderCorrelationID, kafka.HeaderConversationID, kafka.HeaderMessageID, kafka.HeaderEventType, kafka.HeaderSource,
			kafka.HeaderContentType, dlqheader.Topic, dlqheader.Class, dlqheader.Group, dlqheader.Message, "traceparent"} {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(forged)})
		}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var text, inJSON, raw bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.Level(-100)}
	var mu sync.Mutex
	for _, log := range []struct {
		name    string
		out     *bytes.Buffer
		handler slog.Handler
		saying  error
	}{
		{"text", &text, slog.NewTextHandler(&text, options), errors.New(forged)},
		{"JSON", &inJSON, slog.NewJSONHandler(&inJSON, options), errors.New(forged)},
		{"raw", &raw, rawHandler{mu: &mu, out: &raw}, errors.New("down")},
	} {
		t.Run(log.name, func(t *testing.T) {
			cfg := kafka.NewConsumerConfig("orders", "group-"+log.name, cluster.ListenAddrs()...)
			cfg.Logger, cfg.RetryBackoff, cfg.MaxRetries = slog.New(log.handler), time.Millisecond, 1
			done := make(chan struct{})
			settled := 0
			consumer, err := kafka.NewConsumer(cfg, func(ctx context.Context, _ kafka.Message[map[string]any]) error {
				middleware.Logger(ctx).Info("the handler's own line")
				return kafka.NewTransientError("try", log.saying)
			})
			if err != nil {
				t.Fatal(err)
			}
			registry := prometheus.NewRegistry()
			consumer.Use(middleware.LoggingConsumerMiddleware(middleware.WithSampling(0, 0, 0)), middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(registry)),
				kafka.ConsumerHooks{RecordSettled: func(context.Context, *kgo.Record, kafka.Settlement) {
					if settled++; settled == 4 {
						close(done)
					}
				}})
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() { result <- consumer.Start(ctx) }() // ends with cancel
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Error("the records are not settled")
			}
			cancel()
			if err := <-result; err != nil {
				t.Error(err)
			}
			_ = consumer.Close()
			families, err := registry.Gather()
			if err != nil {
				t.Error(err)
			}
			if metrics := fmt.Sprint(families); strings.Contains(metrics, "forged") {
				t.Errorf("the metrics have it: %s", metrics)
			}
			lines := strings.Split(strings.TrimSuffix(log.out.String(), "\n"), "\n")
			ours := 0
			for _, line := range lines {
				begins := map[string]string{"text": "time=", "JSON": `{"time":`}[log.name]
				if log.name == "raw" && !strings.HasPrefix(line, "\tat ") {
					begins = strings.SplitAfter(line, " ")[0]
					if !strings.HasPrefix(begins, "DEBUG") && !strings.HasPrefix(begins, "INFO") && !strings.HasPrefix(begins, "WARN") && !strings.HasPrefix(begins, "ERROR") {
						t.Errorf("a line of its own: %q", line)
					}
				}
				if !strings.HasPrefix(line, begins) || log.name == "JSON" && !json.Valid([]byte(line)) {
					t.Errorf("a line of its own: %q", line)
				}
				if strings.ContainsAny(line, "\r\x00\x1b\u2028\u202e") && log.name != "JSON" {
					t.Errorf("control characters: %q", line)
				}
				if strings.Contains(line, "forged") {
					ours++
				}
			}
			if ours < 4 {
				t.Errorf("the test shows nothing: %d of %d lines have the ids", ours, len(lines))
			}
		})
	}
}
