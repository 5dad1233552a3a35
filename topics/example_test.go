package topics_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// exampleClient is connected to a broker in this process. A service has one from its environment.
func exampleClient() (client *kafka.Client, stop func()) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("example"))
	if err != nil {
		log.Fatal(err)
	}
	client, err = kafka.NewClient(kafka.ClientConfig{Brokers: cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	return client, func() {
		_ = client.Close()
		cluster.Close()
	}
}

// A service makes sure of its topics before it consumes or publishes: those it declares, and the dead letter topics of its
// consumers.
func ExampleEnsure() {
	client, stop := exampleClient()
	defer stop()
	consumerCfg := kafka.NewConsumerConfig("orders", "billing")

	list := topics.List{
		topics.New("orders", 6).WithRetention(7 * 24 * time.Hour),
		topics.Compacted("customers", 6),
	}.WithDeadLetters(consumerCfg)

	fmt.Println(topics.Ensure(context.Background(), client, list...))
	// Output: <nil>
}

// A plan says what would change and why.
func ExampleList_Plan() {
	client, stop := exampleClient()
	defer stop()
	ctx := context.Background()
	if err := topics.Ensure(ctx, client, topics.New("orders", 6), topics.New("payments", 6)); err != nil {
		log.Fatal(err)
	}

	list := topics.List{
		topics.New("orders", 12), // not without AllowGrow
		topics.New("payments", 6).WithRetention(24 * time.Hour),
		topics.New("refunds", 1),
	}
	plan, err := list.Plan(ctx, client, topics.Reconcile)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(plan)
	// Output:
	// cluster example, brokers: 1, mode reconcile, planned
	// !  orders    error   partitions: 6 on the cluster, 12 declared (refused: more partitions move keys and break their order: set allowGrow to accept that, or declare 6)
	// ~  payments  alter   retention.ms: 604800000 -> 86400000
	// +  refunds   create  partitions=1 replication.factor=1
	// create: 1, alter: 1, error: 1
}
