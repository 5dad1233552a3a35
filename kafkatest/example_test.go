package kafkatest_test

import (
	"context"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

type Order struct {
	ID    string `json:"id"`
	Cents int64  `json:"cents"`
}

type Invoice struct {
	OrderID string `json:"order_id"`
}

// What main calls; the service is configured by the environment.
func run(ctx context.Context) error { <-ctx.Done(); return nil }

// What a consumer is made with.
func handle(_ context.Context, msg kafka.Message[Order]) error {
	if msg.Value.ID == "" {
		return kafka.NewPermanentError("an order without an id", nil)
	}
	return nil
}

// A whole service, from its environment to what it publishes.
func ExampleRunFunc() {
	var t *testing.T // the test's own

	broker := kafkatest.Start(t, "orders", "invoices")
	broker.Env(t)
	kafkatest.RunFunc(t, run)

	order := kafka.NewMessage[Order]().WithValue(Order{ID: "o-1", Cents: 250}).WithCorrelationID("c-1").Build()
	kafkatest.Publish(t, broker, "orders", order)
	invoice := kafkatest.AwaitMessage(t, broker, "invoices", func(msg kafka.Message[Invoice]) bool {
		return msg.GetCorrelationID() == "c-1"
	})
	if invoice.Value.OrderID != "o-1" {
		t.Errorf("the invoice is of order %q", invoice.Value.OrderID)
	}
}

// A consumer, and the dead letter of what it can't handle.
func ExampleRun() {
	var t *testing.T // the test's own

	broker := kafkatest.Start(t, "orders")
	consumer, err := kafka.NewConsumer(broker.ConsumerConfig("orders", "billing"), handle)
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, consumer)

	kafkatest.Publish(t, broker, "orders", kafka.NewMessage[Order]().WithValue(Order{Cents: 250}).Build())
	letter, _ := kafkatest.AwaitPublished[Order](t, broker, "dlq-orders", 1)[0].DeadLetter()
	if letter.Class != kafka.ClassPermanent || letter.Group != "billing" {
		t.Errorf("dead letter: %+v", letter)
	}
}

// A handler, without any broker.
func ExampleHandle() {
	var t *testing.T // the test's own

	result := kafkatest.Handle(t, handle, kafka.NewMessage[Order]().WithValue(Order{Cents: 250}).Build())
	if result.Outcome != kafka.OutcomeDeadLettered {
		t.Errorf("an order without an id: %+v", result)
	}
}

// That something is not published can only be told once the consumer is through.
func ExampleAwaitDone() {
	var t *testing.T             // the test's own
	var broker *kafkatest.Broker // see Start

	kafkatest.AwaitDone(t, broker, "orders", "billing")
	if invoices := kafkatest.Published[Invoice](t, broker, "invoices"); len(invoices) > 0 {
		t.Errorf("there are invoices: %v", invoices)
	}
}
