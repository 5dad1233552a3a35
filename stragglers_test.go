//go:build synctests

package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Handlers that outlast the handover of their partition. The build tag is franz-go's: its locks don't stop virtual time then.

// A partition comes and goes several times while a handler of its first stay still runs.
func TestAPartitionWaitsForItsStragglerThroughManyRebalances(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*kafka.ConsumerConfig){
		"cooperative": func(*kafka.ConsumerConfig) {},
		"eager":       func(cfg *kafka.ConsumerConfig) { cfg.Options = append(cfg.Options, kgo.Balancers(kgo.RangeBalancer())) },
		"KIP-848":     func(cfg *kafka.ConsumerConfig) { cfg.GroupProtocol = "consumer" },
		"parking":     func(cfg *kafka.ConsumerConfig) { cfg.ParkKeys = true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 3)
				b.seed(1, 3)
				cfg := b.consumer()
				change(&cfg)
				cfg.CommitInterval, cfg.DrainTimeout, cfg.DLQTopic = 300*time.Millisecond, time.Second, "dlq-orders"
				var mu sync.Mutex
				running, most := map[int32]int{}, 0
				consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
					mu.Lock()
					running[msg.Partition]++
					most = max(most, running[msg.Partition])
					mu.Unlock()
					time.Sleep(5 * time.Minute)
					mu.Lock()
					running[msg.Partition]--
					mu.Unlock()
					return nil
				})
				time.Sleep(5 * time.Second)
				for range 6 {
					other, err := kafka.NewConsumer(cfg, func(ctx context.Context, _ kafka.Message[numbered]) error {
						<-ctx.Done()
						return ctx.Err()
					})
					if err != nil {
						t.Fatal(err)
					}
					stopOther := b.run(other)
					time.Sleep(8 * time.Second)
					_ = stopOther()
					time.Sleep(4 * time.Second)
				}
				mu.Lock()
				if most != 1 || b.revoked.Load() < 3 {
					t.Errorf("%d handlers of one partition at once, %d revocations", most, b.revoked.Load())
				}
				mu.Unlock()
				problems := strings.Join(consumer.Health().Problems, "\n")
				if !strings.Contains(problems, "orders-1: a handler") { // who keeps orders-0 has its handler as any other
					t.Errorf("Health does not name the partition with a handler that still runs: %q", problems)
				}
				if b.log.count(slog.LevelWarn, "topic=orders", "partition", "!drain_timeout") == 0 {
					t.Error("no line says at a later handover that a handler of the first stay still runs")
				}
				if err := stop(); !errors.Is(err, kafka.ErrDrainTimeout) || !strings.Contains(err.Error(), "orders-0 orders-1") {
					t.Errorf("Start returned %v, want the partitions whose handlers still run", err)
				}
				time.Sleep(10 * time.Minute)
			})
		})
	}
}
