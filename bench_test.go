package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
)

// The benchmarks compare with a plain franz-go loop that decodes with encoding/json, on the same broker in the same
// run: the cluster of KAFKA_BROKERS, or an in-process one. Only the ratio of two lines means something.

// order is about 350 bytes of JSON.
type order struct {
	ID       string    `json:"id"`
	Customer string    `json:"customer"`
	Phone    string    `json:"phone"`
	Created  time.Time `json:"created"`
	Total    float64   `json:"total"`
	Currency string    `json:"currency"`
	Note     string    `json:"note"`
	Items    []item    `json:"items"`
}

type item struct {
	SKU      string  `json:"sku"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

func newOrder(i int) order {
	return order{
		ID: fmt.Sprintf("order-%08d", i), Customer: fmt.Sprintf("customer-%05d", i%1000), Phone: "+15550100",
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Total: 129.95, Currency: "EUR",
		Note:  "leave it with the neighbour if nobody is at home",
		Items: []item{{"sku-1029384756", 2, 19.99}, {"sku-5647382910", 1, 89.97}},
	}
}

const (
	benchPartitions = 12
	benchRecords    = 200_000
)

func benchBrokers(b *testing.B) []string {
	b.Helper()
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
		return strings.Split(brokers, ",")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

func benchTopic(b *testing.B, brokers []string) string {
	b.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	topic := fmt.Sprintf("bench-%08x", rand.Uint32())
	if _, err := kadm.NewClient(client).CreateTopic(b.Context(), benchPartitions, 1, nil, topic); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = kadm.NewClient(client).DeleteTopic(context.Background(), topic) })
	return topic
}

// measure reports records/s and allocations per record of one run over n records.
func measure(b *testing.B, n int, run func()) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	for range b.N {
		run()
	}
	elapsed := time.Since(began)
	runtime.ReadMemStats(&after)
	records := float64(n) * float64(b.N)
	b.ReportMetric(records/elapsed.Seconds(), "records/s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/records, "allocs/record")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkConsume drains a backlog of 200,000 records in 12 partitions with a handler that does nothing.
func BenchmarkConsume(b *testing.B) {
	brokers := benchBrokers(b)
	topic := benchTopic(b, brokers)
	fill(b, brokers, topic)

	b.Run("kgo, one goroutine", func(b *testing.B) {
		measure(b, benchRecords, func() { drainPlain(b, brokers, topic, false) })
	})
	b.Run("kgo, a goroutine per partition", func(b *testing.B) {
		measure(b, benchRecords, func() { drainPlain(b, brokers, topic, true) })
	})
	b.Run("this library", func(b *testing.B) {
		measure(b, benchRecords, func() { drain(b, brokers, topic) })
	})
}

// BenchmarkObserve drains the same backlog with middleware and without, in turn, so that what else the machine does meets all
// alike. It reports each one's time, and that of this process's processors, as multiples of the plain drain's in the same
// round: their medians.
func BenchmarkObserve(b *testing.B) {
	const rounds = 16
	brokers := benchBrokers(b)
	topic := benchTopic(b, brokers)
	fill(b, brokers, topic)
	logger := middleware.WithLogger(slog.New(slog.NewJSONHandler(io.Discard, nil))) // at Info, as services run
	metrics := middleware.WithRegisterer(prometheus.NewRegistry())
	kinds := []struct {
		name    string
		plugins []kafka.ConsumerPlugin
	}{
		{"plain", nil},
		{"again", nil}, // what the machine makes of nothing
		{"metrics", []kafka.ConsumerPlugin{middleware.MetricsConsumerMiddleware(metrics)}},
		{"logging", []kafka.ConsumerPlugin{middleware.LoggingConsumerMiddleware(logger)}},
		{"both", []kafka.ConsumerPlugin{middleware.LoggingConsumerMiddleware(logger), middleware.MetricsConsumerMiddleware(metrics)}},
	}
	times, busy, allocations := make([][]float64, len(kinds)), make([][]float64, len(kinds)), make([][]float64, len(kinds))
	for b.Loop() {
		drain(b, brokers, topic) // warm
		for round := range rounds {
			for turn := range kinds {
				i := (round + turn) % len(kinds) // each comes first now and then
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				began, used := time.Now(), processorTime(b)
				drain(b, brokers, topic, kinds[i].plugins...)
				times[i] = append(times[i], time.Since(began).Seconds())
				busy[i] = append(busy[i], (processorTime(b) - used).Seconds())
				runtime.ReadMemStats(&after)
				allocations[i] = append(allocations[i], float64(after.Mallocs-before.Mallocs)/benchRecords)
			}
		}
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	for i, kind := range kinds {
		var time, cpu []float64
		for round := range times[0] {
			time, cpu = append(time, times[i][round]/times[0][round]), append(cpu, busy[i][round]/busy[0][round])
		}
		b.ReportMetric(median(time), kind.name+"-time/plain")
		b.ReportMetric(median(cpu), kind.name+"-cpu/plain")
		b.ReportMetric(median(allocations[i]), kind.name+"-allocs/record")
	}
	b.ReportMetric(0, "ns/op")
}

func fill(b *testing.B, brokers []string, topic string) {
	b.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for i := range benchRecords {
		value, _ := json.Marshal(newOrder(i))
		client.Produce(b.Context(), &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "customer-%05d", i%1000), Value: value}, nil)
	}
	if err := client.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// drainPlain commits at least once: marks after handling, autocommit of marks.
func drainPlain(b *testing.B, brokers []string, topic string, perPartition bool) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup(fmt.Sprintf("%s-%08x", topic, rand.Uint32())), kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second), kgo.BlockRebalanceOnPoll())
	if err != nil {
		b.Fatal(err)
	}
	defer client.CloseAllowingRebalance()
	for n := 0; n < benchRecords; {
		fetches := client.PollRecords(b.Context(), 10_000)
		var wg sync.WaitGroup
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			n += len(p.Records)
			handle := func() {
				for _, r := range p.Records {
					var value order
					if err := json.Unmarshal(r.Value, &value); err != nil {
						b.Error(err)
					}
				}
				client.MarkCommitRecords(p.Records...)
			}
			if perPartition {
				wg.Go(handle)
			} else {
				handle()
			}
		})
		wg.Wait()
		client.AllowRebalance()
	}
}

func drain(b *testing.B, brokers []string, topic string, plugins ...kafka.ConsumerPlugin) {
	cfg := kafka.NewConsumerConfig(topic, fmt.Sprintf("%s-%08x", topic, rand.Uint32()), brokers...)
	cfg.DisableDeadLetters = true
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var n atomic.Int64
	consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[order]) error {
		if n.Add(1) == benchRecords {
			cancel()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	defer consumer.Close()
	consumer.Use(plugins...)
	if err := consumer.Start(ctx); err != nil {
		b.Fatal(err)
	}
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkPublish publishes 200,000 messages in the background and waits for all to be stored.
func BenchmarkPublish(b *testing.B) {
	brokers := benchBrokers(b)
	topic := benchTopic(b, brokers)

	b.Run("kgo", func(b *testing.B) {
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MaxBufferedRecords(50_000))
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		measure(b, benchRecords, func() {
			for i := range benchRecords {
				o := newOrder(i)
				value, err := json.Marshal(o)
				if err != nil {
					b.Fatal(err)
				}
				client.Produce(b.Context(), &kgo.Record{Topic: topic, Key: []byte(o.Customer), Value: value}, func(_ *kgo.Record, err error) {
					if err != nil {
						b.Error(err)
					}
				})
			}
			if err := client.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("this library", func(b *testing.B) {
		producer, err := kafka.NewProducer[order](kafka.NewProducerConfig(topic, brokers...))
		if err != nil {
			b.Fatal(err)
		}
		defer producer.Close()
		measure(b, benchRecords, func() {
			for i := range benchRecords {
				o := newOrder(i)
				producer.PublishAsync(b.Context(), kafka.Message[order]{Key: o.Customer, Value: o}, func(_ kafka.Message[order], err error) {
					if err != nil {
						b.Error(err)
					}
				})
			}
			if err := producer.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	})
}
