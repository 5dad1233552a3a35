package deadletter

import (
	"context"
	"errors"
	"iter"

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
	return func(yield func(Letter, error) bool) { yield(Letter{}, errors.New("not built")) }
}

// Peeked is a letter with its value decoded.
type Peeked[T any] struct {
	Letter
	Message   kafka.Message[T] // with the record's own topic, partition and offset, as far as the letter says; Value is zero with a DecodeErr
	DecodeErr error            // why the value can't be decoded, which may be why it is a letter; its bytes are in the Letter
}

// Peek is [List] with the values decoded. For letters whose type is not known, [kafka.Bytes] leaves them as they are.
func Peek[T any](ctx context.Context, client *kafka.Client, topic string, codec kafka.Codec[T], filter Filter) iter.Seq2[Peeked[T], error] {
	return func(yield func(Peeked[T], error) bool) { yield(Peeked[T]{}, errors.New("not built")) }
}
