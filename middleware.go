package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Record is a message before decoding or after encoding, as middleware sees it, with what the consumer knows of it. When
// consuming, each attempt has its own: middleware may replace key, value and headers, to decrypt them for example, and what
// it does goes to the handler and nowhere else. Don't write into their bytes.
type Record struct {
	*kgo.Record
	Group       string // the consumer group; "" when publishing
	Attempt     int    // 1 for the first call of the handler with this record; 0 when publishing
	LastAttempt bool   // no retry is left; see [Message]

	refused error      // why no handler gets it; if its headers were above the limits, those are left out that a letter leaves out
	room    *any       // where the next value is decoded, a pointer to a T, if nobody else can be at it; nil otherwise
	batch   *batchCall // which it is of; nil outside of batches
}

// HandlerFunc handles one record. It is what every typed handler becomes, decoding included.
type HandlerFunc func(ctx context.Context, r *Record) error

// ConsumerMiddleware wraps the handling of each attempt at a record, whatever its type. It sees records that can't be
// decoded, too: next returns their [DecodeError]; and those above the limits of headers, with the headers that a dead letter
// keeps: next returns [ErrHeaderLimit]. What it returns decides what becomes of the record.
type ConsumerMiddleware func(next HandlerFunc) HandlerFunc

// BatchFunc handles the records of a batch together. It is what every [BatchHandler] becomes. Its error says of them what the
// handler's does; [BatchOutcomes] takes it apart.
type BatchFunc func(ctx context.Context, records []*Record) error

// BatchMiddleware wraps each call of a [BatchHandler], whatever its type: it is called once for a batch, and what it returns decides
// what becomes of the records. Their values are decoded before: it may read the records, and must give next all of them as they
// are, or not call it. What changes values belongs into the codec, what leaves messages out into the handler. It does not see
// records that can't be decoded or are above the limits of headers, which are no part of a batch.
//
// Each record's Context is what [ConsumerHooks].RecordBegun returned for it; ctx is the batch's.
type BatchMiddleware func(next BatchFunc) BatchFunc

// PublishFunc sends one record and calls done exactly once with the outcome, from any goroutine. done must not block.
type PublishFunc func(ctx context.Context, r *Record, done func(error))

// ProducerMiddleware wraps the sending of each message, whichever Publish method sent it.
type ProducerMiddleware func(next PublishFunc) PublishFunc

// chain wraps inner so that the first middleware is the outermost.
func chain[F any, M ~func(F) F](inner F, middleware []M) F {
	for _, wrap := range slices.Backward(middleware) {
		inner = wrap(inner)
	}
	return inner
}
