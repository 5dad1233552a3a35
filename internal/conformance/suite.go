// Package conformance holds the library's promises as tests that any broker can judge: the in-process one in the root
// package's tests, real Kafka in the integration module.
package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// Suite is the promises against one broker. Concurrency, Batches and RunWithAllMiddleware make variants of it. A variant repeats the
// tests whose code path it changes; the others run in the plain suite only.
type Suite struct {
	Brokers []string
	Sizes   Sizes
	// Protocols are the group protocols to join with.
	Protocols []string
	// Concurrency is every consumer's.
	Concurrency int
	// Batches makes the consumers BatchConsumers whose handlers go through a batch one message after another.
	Batches bool
	// Full makes a variant repeat every test.
	Full bool
	// Consuming and Producing are used by every consumer and producer.
	Consuming []kafka.ConsumerPlugin
	Producing []kafka.ProducerPlugin // see Consuming

	log   *journal
	truth *truth      // what the brokers know of each topic; nil without RunWithAllMiddleware
	asks  *kgo.Client // asks the broker what is stored and committed
}

// Sizes are the numbers of records of the tests whose claim depends on a backlog.
type Sizes struct {
	Rebalance int // of each protocol
	Order     int
	Stuck     int // of each partition, while half of them stand still; three times the limit of the queues
}

// The sizes for the in-process broker, for real Kafka, for a first look at real Kafka, and for a thorough run against it.
var (
	InProcess = Sizes{Rebalance: 3_000, Order: 1_000, Stuck: 600}
	RealKafka = Sizes{Rebalance: 20_000, Order: 2_000, Stuck: 3_000}
	Short     = Sizes{Rebalance: 5_000, Order: 1_000, Stuck: 600}
	Long      = Sizes{Rebalance: 100_000, Order: 2_000, Stuck: 3_000}
)

// journal keeps the library's latest lines for a rebalance test that fails: they show whether a member lost its partitions, which is
// no clean handover.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Write(line []byte) (int, error) {
	const most = 4000
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(line))
	j.lines = j.lines[max(0, len(j.lines)-most):]
	return len(line), nil
}

// print logs the lines about a topic.
func (j *journal) print(t *testing.T, topic string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if strings.Contains(line, topic) {
			t.Log(strings.TrimSuffix(line, "\n"))
		}
	}
}

// test is a test of the suite. Each has topics and groups of its own.
type test struct {
	name string
	run  func(t *testing.T)
}

// tests returns those of the variant, the longest first.
func (s Suite) tests() (tests []test) {
	add := func(name string, run func(t *testing.T)) { tests = append(tests, test{name, run}) }
	plain := s.Concurrency <= 1 && !s.Batches
	for _, protocol := range s.Protocols {
		add(path.Join("Rebalance", protocol), func(t *testing.T) { s.rebalance(t, protocol) })
		if !s.Batches { // a BatchConsumer refuses these settings
			add(path.Join("Parking", protocol), func(t *testing.T) { s.parking(t, protocol) })
			add(path.Join("RetryTopics", protocol), func(t *testing.T) { s.retryTopics(t, protocol) })
		}
		add(path.Join("FloodGuard", "APauseHoldsNothingElseUp", protocol), func(t *testing.T) { s.pausedMember(t, protocol) })
	}
	add("BoundedMemory", s.boundedMemory)
	add(path.Join("FloodGuard", "AnOutageCostsAFewLetters"), s.outage)
	add("Order", s.order)
	add("AtLeastOnce", s.atLeastOnce)
	add(path.Join("NothingVanishes", "ExhaustedAndPermanentAreDeadLettered"), s.deadLetters)
	add(path.Join("NothingVanishes", "WithoutDLQStartEndsAndTheRecordStays"), s.noDeadLetters)
	add("Poison", s.poison)
	add("Shutdown", s.shutdown)
	if s.Full || plain {
		add("Lanes", s.lanes) // with a Concurrency of its own
		add("Publish", s.publish)
		add("BadInput", s.badInput)
	}
	if s.Full || plain && s.truth == nil {
		add(path.Join("NothingVanishes", "ARecordAtTheSizeLimitIsDeadLettered"), s.largestRecord)
		add(path.Join("Rebalance", "StaticMemberKeepsItsPartitions"), s.staticMember)
		add("FailAtTheDoor", s.failAtTheDoor)
	}
	return tests
}

// Run runs the tests, several at once: most of their time they wait for the broker.
func (s Suite) Run(t *testing.T) {
	const atOnce = 8
	if s.log == nil {
		s.log = &journal{}
	}
	s.asks = s.client(t)
	var running sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for _, test := range s.tests() {
		free <- struct{}{}
		running.Go(func() { // ends before Run does, as t.Run demands
			defer func() { <-free }()
			t.Run(test.name, test.run)
		})
	}
	running.Wait()
}

// patience limits every wait. It is long because the machine may be slow: only a hang reaches it.
const patience = 3 * time.Minute

// event is what the tests' records say: the seq-th record of its key.
type event struct {
	Key string `json:"key"`
	Seq int    `json:"seq"`
}

func (s Suite) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.Brokers...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// speaks tells whether the broker knows a request.
func (s Suite) speaks(t *testing.T, key kmsg.Key) bool {
	t.Helper()
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), s.asks)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(response.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == int16(key) })
}

// topic makes a topic and its dead letter topic, with as many partitions.
func (s Suite) topic(t *testing.T, partitions int32, config map[string]string) string {
	t.Helper()
	name := fmt.Sprintf("conformance-%08x", rand.Uint32())
	s.makeTopics(t, topics.Topic{Name: name, Partitions: partitions, Config: config},
		topics.Topic{Name: "dlq-" + name, Partitions: partitions})
	return name
}

func (s Suite) makeTopics(t *testing.T, list ...topics.Topic) {
	t.Helper()
	client, err := kafka.NewClient(s.connection())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := topics.Ensure(ctx, client, list...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		names := make([]string, len(list))
		for i, topic := range list {
			s.truth.note(t, s, topic.Name)
			names[i] = topic.Name
		}
		_, _ = kadm.NewClient(s.asks).DeleteTopics(context.Background(), names...)
	})
}

// config is a consumer's, with short waits.
func (s Suite) config(topic, group string) kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig(topic, group)
	cfg.ClientConfig = s.connection()
	cfg.RetryBackoff, cfg.RetryBackoffMax = time.Millisecond, 10*time.Millisecond
	cfg.CommitInterval = 100 * time.Millisecond
	cfg.Concurrency = s.Concurrency
	cfg.MaxBatchSize = 5 // some handlers take so long that a handover could not wait for many
	return cfg
}

// connection says where the broker is. How soon a loaded machine answers is not what is tested.
func (s Suite) connection() kafka.ClientConfig {
	return kafka.ClientConfig{Brokers: s.Brokers, ConnectTimeout: patience, Logger: slog.New(slog.NewTextHandler(s.log, nil))}
}

// seed publishes n events with the given number of keys, in order per key.
func (s Suite) seed(t *testing.T, topic string, n, keys int) {
	t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		key := fmt.Sprintf("key-%d", i%keys)
		value, _ := json.Marshal(event{key, i / keys})
		records[i] = &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
	}
	s.produce(t, records...)
}

// produce places records by their keys.
func (s Suite) produce(t *testing.T, records ...*kgo.Record) {
	t.Helper()
	s.put(t, kgo.StickyKeyPartitioner(nil), records)
}

// place puts records where they say.
func (s Suite) place(t *testing.T, records ...*kgo.Record) {
	t.Helper()
	s.put(t, kgo.ManualPartitioner(), records)
}

func (s Suite) put(t *testing.T, partitioner kgo.Partitioner, records []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, r := range records {
		s.truth.seeded(r.Topic)
	}
	client := s.client(t, kgo.RecordPartitioner(partitioner), kgo.ProducerBatchMaxBytes(8<<20))
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// read returns the records of a topic, n of them at least.
func (s Suite) read(t *testing.T, topic string, n int) []*kgo.Record {
	t.Helper()
	client := s.client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%s holds %d records, want %d: %v", topic, len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

// ends returns where the topic's partitions end.
func (s Suite) ends(t *testing.T, topic string) map[int32]int64 {
	t.Helper()
	offsets, err := kadm.NewClient(s.asks).ListEndOffsets(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int32]int64{}
	offsets.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends
}

// count returns how many records the topic has ever held.
func (s Suite) count(t *testing.T, topic string) int64 {
	t.Helper()
	return sum(s.ends(t, topic))
}

// committed returns the group's offsets in the topic, by partition; -1 for none.
func (s Suite) committed(t *testing.T, topic, group string) map[int32]int64 {
	t.Helper()
	offsets, err := kadm.NewClient(s.asks).FetchOffsetsForTopics(context.Background(), group, topic)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	at := map[int32]int64{}
	offsets.Each(func(o kadm.OffsetResponse) { at[o.Partition] = o.At })
	return at
}

func sum(at map[int32]int64) (n int64) {
	for _, offset := range at {
		n += max(0, offset)
	}
	return n
}

func newConsumer[T any](s Suite, t *testing.T, cfg kafka.ConsumerConfig, handle kafka.Handler[T]) *kafka.Consumer[T] {
	t.Helper()
	consumer, err := kafka.NewConsumer(cfg, handle)
	if s.Batches && cfg.Concurrency <= 1 {
		_ = consumer.Close()
		var batches *kafka.BatchConsumer[T]
		if batches, err = kafka.NewBatchConsumer(cfg, inTurn(handle)); err == nil {
			consumer = batches.Consumer
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	consumer.Use(s.Consuming...)
	return consumer
}

// inTurn calls handle with one message of a batch after another, up to the first that fails.
func inTurn[T any](handle kafka.Handler[T]) kafka.BatchHandler[T] {
	return func(ctx context.Context, batch []kafka.Message[T]) error {
		for i, msg := range batch {
			if err := contained(ctx, msg, handle); err != nil {
				return kafka.FailedAt(batch, i, err)
			}
		}
		return nil
	}
}

// contained makes errors of a handler's panic and of its runtime.Goexit.
func contained[T any](ctx context.Context, msg kafka.Message[T], handle kafka.Handler[T]) error {
	result := make(chan error, 1)
	go func() {
		err := error(&kafka.PanicError{})
		defer func() {
			if value := recover(); value != nil {
				err = &kafka.PanicError{Value: value, Stack: debug.Stack()}
			}
			result <- err
		}()
		err = handle(ctx, msg)
	}()
	return <-result
}

// member is a running consumer.
type member struct {
	t      *testing.T
	cancel context.CancelFunc
	result chan error
	close  func() error
	health func() kafka.Health
	pass   *pass // nil for most
}

func start[T any](s Suite, t *testing.T, cfg kafka.ConsumerConfig, handle kafka.Handler[T]) *member {
	t.Helper()
	return run(t, newConsumer(s, t, cfg, handle))
}

// startHeld starts a member whose handler waits at a gate.
func startHeld[T any](s Suite, t *testing.T, cfg kafka.ConsumerConfig, g *gate, handle func(context.Context, kafka.Message[T], *pass) error) *member {
	t.Helper()
	p := &pass{gate: g, leaving: map[int32]bool{}}
	consumer := newConsumer(s, t, cfg, func(ctx context.Context, msg kafka.Message[T]) error { return handle(ctx, msg, p) })
	consumer.Use(p)
	m := run(t, consumer)
	m.pass = p
	return m
}

func run[T any](t *testing.T, consumer *kafka.Consumer[T]) *member {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{t: t, cancel: cancel, result: make(chan error, 1), close: consumer.Close, health: consumer.Health}
	go func() { m.result <- consumer.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		_ = consumer.Close()
	})
	return m
}

// stop shuts the member down as a signal would, and returns Start's error.
func (m *member) stop() error {
	m.t.Helper()
	m.cancel()
	if m.pass != nil {
		// Not earlier: until the consumer begins no more records, its handlers would rush through the backlog.
		eventually(m.t, "the member shuts down", m.ending)
		m.pass.end()
	}
	return m.wait()
}

func (m *member) ending() bool {
	state := m.health().State
	return state == kafka.StateEnding || state == kafka.StateEnded
}

func (m *member) wait() error {
	m.t.Helper()
	select {
	case err := <-m.result:
		if closing := m.close(); closing != nil {
			m.t.Errorf("Close: %v", closing)
		}
		return err
	case <-time.After(patience):
		m.t.Fatal("Start does not return")
		return nil
	}
}

func (m *member) mustStop() {
	m.t.Helper()
	if err := m.stop(); err != nil {
		m.t.Errorf("Start: %v", err)
	}
}

// ledger notes what handlers finished, in their order.
type ledger struct {
	mu      sync.Mutex
	entries []entry
	changed chan struct{} // closed and replaced at each entry
}

type entry struct {
	partition int32
	offset    int64
	event     event
}

func newLedger() *ledger { return &ledger{changed: make(chan struct{})} }

func (l *ledger) add(msg kafka.Message[event]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry{msg.Partition, msg.Offset, msg.Value})
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

func (l *ledger) all() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// await waits until n different records are noted.
func (l *ledger) await(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		entries, changed := len(l.entries), l.changed
		distinct := 0
		if entries >= n {
			distinct = len(l.places())
		}
		l.mu.Unlock()
		if distinct >= n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d records handled, want %d", entries, n)
		}
	}
}

type place struct {
	partition int32
	offset    int64
}

func (l *ledger) places() map[place]int {
	places := make(map[place]int, len(l.entries))
	for _, e := range l.entries {
		places[place{e.partition, e.offset}]++
	}
	return places
}

// judge compares with n events that were seeded.
func (l *ledger) judge(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	places := l.places()
	redelivered, reordered := len(l.entries)-len(places), 0
	last := map[string]int{}
	for _, e := range l.entries {
		seq, seen := last[e.event.Key]
		if seen && e.event.Seq != seq+1 || !seen && e.event.Seq != 0 {
			reordered++
		}
		last[e.event.Key] = e.event.Seq
	}
	t.Logf("handled %d: lost %d, redelivered %d, reordered within a key %d", len(l.entries), n-len(places), redelivered, reordered)
	if len(places) != n || redelivered != 0 || reordered != 0 {
		t.Errorf("of %d records: lost %d, redelivered %d, reordered within a key %d; want none", n, n-len(places), redelivered, reordered)
	}
}

// eventually waits for what no channel tells.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// within waits for a channel.
func within[T any](t *testing.T, what string, ch <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-ch:
	case <-time.After(patience):
		t.Fatalf("never: %s", what)
	}
	return value
}
