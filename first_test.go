package kafka_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Wherever a message has been since, its first place and time stay the same. Headers that were written for another topic
// say nothing of it.
func TestAMessageKnowsItsFirstPlace(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		at := time.Now().Add(-time.Hour).UTC()
		b.put(&kgo.Record{Topic: "orders", Value: []byte(`{"n":0}`), Timestamp: at})
		b.put(&kgo.Record{Topic: "orders", Value: []byte(`{"n":1}`), Timestamp: at, Headers: sentBack("refunds", "orders", "group")})
		var mu sync.Mutex
		var topics []string
		cfg := b.putOff()
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			mu.Lock()
			defer mu.Unlock()
			first := msg.First()
			first.Timestamp = first.Timestamp.UTC()
			if want := (kafka.Place{Topic: "orders", Offset: int64(msg.Value.N), Timestamp: at}); first != want {
				t.Errorf("%s-%d offset %d was first %+v, want %+v", msg.Topic, msg.Partition, msg.Offset, first, want)
			}
			topics = append(topics, msg.Topic)
			return errAway
		})
		time.Sleep(30 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if topics = slices.Compact(topics); len(topics) != 3 {
			t.Errorf("handled in %v, want its topic and both retry topics", topics)
		}
	})
}

// Kafka tells an empty key from none, and so it stays when a message is passed on.
func TestAnEmptyKeyIsAKey(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.put(&kgo.Record{Topic: "orders", Key: []byte{}, Value: []byte(`{"n":1}`)})
		b.put(&kgo.Record{Topic: "orders", Value: []byte(`{"n":2}`)})
		b.put(&kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(`{"n":3}`)})
		b.createTopic("copies")
		cfg := b.producer()
		cfg.Topic = "copies"
		producer := b.newProducer(cfg)
		_, stop := b.start(b.consumer(), func(ctx context.Context, msg kafka.Message[numbered]) error {
			return producer.Publish(ctx, msg)
		})
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, r := range b.read("copies", 3) {
			want := map[string]string{`{"n":1}`: "empty", `{"n":2}`: "none", `{"n":3}`: "k"}[string(r.Value)]
			got := string(r.Key)
			switch {
			case r.Key == nil:
				got = "none"
			case got == "":
				got = "empty"
			}
			if got != want {
				t.Errorf("the key of %s is %s, want %s", r.Value, got, want)
			}
		}
	})
}
