package kafka_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeji/kafka"
)

// A config that nobody filled in has retries and a dead letter topic; who wants none says so.
func TestAZeroIsTheDefaultAndNoneIsSaid(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set      func(*kafka.ConsumerConfig)
		attempts int32
		letters  int64
		printed  string
	}{
		"nothing":                            {func(*kafka.ConsumerConfig) {}, 4, 1, `topic="orders" group="group" dlq_topic="dlq-orders" max_retries="3"`},
		"NoRetries":                          {func(c *kafka.ConsumerConfig) { c.MaxRetries = kafka.NoRetries }, 1, 1, `dlq_topic="dlq-orders" max_retries="0"`},
		"DisableDeadLetters":                 {func(c *kafka.ConsumerConfig) { c.DisableDeadLetters = true }, 4, 0, `dlq_topic="" max_retries="3"`},
		"DisableDeadLetters beside DLQTopic": {func(c *kafka.ConsumerConfig) { c.DLQTopic, c.DisableDeadLetters = "dlq-orders", true }, 4, 0, `dlq_topic=""`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 1)
				cfg := kafka.ConsumerConfig{ClientConfig: b.client(), Topic: "orders", Group: "group", CommitInterval: time.Hour}
				test.set(&cfg)
				wantFault(t, errors.New(cfg.String()), test.printed)
				var attempts atomic.Int32
				_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
					if attempts.Add(1); msg.LastAttempt != (msg.Attempt == int(test.attempts)) {
						t.Errorf("at attempt %d LastAttempt is %t", msg.Attempt, msg.LastAttempt)
					}
					return kafka.NewTransientError("no", nil)
				})
				time.Sleep(aLongTime)
				err := stop()
				if attempts.Load() != test.attempts || b.letters() != test.letters {
					t.Errorf("%d attempts and %d dead letters, want %d and %d", attempts.Load(), b.letters(), test.attempts, test.letters)
				}
				if failed := test.letters == 0; failed != (err != nil) {
					t.Errorf("Start returned %v", err)
				} else if failed {
					wantFault(t, err, "DisableDeadLetters is set")
				}
			})
		})
	}
}

// The default of a long topic's dead letter topic may be no name at all.
func TestTheDefaultDeadLetterTopicIsChecked(t *testing.T) {
	t.Parallel()
	cfg := validConsumer()
	cfg.DLQTopic = ""
	for cfg.Topic = "x"; len(cfg.Topic) < 249; cfg.Topic += "x" {
	}
	wantFault(t, cfg.Validate(), "DLQTopic is")
	cfg.DisableDeadLetters = true
	wantFault(t, cfg.Validate())
}
