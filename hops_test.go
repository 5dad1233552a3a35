package kafka_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
)

// Two consumers that are each other's dead letter topic pass a record on, slower and slower, and say so. Nothing is lost.
func TestLettersThatGoInCirclesWait(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		handled := make(chan string, 100_000)
		run := func(topic, dlq string) *kafka.Consumer[numbered] {
			cfg := b.consumer()
			cfg.Topic, cfg.DLQTopic, cfg.Group, cfg.MaxRetries = topic, dlq, "group-"+topic, kafka.NoRetries
			consumer, _ := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
				handled <- msg.Topic
				return kafka.NewPermanentError("never", nil)
			})
			return consumer
		}
		run("orders", "dlq-orders")
		back := run("dlq-orders", "orders")
		time.Sleep(time.Hour)
		if n := len(handled); n < 50 || n > 100 { // a minute each, after the first
			t.Errorf("the record was handled %d times in an hour", n)
		}
		if n := b.log.count(slog.LevelError, "hops=4", "error=the record has been in 3 dead letter topics…"); n != 1 {
			t.Errorf("%d lines say that the first letter waits", n)
		}
		problems := ""
		for range 200 {
			if problems = strings.Join(back.Health().Problems, "\n"); problems != "" {
				break
			}
			time.Sleep(time.Second)
		}
		for _, want := range []string{"dlq-orders and orders seem to be each other's dead letter topic", "KAFKA_CONSUMER_DLQ_TOPIC"} {
			if !strings.Contains(problems, want) {
				t.Errorf("the problem is %q, want %q in it", problems, want)
			}
		}
	})
}

// Letters of letters are put aside without a wait, through retry topics too, and what is redriven begins anew. A count that
// was written for another topic is none.
func TestLettersOfLettersDontWait(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.createTopic("dlq-dlq-orders")
		b.createTopic("retry-1-letters-dlq-orders")
		b.createTopic("retry-1-group-orders")
		forged := &kgo.Record{Topic: "orders", Value: []byte(`{"n":1}`), Headers: headers(dlqheader.Hops, "900", dlqheader.WrittenTo, "payments")}
		b.put(forged)
		cfg := b.consumer()
		cfg.MaxRetries, cfg.RetryDelays = kafka.NoRetries, []time.Duration{time.Second}
		b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return kafka.NewTransientError("never", nil) })
		cfg = b.consumer()
		cfg.Topic, cfg.DLQTopic, cfg.Group, cfg.MaxRetries, cfg.RetryDelays = "dlq-orders", "dlq-dlq-orders", "letters", kafka.NoRetries, []time.Duration{time.Second}
		b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return kafka.NewTransientError("never", nil) })
		time.Sleep(time.Minute)
		first, second := b.read("dlq-orders", 1)[0], b.read("dlq-dlq-orders", 1)[0]
		if text, ok := lastHeader(first.Headers, dlqheader.Hops); ok {
			t.Errorf("the first letter has been in %q dead letter topics before", text)
		}
		if text, _ := lastHeader(second.Headers, dlqheader.Hops); text != "2" {
			t.Errorf("the letter's letter says that this is dead letter topic %q of its record", text)
		}
		if b.log.count(slog.LevelError, "hops") > 0 {
			t.Error("a letter has waited")
		}
	})
}

// A letter that had no room for more than its place is a letter, too; a record that was sent back to another topic is none.
func TestLettersWithoutRoomCountTheirHops(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		more []string // headers
		want string
	}{
		"the place alone": {nil, "2"},
		"sent back":       {[]string{dlqheader.RedriveCount, "1", dlqheader.LetterPartition, "0", dlqheader.LetterOffset, "7"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				place := []string{dlqheader.WrittenTo, "orders", dlqheader.Topic, "payments", dlqheader.Partition, "0", dlqheader.Offset, "3"}
				b.put(&kgo.Record{Topic: "orders", Value: []byte(`{"n":1}`), Headers: headers(append(place, test.more...)...)})
				b.start(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return kafka.NewPermanentError("never", nil) })
				time.Sleep(time.Minute)
				if text, _ := lastHeader(b.read("dlq-orders", 1)[0].Headers, dlqheader.Hops); text != test.want {
					t.Errorf("the letter says %q, want %q", text, test.want)
				}
			})
		})
	}
}
