package kafka

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// This file is about dead letters that their topic does not take.

// Oversize is what becomes of a record that is to be a dead letter, and that the dead letter topic does not take: see
// ConsumerConfig.Oversize.
type Oversize string

const (
	OversizeStop Oversize = "stop" // its partition waits until the topic takes it
	OversizeStub Oversize = "stub" // its letter is stored without its value
)

// stubHeaders bound what a stub keeps of its record's headers: its ids, and some more.
var stubHeaders = headerLimits{count: 100, bytes: 16 << 10}

// isUnfit tells the refusal of a letter for what it is: it will be refused again, unless the topic's settings change.
func isUnfit(err error) bool {
	for _, unfit := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.UnsupportedCompressionType} {
		if errors.Is(err, unfit) {
			return true
		}
	}
	return false
}

// stub returns a record and a letter that say which value it has, instead of having it.
func stub(r *kgo.Record, letter DeadLetter) (*kgo.Record, DeadLetter) {
	sum := sha256.Sum256(r.Value)
	letter.ValueBytes, letter.ValueSHA256 = int64(len(r.Value)), hex.EncodeToString(sum[:])
	short, left := stubHeaders.cut(r)
	without := *short
	without.Value = nil
	letter.HeadersCut += left
	return &without, letter
}

// addStub adds what a stub's letter has instead of its value.
func (d DeadLetter) addStub(add func(name, value string)) {
	if d.ValueSHA256 != "" {
		add(dlqheader.ValueBytes, strconv.FormatInt(d.ValueBytes, 10))
		add(dlqheader.ValueSHA256, d.ValueSHA256)
	}
}

// unfitError says why a letter can't be stored, and the ways out.
func unfitError(err error) error {
	return fmt.Errorf("%w; raise the topic's max.message.bytes, or set Oversize to %q (KAFKA_CONSUMER_OVERSIZE), which stores the letter"+
		" without its value", err, OversizeStub)
}

// logStub says that a value is not stored.
func (p *partition) logStub(t *task, dlq *sink, err error) {
	p.logSparsely(slog.LevelError, "dead letter is stored without its value, which its topic does not take; the record is where the letter says, until it is deleted there",
		t.record, slog.String("dlq_topic", dlq.name), slog.Int("value_bytes", len(t.record.Value)), slog.Any("error", err))
}

// withKey returns a letter whose record has no key with one that is unlike any other's: in a compacted topic, letters of
// one key would replace each other.
func withKey(r *kgo.Record) *kgo.Record {
	keyed := *r
	id, _ := uuid.NewV7()
	keyed.Key = []byte(id.String())
	keyed.Headers = append(slices.Clone(r.Headers), kgo.RecordHeader{Key: dlqheader.KeyAbsent, Value: []byte("true")})
	return &keyed
}

// pauseAfter is how long to wait before a letter that was refused is sent again.
func (p *partition) pauseAfter(err error, attempt int) time.Duration {
	if isUnfit(err) { // it may have many MB
		return min(unreadPause<<min(attempt-1, 10), maxUnreadPause)
	}
	return backoff(attempt, p.c.cfg.RetryBackoff, p.c.cfg.RetryBackoffMax)
}

// letterMaxBytes bounds a dead letter before compression. What can be fetched can be a letter, with headers of its own.
func letterMaxBytes(cfg ConsumerConfig) int32 {
	return int32(min(max(deadLetterMaxBytes, cfg.MaxDecompressedBatchBytes), maxWriteBytes-2*letterOverhead) + letterOverhead)
}

// maxWriteBytes is the most that franz-go sends in a request.
const maxWriteBytes = 1 << 30

// letterOptions has a client send large letters.
func letterOptions(cfg ConsumerConfig, compressor *letterCompressor) []kgo.Opt {
	return []kgo.Opt{kgo.WithCompressor(compressor), kgo.BrokerMaxWriteBytes(max(100<<20, letterMaxBytes(cfg)+letterOverhead))} // kgo's default is 100 MiB
}

// letterOverhead is what a letter's batch has beside its record's bytes, and a request beside the batch, and more.
const letterOverhead = 1 << 20

// letterCompressor compresses harder what would be too large for its topic: a record that came compressed can be many
// times larger than the topic takes, and ClientConfig.Compression may compress less than its producer did, or not at
// all.
type letterCompressor struct {
	base, best kgo.Compressor // base: nil for none
	limit      atomic.Int32   // the least that a topic of letters takes; 0: not known
}

func newLetterCompressor() *letterCompressor {
	best, err := kgo.DefaultCompressor(kgo.ZstdCompression().WithLevel(19), kgo.GzipCompression().WithLevel(9))
	if err != nil {
		panic(fmt.Sprintf("kafka: a compressor: %v", err)) // its arguments are constant
	}
	return &letterCompressor{best: best}
}

// compressAs has the compressor begin as the client would without it.
func (c *letterCompressor) compressAs(client *kgo.Client) {
	codecs, _ := client.OptValue(kgo.ProducerBatchCompression).([]kgo.CompressionCodec)
	c.base, _ = kgo.DefaultCompressor(codecs...) // the client has checked them
}

// learn notes what a topic of letters takes.
func (c *letterCompressor) learn(limit int32) {
	if known := c.limit.Load(); limit > 0 && (known == 0 || limit < known) {
		c.limit.Store(limit)
	}
}

// Compress implements [kgo.Compressor].
func (c *letterCompressor) Compress(dst *bytes.Buffer, src []byte, flags ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	out, codec := src, kgo.CodecNone
	if c.base != nil {
		out, codec = c.base.Compress(dst, src, flags...)
	}
	limit := int(c.limit.Load())
	if limit == 0 {
		limit = defaultMaxMessageBytes
	}
	if len(out)+batchOverhead <= limit {
		return out, codec
	}
	if smaller, best := c.best.Compress(new(bytes.Buffer), src, flags...); len(smaller) < len(out) {
		return smaller, best
	}
	return out, codec
}

// batchOverhead is what a batch has beside its records: 61 bytes in Kafka's format.
const batchOverhead = 61
