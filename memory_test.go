package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/hostile"
)

func init() { hostile.BeVictim() }

// Some KB on the wire are GB in memory, by zeros, by empty headers, or by empty records. A process that consumes them
// stays below 512 MiB, whatever reads them.
func TestHostileBatchesTakeLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("some GB are decompressed")
	}
	if hostile.PeakRSS() == 0 {
		t.Skip("this system does not say how much memory a process takes")
	}
	const size = 60_000_000
	for _, test := range []struct {
		name       string
		batch      func() []byte
		times      int
		partitions int
		reader     string
		want       string // that the process prints
	}{
		{"Zeros", func() []byte { return hostile.Zeros(size) }, 30, 1, "consumer", "handled 30 records: <nil>"},
		{"ZerosEverywhere", func() []byte { return hostile.Zeros(size) }, 2, 30, "consumer", "handled 60 records: <nil>"},
		{"Headers", func() []byte { return hostile.Headers(16_000_000) }, 1, 1, "consumer", "offset 0: the batch takes more than MaxDecompressedBatchBytes"},
		{"Records", func() []byte { return hostile.Records(1_000_000) }, 1, 1, "consumer", "offset 0: the batch takes more than MaxDecompressedBatchBytes"},
		{"HeadersWithinTheLimit", func() []byte { return hostile.Headers(1_000_000) }, 20, 1, "consumer", "settled 20 records"},
		{"Replies", func() []byte { return hostile.Zeros(size) }, 30, 1, "requester", "no reply in time"},
		{"RepliesWithHeaders", func() []byte { return hostile.Headers(16_000_000) }, 30, 1, "requester", "no reply in time"},
		{"Letters", func() []byte { return hostile.Zeros(size) }, 30, 1, "letters", "read 30 letters"},
		{"LettersWithHeaders", func() []byte { return hostile.Headers(16_000_000) }, 1, 1, "letters", "the batch at offset 0 takes more than 64 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(test.partitions), "orders", "dlq-orders"), kfake.SeedTopics(1, "requests"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.MaxVersions(kversion.V3_9_0()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			batch := test.batch()
			publish := func() {
				for i := range test.times * test.partitions {
					if err := hostile.Publish(t.Context(), client, "orders", int32(i%test.partitions), batch); err != nil {
						t.Error(err)
					}
				}
			}
			if test.reader == "requester" { // which begins at the end
				time.AfterFunc(time.Second, publish)
			} else {
				publish()
			}
			output, peak, err := hostile.Victim{Reader: test.reader, Broker: cluster.ListenAddrs()[0], Topic: "orders", Records: test.times * test.partitions}.Run(t.Context())
			t.Logf("%d times %d bytes: peak RSS %d MiB\n%s", test.times*test.partitions, len(batch), peak>>20, output)
			if err != nil || peak > hostile.MaxRSS || !strings.Contains(output, test.want) {
				t.Errorf("the process took %d bytes, want %d at most, and %q: %v", peak, hostile.MaxRSS, test.want, err)
			}
		})
	}
}

// Some records of a few bytes wait, or stand behind one that does. The batches that they came in, whose other records are done, do
// not stay in memory.
func TestRecordsThatWaitKeepNoBatch(t *testing.T) {
	const records, filler = 60, 1 << 20
	each, one, none := func(i int) string { return fmt.Sprint(i) }, func(int) string { return "one" }, func(int) string { return "" }
	later := func(context.Context) error { return kafka.NewTransientError("away", nil).WithRetryAfter(time.Hour) }
	never := func(context.Context) error { return kafka.NewPermanentError("never", nil) }
	long := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, test := range map[string]struct {
		key     func(i int) string
		handle  func(context.Context) error
		paused  bool
		batches bool
	}{
		"each for its retry":                {key: each, handle: later},
		"behind one that does":              {key: one, handle: later},
		"without a key, each for it":        {key: none, handle: later},
		"each for its letter":               {key: each, handle: never},
		"behind one that waits for it":      {key: one, handle: never},
		"behind a handler that takes long":  {key: one, handle: long},
		"each for a pause to end":           {key: each, handle: later, paused: true},
		"behind one that waits for a pause": {key: one, handle: later, paused: true},
		"in a batch that is retried":        {key: each, handle: later, batches: true},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "dlq-orders"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-orders", Err: kerr.InvalidRecord, Count: -1})
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.MaxVersions(kversion.V3_9_0()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			before := heap()
			for i := range records {
				waits := hostile.Keyed(0, test.key(i), []byte("waits"))
				var done []kgo.RecordHeader
				if test.paused { // what is for another group does not wait
					done = headers(dlqheader.WrittenTo, "orders", dlqheader.RedriveGroup, "another")
				}
				batch := hostile.Batch(kgo.ZstdCompression(), 2, append(waits, hostile.Keyed(1, fmt.Sprint("filler ", i), make([]byte, filler), done...)...))
				if err := hostile.Publish(t.Context(), client, "orders", 0, batch); err != nil {
					t.Fatal(err)
				}
			}
			cfg := kafka.NewConsumerConfig("orders", "group", cluster.ListenAddrs()...)
			cfg.Logger, cfg.StartPaused, cfg.DrainTimeout = slog.New(slog.DiscardHandler), test.paused, 100*time.Millisecond
			var filled atomic.Int64
			handle := func(ctx context.Context, msg kafka.Message[[]byte]) error {
				if len(msg.Value) == filler {
					filled.Add(1)
					return nil
				}
				return test.handle(ctx)
			}
			hooks := kafka.ConsumerHooks{RecordSkipped: func(*kgo.Record, kafka.SkipReason) { filled.Add(1) }}
			var consumer interface {
				Start(context.Context) error
				Close() error
				Health() kafka.Health
			}
			if test.batches {
				cfg.MaxBatchSize, cfg.MaxBatchWait, cfg.MaxQueuedBytes = 2*records, time.Minute, 4*records*filler
				consumer, err = kafka.NewBatchConsumerWithCodec(cfg, kafka.Bytes(), func(ctx context.Context, batch []kafka.Message[[]byte]) error {
					failed := kafka.BatchError{}
					for i, msg := range batch {
						failed[i] = handle(ctx, msg)
					}
					return failed.Err()
				}, hooks)
			} else {
				cfg.Concurrency = 100
				consumer, err = kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), handle, hooks)
			}
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- consumer.Start(ctx) }()
			// The last batch may be in a worker's or the client's hands still.
			for grown := int64(0); filled.Load() < records || grown > records/2*filler; grown = heap() - before {
				if time.Sleep(50 * time.Millisecond); ctx.Err() != nil {
					t.Fatalf("%d of %d fillers are done, and %d records of some bytes keep %d MiB", filled.Load(), records, records, grown>>20)
				}
			}
			if in := consumer.Health().Partitions[0]; in.RecordsInHand+in.QueuedRecords != records {
				t.Errorf("%d records in hand, %d wait, want %d together", in.RecordsInHand, in.QueuedRecords, records)
			}
			cancel()
			<-ended
			_ = consumer.Close()
		})
	}
}

// heap is how much memory is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
