package deadletter_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/kafkatest"
)

// Records that wait in retry topics for a group that was renamed, or runs no more, are found by the topics' names.
func TestRetryTopicsThatNobodyReadsAreFound(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "orders", "paid-orders",
		"retry-1-old-orders", "retry-2-old-orders", // of a group that is no more
		"retry-1-stopped-orders",                                                                                 // whose group has consumed some
		"retry-1-done-orders",                                                                                    // whose group has consumed all
		"retry-1-busy-orders",                                                                                    // whose group has a member
		"retry-1-shop-paid-orders",                                                                               // of shop and paid-orders, or of shop-paid and orders
		"retry-0-old-orders", "retry-11-old-orders", "retry-1m-old-orders", "retry-1-orders", "retry-1-old-gone", // no retry topics
	)
	fill := func(topic string, n int) {
		for range n {
			p.write(&kgo.Record{Topic: topic, Partition: 1, Value: []byte("1")})
		}
	}
	commit := func(group, topic string, at int64) {
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 1, at, -1)
		if err := kadm.NewClient(p.raw).CommitAllOffsets(p.context(), group, offsets); err != nil {
			t.Fatal(err)
		}
	}
	fill("retry-1-old-orders", 3)
	fill("retry-1-stopped-orders", 5)
	commit("stopped", "retry-1-stopped-orders", 2)
	fill("retry-1-done-orders", 5)
	commit("done", "retry-1-done-orders", 5)
	fill("retry-1-shop-paid-orders", 4)
	commit("shop", "retry-1-shop-paid-orders", 1)
	for _, name := range []string{"retry-0-old-orders", "retry-11-old-orders", "retry-1m-old-orders", "retry-1-orders", "retry-1-old-gone"} {
		fill(name, 1)
	}
	fill("retry-1-busy-orders", 3)
	cfg := p.broker.ConsumerConfig("orders", "busy")
	cfg.RetryDelays = []time.Duration{time.Hour}
	busy, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[int]) error { return errors.New("away") })
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, busy)
	for !busy.Health().Ready() && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}

	got, err := deadletter.UnreadRetryTopics(p.context(), p.client)
	want := []deadletter.RetryTopic{
		{Name: "retry-1-old-orders", Group: "old", Source: "orders", Unread: 3},
		{Name: "retry-1-shop-paid-orders", Group: "shop", Source: "paid-orders", Unread: 3},
		{Name: "retry-1-stopped-orders", Group: "stopped", Source: "orders", Unread: 3},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}
