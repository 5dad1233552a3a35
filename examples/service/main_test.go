package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka"
)

func TestAnOrderBecomesAnInvoice(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	t.Setenv("KAFKA_BROKERS", cluster.ListenAddrs()[0])
	address = freeAddress()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()

	orders := publisherTo[Order](t, ctx, "orders")
	defer orders.Close()
	order := kafka.NewMessage[Order]().WithValue(Order{ID: "o-1", Cents: 250}).WithCorrelationID("c-1").Build()
	if err := orders.Publish(ctx, order); err != nil {
		t.Fatal(err)
	}

	cfg, err := kafka.NewConsumerConfigFromEnv("invoices", "test")
	if err != nil {
		t.Fatal(err)
	}
	cfg.DisableDeadLetters = true
	consumer, err := kafka.NewConsumer(cfg, func(_ context.Context, msg kafka.Message[Invoice]) error {
		if msg.Value != (Invoice{OrderID: "o-1", Cents: 250}) || msg.GetCorrelationID() != "c-1" {
			t.Errorf("invoice %+v of conversation %q", msg.Value, msg.GetCorrelationID())
		}
		get(t, "/readyz", `"ok":true`)
		get(t, "/metrics", `messaging_client_consumed_messages_total{messaging_consumer_group_name="billing",messaging_destination_name="orders"`)
		cancel()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	if err := consumer.Start(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the service ended with %v", err)
	}
}

// freeAddress returns an address whose port is below the range of ephemeral ports, so that no other process is given it
// before the service listens there.
func freeAddress() string {
	for {
		address := fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(12_000))
		if free, err := net.Listen("tcp", address); err == nil {
			_ = free.Close()
			return address
		}
	}
}

// get fails unless the service's own answer holds want.
func get(t *testing.T, path, want string) {
	t.Helper()
	answer, err := http.Get("http://" + address + path)
	if err != nil {
		t.Error(err)
		return
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
		t.Errorf("%s: %s, which lacks %q: %s", path, answer.Status, want, body)
	}
}

// publisherTo waits for the service to make the topic.
func publisherTo[T any](t *testing.T, ctx context.Context, topic string) *kafka.Producer[T] {
	t.Helper()
	cfg, err := kafka.NewProducerConfigFromEnv(topic)
	if err != nil {
		t.Fatal(err)
	}
	for {
		producer, err := kafka.NewProducer[T](cfg)
		if err == nil {
			return producer
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
