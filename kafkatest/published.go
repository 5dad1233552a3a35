package kafkatest

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Published returns all messages that the topic holds at the moment of the call, one partition after another; the test fails if
// one can't be decoded. A T of []byte takes the values as they are. What a transaction has not committed is left out.
func Published[T any](t testing.TB, b *Broker, topic string) []kafka.Message[T] {
	t.Helper()
	return PublishedWithCodec(t, b, topic, codecOf[T]())
}

// PublishedWithCodec is [Published] with another codec.
func PublishedWithCodec[T any](t testing.TB, b *Broker, topic string, codec kafka.Codec[T]) []kafka.Message[T] {
	t.Helper()
	ctx, cancel := b.within(t)
	defer cancel()
	r := b.mustRead(t, ctx, topic)
	defer r.close()
	r.mustReadAll(t, ctx)
	return decodeAll(t, codec, r)
}

// AwaitPublished returns all messages that the topic holds, as [Published] does, once there are n at least. Look at how many there
// are if more would be wrong. It waits for up to 30 s, less if the test binary's time ends before, and no longer once the test has
// failed: what it waits for will hardly come then.
func AwaitPublished[T any](t testing.TB, b *Broker, topic string, n int) []kafka.Message[T] {
	t.Helper()
	return AwaitPublishedWithCodec(t, b, topic, codecOf[T](), n)
}

// AwaitPublishedWithCodec is [AwaitPublished] with another codec.
func AwaitPublishedWithCodec[T any](t testing.TB, b *Broker, topic string, codec kafka.Codec[T], n int) []kafka.Message[T] {
	t.Helper()
	ctx, cancel := b.within(t)
	defer cancel()
	b.awaitTopic(t, ctx, topic)
	r := b.mustRead(t, ctx, topic)
	defer r.close()
	r.await(t, ctx, fmt.Sprintf("%d messages", n), func() bool { return len(r.records) >= n })
	r.mustReadAll(t, ctx)
	return decodeAll(t, codec, r)
}

// AwaitMessage returns the first message that match takes, as soon as there is one, and waits as [AwaitPublished] does. What can't be
// decoded does not match.
func AwaitMessage[T any](t testing.TB, b *Broker, topic string, match func(kafka.Message[T]) bool) kafka.Message[T] {
	t.Helper()
	return AwaitMessageWithCodec(t, b, topic, codecOf[T](), match)
}

// AwaitMessageWithCodec is [AwaitMessage] with another codec.
func AwaitMessageWithCodec[T any](t testing.TB, b *Broker, topic string, codec kafka.Codec[T], match func(kafka.Message[T]) bool) kafka.Message[T] {
	t.Helper()
	ctx, cancel := b.within(t)
	defer cancel()
	b.awaitTopic(t, ctx, topic)
	r := b.mustRead(t, ctx, topic)
	defer r.close()
	var found kafka.Message[T]
	seen := 0
	r.await(t, ctx, "a message that matches", func() bool {
		for ; seen < len(r.records); seen++ {
			msg, err := decode(codec, r.records[seen])
			if err != nil {
				r.undecodable[r.records[seen]] = err
			} else if match(msg) {
				found = msg
				return true
			}
		}
		return false
	})
	return found
}

func decodeAll[T any](t testing.TB, codec kafka.Codec[T], r *reader) []kafka.Message[T] {
	t.Helper()
	msgs := make([]kafka.Message[T], 0, len(r.records))
	for _, record := range r.inOrder() {
		msg, err := decode(codec, record)
		if err != nil {
			t.Fatalf("kafkatest: this is no %T: %v: %s", msg.Value, err, describe(record))
		}
		msgs = append(msgs, msg)
	}
	return msgs
}

// decode is what a consumer does, without its limits.
func decode[T any](codec kafka.Codec[T], record *kgo.Record) (msg kafka.Message[T], err error) {
	all := kafka.ConsumerConfig{HandleTombstones: true, MaxHeaders: math.MaxInt, MaxHeaderBytes: math.MaxInt}
	read := kafka.NewHandlerFunc(all, codec, func(_ context.Context, decoded kafka.Message[T]) error {
		msg = decoded
		return nil
	})
	err = read(context.Background(), &kafka.Record{Record: record})
	return msg, err
}
