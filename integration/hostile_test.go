package integration

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/internal/hostile"
	"github.com/skeji/kafka/topics"
)

// attacked is a topic with its dead letter topic, and a client that writes batches to it as they are.
type attacked struct {
	topic  string
	client *kgo.Client
}

func newAttacked(t *testing.T, partitions int32, settings, dlqSettings map[string]string) *attacked {
	t.Helper()
	a := &attacked{topic: "attacked-" + uuid.NewString()}
	makeTopics(t, kafka.ClientConfig{Brokers: brokers(t)},
		topics.Topic{Name: a.topic, Partitions: partitions, Config: settings},
		topics.Topic{Name: "dlq-" + a.topic, Partitions: partitions, Config: dlqSettings})
	var err error
	a.client, err = kgo.NewClient(kgo.SeedBrokers(brokers(t)...), kgo.MaxVersions(kversion.V3_9_0()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(10<<20), kgo.ProducerBatchCompression(kgo.GzipCompression()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.client.Close)
	return a
}

// Batches of some KB that take GB in memory: a process that reads them from a real broker stays below 512 MiB.
func TestHostileBatchesTakeLittleMemory(t *testing.T) {
	notShort(t)
	if hostile.PeakRSS() == 0 {
		t.Skip("SKIPPED: this system does not say how much memory a process takes")
	}
	const size = 60_000_000
	for _, test := range []struct {
		name       string
		batch      []byte
		times      int
		partitions int
		reader     string
		want       string // that the process prints
	}{
		{"Zeros", hostile.Zeros(size), 30, 1, "consumer", "handled 30 records: <nil>"},
		{"ZerosEverywhere", hostile.Zeros(size), 1, 30, "consumer", "handled 30 records: <nil>"},
		{"Headers", hostile.Headers(16_000_000), 1, 1, "consumer", "offset 0: the batch takes more than MaxDecompressedBatchBytes"},
		{"Letters", hostile.Zeros(size), 30, 1, "letters", "read 30 letters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAttacked(t, int32(test.partitions), nil, nil)
			for i := range test.times * test.partitions {
				if err := hostile.Publish(t.Context(), a.client, a.topic, int32(i%test.partitions), test.batch); err != nil {
					t.Fatal(err)
				}
			}
			output, peak, err := hostile.Victim{Reader: test.reader, Broker: brokers(t)[0], Topic: a.topic, Records: test.times * test.partitions}.Run(t.Context())
			t.Logf("%d times %d bytes: peak RSS %d MiB\n%s", test.times*test.partitions, len(test.batch), peak>>20, output)
			if err != nil || peak > hostile.MaxRSS || !strings.Contains(output, test.want) {
				t.Errorf("the process took %d bytes, want %d at most, and %q: %v", peak, hostile.MaxRSS, test.want, err)
			}
		})
	}
}

// consume handles the topic's records until n are settled. They fail for good. It calls first before the first one does.
func (a *attacked) consume(t *testing.T, cfg kafka.ConsumerConfig, n int64, first func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var settled atomic.Int64
	once := sync.OnceValue(first)
	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(context.Context, kafka.Message[[]byte]) error {
		if err := once(); err != nil {
			t.Error(err)
		}
		return kafka.NewPermanentError("no good", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	consumer.Use(kafka.ConsumerHooks{RecordSettled: func(context.Context, *kgo.Record, kafka.Settlement) {
		if settled.Add(1) == n {
			cancel()
		}
	}})
	if err := consumer.Start(ctx); err != nil {
		t.Errorf("Start: %v", err)
	}
}

func (a *attacked) config(t *testing.T) kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig(a.topic, "group-"+a.topic, brokers(t)...)
	cfg.Compression, cfg.MaxRetries = "none", kafka.NoRetries
	return cfg
}

// limitLetters lowers what the dead letter topic takes, and returns once the broker goes by that. It may leave records there
// that are no letters. A consumer does not start beside a topic that takes too little.
func (a *attacked) limitLetters(ctx context.Context, most string) error {
	_, err := kadm.NewClient(a.client).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "max.message.bytes", Value: &most}}, "dlq-"+a.topic)
	for err == nil {
		err = a.client.ProduceSync(ctx, &kgo.Record{Topic: "dlq-" + a.topic, Value: noise(90_000)}).FirstErr()
	}
	if errors.Is(err, kerr.MessageTooLarge) {
		return nil
	}
	return err
}

// noise is what no compression makes smaller.
func noise(size int) []byte {
	value := make([]byte, size)
	_, _ = rand.Read(value)
	return value
}

// letters returns those of the topic's records.
func (a *attacked) letters(t *testing.T) (letters []deadletter.Letter) {
	t.Helper()
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: brokers(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for letter, err := range deadletter.List(t.Context(), client, "dlq-"+a.topic, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if letter.Origin.Topic == a.topic {
			letters = append(letters, letter)
		}
	}
	return letters
}

// A dead letter topic that takes less than its topic: a record that came compressed is compressed harder, and one that
// does not fit in any way leaves a stub. None of them stops its partition.
func TestRecordsThatTheirDeadLetterTopicDoesNotTake(t *testing.T) {
	t.Parallel()
	limit := map[string]string{"max.message.bytes": "100000"}
	a := newAttacked(t, 1, limit, limit)
	large := noise(90_000)
	text := strings.Repeat("text ", 200_000)
	records := []*kgo.Record{{Topic: a.topic, Value: []byte(text)}, {Topic: a.topic, Key: []byte("k"), Value: large}, {Topic: a.topic, Value: []byte("small")}}
	for _, r := range records {
		if err := a.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	cfg := a.config(t)
	cfg.Oversize = kafka.OversizeStub
	a.consume(t, cfg, 3, func() error { return a.limitLetters(t.Context(), "50000") })
	letters := a.letters(t)
	if len(letters) != len(records) {
		t.Fatalf("%d letters, want %d", len(letters), len(records))
	}
	sum := sha256.Sum256(large)
	if string(letters[0].Value) != text || string(letters[2].Value) != "small" {
		t.Errorf("values have %d and %d bytes", len(letters[0].Value), len(letters[2].Value))
	}
	if o := letters[1].Origin; !letters[1].Pointer || string(letters[1].Key) != "k" || o.ValueBytes != 90_000 || o.ValueSHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("the stub is %+v, pointer %v", o, letters[1].Pointer)
	}
}

// A compacted dead letter topic refuses records without a key. Their letters get one, and redrive takes it away again.
func TestLettersWithoutAKeyFitACompactedTopic(t *testing.T) {
	t.Parallel()
	a := newAttacked(t, 1, nil, map[string]string{"cleanup.policy": "compact"})
	for _, value := range []string{"1", "2"} {
		if err := a.client.ProduceSync(t.Context(), &kgo.Record{Topic: a.topic, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	a.consume(t, a.config(t), 2, func() error { return nil })
	letters := a.letters(t)
	if len(letters) != 2 || letters[0].Key == nil || string(letters[0].Key) == string(letters[1].Key) {
		t.Fatalf("letters %+v", letters)
	}
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: brokers(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if result, err := deadletter.Redrive(t.Context(), client, "dlq-"+a.topic, deadletter.RedriveOptions{}); err != nil || result.Sent != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...), kgo.ConsumeTopics(a.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for n := 0; n < 4; {
		for _, r := range reader.PollFetches(t.Context()).Records() {
			if n++; r.Key != nil {
				t.Errorf("record %d has the key %q, want none", r.Offset, r.Key)
			}
		}
	}
}

// A batch that is larger than the limit stops its partition alone, on a real broker as well.
func TestABatchAboveTheLimitStopsItsPartitionAlone(t *testing.T) {
	t.Parallel()
	a := newAttacked(t, 2, nil, nil)
	if err := hostile.Publish(t.Context(), a.client, a.topic, 0, hostile.Zeros(80_000_000)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := a.client.ProduceSync(t.Context(), &kgo.Record{Topic: a.topic, Partition: 1, Value: []byte("good")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	stuck := make(chan kafka.StuckPartition, 10)
	consumer, err := kafka.NewConsumerWithCodec(a.config(t), kafka.Bytes(), func(context.Context, kafka.Message[[]byte]) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	var settled atomic.Int64
	consumer.Use(kafka.ConsumerHooks{
		PartitionStuck: func(p kafka.StuckPartition) { stuck <- p },
		RecordSettled:  func(context.Context, *kgo.Record, kafka.Settlement) { settled.Add(1) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- consumer.Start(ctx) }()
	eventually(t, "the other partition is handled", func() bool { return settled.Load() == 10 })
	if p := <-stuck; p.Partition != 0 || !strings.Contains(p.Err.Error(), "MaxDecompressedBatchBytes") {
		t.Errorf("stuck is %+v", p)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Start: %v", err)
	}
}
