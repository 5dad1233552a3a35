package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// Promise 1: an offset is committed only when every record before it is done.
func (s Suite) atLeastOnce(t *testing.T) {
	const records, blockedAt = 50, 20
	topic := s.topic(t, 1, nil)
	s.seed(t, topic, records, 1)
	cfg := s.config(topic, topic)
	cfg.DrainTimeout = 100 * time.Millisecond
	blocked := make(chan struct{})
	first := start(s, t, cfg, func(ctx context.Context, msg kafka.Message[event]) error {
		if msg.Offset == blockedAt {
			close(blocked)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	within(t, "the handler meets the record it blocks at", blocked)
	eventually(t, "what was finished is committed", func() bool { return s.committed(t, topic, topic)[0] == blockedAt })
	if err := first.stop(); !errors.Is(err, kafka.ErrDrainTimeout) {
		t.Errorf("Start returned %v, want ErrDrainTimeout", err)
	}
	if at := s.committed(t, topic, topic)[0]; at != blockedAt {
		t.Errorf("committed %d after shutdown, want %d: the record there was never finished", at, blockedAt)
	}

	handled := newLedger()
	second := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
		handled.add(msg)
		return nil
	})
	handled.await(t, records-blockedAt)
	second.mustStop()
	if got := handled.all()[0].offset; got != blockedAt {
		t.Errorf("the next member started at offset %d, want %d", got, blockedAt)
	}
}

// Promise 2: records with one key are handled one after another, in offset order, retries included.
func (s Suite) order(t *testing.T) {
	const keys = 40
	records := s.Sizes.Order
	topic := s.topic(t, 4, nil)
	s.seed(t, topic, records, keys)
	handled := newLedger()
	var mu sync.Mutex
	inHand, overlaps, retries := map[string]bool{}, 0, 0
	cfg := s.config(topic, topic)
	cfg.MaxRetries = 5
	m := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
		mu.Lock()
		if inHand[msg.Key] {
			overlaps++
		}
		inHand[msg.Key] = true
		fails := msg.Attempt <= (msg.Value.Seq*7+len(msg.Key))%4 && msg.Value.Seq%5 == 0
		if fails {
			retries++
		}
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		inHand[msg.Key] = false
		mu.Unlock()
		if fails {
			return errors.New("not yet")
		}
		handled.add(msg)
		return nil
	})
	handled.await(t, records)
	m.mustStop()
	handled.judge(t, records)
	if overlaps > 0 {
		t.Errorf("%d handlers had a key in hand that another had", overlaps)
	}
	if retries == 0 {
		t.Error("nothing was retried: the test proves nothing")
	}
	if n := s.count(t, "dlq-"+topic); n != 0 {
		t.Errorf("%d dead letters, want none", n)
	}
}

// Promise 3: a record that can't be handled is in the dead letter topic, byte for byte; it is never skipped.
func (s Suite) deadLetters(t *testing.T) {
	const records = 60
	topic := s.topic(t, 3, nil)
	var seeds []*kgo.Record
	for i := range records { // in partitions that are not those of their keys
		key := fmt.Sprintf("key-%d", i%12)
		seeds = append(seeds, &kgo.Record{Topic: topic, Partition: int32(i % 3), Key: []byte(key), Value: fmt.Appendf(nil, `{"key":%q,"seq":%d}`, key, i/12)})
	}
	s.place(t, seeds...)
	cfg := s.config(topic, topic)
	cfg.MaxRetries = 2
	var attempts atomic.Int32
	m := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
		switch msg.Value.Seq {
		case 1:
			attempts.Add(1)
			return kafka.NewTransientError("save", errors.New("down"))
		case 2:
			return fmt.Errorf("wrapped: %w", kafka.NewPermanentError("save", errors.New("never")))
		case 3:
			return kafka.NewBusinessError("declined", nil)
		}
		return nil
	})
	letters := s.read(t, "dlq-"+topic, 24)
	eventually(t, "everything is committed", func() bool { return sum(s.committed(t, topic, topic)) == records })
	m.mustStop()
	if n := s.count(t, "dlq-"+topic); n != 24 {
		t.Errorf("%d dead letters, want 24: 12 exhausted, 12 permanent", n)
	}
	if n := attempts.Load(); n != 12*3 {
		t.Errorf("%d attempts at transient failures, want 36: one and two retries for each of 12", n)
	}
	source := map[place]*kgo.Record{}
	for _, r := range s.read(t, topic, records) {
		source[place{r.Partition, r.Offset}] = r
	}
	for _, letter := range letters {
		info, ok := kafka.Message[event]{Headers: letter.Headers}.DeadLetter()
		if !ok {
			t.Fatalf("letter without its place: %v", letter.Headers)
		}
		origin := source[place{info.Partition, info.Offset}]
		if origin == nil || !bytes.Equal(origin.Value, letter.Value) || !bytes.Equal(origin.Key, letter.Key) {
			t.Errorf("letter of %s-%d offset %d is not its record", info.Topic, info.Partition, info.Offset)
		}
		if letter.Partition != info.Partition {
			t.Errorf("letter from partition %d is in partition %d", info.Partition, letter.Partition)
		}
		wantAttempts := map[kafka.Class]int{kafka.ClassTransient: 3, kafka.ClassPermanent: 1}[info.Class]
		if info.Group != topic || info.Attempts != wantAttempts || info.Message == "" || info.FailedAt.IsZero() || !info.Timestamp.Equal(origin.Timestamp) {
			t.Errorf("letter says %+v", info)
		}
	}
}

// Promise 3 without a dead letter topic: Start ends with an error.
func (s Suite) noDeadLetters(t *testing.T) {
	const records, bad = 10, 4
	topic := s.topic(t, 1, nil)
	s.seed(t, topic, records, 1)
	cfg := s.config(topic, topic)
	cfg.DisableDeadLetters, cfg.MaxRetries = true, 1
	cause := errors.New("card declined")
	m := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
		if msg.Offset == bad {
			return cause
		}
		return nil
	})
	err := m.wait()
	want := fmt.Sprintf("kafka: handle %s-0 offset %d: gave up after 2 attempts: card declined (no dead letter topic takes it: DisableDeadLetters is set)", topic, bad)
	if err == nil || err.Error() != want || !errors.Is(err, cause) {
		t.Errorf("Start returned %v, want %s", err, want)
	}
	if at := s.committed(t, topic, topic)[0]; at != bad {
		t.Errorf("committed %d, want %d", at, bad)
	}
}

// Promise 3 for a record that leaves no room for a letter's headers.
func (s Suite) largestRecord(t *testing.T) {
	const limit = 100_000
	config := map[string]string{"max.message.bytes": fmt.Sprint(limit)}
	topic := fmt.Sprintf("conformance-%08x", rand.Uint32())
	s.makeTopics(t, topics.Topic{Name: topic, Partitions: 1, Config: config},
		topics.Topic{Name: "dlq-" + topic, Partitions: 1, Config: config})
	// The largest record that the broker takes, found in a topic of its own.
	scratch := s.topic(t, 1, config)
	client := s.client(t, kgo.ProducerBatchMaxBytes(1<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	random := rand.NewChaCha8([32]byte{}) // does not compress
	publish := func(topic string, size int) error {
		value := make([]byte, size)
		_, _ = random.Read(value)
		return client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: value}).FirstErr()
	}
	size := limit - 1000 + sort.Search(1000, func(i int) bool { return publish(scratch, limit-1000+i+1) != nil })
	if err := publish(topic, size); err != nil {
		t.Fatal(err)
	}
	if err := publish(topic, size+1); !errors.Is(err, kerr.MessageTooLarge) {
		t.Fatalf("a record of one byte more: %v, want MESSAGE_TOO_LARGE", err)
	}
	m := start(s, t, s.config(topic, topic), func(context.Context, kafka.Message[event]) error { return nil })
	letter := s.read(t, "dlq-"+topic, 1)[0]
	m.mustStop()
	if len(letter.Value) != size {
		t.Errorf("letter of %d bytes, want %d", len(letter.Value), size)
	}
	if at := s.committed(t, topic, topic)[0]; at != 1 {
		t.Errorf("committed %d, want 1", at)
	}
}

// Promise 4: a value that can't be decoded, and a panic, are permanent; a tombstone is told apart.
func (s Suite) poison(t *testing.T) {
	topic := s.topic(t, 1, nil)
	good := []byte(`{"key":"k","seq":0}`)
	key := []byte("k") // one for all, so that they are handled in order
	s.produce(t,
		&kgo.Record{Topic: topic, Key: key, Value: []byte(`{"key":`)},
		&kgo.Record{Topic: topic, Key: key, Value: nil},
		&kgo.Record{Topic: topic, Key: key, Value: good, Headers: []kgo.RecordHeader{{Key: "do", Value: []byte("panic")}}},
		&kgo.Record{Topic: topic, Key: key, Value: good, Headers: []kgo.RecordHeader{{Key: "do", Value: []byte("goexit")}}},
		&kgo.Record{Topic: topic, Key: key, Value: good},
	)
	handled := newLedger()
	m := start(s, t, s.config(topic, topic), func(_ context.Context, msg kafka.Message[event]) error {
		switch do, _ := msg.Header("do"); do {
		case "panic":
			var nothing *event
			nothing.Seq = 1
		case "goexit":
			runtime.Goexit()
		}
		handled.add(msg)
		return nil
	})
	handled.await(t, 1)
	letters := s.read(t, "dlq-"+topic, 4)
	eventually(t, "everything is committed", func() bool { return s.committed(t, topic, topic)[0] == 5 })
	m.mustStop()
	for i, want := range []string{"decode value: invalid JSON", "nil value (tombstone)", "handler panicked", "runtime.Goexit"} {
		info, _ := kafka.Message[event]{Headers: letters[i].Headers}.DeadLetter()
		if info.Class != kafka.ClassPermanent || info.Attempts != 1 || !strings.Contains(info.Message, want) {
			t.Errorf("letter %d is %s after %d attempts: %q; want permanent after 1: %q", i, info.Class, info.Attempts, info.Message, want)
		}
	}
	if letters[1].Value != nil {
		t.Errorf("the tombstone's letter has the value %q, want nil", letters[1].Value)
	}

	t.Run("TombstonesAreHandledWhenAskedFor", func(t *testing.T) {
		cfg := s.config(topic, topic+"-tombstones")
		cfg.HandleTombstones = true
		seen := make(chan kafka.Message[event], 5)
		m := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
			if msg.Tombstone {
				seen <- msg
			}
			return nil
		})
		if msg := within(t, "the tombstone is handled", seen); msg.Offset != 1 || msg.Value != (event{}) {
			t.Errorf("got %+v", msg)
		}
		m.mustStop()
	})
}

// Promise 5: the queues are bounded, and partitions that stand still don't stop the others.
func (s Suite) boundedMemory(t *testing.T) {
	const partitions = 6
	perPartition := s.Sizes.Stuck
	topic := s.topic(t, partitions, nil)
	var records []*kgo.Record
	for i := range partitions * perPartition {
		key := fmt.Sprintf("p%d", i%partitions)
		value := fmt.Appendf(nil, `{"key":%q,"seq":%d}`, key, i/partitions)
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Key: []byte(key), Value: value})
	}
	s.place(t, records...)
	cfg := s.config(topic, topic)
	cfg.MaxQueuedRecords = perPartition / 3
	release := make(chan struct{})
	handled := newLedger()
	var early atomic.Int64
	m := start(s, t, cfg, func(ctx context.Context, msg kafka.Message[event]) error {
		if msg.Partition < partitions/2 { // half of them stand still
			early.Add(1)
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		handled.add(msg)
		return nil
	})
	handled.await(t, partitions/2*perPartition)
	for _, e := range handled.all() {
		if e.partition < partitions/2 {
			t.Fatalf("partition %d was to stand still", e.partition)
		}
	}
	if n := early.Load(); n > partitions/2 {
		t.Errorf("%d records in hand of %d partitions", n, partitions/2)
	}
	close(release)
	handled.await(t, partitions*perPartition)
	m.mustStop()
	handled.judge(t, partitions*perPartition)
}

// Promise 6: members join and leave; a clean handover redelivers nothing.
func (s Suite) rebalance(t *testing.T, protocol string) {
	if protocol == "consumer" && !s.speaks(t, kmsg.ConsumerGroupHeartbeat) {
		t.Skip("this broker does not speak KIP-848: it is older than Kafka 4.0")
	}
	const changes = 8
	backlog := s.Sizes.Rebalance
	topic := s.topic(t, 6, nil)
	t.Cleanup(func() {
		if t.Failed() {
			s.log.print(t, topic)
		}
	})
	s.seed(t, topic, backlog, 300)
	handled := newLedger()
	var letters atomic.Int64
	ends := s.ends(t, topic)
	done := newGate(1) // how much of each partition may be handled: so many of changes+1 parts
	cfg := s.config(topic, topic)
	cfg.GroupProtocol = kafka.GroupProtocol(protocol)
	cfg.MaxQueuedRecords = 2000
	cfg.Options = []kgo.Opt{kgo.HeartbeatInterval(200 * time.Millisecond)} // how soon a member hears of a rebalance
	join := func() *member {
		worked := make(chan struct{}, 1)
		m := startHeld(s, t, cfg, done, func(ctx context.Context, msg kafka.Message[event], p *pass) error {
			if msg.Value.Seq%10 == 3 && msg.Attempt == 1 { // some are in backoff when partitions move
				return errors.New("not yet")
			}
			select {
			case worked <- struct{}{}:
			default:
			}
			p.wait(ctx, msg.Partition, func(parts int64) bool { return msg.Offset > ends[msg.Partition]*parts/(changes+1) })
			handled.add(msg)
			if msg.Value.Seq%50 == 7 { // and some are on their way to the dead letter topic
				letters.Add(1)
				return kafka.NewPermanentError("bad", nil)
			}
			return nil
		})
		within(t, "the new member gets records", worked)
		return m
	}
	members := []*member{join()}
	for change := range changes {
		if left := backlog - handled.len(); left < backlog/20 {
			t.Fatalf("only %d records left at change %d: the test proves nothing", left, change)
		}
		if len(members) < 3 {
			members = append(members, join())
		} else {
			members[0].mustStop()
			members = members[1:]
		}
		done.set(int64(change + 2))
		handled.await(t, handled.len()+backlog/50)
	}
	handled.await(t, backlog)
	for _, m := range members {
		m.mustStop()
	}
	handled.judge(t, backlog)
	if at := sum(s.committed(t, topic, topic)); at != int64(backlog) {
		t.Errorf("committed %d of %d", at, backlog)
	}
	if n := s.count(t, "dlq-"+topic); n != letters.Load() || n == 0 {
		t.Errorf("%d dead letters, want %d", n, letters.Load())
	}
}

// Promise 6 with an instance ID: a member that starts again gets its partitions back.
func (s Suite) staticMember(t *testing.T) {
	const records = 200
	topic := s.topic(t, 2, nil)
	s.seed(t, topic, records, 10)
	handled := newLedger()
	cfg := s.config(topic, topic)
	cfg.InstanceID = "instance-1"
	cfg.SessionTimeout, cfg.DrainTimeout = 6*time.Second, 2*time.Second
	handle := func(_ context.Context, msg kafka.Message[event]) error {
		handled.add(msg)
		return nil
	}
	first := start(s, t, cfg, handle)
	handled.await(t, records/2)
	first.mustStop()
	second := start(s, t, cfg, handle)
	handled.await(t, records)
	second.mustStop()
	handled.judge(t, records)
}

// Promise 7: shutdown finishes what is in hand, commits it, and leaves the group.
func (s Suite) shutdown(t *testing.T) {
	t.Run("FinishesWhatIsInHand", func(t *testing.T) {
		const records = 500
		topic := s.topic(t, 2, nil)
		s.seed(t, topic, records, 10)
		type key struct{}
		handled := newLedger()
		busy, release := make(chan struct{}, records), make(chan struct{})
		consumer := newConsumer(s, t, s.config(topic, topic), func(ctx context.Context, msg kafka.Message[event]) error {
			busy <- struct{}{}
			<-release
			if ctx.Err() != nil {
				t.Errorf("the handler's context ended with Start's: %v", context.Cause(ctx))
			}
			if ctx.Value(key{}) != "value" {
				t.Error("the handler's context has lost the values of Start's")
			}
			handled.add(msg)
			return nil
		})
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
		result := make(chan error, 1)
		go func() { result <- consumer.Start(ctx) }()
		within(t, "a handler is busy", busy)
		within(t, "another handler is busy", busy)
		cancel()
		eventually(t, "it shuts down", func() bool { return consumer.Health().State == kafka.StateEnding })
		close(release)
		if err := within(t, "Start returns", result); err != nil {
			t.Errorf("Start returned %v", err)
		}
		n := int64(len(handled.all()))
		if n == records {
			t.Error("there was no backlog left: the test proves nothing")
		}
		// With Concurrency, a key's next record may be left behind others that are done. The commit's metadata tells of these: the next
		// member handles none of them again.
		if at := sum(s.committed(t, topic, topic)); at > n || at < n && s.Concurrency <= 1 {
			t.Errorf("committed %d, want the %d that were handled", at, n)
		}
		for range 2 {
			if err := consumer.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if err := consumer.Start(context.Background()); !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("Start after Close returned %v, want ErrClosed", err)
		}

		// The group was left: the next member does not wait for a session to time out.
		rest := start(s, t, s.config(topic, topic), func(_ context.Context, msg kafka.Message[event]) error {
			handled.add(msg)
			return nil
		})
		handled.await(t, records)
		rest.mustStop()
		handled.judge(t, records)
	})

	t.Run("CloseFromAnotherGoroutine", func(t *testing.T) {
		topic := s.topic(t, 1, nil)
		s.seed(t, topic, 5000, 10)
		busy := make(chan struct{}, 5000)
		m := start(s, t, s.config(topic, topic), func(context.Context, kafka.Message[event]) error {
			busy <- struct{}{}
			return nil
		})
		within(t, "it consumes", busy)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _ = m.close() })
		}
		wg.Wait()
		if err := within(t, "Start returns", m.result); err != nil {
			t.Errorf("Start returned %v", err)
		}
	})

	t.Run("ABackoffDoesNotHoldItUp", func(t *testing.T) {
		topic := s.topic(t, 1, nil)
		s.seed(t, topic, 3, 1)
		cfg := s.config(topic, topic)
		failed := make(chan struct{}, 1)
		m := start(s, t, cfg, func(context.Context, kafka.Message[event]) error {
			failed <- struct{}{}
			return kafka.NewTransientError("busy", nil).WithRetryAfter(24 * time.Hour)
		})
		within(t, "an attempt failed", failed)
		m.mustStop()
		if at := sum(s.committed(t, topic, topic)); at != 0 {
			t.Errorf("committed %d, want 0", at)
		}
		if n := s.count(t, "dlq-"+topic); n != 0 {
			t.Errorf("%d dead letters, want none: an interrupted backoff is no failure", n)
		}
	})
}

// Promise 8: what can't work says so at once.
func (s Suite) failAtTheDoor(t *testing.T) {
	topic := s.topic(t, 1, nil)
	nop := func(context.Context, kafka.Message[event]) error { return nil }
	t.Run("MissingTopic", func(t *testing.T) {
		cfg := s.config(topic+"-missing", topic)
		cfg.DLQTopic = "dlq-" + topic
		err := start(s, t, cfg, nop).wait()
		if !errors.Is(err, kafka.ErrTopicMissing) || !strings.Contains(err.Error(), topic+"-missing") {
			t.Errorf("Start returned %v", err)
		}
	})
	t.Run("MissingDLQTopic", func(t *testing.T) {
		cfg := s.config(topic, topic)
		cfg.DLQTopic = topic + "-missing"
		err := start(s, t, cfg, nop).wait()
		if !errors.Is(err, kafka.ErrTopicMissing) || !strings.Contains(err.Error(), cfg.DLQTopic) {
			t.Errorf("Start returned %v", err)
		}
	})
	t.Run("DLQTopicTakesLessThanTheTopic", func(t *testing.T) {
		small := topic + "-small"
		s.makeTopics(t, topics.Topic{Name: small, Partitions: 1, Config: map[string]string{"max.message.bytes": "1000"}})
		cfg := s.config(topic, topic)
		cfg.DLQTopic = small
		if err := start(s, t, cfg, nop).wait(); err == nil || !strings.Contains(err.Error(), "max.message.bytes") {
			t.Errorf("Start returned %v", err)
		}
	})
	t.Run("MissingTopicOfAProducer", func(t *testing.T) {
		_, err := kafka.NewProducer[event](kafka.ProducerConfig{ClientConfig: s.connection(), Topic: topic + "-missing"})
		if !errors.Is(err, kafka.ErrTopicMissing) {
			t.Errorf("NewProducer returned %v", err)
		}
	})
	t.Run("NoOffsetWithResetNone", func(t *testing.T) {
		cfg := s.config(topic, topic+"-none")
		cfg.AutoOffsetReset = "none"
		if err := start(s, t, cfg, nop).wait(); err == nil || !strings.Contains(err.Error(), topic+"-0") {
			t.Errorf("Start returned %v", err)
		}
	})
}
