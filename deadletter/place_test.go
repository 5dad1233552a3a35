package deadletter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/kafkatest"
)

const (
	source = "orders"
	dlq    = "dlq-orders"
	group  = "orders-service"
)

// place is a broker with topics of three partitions, and a client that writes what it is told.
type place struct {
	t       *testing.T
	cluster *kfake.Cluster
	broker  *kafkatest.Broker
	client  *kafka.Client
	raw     *kgo.Client
	dialer  []kgo.Opt // how clients reach the cluster, unless over the network
	key     string    // kafka.ClientConfig.ControlKey
}

func newPlace(t *testing.T, topics ...string) *place {
	t.Helper()
	return start(t, &place{t: t}, topics)
}

// withAndWithoutKey runs a test in places with a control key, and without one.
func withAndWithoutKey(t *testing.T, test func(t *testing.T, p *place)) {
	for name, key := range map[string]string{"WithoutKey": "", "WithKey": controlKey} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t, &place{t: t, key: key}, nil))
		})
	}
}

// inBubble runs a test of a place in a synctest bubble, where waits take no time.
func inBubble(t *testing.T, test func(t *testing.T, p *place)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := &kfake.VirtualNetwork{}
		listen := kfake.ListenFn(func(kind, address string) (net.Listener, error) { return network.Listen(kind, address) })
		p := &place{t: t, dialer: []kgo.Opt{kgo.Dialer(network.DialContext)}}
		test(t, start(t, p, nil, kfake.Ports(9092, 9093, 9094), listen))
	})
}

func start(t *testing.T, p *place, topics []string, opts ...kfake.Opt) *place {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	if len(topics) == 0 {
		topics = []string{source}
	}
	p.cluster = cluster
	cfg := kafka.ClientConfig{Brokers: cluster.ListenAddrs(), Options: p.dialer, ControlKey: kafka.NewSecret(p.key)}
	p.broker = kafkatest.Connect(struct{ testing.TB }{t}, cfg, topics...) // Deadline panics in a bubble: hide it
	if p.client, err = kafka.NewClient(p.broker.ClientConfig()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.client.Close() })
	p.raw = p.dial()
	p.join(group)
	return p
}

// join makes a group known, as its consumers do.
func (p *place) join(group string) {
	p.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(source, 0, 0, -1)
	if err := kadm.NewClient(p.raw).CommitAllOffsets(p.context(), group, offsets); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) dial(opts ...kgo.Opt) *kgo.Client {
	p.t.Helper()
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(p.broker.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)
	client, err := kgo.NewClient(append(opts, p.dialer...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(client.Close)
	return client
}

// letter is one as the library's consumer writes it. Its key and value name the record's place.
func letter(partition int32, offset int64, more ...kgo.RecordHeader) *kgo.Record {
	name := fmt.Sprintf("%d/%d", partition, offset)
	value, _ := json.Marshal(name)
	return &kgo.Record{Topic: dlq, Partition: partition, Key: []byte("key-" + name), Value: value, Headers: append([]kgo.RecordHeader{
		header("trace", "t-"+name), header("trace", "again"),
		header(deadletter.HeaderTopic, source), header(deadletter.HeaderPartition, strconv.Itoa(int(partition))),
		header(deadletter.HeaderOffset, strconv.FormatInt(offset, 10)), header(deadletter.HeaderGroup, group),
		header(deadletter.HeaderDeliveryCount, "4"), header(deadletter.HeaderClass, "transient"), header(deadletter.HeaderMessage, "no room"),
		header(deadletter.HeaderTimestamp, "2026-01-02T03:04:05.000Z"), header(deadletter.HeaderFailedAt, "2026-01-02T04:05:06.000Z"),
	}, more...)}
}

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// set replaces a header, or removes it where value is "".
func set(r *kgo.Record, key, value string) *kgo.Record {
	var headers []kgo.RecordHeader
	for _, h := range r.Headers {
		if h.Key != key {
			headers = append(headers, h)
		}
	}
	if value != "" {
		headers = append(headers, header(key, value))
	}
	r.Headers = headers
	return r
}

func (p *place) write(records ...*kgo.Record) {
	p.t.Helper()
	if err := p.raw.ProduceSync(p.context(), records...).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
}

// context bounds a test's calls: a read that doesn't end is a failure, not a hang.
func (p *place) context() context.Context {
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	p.t.Cleanup(cancel)
	return ctx
}

func (p *place) redrive(opts deadletter.RedriveOptions) deadletter.Result {
	p.t.Helper()
	result, err := deadletter.Redrive(p.context(), p.client, dlq, opts)
	if err != nil {
		p.t.Fatal(err)
	}
	return result
}

// list returns the values of the letters that the filter means.
func (p *place) list(filter deadletter.Filter) (values []string) {
	p.t.Helper()
	for letter, err := range deadletter.List(p.context(), p.client, dlq, filter) {
		if err != nil {
			p.t.Fatal(err)
		}
		values = append(values, string(letter.Value))
	}
	return values
}

// sent returns what is in the source topic, one partition after another.
func (p *place) sent() []kafka.Message[string] {
	p.t.Helper()
	return kafkatest.Published[string](p.t, p.broker, source)
}

func (p *place) sentValues() (values []string) {
	p.t.Helper()
	for _, m := range p.sent() {
		values = append(values, m.Value)
	}
	return values
}
