package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// Whoever renames a group is told of the records that wait for the old one, and can send them to the new one.
func TestRecordsThatWaitForARenamedGroup(t *testing.T) {
	broker := kafkatest.Start(t, "orders", "retry-1-old-orders", "retry-1-new-orders")
	broker.Env(t)
	consume := func(group string, handle kafka.Handler[order]) (stop func()) {
		cfg := broker.ConsumerConfig("orders", group)
		cfg.MaxRetries, cfg.RetryDelays = kafka.NoRetries, []time.Duration{time.Hour}
		consumer, err := kafka.NewConsumer(cfg, handle)
		if err != nil {
			t.Fatal(err)
		}
		return kafkatest.Run(t, consumer)
	}
	stop := consume("old", func(context.Context, kafka.Message[order]) error { return errors.New("the database is away") })
	for id := range 5 {
		kafkatest.Publish(t, broker, "orders", kafka.NewMessage[order]().WithKey("one").WithValue(order{id}).Build())
	}
	kafkatest.AwaitDone(t, broker, "orders", "old")
	if got := call(t, "ls"); got.code != exitDone || strings.Contains(got.stderr, "nobody reads") {
		t.Errorf("with a member: exit %d\n%s", got.code, got.stderr)
	}
	stop()

	// The group is renamed: it begins at the beginning of the topic, which is of no matter here.
	handled := make(chan int, 100)
	consume("new", func(_ context.Context, msg kafka.Message[order]) error {
		handled <- msg.Value.ID
		return nil
	})
	kafkatest.AwaitDone(t, broker, "orders", "new")
	for range 5 {
		<-handled
	}
	got := call(t, "ls")
	for _, text := range []string{"retry-1-old-orders of orders has up to 5 records that nobody reads", "no member of group old does",
		"deadletter redrive retry-1-old-orders --allow orders --for GROUP", "deadletter purge retry-1-old-orders --all"} {
		if got.code != exitDone || !strings.Contains(got.stderr, text) {
			t.Errorf("exit %d, and standard error lacks %q:\n%s", got.code, text, got.stderr)
		}
	}
	if sent := call(t, "redrive", "retry-1-old-orders", "--allow", "orders", "--for", "new", "--yes"); sent.code != exitDone || !strings.Contains(sent.stdout, "5  sent") {
		t.Errorf("redrive: exit %d\n%s%s", sent.code, sent.stdout, sent.stderr)
	}
	kafkatest.AwaitDone(t, broker, "orders", "new")
	for id := range 5 {
		if n := <-handled; n != id {
			t.Errorf("order %d was handled in place of %d", n, id)
		}
	}
	if purged := call(t, "purge", "retry-1-old-orders", "--all", "--yes"); purged.code != exitDone {
		t.Errorf("purge: exit %d\n%s%s", purged.code, purged.stdout, purged.stderr)
	}
	if got := call(t, "ls"); got.code != exitDone || strings.Contains(got.stderr, "nobody reads") {
		t.Errorf("after the purge: exit %d\n%s", got.code, got.stderr)
	}
}
