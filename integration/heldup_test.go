package integration

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// mute is a connection that sends nothing more once it is on, as that of a process that was frozen.
type mute struct {
	net.Conn
	on *atomic.Bool
}

func (c mute) Write(request []byte) (int, error) {
	if c.on.Load() {
		return len(request), nil
	}
	return c.Conn.Write(request)
}

// While a rebalance waits for a member that answers no more, others go on, their records are committed, and one that is
// asked to end leaves without waiting as well.
func TestCommitsAndEndsWhileARebalanceWaits(t *testing.T) {
	t.Parallel()
	topic := "held-up-" + uuid.NewString()
	makeTopics(t, kafka.ClientConfig{Brokers: brokers(t)}, topics.New(topic, 2), topics.New("dlq-"+topic, 2))
	raw, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	admin := kadm.NewClient(raw)
	var records []*kgo.Record
	for i := range 200_000 {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: []byte("{}")})
	}
	if err := raw.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}

	config := func() kafka.ConsumerConfig {
		cfg := kafka.NewConsumerConfig(topic, topic, brokers(t)...)
		cfg.DrainTimeout = time.Second
		return cfg
	}
	slowly := func(context.Context, kafka.Message[booking]) error {
		time.Sleep(5 * time.Millisecond)
		return nil
	}
	member := startMember(t, config(), slowly)
	eventually(t, "the member has both partitions", func() bool { return len(member.Health().Partitions) == 2 })
	var silent atomic.Bool
	cfg := config()
	cfg.Options = append(cfg.Options, kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return mute{conn, &silent}, err
	}))
	frozen := startMember(t, cfg, slowly)
	eventually(t, "each has a partition", func() bool {
		return len(member.Health().Partitions) == 1 && len(frozen.Health().Partitions) == 1
	})
	silent.Store(true)
	state := func() string {
		groups, err := admin.DescribeGroups(t.Context(), topic)
		if err != nil {
			return err.Error()
		}
		return groups[topic].State
	}
	partition := member.Health().Partitions[0].Partition
	committed := func() int64 {
		offsets, _ := admin.FetchOffsets(t.Context(), topic)
		at, _ := offsets.Lookup(topic, partition)
		return at.At
	}
	startMember(t, config(), slowly) // whose join begins a rebalance
	eventually(t, "the rebalance begins", func() bool { return state() == "PreparingRebalance" })
	time.Sleep(5 * time.Second) // the member has heard of it, and has asked to join again: franz-go commits nothing
	before := committed()
	eventually(t, "more is committed while the rebalance waits", func() bool { return committed() > before && state() == "PreparingRebalance" })

	member.cancel()
	if err := await(t, "Start returns", member.result); err != nil {
		t.Errorf("Start: %v", err)
	}
	if now := state(); now != "PreparingRebalance" {
		t.Errorf("the group is %s by the end, want it to wait still", now)
	}
}
