package topics_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// A service makes sure of its topics before it consumes or publishes. Those that exist stay as they are.
func ExampleEnsure() {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1)) // a broker in this process
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: cluster.ListenAddrs()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ensure := func(partitions int32) error {
		return topics.Ensure(ctx, client,
			topics.Topic{Name: "orders", Partitions: partitions, Config: map[string]string{"retention.ms": "604800000"}},
			topics.Topic{Name: "dlq-orders", Partitions: partitions},
		)
	}
	fmt.Println("created:", ensure(6))
	fmt.Println("again, with more partitions:", ensure(12))

	details, err := kadm.NewClient(client.KGO()).ListTopics(ctx, "orders", "dlq-orders")
	if err != nil {
		log.Fatal(err)
	}
	for _, topic := range details.Sorted() {
		fmt.Println(topic.Topic, "has", len(topic.Partitions), "partitions")
	}
	// Output:
	// created: <nil>
	// again, with more partitions: <nil>
	// dlq-orders has 6 partitions
	// orders has 6 partitions
}
