package deadletter

import (
	"context"
	"fmt"
	"iter"
	"math"

	"github.com/skeji/kafka"
)

// List yields the letters that the filter means, each partition's in order. An error is the last that it yields, beside a Letter
// without a Record. Breaking off the loop ends the read.
//
//	for letter, err := range deadletter.List(ctx, client, "dlq-orders", deadletter.Filter{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(letter.Partition, letter.Offset, letter.Origin.Message)
//	}
func List(ctx context.Context, client *kafka.Client, topic string, filter Filter) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		r, partitions, err := openAll(ctx, client, topic, filter, false)
		if err != nil {
			yield(Letter{}, err)
			return
		}
		for _, s := range partitions {
			_, goOn, err := r.letters(ctx, s, filter, func(letter Letter, mark bool) bool {
				return mark || !filter.means(letter) || yield(letter, nil)
			})
			if err != nil {
				yield(Letter{}, err)
			}
			if err != nil || !goOn {
				return
			}
		}
	}
}

// Peeked is a letter with its value decoded.
type Peeked[T any] struct {
	Letter
	// Message has the record's own topic, partition and offset, as far as the letter says. Its Value is zero with a DecodeErr.
	Message kafka.Message[T]
	// DecodeErr is why the value can't be decoded, which may be why it is a letter. Its bytes are in the Letter. It is [ErrPointer] where
	// there is nothing to decode.
	DecodeErr error
}

// Peek is [List] with the values decoded. For letters whose type is not known, [kafka.Bytes] leaves them as they are.
func Peek[T any](ctx context.Context, client *kafka.Client, topic string, codec kafka.Codec[T], filter Filter) iter.Seq2[Peeked[T], error] {
	return func(yield func(Peeked[T], error) bool) {
		for letter, err := range List(ctx, client, topic, filter) {
			peeked := Peeked[T]{Letter: letter}
			switch {
			case err != nil:
			case letter.Pointer: // and no tombstone
				peeked.DecodeErr = fmt.Errorf("%s-%d offset %d: %w", letter.Topic, letter.Partition, letter.Offset, ErrPointer)
			default:
				peeked.Message, peeked.DecodeErr = decode(ctx, codec, letter)
			}
			if !yield(peeked, err) {
				return
			}
		}
	}
}

// decode goes the way of a consumer's records, whose errors are the same and don't repeat the value.
func decode[T any](ctx context.Context, codec kafka.Codec[T], letter Letter) (kafka.Message[T], error) {
	r := *letter.Record
	r.Topic, r.Partition, r.Offset = letter.Origin.Topic, letter.Origin.Partition, letter.Origin.Offset
	r.Timestamp = letter.Origin.Timestamp
	msg := kafka.Message[T]{
		Key: string(r.Key), Headers: r.Headers, Timestamp: r.Timestamp, Tombstone: r.Value == nil,
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
	}
	cfg := kafka.ConsumerConfig{HandleTombstones: true, MaxHeaders: math.MaxInt32, MaxHeaderBytes: math.MaxInt32}
	handle := kafka.NewHandlerFunc(cfg, codec, func(_ context.Context, decoded kafka.Message[T]) error {
		msg = decoded
		return nil
	})
	err := handle(ctx, &kafka.Record{Record: &r})
	return msg, err
}
