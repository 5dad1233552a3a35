package conformance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/topics"
)

// publish is the producer's promises.
func (s Suite) publish(t *testing.T) {
	topic := s.topic(t, 4, nil)
	producer := newProducer[event](s, t, kafka.ProducerConfig{ClientConfig: s.connection(), Topic: topic})
	ctx := t.Context()

	t.Run("WhatIsPublishedIsStored", func(t *testing.T) {
		msg := kafka.NewMessage[event]().WithKey("a").WithValue(event{"a", 0}).WithCorrelationID("c").WithHeader("x", "y").Build()
		if err := producer.Publish(ctx, msg); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		producer.PublishAsync(ctx, kafka.Message[event]{Key: "a", Value: event{"a", 1}}, func(msg kafka.Message[event], err error) {
			if msg.Topic != topic || msg.Offset != 1 || msg.Timestamp.IsZero() {
				err = errors.Join(err, fmt.Errorf("stored as %+v", msg))
			}
			done <- err
		})
		if err := within(t, "the callback is called", done); err != nil {
			t.Error(err)
		}
		batch := []kafka.Message[event]{{Key: "a", Value: event{"a", 2}}, {Key: "a", Tombstone: true}, {Key: "b", Value: event{"b", 0}}}
		if err := producer.PublishBatch(ctx, batch...); err != nil {
			t.Fatal(err)
		}
		records := s.read(t, topic, 5)
		if n := len(records); n != 5 {
			t.Fatalf("%d records, want 5", n)
		}
		for _, r := range records {
			stored := kafka.Message[event]{Headers: r.Headers}
			id, err := uuid.Parse(stored.GetMessageID())
			if err != nil || id.Version() != 7 {
				t.Errorf("message id %q: want a UUID of version 7", stored.GetMessageID())
			}
			contentType, _ := stored.Header(kafka.HeaderContentType)
			if r.Value == nil && contentType != "" || r.Value != nil && contentType != "application/json" {
				t.Errorf("content type %q of value %q", contentType, r.Value)
			}
		}
		if id := msg.GetMessageID(); id == "" || !strings.Contains(fmt.Sprint(records), "") {
			t.Error("Build made no message id")
		}
	})

	t.Run("KeysArePlacedAsJavaDoes", func(t *testing.T) {
		// murmur2 of the key, masked, modulo 4: what Kafka's own BuiltInPartitioner gives.
		want := map[string]int32{}
		hasher := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
		for i := range 50 {
			key := fmt.Sprintf("booking-%d", i)
			want[key] = int32(hasher.Partition(&kgo.Record{Key: []byte(key)}, 4))
		}
		var mu sync.Mutex
		for key := range want {
			producer.PublishAsync(ctx, kafka.Message[event]{Key: key}, func(msg kafka.Message[event], err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil || msg.Partition != want[msg.Key] {
					t.Errorf("key %s in partition %d, want %d (%v)", msg.Key, msg.Partition, want[msg.Key], err)
				}
			})
		}
		if err := producer.Flush(ctx); err != nil {
			t.Error(err)
		}
	})

	t.Run("TooLargeGoesToTheDLQTopicAndIsAnError", func(t *testing.T) {
		small := topic + "-small"
		s.makeTopics(t, topics.Topic{Name: small, Partitions: 1, Config: map[string]string{"max.message.bytes": "10000"}})
		cfg := kafka.ProducerConfig{ClientConfig: s.connection(), Topic: small}
		cfg.DLQTopic = "dlq-" + topic
		producer := newProducer[string](s, t, cfg)
		var wg sync.WaitGroup
		results := make([]error, 3)
		for i, size := range []int{100, 20_000, 100} { // one batch, as far as the client is asked
			wg.Add(1)
			producer.PublishAsync(ctx, kafka.Message[string]{Value: strings.Repeat("x", size)}, func(_ kafka.Message[string], err error) {
				results[i] = err
				wg.Done()
			})
		}
		if err := producer.Flush(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if results[0] != nil || results[2] != nil {
			t.Errorf("small messages failed with the large one: %v, %v", results[0], results[2])
		}
		if _, ok := errors.AsType[*kafka.PublishError](results[1]); !ok {
			t.Errorf("the large message's error is %v, want a PublishError", results[1])
		}
		letter := s.read(t, cfg.DLQTopic, 1)[0]
		info, ok := kafka.Message[event]{Headers: letter.Headers}.DeadLetter()
		if !ok || info.Topic != small || info.Class != kafka.ClassPermanent || len(letter.Value) < 20_000 {
			t.Errorf("letter of %d bytes says %+v", len(letter.Value), info)
		}
	})

	t.Run("ARefusedMessageSparesItsBatch", func(t *testing.T) {
		compacted := topic + "-compacted"
		s.makeTopics(t, topics.Compacted(compacted, 1).WithConfig("message.timestamp.before.max.ms", "60000"), topics.New("dlq-"+compacted, 1))
		cfg := kafka.ProducerConfig{ClientConfig: s.connection(), Topic: compacted, DLQTopic: "dlq-" + compacted}
		cfg.Linger = 100 * time.Millisecond // one batch
		producer := newProducer[event](s, t, cfg)
		batch := make([]kafka.Message[event], 100)
		for i := range batch {
			batch[i] = kafka.Message[event]{Key: strconv.Itoa(i), Value: event{"k", i}}
		}
		batch[40].Key = ""
		batch[60].Timestamp = time.Now().Add(-time.Hour)
		err := producer.PublishBatch(ctx, batch...)
		if !errors.Is(err, kerr.InvalidRecord) || !errors.Is(err, kerr.InvalidTimestamp) || strings.Count(err.Error(), "\n") != 1 {
			t.Errorf("want an error for each of two messages: %v", err)
		}
		if stored, letters := s.count(t, compacted), s.count(t, cfg.DLQTopic); stored != 98 || letters != 2 {
			t.Errorf("%d stored and %d letters, want 98 and 2", stored, letters)
		}
	})

	t.Run("ASharedClientServesManyProducers", func(t *testing.T) {
		client, err := kafka.NewClient(s.connection())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.Ping(ctx); err != nil {
			t.Error(err)
		}
		for range 2 {
			producer := newProducer[event](s, t, kafka.ProducerConfig{Client: client, Topic: topic})
			if err := producer.Publish(ctx, kafka.Message[event]{Value: event{"shared", 0}}); err != nil {
				t.Error(err)
			}
			if err := producer.Close(); err != nil {
				t.Error(err)
			}
			if err := producer.Publish(ctx, kafka.Message[event]{}); !errors.Is(err, kafka.ErrClosed) {
				t.Errorf("Publish after Close returned %v, want ErrClosed", err)
			}
		}
		if err := client.Ping(ctx); err != nil {
			t.Errorf("a producer's Close closed the shared client: %v", err)
		}
	})
}

func newProducer[T any](s Suite, t *testing.T, cfg kafka.ProducerConfig) *kafka.Producer[T] {
	t.Helper()
	producer, err := kafka.NewProducer[T](cfg)
	if err != nil {
		t.Fatal(err)
	}
	producer.Use(s.Producing...)
	t.Cleanup(func() { _ = producer.Close() })
	return producer
}

// badInput: whatever stands in a topic is handled, dead-lettered, and committed; nothing is lost and nothing gets stuck.
func (s Suite) badInput(t *testing.T) {
	topic := s.topic(t, 1, map[string]string{"max.message.bytes": "3000000"})
	// The dead letter topic's default limit is smaller.
	dlq := topic + "-large"
	s.makeTopics(t, topics.Topic{Name: dlq, Partitions: 1, Config: map[string]string{"max.message.bytes": "4000000"}})
	good := []byte(`{"key":"k","seq":7}`)
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	inputs := []struct {
		name   string
		record *kgo.Record
		letter bool
	}{
		{"unparsable", &kgo.Record{Value: []byte(`{"seq":`)}, true},
		{"null", &kgo.Record{Value: []byte(" null\n")}, true},
		{"empty", &kgo.Record{Value: []byte{}}, true},
		{"nil", &kgo.Record{Value: nil}, true},
		{"trailing garbage", &kgo.Record{Value: []byte(`{"seq":7} x`)}, true},
		{"deep", &kgo.Record{Value: []byte(strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001))}, true},
		{"wrong type", &kgo.Record{Value: []byte(`{"seq":"seven"}`)}, true},
		{"duplicate headers", &kgo.Record{Value: good, Headers: []kgo.RecordHeader{header("event-type", "a"), header("event-type", "b")}}, false},
		{"invalid UTF-8", &kgo.Record{Value: good, Headers: []kgo.RecordHeader{header("event-type", "\xff"), header("\xfe", "\xfd")}}, false},
		{"1 MiB header", &kgo.Record{Value: good, Headers: []kgo.RecordHeader{header("big", strings.Repeat("h", 1<<20))}}, false},
		{"poison with a 1 MiB header", &kgo.Record{Value: []byte("x"), Headers: []kgo.RecordHeader{header("big", strings.Repeat("h", 1<<20))}}, true},
		{"forged dead letter", &kgo.Record{Value: []byte("x"), Headers: []kgo.RecordHeader{header(dlqheader.Topic, "../etc"), header(dlqheader.Offset, "-9")}}, true},
		{"last", &kgo.Record{Value: good}, false},
	}
	letters, handled := 0, newLedger()
	for _, input := range inputs {
		input.record.Topic = topic
		s.produce(t, input.record)
		if input.letter {
			letters++
		}
	}
	cfg := s.config(topic, topic)
	cfg.DLQTopic = dlq
	m := start(s, t, cfg, func(_ context.Context, msg kafka.Message[event]) error {
		if msg.Value.Seq != 7 {
			t.Errorf("offset %d was handled with %+v", msg.Offset, msg.Value)
		}
		handled.add(msg)
		return nil
	})
	handled.await(t, len(inputs)-letters)
	eventually(t, "everything is committed", func() bool { return s.committed(t, topic, topic)[0] == int64(len(inputs)) })
	m.mustStop()
	for i, letter := range s.read(t, dlq, letters) {
		info, ok := kafka.Message[event]{Headers: letter.Headers}.DeadLetter()
		if !ok || info.Topic != topic {
			t.Errorf("letter %d says %+v", i, info)
			continue
		}
		input := inputs[info.Offset]
		if !input.letter || string(letter.Value) != string(input.record.Value) || (letter.Value == nil) != (input.record.Value == nil) {
			t.Errorf("%s: letter's value is %.40q", input.name, letter.Value)
		}
	}
	if n := s.count(t, dlq); n != int64(letters) {
		t.Errorf("%d letters, want %d", n, letters)
	}
}
