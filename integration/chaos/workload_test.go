package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/ledger"
)

// workload publishes orders, and knows what was acknowledged.
type workload struct {
	producer *kafka.Producer[[]byte]
	random   *rand.Rand
	keys     int
	seqs     map[string]int
	unlike   float64 // the share of orders that don't just succeed
	sent     int
	acked    atomic.Int64
	failed   atomic.Pointer[error]
}

func newWorkload(t *testing.T, brokers []string, topic string, seed uint64, keys int) *workload {
	t.Helper()
	cfg := kafka.NewProducerConfig(topic, brokers...)
	cfg.Logger = slog.New(slog.DiscardHandler)
	producer, err := kafka.NewProducerWithCodec(cfg, kafka.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = producer.Close() })
	return &workload{producer: producer, random: rand.New(rand.NewPCG(seed, 1)), keys: keys, seqs: map[string]int{}, unlike: 0.06}
}

// unlikely are the orders that don't just succeed, in a share that the position in the list weighs.
var unlikely = []do{
	retryOnce, retryOnce, retryOnce, retryOnce, retryOnce, retryOnce, retryTwice, retryTwice, exhaust, fail, fail, reject, reject,
	crash, exit, beGarbage, beGarbage, beSlow, beSlow,
}

// publish sends n orders, the keys of some being far more frequent than others.
func (w *workload) publish(t *testing.T, n int) {
	t.Helper()
	for range n {
		key := fmt.Sprint("key-", min(w.random.IntN(w.keys), w.random.IntN(w.keys)))
		o := order{Key: key, Seq: w.seqs[key], Do: succeed}
		w.seqs[key]++
		if w.random.Float64() < w.unlike {
			o.Do = unlikely[w.random.IntN(len(unlikely))]
		}
		value, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		msg := kafka.NewMessage[[]byte]().WithKey(key).WithValue(value)
		if o.Do == beGarbage {
			msg = msg.WithValue([]byte("{")).WithHeader("seq", fmt.Sprint(o.Seq))
		}
		w.sent++
		w.producer.PublishAsync(context.Background(), msg.Build(), func(_ kafka.Message[[]byte], err error) {
			if err != nil {
				w.failed.CompareAndSwap(nil, &err)
				return
			}
			w.acked.Add(1)
		})
	}
}

// settle waits until everything sent is acknowledged.
func (w *workload) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := w.producer.Flush(ctx); err != nil {
		t.Error(err)
	}
	if err := w.failed.Load(); err != nil {
		t.Errorf("a message was not stored, for whatever the brokers went through: %v", *err)
	}
}

// records reads what the topic holds: exactly what was acknowledged, once, and in order.
func (w *workload) records(t *testing.T, brokers []string, topic string) []ledger.Record {
	t.Helper()
	var records []ledger.Record
	next := map[string]int{}
	read(t, brokers, topic, func(r *kgo.Record) {
		o := order{Key: string(r.Key), Do: beGarbage}
		if err := json.Unmarshal(r.Value, &o); err != nil {
			for _, h := range r.Headers {
				if h.Key == "seq" {
					_, _ = fmt.Sscan(string(h.Value), &o.Seq)
				}
			}
		}
		if o.Seq != next[o.Key] {
			t.Fatalf("%s-%d offset %d holds %s %d, want %d: published twice, lost, or out of order", topic, r.Partition, r.Offset, o.Key, o.Seq, next[o.Key])
		}
		next[o.Key]++
		records = append(records, ledger.Record{Place: ledger.Place{Partition: r.Partition, Offset: r.Offset}, Key: o.Key, Seq: o.Seq, Dead: o.Do.dead()})
	})
	if len(records) != w.sent || w.acked.Load() != int64(w.sent) {
		t.Errorf("%d sent, %d acknowledged, %d stored", w.sent, w.acked.Load(), len(records))
	}
	return records
}

// letters reads the dead letters' places.
func letters(t *testing.T, brokers []string, topic string) (places []ledger.Place) {
	t.Helper()
	read(t, brokers, "dlq-"+topic, func(r *kgo.Record) {
		letter, ok := kafka.Message[order]{Headers: r.Headers}.DeadLetter()
		if !ok {
			t.Fatalf("a letter at %s-%d offset %d without its place", r.Topic, r.Partition, r.Offset)
		}
		places = append(places, ledger.Place{Partition: letter.Partition, Offset: letter.Offset})
	})
	return places
}

// read reads a topic from its start to its end.
func read(t *testing.T, brokers []string, topic string, each func(*kgo.Record)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(end kadm.ListedOffset) { left += end.Offset })
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			each(r)
			left--
		})
	}
}

// sampler asks for the committed offsets again and again.
type sampler struct {
	admin        *kadm.Client
	topic, group string
	commits      []ledger.Commit
	stop, done   chan struct{}
}

func sample(t *testing.T, brokers []string, topic, group string) *sampler {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	s := &sampler{admin: kadm.NewClient(client), topic: topic, group: group, stop: make(chan struct{}), done: make(chan struct{})}
	t.Cleanup(client.Close)
	go func() {
		defer close(s.done)
		for {
			select {
			case <-s.stop:
				return
			case <-time.After(200 * time.Millisecond):
				_, _ = s.once(2 * time.Second)
			}
		}
	}()
	return s
}

// once takes a sample, and returns how many records are committed.
func (s *sampler) once(patience time.Duration) (total int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	offsets, err := s.admin.FetchOffsets(ctx, s.group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return 0, err
	}
	at := time.Now().UnixNano()
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == s.topic && o.At >= 0 {
			total += o.At
			s.commits = append(s.commits, ledger.Commit{At: at, Partition: o.Partition, Offset: o.At})
		}
	})
	return total, nil
}

// end takes a last sample.
func (s *sampler) end(t *testing.T) []ledger.Commit {
	t.Helper()
	close(s.stop)
	<-s.done
	if _, err := s.once(30 * time.Second); err != nil {
		t.Error(err)
	}
	return s.commits
}

// The samples that were taken meanwhile, and the log of commits, tell of the same: each sampled offset is one that was committed.
func checkSamples(t *testing.T, samples, all []ledger.Commit) {
	t.Helper()
	committed := map[[2]int64]bool{}
	for _, c := range all {
		committed[[2]int64{int64(c.Partition), c.Offset}] = true
	}
	if i := slices.IndexFunc(samples, func(c ledger.Commit) bool { return !committed[[2]int64{int64(c.Partition), c.Offset}] }); i >= 0 {
		t.Errorf("a sample says that partition %d is at %d, which nobody has committed", samples[i].Partition, samples[i].Offset)
	}
}
