package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// bubble is a cluster in a synctest bubble: waits cost no time, and its clock is exact.
//
// A member that joins or is revoked for longer than CommitInterval must set that high: franz-go's periodic commit then
// waits on a lock, which stops the bubble's clock.
type bubble struct {
	t       *testing.T
	cluster *kfake.Cluster
	network kfake.VirtualNetwork
	log     logged
	// How often partitions were assigned, revoked and lost, of consumers that start started.
	assigned, revoked, lost atomic.Int32
}

func inBubble(t *testing.T, test func(t *testing.T, b *bubble), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t}
		opts := append([]kfake.Opt{
			kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(func(network, address string) (net.Listener, error) {
				return b.network.Listen(network, address)
			}),
			kfake.SeedTopics(2, "orders", "dlq-orders"),
		}, opts...)
		cluster, err := kfake.NewCluster(opts...)
		if err != nil {
			t.Fatal(err)
		}
		b.cluster = cluster
		t.Cleanup(cluster.Close) // after the consumers' cleanups
		test(t, b)
	})
}

func (b *bubble) client() kafka.ClientConfig {
	return kafka.ClientConfig{
		Brokers: []string{"127.0.0.1:9092"}, Options: []kgo.Opt{kgo.Dialer(b.network.DialContext)},
		Logger: b.log.logger(slog.LevelInfo),
	}
}

func (b *bubble) consumer() kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig("orders", "group")
	cfg.DLQTopic = "dlq-orders" // of tests with other topics, too
	cfg.ClientConfig = b.client()
	return cfg
}

func (b *bubble) producer() kafka.ProducerConfig {
	return kafka.ProducerConfig{ClientConfig: b.client(), Topic: "orders"}
}

// seed puts n records {"n":0}, {"n":1}, … into a partition of orders.
func (b *bubble) seed(partition int32, n int) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(b.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: "orders", Partition: partition, Value: fmt.Appendf(nil, `{"n":%d}`, i)}
	}
	if err := client.ProduceSync(b.t.Context(), records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

type numbered struct {
	N int `json:"n"`
}

// start runs a consumer until stop is called, which returns Start's error.
func (b *bubble) start(cfg kafka.ConsumerConfig, handle kafka.Handler[numbered], plugins ...kafka.ConsumerPlugin) (consumer *kafka.Consumer[numbered], stop func() error) {
	b.t.Helper()
	consumer, err := kafka.NewConsumer(cfg, handle)
	if err != nil {
		b.t.Fatal(err)
	}
	consumer.Use(kafka.ConsumerHooks{
		PartitionsAssigned: func(string, []int32) { b.assigned.Add(1) },
		PartitionsRevoked:  func(string, []int32) { b.revoked.Add(1) },
		PartitionsLost:     func(string, []int32) { b.lost.Add(1) },
	})
	consumer.Use(plugins...)
	return consumer, b.run(consumer)
}

func (b *bubble) run(consumer interface {
	Start(context.Context) error
	Close() error
}) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- consumer.Start(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		err := <-result
		_ = consumer.Close()
		return err
	})
	b.t.Cleanup(func() { _ = stop() })
	return stop
}

// committed returns the group's offset in a partition of orders; -1 for none.
func (b *bubble) committed(partition int32) int64 {
	group := b.cluster.GroupInfo("group")
	if group == nil {
		return -1
	}
	if commit, ok := group.Commits["orders"][partition]; ok {
		return commit.Offset
	}
	return -1
}

func (b *bubble) letters() int64 { return storedIn(b.cluster, "dlq-orders") }

// storedIn counts the records that a topic was ever given.
func storedIn(cluster *kfake.Cluster, topic string) (n int64) {
	for _, info := range cluster.PartitionInfos(topic) {
		n += info.HighWatermark
	}
	return n
}

const aLongTime = 4 * time.Minute
