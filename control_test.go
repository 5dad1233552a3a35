package kafka_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
)

// put stores a record as it is.
func (b *bubble) put(r *kgo.Record) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(b.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(b.t.Context(), r).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// read returns the first n records of a topic.
func (b *bubble) read(topic string, n int) (records []*kgo.Record) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(b.network.DialContext), kgo.ConsumeTopics(topic))
	if err != nil {
		b.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for len(records) < n && ctx.Err() == nil {
		records = append(records, client.PollFetches(ctx).Records()...)
	}
	if len(records) != n {
		b.t.Fatalf("%d records in %s, want %d", len(records), topic, n)
	}
	return records
}

// sentBack are the headers of a record that was sent back to a topic for a group.
func sentBack(writtenTo, place, group string) []kgo.RecordHeader {
	return []kgo.RecordHeader{
		{Key: dlqheader.Topic, Value: []byte(place)}, {Key: dlqheader.Partition, Value: []byte("1")}, {Key: dlqheader.Offset, Value: []byte("7")},
		{Key: dlqheader.Timestamp, Value: []byte("2020-01-01T00:00:00Z")}, {Key: dlqheader.RedriveCount, Value: []byte("3")},
		{Key: dlqheader.Message, Value: []byte("of another team")},
		{Key: dlqheader.RedriveGroup, Value: []byte(group)}, {Key: dlqheader.WrittenTo, Value: []byte(writtenTo)},
	}
}

// A record's control headers have it skipped, and its dead letter attributed to another place, only if they were
// written for the topic that it is in, and name this topic.
func TestControlHeadersCountOnlyWhereTheyWereWritten(t *testing.T) {
	t.Parallel()
	mark := func(writtenTo string) []kgo.RecordHeader {
		return []kgo.RecordHeader{{Key: dlqheader.Redriven, Value: []byte("0-9")}, {Key: dlqheader.WrittenTo, Value: []byte(writtenTo)}}
	}
	unbound := slices.DeleteFunc(sentBack("", "orders", "others"), func(h kgo.RecordHeader) bool { return h.Key == dlqheader.WrittenTo })
	for _, c := range []struct {
		name    string
		headers []kgo.RecordHeader
		mark    bool // the record has no value
		nothing bool // SkipNothing
		skipped kafka.SkipReason
		first   bool // the letter names the first place
	}{
		{name: "sent back to this topic, for another group", headers: sentBack("orders", "orders", "others"), skipped: kafka.SkippedOtherGroup},
		{name: "and nothing is skipped", headers: sentBack("orders", "orders", "others"), nothing: true, first: true},
		{name: "sent back to this topic, for this group", headers: sentBack("orders", "orders", "group"), first: true},
		{name: "copied from another topic", headers: sentBack("payments", "payments", "others")},
		{name: "copied from another topic, with a place in this one", headers: sentBack("payments", "orders", "others")},
		{name: "a place in another topic", headers: sentBack("orders", "payments", "group")},
		{name: "written for no topic", headers: unbound},
		{name: "a mark", headers: mark("orders"), mark: true, skipped: kafka.SkippedMark},
		{name: "a mark of another topic", headers: mark("payments"), mark: true},
		{name: "a mark, and nothing is skipped", headers: mark("orders"), mark: true, nothing: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				r := &kgo.Record{Topic: "orders", Partition: 0, Key: []byte("k"), Value: []byte(`{"n":1}`), Headers: c.headers}
				if c.mark {
					r.Value = nil
				}
				b.put(r)
				cfg := b.consumer()
				cfg.SkipNothing, cfg.HandleTombstones = c.nothing, true
				var mu sync.Mutex
				var skipped []kafka.SkipReason
				handled := 0
				_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
					mu.Lock()
					defer mu.Unlock()
					handled++
					return kafka.NewPermanentError("no", errors.New("ours"))
				}, kafka.ConsumerHooks{RecordSkipped: func(r *kgo.Record, reason kafka.SkipReason) {
					mu.Lock()
					defer mu.Unlock()
					if r.Topic != "orders" || r.Offset != 0 {
						t.Errorf("skipped %s-%d offset %d", r.Topic, r.Partition, r.Offset)
					}
					skipped = append(skipped, reason)
				}})
				time.Sleep(30 * time.Second)
				if err := stop(); err != nil {
					t.Error(err)
				}
				if b.committed(0) != 1 {
					t.Errorf("committed %d, want 1", b.committed(0))
				}
				logged := strings.Contains(b.log.String(), `level=INFO msg="record skipped" topic=orders partition=0 offset=0 group=group reason=`+string(c.skipped))
				if c.skipped != "" {
					if handled > 0 || b.letters() > 0 || !slices.Equal(skipped, []kafka.SkipReason{c.skipped}) || !logged {
						t.Errorf("handled %d times, %d letters, skipped %v, logged %t; want it skipped as %s", handled, b.letters(), skipped, logged, c.skipped)
					}
					return
				}
				if handled != 1 || len(skipped) > 0 {
					t.Errorf("handled %d times, skipped %v", handled, skipped)
				}
				letter, ok := kafka.Message[numbered]{Headers: b.read("dlq-orders", 1)[0].Headers}.DeadLetter()
				want := kafka.DeadLetter{Topic: "orders", Partition: 0, Offset: 0}
				if c.first {
					want = kafka.DeadLetter{Topic: "orders", Partition: 1, Offset: 7, Redrives: 3}
				}
				if !ok || letter.Topic != want.Topic || letter.Partition != want.Partition || letter.Offset != want.Offset || letter.Redrives != want.Redrives ||
					!strings.Contains(letter.Message, "ours") || (letter.Timestamp.Year() == 2020) != c.first {
					t.Errorf("letter %+v, want the place of %+v", letter, want)
				}
			})
		})
	}
}

// A handler that publishes the headers of its message, or the message itself, copies no control header, by any way of
// publishing.
func TestPublishingCopiesNoControlHeaders(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer, err := kafka.NewProducer[numbered](b.producer())
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		msg := kafka.Message[numbered]{Key: "k", Headers: append(sentBack("orders", "orders", "others"), kafka.Headers(
			kafka.HeaderReplyTopic, "replies", kafka.HeaderReplyPartition, "1", kafka.HeaderRequesterID, "r", kafka.HeaderDeadline, "2020-01-01T00:00:00Z",
			kafka.HeaderReplyErrorClass, "permanent", kafka.HeaderReplyErrorMessage, "no",
			kafka.HeaderReplyToken, "t", kafka.HeaderRequestPlace, "orders/0/0", kafka.HeaderCorrelationID, "kept", "own", "kept")...)}
		before := len(msg.Headers)
		if err := producer.Publish(t.Context(), msg); err != nil {
			t.Error(err)
		}
		if err := producer.PublishBatch(t.Context(), msg, msg); err != nil {
			t.Error(err)
		}
		producer.PublishAsync(t.Context(), msg, nil)
		if err := producer.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if len(msg.Headers) != before {
			t.Errorf("the caller's message has %d headers, from %d", len(msg.Headers), before)
		}
		for _, r := range b.read("orders", 4) {
			kept := 0
			for _, h := range r.Headers {
				if string(h.Value) == "kept" {
					kept++
				} else if h.Key != kafka.HeaderMessageID && h.Key != kafka.HeaderContentType {
					t.Errorf("header %s is published", h.Key)
				}
			}
			if kept != 2 {
				t.Errorf("%d headers of the message's own, want 2", kept)
			}
		}
	}, kfake.SeedTopics(2, "orders", "dlq-orders"))
}
