package main

import (
	"errors"
	"strings"
	"testing"

	"context"
	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// With KAFKA_CONTROL_KEY, a letter that nobody has sealed is shown as that, and goes back if that is asked for alone.
func TestLettersWithoutASealAreLeft(t *testing.T) {
	key := strings.Repeat("c", 32)
	broker := kafkatest.Start(t, "orders")
	broker.Env(t)
	for _, group := range []string{"unsealed", "sealed"} {
		cfg := broker.ConsumerConfig("orders", group)
		if group == "sealed" {
			cfg.ControlKey = kafka.NewSecret(key)
		}
		consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[order]) error {
			return kafka.NewPermanentError("save", errors.New("no"))
		})
		if err != nil {
			t.Fatal(err)
		}
		kafkatest.Run(t, consumer)
	}
	kafkatest.Publish(t, broker, "orders", kafka.NewMessage[order]().WithKey("k").WithValue(order{1}).Build())
	for _, group := range []string{"unsealed", "sealed"} {
		kafkatest.AwaitDone(t, broker, "orders", group)
	}
	want := func(got outcome, code int, stdout, stderr string) {
		t.Helper()
		if got.code != code || !strings.Contains(got.stdout, stdout) || !strings.Contains(got.stderr, stderr) {
			t.Errorf("exit %d, want %d, %q and %q\n%s%s", got.code, code, stdout, stderr, got.stdout, got.stderr)
		}
	}
	if got := call(t, "ls", "dlq-orders"); strings.Contains(got.stdout, "sealed)") {
		t.Errorf("without a key: %s", got.stdout)
	}
	t.Setenv("KAFKA_CONTROL_KEY", key)
	want(call(t, "ls", "dlq-orders"), exitDone, "pending (not sealed)", "")
	want(call(t, "ls", "dlq-orders", "-o", "json", "--group", "unsealed"), exitDone, `"unsealed":true`, "")
	want(call(t, "peek", "dlq-orders", "--group", "unsealed"), exitDone, "not sealed with KAFKA_CONTROL_KEY", "")
	want(call(t, "stats", "dlq-orders"), exitDone, "1 of them are not sealed with KAFKA_CONTROL_KEY", "")
	want(call(t, "stats", "dlq-orders", "-o", "json"), exitDone, `"unsealed":1`, "")
	want(call(t, "redrive", "dlq-orders", "--dry-run"), exitPartly, "1  would be sent", "--unsealed")
	want(call(t, "redrive", "dlq-orders", "--dry-run", "--unsealed"), exitDone, "2  would be sent", "")
	want(call(t, "purge", "dlq-orders", "--all", "--unsealed"), exitUsage, "", "--redriven")
	want(call(t, "purge", "dlq-orders", "--redriven", "--unsealed", "--dry-run"), exitDone, "", "not sealed")
	t.Setenv("KAFKA_CONTROL_KEY", "short")
	want(call(t, "ls", "dlq-orders"), exitUsage, "", "KAFKA_CONTROL_KEY or KAFKA_CONTROL_KEY_FILE: key 1 has 5 bytes")
}
