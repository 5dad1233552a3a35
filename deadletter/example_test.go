package deadletter_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/topics"
)

// exampleClient is connected to a broker in this process, where three orders could not be handled. A service has one from its
// environment.
func exampleClient() (client *kafka.Client, stop func()) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client, err = kafka.NewClient(kafka.ClientConfig{Brokers: cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	if err := topics.Ensure(ctx, client, topics.New("orders", 3), topics.New("dlq-orders", 3)); err != nil {
		log.Fatal(err)
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset("orders", 0, 3, -1)
	if err := kadm.NewClient(client.KGO()).CommitAllOffsets(ctx, group, offsets); err != nil {
		log.Fatal(err)
	}
	for i, failure := range []string{"order 17: connect to db: timeout", "order 18: connect to db: timeout", "decode value: unknown field"} {
		l := letter(0, int64(i))
		set(l, deadletter.HeaderMessage, failure)
		if strings.HasPrefix(failure, "decode") {
			set(l, deadletter.HeaderClass, "permanent")
		}
		if err := client.KGO().ProduceSync(ctx, l).FirstErr(); err != nil {
			log.Fatal(err)
		}
	}
	return client, func() {
		_ = client.Close()
		cluster.Close()
	}
}

// Why are there letters? Errors of one cause are one line, whatever numbers and ids they name.
func ExampleReadStats() {
	client, stop := exampleClient()
	defer stop()
	stats, err := deadletter.ReadStats(context.Background(), client, "dlq-orders", deadletter.Filter{})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range stats.ByError {
		fmt.Printf("%d %s, such as %q\n", c.Letters, c.Value, c.Example)
	}
	// Unordered output:
	// 2 order #: connect to db: timeout, such as "order 17: connect to db: timeout"
	// 1 decode value: unknown field, such as "decode value: unknown field"
}

// The database is back: what failed for want of it is sent again, 100 a second. The rest stays pending, until its payloads can be read,
// or are mended.
func ExampleRedrive() {
	client, stop := exampleClient()
	defer stop()
	ctx := context.Background()
	result, err := deadletter.Redrive(ctx, client, "dlq-orders", deadletter.RedriveOptions{
		Filter: deadletter.Filter{Classes: []string{"transient"}}, Rate: 100,
	})
	fmt.Println(result.Sent, "sent,", result.Filtered, "not meant:", err)

	result, err = deadletter.Redrive(ctx, client, "dlq-orders", deadletter.RedriveOptions{
		Transform: func(_ deadletter.Letter, r *kgo.Record) error {
			r.Value = []byte(strings.ReplaceAll(string(r.Value), "/", "-"))
			return nil
		},
	})
	fmt.Println(result.Sent, "sent,", result.Filtered, "not meant:", err)
	// Output:
	// 2 sent, 1 not meant: <nil>
	// 1 sent, 0 not meant: <nil>
}
