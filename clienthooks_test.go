package kafka_test

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Clients that are derived from a shared one, to read replies or to redrive, end nothing of what its hooks observe.
func TestHooksOutliveDerivedClients(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.createTopic("replies")
		client, err := kafka.NewClient(b.client())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		observed := &connections{}
		var of []*kgo.Client
		plugin := kafka.ProducerHooks{Client: func(c *kgo.Client) kgo.Hook {
			of = append(of, c)
			return observed
		}}
		producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "orders"}, plugin)
		if err != nil {
			t.Fatal(err)
		}
		cfg := kafka.NewRequesterConfig("orders", "replies")
		cfg.Client = client
		requester, err := kafka.NewRequester[numbered, numbered](cfg)
		if err != nil {
			t.Fatal(err)
		}
		derived, err := kgo.NewClient(client.KGO().Opts()...)
		if err != nil {
			t.Fatal(err)
		}
		derived.Close()
		if err := requester.Close(); err != nil {
			t.Error(err)
		}
		if told := observed.take(); slices.Contains(told, "closed") {
			t.Errorf("the client lives, and its hook was told %q", told)
		}
		another, err := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "orders"}, plugin)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range of {
			if c != client.KGO() {
				t.Error("a plugin got a derived client")
			}
		}
		for i, close := range []func() error{producer.Close, another.Close, another.Close} {
			if err := close(); err != nil {
				t.Error(err)
			}
			if closed := slices.Contains(observed.take(), "closed"); closed != (i == 1) {
				t.Errorf("after %d calls of Close the hook was told of the end: %t; it has two users", i+1, closed)
			}
		}
	})
}

// Producers come and go on a shared client, and take their hooks with them.
func TestHooksGoWithTheirProducers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		client, err := kafka.NewClient(b.client())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		var all []*connections
		for range 20 {
			producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{Client: client, Topic: "orders"}, kafka.ProducerHooks{
				Client: func(*kgo.Client) kgo.Hook {
					all = append(all, &connections{})
					return all[len(all)-1]
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := producer.Publish(t.Context(), kafka.NewMessage[numbered]().Build()); err != nil {
				t.Error(err)
			}
			if err := producer.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, c := range all {
			c.take()
		}
		b.cluster.Close() // the connections end
		time.Sleep(time.Minute)
		_ = client.Ping(t.Context())
		for i, c := range all {
			if told := c.take(); len(told) > 0 {
				t.Fatalf("the hook of closed producer %d is told %q", i, told)
			}
		}
	})
}
