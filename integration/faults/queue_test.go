package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// fullQueueFor is how long the queue stays full.
func fullQueueFor() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("KAFKA_TEST_FULL_QUEUE")); err == nil {
		return d
	}
	return 20 * time.Second
}

const queueBound = 16 << 20

// fillQueue consumes with handlers that don't return, and prints the most memory that was in use.
func fillQueue(cfg kafka.ConsumerConfig) error {
	ctx, cancel := context.WithTimeout(context.Background(), fullQueueFor())
	defer cancel()
	cfg.DrainTimeout, cfg.MaxQueuedBytes = time.Second, queueBound
	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(ctx context.Context, _ kafka.Message[[]byte]) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- consumer.Start(ctx) }()
	// Live objects as the latest collections found them: what is held, without the garbage.
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	var most [2]uint64
	full := 0
	for tick := time.Tick(50 * time.Millisecond); ctx.Err() == nil; <-tick {
		metrics.Read(samples)
		for i := range samples {
			most[i] = max(most[i], samples[i].Value.Uint64())
		}
		var queued int64
		for _, p := range consumer.Health().Partitions {
			queued += p.QueuedBytes
		}
		full = max(full, int(queued))
	}
	<-ended // an error: the records in hand were left
	fmt.Printf("%d %d %d %d\n", most[0], most[1], full, peakRSS())
	return consumer.Close()
}

// peakRSS is the most memory that the process had in RAM, in bytes; 0 where the system does not tell.
func peakRSS() int {
	status, _ := os.ReadFile("/proc/self/status")
	for text := range strings.Lines(string(status)) {
		if fields := strings.Fields(text); len(fields) > 1 && fields[0] == "VmHWM:" {
			kilobytes, _ := strconv.Atoi(fields[1])
			return kilobytes << 10
		}
	}
	return 0
}

// The handlers stand still and the backlog is many times what may be queued: memory stays within MaxQueuedBytes, and what the
// client may hold beside it.
func TestAFullQueueStaysWithinItsBound(t *testing.T) {
	t.Parallel()
	const partitions, records, size = 6, 20_000, 10_000
	s := newScenario(t, partitions, nil)
	batch := make([]*kgo.Record, records)
	for i := range batch {
		value := bytes.Repeat([]byte(strconv.Itoa(i)+" "), size/8) // not all alike, or compression would hide a fetch's size
		batch[i] = &kgo.Record{Topic: s.topic, Key: []byte(strconv.Itoa(i)), Value: value[:min(size, len(value))]}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := s.connect(kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err := client.ProduceSync(ctx, batch...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd := s.command("fill", "classic")
	cmd.Stdout = &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	var live, goroutines, queued, rss int
	if _, err := fmt.Sscan(output.String(), &live, &goroutines, &queued, &rss); err != nil {
		t.Fatalf("%v: %q", err, output.String())
	}
	const mib = 1 << 20
	t.Logf("a backlog of %d MiB, MaxQueuedBytes %d MiB, full for %v: queued %.1f MiB, live heap %.1f MiB, peak RSS %.1f MiB, %d goroutines",
		records*size/mib, queueBound/mib, fullQueueFor(), float64(queued)/mib, float64(live)/mib, float64(rss)/mib, goroutines)
	if queued < queueBound/4 {
		t.Errorf("%d bytes queued: it never was full", queued)
	}
	// One fetch from each of three brokers may wait in the client, 16 MiB at most; the rest is the runtime's and the library's own.
	if limit := queueBound + 3*16*mib + 8*mib; live > limit {
		t.Errorf("%d bytes live, want %d at most", live, limit)
	}
	if goroutines > 200 {
		t.Errorf("%d goroutines", goroutines)
	}
}
