package kafka_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Twelve partitions with 5,000 records each and a handler of 1 ms take 5 s when all partitions run side by side. A fetch brings
// thousands of records of one partition: they must not fill the queues while the other partitions have nothing to do.
func TestASlowBacklogKeepsEveryPartitionBusy(t *testing.T) {
	t.Parallel()
	const partitions, each = 12, 5000
	inBubble(t, func(t *testing.T, b *bubble) {
		client := b.raw()
		defer client.Close()
		for i := range partitions * each {
			client.Produce(t.Context(), &kgo.Record{Topic: "many", Partition: int32(i % partitions), Value: fmt.Appendf(nil, `{"n":%d}`, i)}, nil)
		}
		if err := client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		cfg := b.consumer()
		cfg.Topic, cfg.DisableDeadLetters = "many", true
		var busy, n atomic.Int64
		done := make(chan struct{})
		began := time.Now()
		b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			busy.Add(1)
			time.Sleep(time.Millisecond)
			busy.Add(-1)
			if n.Add(1) == partitions*each {
				close(done)
			}
			return nil
		})
		var lanes []int64
		for running := true; running; {
			select {
			case <-done:
				running = false
			case <-time.After(500 * time.Millisecond):
				lanes = append(lanes, busy.Load())
			}
		}
		took := time.Since(began)
		t.Logf("took %v; partitions at work, every 500 ms: %v", took, lanes)
		if took > 7*time.Second { // virtual time
			t.Errorf("it took %v, not about %v", took, each*time.Millisecond)
		}
	}, kfake.SeedTopics(partitions, "many"))
}
