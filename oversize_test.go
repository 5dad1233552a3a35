package kafka_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// tight is a cluster whose topics take 100,000 bytes a batch: "large" and those of its letters. Not in a bubble: the garbage
// collector closes decompressors, which it may not do there from outside.
type tight struct {
	cluster *kfake.Cluster
	client  *kgo.Client
	log     logged
}

func newTight(t *testing.T) *tight {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	for topic, settings := range map[string]map[string]string{
		"large":               {"max.message.bytes": "100000"},
		"dlq-large":           {"max.message.bytes": "100000"},
		"retry-1-group-large": {"max.message.bytes": "100000"},
		"compacted":           {"max.message.bytes": "100000", "cleanup.policy": "compact"},
	} {
		if err := cluster.CreateTopic(topic, 2, settings); err != nil {
			t.Fatal(err)
		}
	}
	c := &tight{cluster: cluster}
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerBatchMaxBytes(10<<20)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.Close)
	return c
}

func (c *tight) publish(t *testing.T, records ...*kgo.Record) {
	t.Helper()
	for _, r := range records { // each a batch
		r.Topic = "large"
		if err := c.client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *tight) config() kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig("large", "group", c.cluster.ListenAddrs()...)
	cfg.Compression, cfg.MaxRetries = "none", kafka.NoRetries
	cfg.Logger = c.log.logger(slog.LevelInfo)
	return cfg
}

// limit changes what a topic takes.
func (c *tight) limit(t *testing.T, topic string, bytes int) {
	t.Helper()
	limit := strconv.Itoa(bytes)
	changed, err := kadm.NewClient(c.client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, topic)
	if err == nil {
		_, err = changed.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run consumes, and fails every record for good. Once it is ready, it calls ready, and then waits until done says so.
func (c *tight) run(t *testing.T, cfg kafka.ConsumerConfig, failure error, ready func(), done func(kafka.Health) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(context.Context, kafka.Message[[]byte]) error { return failure })
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	ended := make(chan error, 1)
	go func() { ended <- consumer.Start(ctx) }()
	await := func(what string, done func(kafka.Health) bool) {
		t.Helper()
		for !done(consumer.Health()) {
			if time.Sleep(10 * time.Millisecond); ctx.Err() != nil {
				t.Fatalf("%s takes too long: %+v\n%s", what, consumer.Health(), c.log.String())
			}
		}
	}
	const both = 4 // with those of the retry topic
	await("its start", func(h kafka.Health) bool { return h.Ready() && len(h.Partitions) == both })
	ready()
	await("what is waited for", done)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Start: %v", err)
	}
}

// letters returns those of a dead letter topic once there are n.
func (c *tight) letters(t *testing.T, topic string) (letters []deadletter.Letter) {
	t.Helper()
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: c.cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for letter, err := range deadletter.List(t.Context(), client, topic, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, letter)
	}
	return letters
}

func (c *tight) stored(topic string, n int64) func(kafka.Health) bool {
	return func(kafka.Health) bool { return storedIn(c.cluster, topic) >= n }
}

var (
	permanent = kafka.NewPermanentError("no good", nil)
	transient = kafka.NewTransientError("not now", nil)
)

// A record that fits its topic because it is compressed has a letter that fits, too, whatever the consumer compresses by.
func TestALetterIsCompressedWhereItsTopicWouldNotTakeIt(t *testing.T) {
	c := newTight(t)
	value := bytes.Repeat([]byte("value "), 1<<17)
	c.run(t, c.config(), permanent, func() { c.publish(t, &kgo.Record{Key: []byte("a"), Value: value}) }, c.stored("dlq-large", 1))
	letters := c.letters(t, "dlq-large")
	if len(letters) != 1 || !bytes.Equal(letters[0].Value, value) || letters[0].Origin.Message == "" || letters[0].Pointer {
		t.Errorf("the letters are %+v", letters)
	}
}

// What no compression brings under the limit waits, and is named with the ways out. The other partition goes on, and so
// does this one once the limit is raised.
func TestALetterThatIsTooLargeStopsItsPartitionAlone(t *testing.T) {
	c := newTight(t)
	value := noise(90_000)
	var problems []string
	raised := false
	c.run(t, c.config(), permanent, func() {
		c.limit(t, "dlq-large", 50_000)
		c.publish(t, &kgo.Record{Value: value}, &kgo.Record{Partition: 1, Value: []byte("1")}, &kgo.Record{Partition: 1, Value: []byte("2")})
	}, func(h kafka.Health) bool {
		if len(h.Problems) > 0 && storedIn(c.cluster, "dlq-large") == 2 && !raised {
			problems, raised = h.Problems, true
			c.limit(t, "dlq-large", 100_000)
		}
		return storedIn(c.cluster, "dlq-large") == 3
	})
	if len(problems) != 1 {
		t.Fatalf("problems are %q", problems)
	}
	for _, want := range []string{"large-0 offset 0", "dead letter topic dlq-large refuses it", "max.message.bytes", "KAFKA_CONSUMER_OVERSIZE"} {
		if !strings.Contains(problems[0], want) {
			t.Errorf("the problem is %q, want %q in it", problems[0], want)
		}
	}
}

// A stub has all but the value, and says which that was. It is not sent back.
func TestAStubHasPlaceAndChecksumOfItsValue(t *testing.T) {
	for _, test := range []struct {
		name  string
		cfg   func(*kafka.ConsumerConfig)
		fails error
	}{
		{"DeadLetter", func(*kafka.ConsumerConfig) {}, permanent},
		{"RetryTopic", func(cfg *kafka.ConsumerConfig) { cfg.RetryDelays = []time.Duration{time.Millisecond} }, transient},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newTight(t)
			value := noise(90_000)
			cfg := c.config()
			cfg.Oversize = kafka.OversizeStub
			test.cfg(&cfg)
			c.run(t, cfg, test.fails, func() {
				c.limit(t, "dlq-large", 50_000)
				c.limit(t, "retry-1-group-large", 50_000)
				c.publish(t, &kgo.Record{Key: []byte("a"), Value: value, Headers: []kgo.RecordHeader{{Key: kafka.HeaderMessageID, Value: []byte("id")}}})
			}, c.stored("dlq-large", 1))
			letters := c.letters(t, "dlq-large")
			if len(letters) != 1 {
				t.Fatalf("%d letters", len(letters))
			}
			letter, sum := letters[0], sha256.Sum256(value)
			if string(letter.Key) != "a" || letter.Value != nil || !letter.Pointer {
				t.Errorf("key %q, %d bytes of value, pointer %v", letter.Key, len(letter.Value), letter.Pointer)
			}
			origin := letter.Origin
			if origin.Topic != "large" || origin.Offset != 0 || origin.ValueBytes != 90_000 || origin.ValueSHA256 != hex.EncodeToString(sum[:]) || origin.Message == "" {
				t.Errorf("origin %+v", origin)
			}
			if n := c.log.count(slog.LevelError, "value_bytes=90000"); n != 1 {
				t.Errorf("%d lines say that the value is not stored, want 1", n)
			}
		})
	}
}

// refuseWithoutKey has the broker do what kfake does not do for compacted topics.
func (c *tight) refuseWithoutKey(topic string) {
	c.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.cluster.KeepControl()
		produce := req.(*kmsg.ProduceRequest)
		for _, to := range produce.Topics {
			for _, part := range to.Partitions {
				var batch kmsg.RecordBatch
				var first kmsg.Record
				if to.TopicID != c.cluster.TopicInfo(topic).TopicID || batch.ReadFrom(part.Records) != nil || first.ReadFrom(batch.Records) != nil || first.Key != nil {
					continue
				}
				refused := kmsg.NewProduceResponseTopicPartition()
				refused.Partition, refused.ErrorCode = part.Partition, kerr.InvalidRecord.Code
				response := produce.ResponseKind().(*kmsg.ProduceResponse)
				response.Topics = []kmsg.ProduceResponseTopic{{Topic: to.Topic, TopicID: to.TopicID, Partitions: []kmsg.ProduceResponseTopicPartition{refused}}}
				return response, nil, true
			}
		}
		return nil, nil, false
	})
}

// A compacted dead letter topic takes no record without a key. The letter has one then, and its record comes back without.
func TestALetterWithoutAKeyInACompactedTopic(t *testing.T) {
	c := newTight(t)
	cfg := c.config()
	cfg.DLQTopic = "compacted"
	c.refuseWithoutKey("compacted")
	c.run(t, cfg, permanent, func() {
		c.publish(t, &kgo.Record{Value: []byte("1")}, &kgo.Record{Value: []byte("2")}, &kgo.Record{Key: []byte("k"), Value: []byte("3")})
	}, c.stored("compacted", 3))
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: c.cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	result, err := deadletter.Redrive(t.Context(), client, "compacted", deadletter.RedriveOptions{Destinations: []string{"large"}})
	if err != nil || result.Sent != 3 {
		t.Fatalf("%+v, %v", result, err)
	}
	reader, err := kgo.NewClient(kgo.SeedBrokers(c.cluster.ListenAddrs()...), kgo.ConsumeTopics("large"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var keys []string
	for len(keys) < 6 {
		for _, r := range reader.PollFetches(t.Context()).Records() {
			keys = append(keys, fmt.Sprintf("%q=%s", r.Key, r.Value))
			if (r.Key == nil) != (string(r.Value) != "3") {
				t.Errorf("record %s has the key %q", r.Value, r.Key)
			}
		}
	}
	if slices.Sort(keys); keys[0] != `""=1` || keys[1] != `""=1` {
		t.Errorf("came back: %q", keys)
	}
}
