package kafka_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/hostile"
)

// handledIn counts what a handler gets, by partition, and what PartitionStuck is told.
type handledIn struct {
	mu      sync.Mutex
	records map[int32]int
	stuck   []kafka.StuckPartition
}

func (h *handledIn) handle(_ context.Context, msg kafka.Message[numbered]) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.records == nil {
		h.records = map[int32]int{}
	}
	h.records[msg.Partition]++
	return nil
}

func (h *handledIn) hooks() kafka.ConsumerHooks {
	return kafka.ConsumerHooks{PartitionStuck: func(p kafka.StuckPartition) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.stuck = append(h.stuck, p)
	}}
}

func (h *handledIn) count(partition int32) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.records[partition]
}

func (h *handledIn) told() []kafka.StuckPartition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.stuck)
}

func stuckOf(h kafka.Health, partition int32) string {
	for _, p := range h.Partitions {
		if p.Partition == partition {
			return p.Stuck
		}
	}
	return "not assigned"
}

// A batch above MaxDecompressedBatchBytes stops its partition and no other, and is named. What is before it is handled
// and committed; with a higher limit the rest is.
func TestABatchAboveTheLimitStopsItsPartitionAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		client := b.raw(kgo.MaxVersions(kversion.V3_9_0())) // which name topics, not their ids
		defer client.Close()
		b.seed(0, 3)
		large := append([]byte(`{"n":3}`), bytes.Repeat([]byte(" "), 2<<20)...)
		publishBatch(t, client, "orders", 0, hostile.Batch(kgo.GzipCompression(), 1, hostile.Record(0, large, 0)))
		b.seed(0, 1)
		b.seed(1, 5)

		cfg := b.consumer()
		cfg.MaxDecompressedBatchBytes = 1 << 20
		var got handledIn
		consumer, stop := b.start(cfg, got.handle, got.hooks())
		time.Sleep(10 * time.Second)
		b.seed(1, 5)
		time.Sleep(10 * time.Second)
		text := stuckOf(consumer.Health(), 0)
		for _, want := range []string{"offset 3:", "MaxDecompressedBatchBytes, 1048576", "KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES", "group group to 4"} {
			if !strings.Contains(text, want) {
				t.Errorf("Stuck is %q, want %q in it", text, want)
			}
		}
		if told := got.told(); len(told) != 1 || told[0].Partition != 0 || told[0].Err == nil {
			t.Errorf("PartitionStuck was told %v", told)
		}
		if !consumer.Health().Ready() || !consumer.Health().Live() {
			t.Errorf("one partition is stuck, and the consumer is not ready: %+v", consumer.Health())
		}
		if n := b.log.count(slog.LevelError, "topic=orders", "partition=0"); n != 1 {
			t.Errorf("%d lines name the partition, want 1", n)
		}
		if err := stop(); err != nil || got.count(0) != 3 || got.count(1) != 10 || b.committed(0) != 3 || b.committed(1) != 10 {
			t.Errorf("Start: %v; handled %v; committed %d and %d, want 3 and 10", err, got.records, b.committed(0), b.committed(1))
		}

		cfg.MaxDecompressedBatchBytes = 0
		_, stop = b.start(cfg, got.handle)
		time.Sleep(10 * time.Second)
		if err := stop(); err != nil || got.count(0) != 5 || b.committed(0) != 5 {
			t.Errorf("with a higher limit: %v; handled %v; committed %d, want 5", err, got.records, b.committed(0))
		}
	})
}

// damaged dials connections over which a text arrives as another one while on is set.
type damaged struct {
	dial func(context.Context, string, string) (net.Conn, error)
	text []byte
	on   atomic.Bool
	seen atomic.Int32 // how often
	// takes is how long a read takes: without any time, what is fetched again and again would stop the bubble's clock.
	takes   time.Duration
	fetched atomic.Int64 // bytes
}

func (d *damaged) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	return damagedConn{conn, d}, err
}

type damagedConn struct {
	net.Conn
	by *damaged
}

func (c damagedConn) Read(b []byte) (int, error) {
	time.Sleep(c.by.takes)
	n, err := c.Conn.Read(b)
	c.by.fetched.Add(int64(n))
	if i := bytes.Index(b[:n], c.by.text); i >= 0 && c.by.on.Load() {
		c.by.seen.Add(1)
		b[i]++
	}
	return n, err
}

// A batch whose checksum is wrong is fetched again with growing pauses, and named. The other partition goes on, and so
// does this one once the batch can be read.
func TestADamagedBatchIsNamedAndFetchedAgainWithPauses(t *testing.T) {
	for _, reset := range []string{"earliest", "none"} {
		t.Run(reset, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				client := b.raw(kgo.MaxVersions(kversion.V3_9_0())) // which name topics, not their ids
				defer client.Close()
				b.seed(0, 3)
				b.seed(1, 5)
				cfg := b.consumer()
				var got handledIn
				_, stop := b.start(cfg, got.handle)
				time.Sleep(10 * time.Second)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte(`{"n":3, "x":"poisoned"}`)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
				damage := &damaged{dial: b.network.DialContext, text: []byte("poisoned")}
				damage.on.Store(true)
				cfg.AutoOffsetReset = kafka.OffsetReset(reset)
				cfg.Options = []kgo.Opt{kgo.Dialer(damage.DialContext)}
				consumer, stop := b.start(cfg, got.handle, got.hooks())
				time.Sleep(10 * time.Minute)
				if text := stuckOf(consumer.Health(), 0); !strings.Contains(text, "offset 3 can't be read") || !strings.Contains(text, "group group") {
					t.Errorf("Stuck is %q", text)
				}
				if n := damage.seen.Load(); n > 40 {
					t.Errorf("it was fetched %d times in ten minutes", n)
				}
				if n := b.log.count(slog.LevelError, "topic=orders", "partition=0"); n != 1 {
					t.Errorf("%d lines name it, want 1", n)
				}
				b.seed(1, 2)
				time.Sleep(10 * time.Second)
				if got.count(0) != 3 || got.count(1) != 7 {
					t.Errorf("%v were handled, want 3 and 7", got.records)
				}
				damage.on.Store(false)
				time.Sleep(2 * time.Minute)
				if text := stuckOf(consumer.Health(), 0); text != "" {
					t.Errorf("it can be read, and Stuck is %q", text)
				}
				if told := got.told(); len(told) != 2 || told[0].Err == nil || told[1].Err != nil {
					t.Errorf("PartitionStuck was told %v", told)
				}
				if err := stop(); err != nil || got.count(0) != 4 || b.committed(0) != 4 {
					t.Errorf("Start: %v; handled %v; committed %d", err, got.records, b.committed(0))
				}
			})
		})
	}
}

// A batch that holds fewer records than it says, with a valid checksum, is fetched again by franz-go without a word: its
// partition is named all the same.
func TestABatchWithoutItsRecordsIsNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		client := b.raw(kgo.MaxVersions(kversion.V3_9_0())) // which name topics, not their ids
		defer client.Close()
		b.seed(0, 3)
		publishBatch(t, client, "orders", 0, hostile.Batch(kgo.GzipCompression(), 2, []byte("no record")))
		b.seed(1, 5)
		network := &damaged{dial: b.network.DialContext, takes: 10 * time.Millisecond}
		cfg := b.consumer()
		cfg.Options = []kgo.Opt{kgo.Dialer(network.DialContext)}
		var got handledIn
		consumer, stop := b.start(cfg, got.handle, got.hooks())
		time.Sleep(time.Minute)
		before := network.fetched.Load()
		time.Sleep(10 * time.Minute)
		if after := network.fetched.Load(); after-before > 2*before {
			t.Errorf("%d bytes were fetched in the first minute, and %d in the next ten: want pauses", before, after-before)
		}
		if text := stuckOf(consumer.Health(), 0); !strings.Contains(text, "offset 3 can't be read") {
			t.Errorf("Stuck is %q", text)
		}
		if text := stuckOf(consumer.Health(), 1); text != "" {
			t.Errorf("the other partition is said to be stuck: %q", text)
		}
		if n := b.log.count(slog.LevelError, "topic=orders", "partition=0"); n != 1 {
			t.Errorf("%d lines name it, want 1", n)
		}
		if err := stop(); err != nil || got.count(0) != 3 || got.count(1) != 5 || b.committed(0) != 3 {
			t.Errorf("Start: %v; handled %v; committed %d", err, got.records, b.committed(0))
		}
	})
}

func publishBatch(t *testing.T, client *kgo.Client, topic string, partition int32, batch []byte) {
	t.Helper()
	if err := hostile.Publish(t.Context(), client, topic, partition, batch); err != nil {
		t.Fatal(err)
	}
}
