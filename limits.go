package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// ErrHeaderLimit is a record whose headers are above ConsumerConfig's MaxHeaders or MaxHeaderBytes. It is permanent.
var ErrHeaderLimit = errors.New("kafka: headers above the limit")

// headerLimits bound a record's headers, where the brokers bound only the whole batch.
type headerLimits struct{ count, bytes int }

func (c ConsumerConfig) headerLimits() headerLimits {
	c = c.withDefaults()
	return headerLimits{c.MaxHeaders, c.MaxHeaderBytes}
}

func headerBytes(headers []kgo.RecordHeader) (n int) {
	for _, h := range headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// keep keeps a record above the limits from next, and so from the handler and its codec.
func (l headerLimits) keep(next HandlerFunc) HandlerFunc {
	return func(ctx context.Context, r *Record) error {
		if err := l.refusal(r); err != nil {
			return err
		}
		return next(ctx, r)
	}
}

// refusal returns why a record is kept from the handler.
func (l headerLimits) refusal(r *Record) error {
	if err := cmp.Or(r.refused, l.check(r.Headers)); err != nil {
		return NewPermanentError(fmt.Sprintf("%s-%d offset %d", r.Topic, r.Partition, r.Offset), err)
	}
	return nil
}

func (l headerLimits) check(headers []kgo.RecordHeader) error {
	if n := len(headers); n > l.count {
		return fmt.Errorf("%w: %d headers, %d are allowed: raise MaxHeaders (KAFKA_CONSUMER_MAX_HEADERS) if they are meant to be", ErrHeaderLimit, n, l.count)
	}
	if n := headerBytes(headers); n > l.bytes {
		return fmt.Errorf("%w: %d bytes of headers, %d are allowed: raise MaxHeaderBytes (KAFKA_CONSUMER_MAX_HEADER_BYTES) if they are meant to be", ErrHeaderLimit, n, l.bytes)
	}
	return nil
}

// What a letter adds: newDeadLetter's headers, and what tracing may add to them.
const (
	letterHeaderCount = 20
	letterHeaderBytes = 4 << 10 // 1 KiB of error text, names of 249 bytes
)

// cut returns a record whose letter stays within the limits, and how many headers it lost. Who reads the letters has the same
// limits, likely: a letter above them would be a letter's letter. Headers that mean something here are kept before others,
// then those that come first. Key and value are what they were.
func (l headerLimits) cut(r *kgo.Record) (*kgo.Record, int) {
	if l.check(r.Headers) == nil {
		return r, 0
	}
	count, bytes := l.count-letterHeaderCount, l.bytes-letterHeaderBytes
	keep := make([]bool, len(r.Headers))
	for _, ours := range []bool{true, false} {
		for i, h := range r.Headers {
			if size := len(h.Key) + len(h.Value); known(h.Key) == ours && count > 0 && size <= bytes {
				keep[i] = true
				count, bytes = count-1, bytes-size
			}
		}
	}
	short := *r
	short.Headers = nil
	for i, h := range r.Headers {
		if keep[i] {
			short.Headers = append(short.Headers, h)
		}
	}
	return &short, len(r.Headers) - len(short.Headers)
}

// decompressError says of a batch that is too large what franz-go can't know: our setting, and the way out.
func (c *consumer) decompressError(err error) error {
	batch, _ := errors.AsType[*kgo.ErrDecompressTooLarge](err)
	return fmt.Errorf("offset %d: the batch takes more than MaxDecompressedBatchBytes, %d, when it is decompressed,"+
		" or its records and headers do: raise it (KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES), or skip the batch by setting the offset of group %s to %d while no member runs; then start again: %w",
		batch.Offset, c.cfg.MaxDecompressedBatchBytes, c.cfg.Group, batch.NextOffset, kgo.ErrMaxDecompress)
}

// decompressedVariable is MaxDecompressedBatchBytes'.
const decompressedVariable = "KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES"

// tooLargeToRead is decompressError for those who read a topic of ours. wayOut comes before the offset after the batch.
func tooLargeToRead(err error, limit int64, wayOut string) error {
	batch, _ := errors.AsType[*kgo.ErrDecompressTooLarge](err)
	return fmt.Errorf("offset %d: the batch takes more than %d bytes when it is decompressed, or its records and headers do: %s %d: %w",
		batch.Offset, limit, wayOut, batch.NextOffset, kgo.ErrMaxDecompress)
}

// readError says of a response that is too large what franz-go can't know: our setting.
func (c *consumer) readError(err error) error {
	if !strings.Contains(err.Error(), "BrokerMaxReadBytes") { // its error has no name
		return err
	}
	return fmt.Errorf("a batch is larger than %d bytes, as it is stored: raise MaxDecompressedBatchBytes to what it has"+
		" (KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES); Health names its partition within two minutes: %w", maxReadBytes(c.cfg), err)
}

func known(header string) bool {
	return strings.HasPrefix(header, dlqheader.Prefix) || slices.Contains([]string{
		HeaderMessageID, HeaderCorrelationID, HeaderConversationID, HeaderEventType, HeaderSource, HeaderContentType, "traceparent", "tracestate",
		HeaderReplyTopic, HeaderReplyPartition, HeaderRequesterID, HeaderReplyToken, HeaderDeadline,
	}, header)
}
