package kafkatest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/recordheader"
)

// Publish publishes messages, in their order, and returns once all are stored. It waits for a topic that does not exist yet: what
// runs may be about to make it. Headers about dead letters and requests are published as they are; a Producer leaves them out.
func Publish[T any](t testing.TB, b *Broker, topic string, msgs ...kafka.Message[T]) {
	t.Helper()
	PublishWithCodec(t, b, topic, codecOf[T](), msgs...)
}

// PublishWithCodec is [Publish] with another codec.
func PublishWithCodec[T any](t testing.TB, b *Broker, topic string, codec kafka.Codec[T], msgs ...kafka.Message[T]) {
	t.Helper()
	ctx, cancel := b.within(t)
	defer cancel()
	b.awaitTopic(t, ctx, topic)
	cfg := b.ProducerConfig(topic)
	cfg.Client = b.client
	producer, err := kafka.NewProducerWithCodec(cfg, codec)
	if err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	defer producer.Close()
	published := 0
	producer.Use(kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc { // it is called in the order of msgs
		return func(ctx context.Context, r *kafka.Record, done func(error)) {
			r.Headers = append(r.Headers, controlHeaders(msgs[published].Headers)...)
			published++
			next(ctx, r, done)
		}
	}))
	if err := producer.PublishBatch(ctx, msgs...); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
}

// controlHeaders returns the headers about dead letters and requests, which producers leave out. Tests publish dead
// letters with them, and requests.
func controlHeaders(headers []kgo.RecordHeader) []kgo.RecordHeader {
	own := func(h kgo.RecordHeader) bool { return !recordheader.IsControl(h.Key) }
	return slices.DeleteFunc(slices.Clone(headers), own)
}

// codecOf is JSON, but for bytes, of which it would make base64 text.
func codecOf[T any]() kafka.Codec[T] {
	if raw, ok := kafka.Bytes().(kafka.Codec[T]); ok {
		return raw
	}
	return kafka.JSON[T]()
}

// awaitTopic returns when the topic is there and its partitions have leaders.
func (b *Broker) awaitTopic(t testing.TB, ctx context.Context, topic string) {
	t.Helper()
	why := context.DeadlineExceeded // the latest answer, and not that there was no time for another one
	for {
		err := b.lookUp(ctx, topic)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			why = err
		}
		if !b.pause(ctx) {
			t.Fatalf("kafkatest: topic %s can't be had: %v", topic, why)
		}
	}
}

func (b *Broker) lookUp(ctx context.Context, topic string) error {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: new(topic)}}
	response, err := request.RequestWith(ctx, b.client.KGO())
	if err != nil {
		return err
	}
	for _, found := range response.Topics {
		if err := kerr.ErrorForCode(found.ErrorCode); errors.Is(err, kerr.UnknownTopicOrPartition) {
			return kafka.ErrTopicMissing
		} else if err != nil {
			return err
		}
		for _, partition := range found.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// pause waits between two requests for what no broker reports by itself. It returns false once ctx has ended. It waits
// longer in a bubble, where a wait costs no time and a request does.
func (b *Broker) pause(ctx context.Context) bool {
	between := 20 * time.Millisecond
	if b.inBubble {
		between = 200 * time.Millisecond
	}
	select {
	case <-time.After(between):
		return true
	case <-ctx.Done():
		return false
	}
}
