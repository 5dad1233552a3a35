package kafka

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkBatch is what a record of a batch costs from the queue to the mark, without the network and without decoding.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 100, 500} {
		for _, layers := range []int{0, 3} {
			b.Run(fmt.Sprintf("%d records, %d middlewares", size, layers), func(b *testing.B) { benchmarkBatch(b, size, layers) })
		}
	}
}

func benchmarkBatch(b *testing.B, size, layers int) {
	cfg := NewConsumerConfig("orders", "billing", "127.0.0.1:9092").withDefaults()
	sum := uint64(0)
	c := &consumer{cfg: cfg, handlerCtx: context.Background(), queued: newBudget(cfg.MaxQueuedRecords, cfg.MaxQueuedBytes), gates: newGates(cfg),
		routes: map[string]*route{"orders": {}}}
	benchBatches(c, layers, func(_ context.Context, batch []Message[wide]) error {
		for i := range batch {
			sum += batch[i].Value.fields[3]
		}
		return nil
	})
	p := newPartition(c, nil, "orders", 0, "", nil)
	records := make([]*kgo.Record, size)
	b.ReportAllocs()
	var offset int64
	for b.Loop() {
		for i := range records {
			records[i] = &kgo.Record{Key: []byte("customer-00001"), Value: []byte("{}"), Offset: offset, Headers: []kgo.RecordHeader{{Key: "message-id", Value: []byte("1")}}}
			offset++
		}
		p.enqueue(records, offset)
		p.settleBatch(p.nextBatch())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(offset), "ns/record")
}

func benchBatches(c *consumer, layers int, handle BatchHandler[wide]) {
	c.newMessages = messagesOf(c.cfg, wideCodec{}, handle)
	for range layers {
		c.batchMiddleware = append(c.batchMiddleware, func(next BatchFunc) BatchFunc {
			return func(ctx context.Context, records []*Record) error { return next(ctx, records) }
		})
	}
	c.handleBatch = chain(BatchFunc(callBatch), c.batchMiddleware)
}
