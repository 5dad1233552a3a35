package kafka

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// wide is a value of a size that copies of a message can be felt by: as an order of ours.
type wide struct{ fields [22]uint64 }

type wideCodec struct{}

func (wideCodec) Encode(wide) ([]byte, error)    { return nil, nil }
func (wideCodec) Decode(_ []byte, v *wide) error { v.fields[3] = 1; return nil }
func (wideCodec) ContentType() string            { return "application/octet-stream" }

// BenchmarkRecord is what a record costs from the queue to the mark, without the network and without decoding.
func BenchmarkRecord(b *testing.B) {
	cfg := NewConsumerConfig("orders", "billing", "127.0.0.1:9092").withDefaults()
	sum := uint64(0)
	c := &consumer{cfg: cfg, handlerCtx: context.Background(), queued: newBudget(cfg.MaxQueuedRecords, cfg.MaxQueuedBytes),
		routes: map[string]*route{"orders": {}}, gates: newGates(cfg),
		handleAlone: NewHandlerFunc(cfg, wideCodec{}, func(_ context.Context, msg Message[wide]) error { sum += msg.Value.fields[3]; return nil })}
	p := newPartition(c, nil, "orders", 0, "", nil)
	records := make([]*kgo.Record, 1000)
	b.ReportAllocs()
	var offset int64
	for b.Loop() {
		for i := range records {
			records[i] = &kgo.Record{Key: []byte("customer-00001"), Value: []byte("{}"), Offset: offset}
			offset++
		}
		p.enqueue(records, offset)
		t, _ := p.tasks.next(nil)
		for range len(records) - 1 {
			p.step(t)
			t, _ = p.tasks.next(t)
		}
		p.step(t)
		p.tasks.mu.Lock()
		p.tasks.release(t, t.settled)
		p.tasks.mu.Unlock()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(offset), "ns/record")
}
