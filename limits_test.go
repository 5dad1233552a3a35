package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// publishRaw puts a record into orders-0, past the library.
func (b *bubble) publishRaw(r *kgo.Record) {
	b.t.Helper()
	client := b.raw()
	defer client.Close()
	r.Topic = "orders"
	if err := client.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// readLetters returns the first n letters of partition 0.
func (b *bubble) readLetters(n int) (letters []*kgo.Record) {
	b.t.Helper()
	reader := b.raw(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"dlq-orders": {0: kgo.NewOffset().AtStart()}}))
	defer reader.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), aLongTime)
	defer cancel()
	for len(letters) < n {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.t.Fatalf("%d letters of %d: %v", len(letters), n, err)
		}
		letters = append(letters, fetches.Records()...)
	}
	return letters
}

// A record whose headers are out of all proportion costs a letter. Its handler never sees it, others are handled, and who reads
// the letters with the same limits can.
func TestRecordsAboveTheHeaderLimitsAreDeadLetters(t *testing.T) {
	t.Parallel()
	ids := headers(kafka.HeaderMessageID, "m-1", kafka.HeaderCorrelationID, "c-1", "traceparent", "t-1")
	many := make([]kgo.RecordHeader, 100_000)
	for _, test := range []struct {
		name    string
		headers []kgo.RecordHeader
		bytes   int // MaxHeaderBytes
		want    []string
		kept    int // of the record's own
	}{
		{"100,000 headers", append(many, ids...), 0, []string{"orders-0 offset 0", "100003 headers, 1000 are allowed", "KAFKA_CONSUMER_MAX_HEADERS"}, kafka.DefaultMaxHeaders - kafka.LetterHeaderCount},
		{"a header of 900 KB", append(headers("large", strings.Repeat("x", 900_000)), ids...), 256 << 10, []string{"orders-0 offset 0", "bytes of headers, 262144 are allowed", "KAFKA_CONSUMER_MAX_HEADER_BYTES"}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.publishRaw(&kgo.Record{Key: []byte("key"), Value: []byte(`{"n":1}`), Headers: test.headers})
				b.publishRaw(&kgo.Record{Value: []byte(`{"n":2}`)})
				var handled, seen, refused atomic.Int64
				cfg := b.consumer()
				cfg.MaxHeaderBytes = test.bytes
				sees := kafka.ConsumerMiddleware(func(next kafka.HandlerFunc) kafka.HandlerFunc {
					return func(ctx context.Context, r *kafka.Record) error {
						seen.Add(int64(len(r.Headers)))
						err := next(ctx, r)
						if errors.Is(err, kafka.ErrHeaderLimit) {
							refused.Add(1)
						}
						return err
					}
				})
				_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
					handled.Add(int64(msg.Value.N))
					return nil
				}, sees)
				time.Sleep(10 * time.Second)
				if err := stop(); err != nil || handled.Load() != 2 || b.committed(0) != 2 {
					t.Errorf("Start: %v; handled %d, committed %d; want the second record alone, and both done", err, handled.Load(), b.committed(0))
				}
				if seen.Load() != int64(test.kept) || refused.Load() != 1 {
					t.Errorf("middleware has seen %d headers and %d errors, want %d and 1", seen.Load(), refused.Load(), test.kept)
				}
				letter := b.readLetters(1)[0]
				if string(letter.Key) != "key" || string(letter.Value) != `{"n":1}` {
					t.Errorf("the letter is %q: %q", letter.Key, letter.Value)
				}
				about, ok := parseDeadLetter(letter.Headers)
				if !ok || about.Class != kafka.ClassPermanent || about.Attempts != 1 || about.HeadersCut != len(test.headers)-test.kept {
					t.Errorf("the letter says %+v, want %d headers cut", about, len(test.headers)-test.kept)
				}
				wantFault(t, errors.New(about.Message), test.want...)
				for _, id := range ids {
					if value, _ := lastHeader(letter.Headers, id.Key); value != string(id.Value) {
						t.Errorf("%s is lost", id.Key)
					}
				}
				if err := cfg.CheckHeaders(letter.Headers); err != nil {
					t.Errorf("the letter itself: %v", err)
				}

				read := cfg
				read.Topic, read.DisableDeadLetters, read.Group = "dlq-orders", true, "readers"
				seen.Store(0)
				_, stop = b.start(read, func(context.Context, kafka.Message[numbered]) error {
					seen.Add(1)
					return nil
				})
				time.Sleep(10 * time.Second)
				if err := stop(); err != nil || seen.Load() != 1 {
					t.Errorf("reading letters: %v, %d seen", err, seen.Load())
				}
			})
		})
	}
}

// Without a dead letter topic Start names the record and the way out.
func TestTheHeaderLimitEndsStartWithoutADeadLetterTopic(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.publishRaw(&kgo.Record{Value: []byte(`{"n":1}`), Headers: headers("a", "b", "c", "d")})
		cfg := b.consumer()
		cfg.DisableDeadLetters, cfg.MaxHeaders = true, 1
		consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = consumer.Start(ctx)
		wantFault(t, err, "orders-0 offset 0", "2 headers, 1 are allowed", "MaxHeaders")
		if !errors.Is(err, kafka.ErrHeaderLimit) || !isType[*kafka.RecordError](err) {
			t.Errorf("%v, want a RecordError and ErrHeaderLimit", err)
		}
	})
}

// A few KB of zeros decompressed cost their partition, not the process. What stands before them is handled, and a way out that Health
// names is one. Not in a bubble: the garbage collector closes decompressors, which it may not do there from outside.
func TestDecompressionBombsStopTheirPartitionAndNotTheProcess(t *testing.T) {
	for _, bomb := range []struct {
		name  string
		codec kgo.CompressionCodec
		size  int
		most  uint64 // that may be allocated: less than without a limit, also under the race detector, which empties pools
	}{
		{"gzip", kgo.GzipCompression(), 24 << 20, 60 << 20}, {"zstd", kgo.ZstdCompression(), 24 << 20, 20 << 20},
		{"lz4", kgo.Lz4Compression(), 24 << 20, 60 << 20},
		{"snappy", kgo.SnappyCompression(), 16 << 20, 20 << 20}, // it leaves a twentieth, and batches may have 1 MiB
	} {
		t.Run(bomb.name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders", "dlq-orders"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ProducerBatchCompression(bomb.codec),
				kgo.ProducerBatchMaxBytes(int32(2*bomb.size)), kgo.BrokerMaxWriteBytes(int32(2*bomb.size)))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for i, value := range [][]byte{{}, {}, bytes.Repeat([]byte(" "), bomb.size), {}} {
				value = append(fmt.Appendf(nil, `{"n":%d}`, i), value...)
				if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: value}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			cfg := kafka.NewConsumerConfig("orders", "group", cluster.ListenAddrs()...)
			cfg.Logger = slog.New(slog.DiscardHandler)
			var handled []int
			var stuck error
			run := func(until int) error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(_ context.Context, msg kafka.Message[[]byte]) error {
					n := int(msg.Value[len(`{"n":`)] - '0')
					if handled = append(handled, n); n == until {
						cancel()
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				defer consumer.Close()
				consumer.Use(kafka.ConsumerHooks{PartitionStuck: func(p kafka.StuckPartition) {
					stuck = p.Err
					cancel()
				}})
				return consumer.Start(ctx)
			}
			cfg.MaxDecompressedBatchBytes = 1 << 20
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err = run(-1)
			runtime.ReadMemStats(&after)
			wantFault(t, stuck, "offset 2:", "MaxDecompressedBatchBytes, 1048576", "KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES", "offset of group group to 3 while no member runs")
			if err != nil || !errors.Is(stuck, kgo.ErrMaxDecompress) || len(handled) > 2 {
				t.Errorf("Start: %v; stuck: %v; handled %v", err, stuck, handled)
			}
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d KiB allocated for %d KiB", allocated>>10, bomb.size>>10)
			if allocated > bomb.most {
				t.Errorf("the bomb was let off")
			}

			cfg.MaxDecompressedBatchBytes = int64(2 * bomb.size)
			if err := run(3); err != nil || !slices.Equal(handled, []int{0, 1, 2, 3}) {
				t.Errorf("with a higher limit: %v; handled %v, want each once", err, handled)
			}
		})
	}
}
