package kafkatest

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

const (
	topicPartitions = 3 // more than one, so that a test sees what depends on there being several
	deadLetters     = "dlq-"

	drainTimeout   = 5 * time.Second // a handler that hangs shall not hold up the test's end for long
	retryBackoff   = time.Millisecond
	commitInterval = 100 * time.Millisecond // the least that is allowed
	// In a bubble, a commit that comes due while a member joins or leaves waits on a lock, which stops the bubble's clock.
	bubbleCommitInterval = 10 * time.Second
)

// Broker is a broker to test with, and the test that it belongs to. It ends with that test.
type Broker struct {
	cfg      kafka.ClientConfig
	client   *kafka.Client
	inBubble bool
	patience time.Duration // 0: the default
}

// Start starts a broker in this process, with topics of three partitions and, for each, its dead letter topic dlq-<topic>, which
// consumers ask for by default. It is kfake, a few milliseconds' work, on a port of its own: tests can run in parallel.
func Start(t testing.TB, topicNames ...string) *Broker {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatalf("kafkatest: start a broker: %v", err)
	}
	t.Cleanup(cluster.Close)
	return Connect(t, kafka.ClientConfig{Brokers: cluster.ListenAddrs()}, topicNames...)
}

// StartInBubble is [Start] inside a bubble of testing/synctest, where hours of backoff take no time. The broker's network is in
// memory, so that only clients with a config of the Broker's reach it. Offsets are committed every 10 s of the bubble's time: who sets
// a shorter CommitInterval builds the test with -tags synctests, which is franz-go's.
func StartInBubble(t testing.TB, topicNames ...string) *Broker {
	t.Helper()
	network := &kfake.VirtualNetwork{}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen))
	if err != nil {
		t.Fatalf("kafkatest: start a broker: %v", err)
	}
	t.Cleanup(cluster.Close)
	cfg := kafka.ClientConfig{Brokers: cluster.ListenAddrs(), Options: []kgo.Opt{kgo.Dialer(network.DialContext)}}
	return (&Broker{cfg: cfg, inBubble: true}).connect(t, topicNames)
}

// Connect is [Start] with a cluster that runs already. The topics must not exist; those that were made stay.
func Connect(t testing.TB, cfg kafka.ClientConfig, topicNames ...string) *Broker {
	t.Helper()
	return (&Broker{cfg: cfg}).connect(t, topicNames)
}

func (b *Broker) connect(t testing.TB, topicNames []string) *Broker {
	t.Helper()
	if b.cfg.Logger == nil {
		b.cfg.Logger = logger(t)
	}
	client, err := kafka.NewClient(b.cfg)
	if err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	b.client = client
	for _, name := range topicNames {
		if !isDeadLetters(name) || !slices.Contains(topicNames, strings.TrimPrefix(name, deadLetters)) { // it comes with its topic
			b.CreateTopic(t, name, topicPartitions)
		}
	}
	return b
}

// CreateTopic makes a topic, and its dead letter topic dlq-<name> unless the name itself begins with dlq-.
func (b *Broker) CreateTopic(t testing.TB, name string, partitions int32) {
	t.Helper()
	list := topics.List{topics.New(name, partitions)}
	if !isDeadLetters(name) {
		list = append(list, topics.New(deadLetters+name, partitions))
	}
	ctx, cancel := b.within(t)
	defer cancel()
	plan, err := list.Apply(ctx, b.client, topics.Create)
	if err != nil {
		t.Fatalf("kafkatest: create topic %s: %v", name, err)
	}
	for _, change := range plan.Topics {
		if change.Action != topics.ActionCreate {
			t.Fatalf("kafkatest: create topic %s: %s exists: a test's topics are its own", name, change.Topic)
		}
	}
}

func isDeadLetters(topic string) bool { return strings.HasPrefix(topic, deadLetters) }

// WithPatience returns the same broker, whose waits end after d: those of AwaitDone, AwaitPublished and all others that
// take a Broker. Default 30s. Outside a bubble they end a second before the test binary's own timeout in any case.
func (b *Broker) WithPatience(d time.Duration) *Broker {
	patient := *b
	patient.patience = d
	return &patient
}

// Brokers are the addresses to begin with, as in a config.
func (b *Broker) Brokers() []string { return slices.Clone(b.cfg.Brokers) }

// Env sets KAFKA_BROKERS until t ends, for what is configured by the environment. As [testing.T.Setenv], it can't be used in parallel
// tests.
func (b *Broker) Env(t testing.TB) {
	t.Helper()
	if b.inBubble {
		t.Fatalf("kafkatest: no environment leads to a broker in a bubble: only the Broker's configs do")
	}
	t.Setenv("KAFKA_BROKERS", strings.Join(b.cfg.Brokers, ","))
}

// ClientConfig is for [kafka.NewClient]. Its lines go to the test's log.
func (b *Broker) ClientConfig() kafka.ClientConfig {
	cfg := b.cfg
	cfg.Brokers, cfg.Options = slices.Clone(cfg.Brokers), slices.Clone(cfg.Options)
	return cfg
}

// ProducerConfig is for a producer to the topic.
func (b *Broker) ProducerConfig(topic string) kafka.ProducerConfig {
	cfg := kafka.NewProducerConfig(topic)
	cfg.ClientConfig = b.ClientConfig()
	return cfg
}

// ConsumerConfig is for a consumer that does not keep a test waiting: three retries after a millisecond or so, and commits as often
// as can be. Its dead letter topic is dlq-<topic>, and none for a consumer of dead letters.
func (b *Broker) ConsumerConfig(topic, group string) kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig(topic, group)
	cfg.ClientConfig = b.ClientConfig()
	if isDeadLetters(topic) {
		cfg.DLQTopic, cfg.DisableDeadLetters = "", true
	}
	cfg.RetryBackoff, cfg.RetryBackoffMax = retryBackoff, 10*retryBackoff
	cfg.DrainTimeout = drainTimeout
	cfg.CommitInterval = commitInterval
	if b.inBubble {
		cfg.CommitInterval = bubbleCommitInterval
	}
	return cfg
}

const (
	patience = 30 * time.Second
	// What is left of the test binary's own -timeout when a wait is given up: it would end all tests with a dump of goroutines, and
	// without a word of what was there.
	reserve = time.Second
)

// within bounds a wait.
func (b *Broker) within(t testing.TB) (context.Context, context.CancelFunc) {
	until := time.Now().Add(cmp.Or(b.patience, patience))
	bounded, ok := t.(interface{ Deadline() (time.Time, bool) }) // a benchmark has none
	if ok && !b.inBubble {                                       // whose time is not the test binary's
		if deadline, has := bounded.Deadline(); has && deadline.Add(-reserve).Before(until) {
			until = deadline.Add(-reserve)
		}
	}
	return context.WithDeadline(t.Context(), until)
}

// logger writes to the test's log, and nothing once the test has ended, when that would panic.
func logger(t testing.TB) *slog.Logger {
	log := &testLog{out: t.Output()}
	t.Cleanup(log.end)
	return slog.New(slog.NewTextHandler(log, nil))
}
