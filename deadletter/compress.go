package deadletter

import (
	"bytes"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxLetterBytes bounds a record before compression: one that its topic took compressed may be many times the topic's
// limit.
const maxLetterBytes = 64 << 20

// compressor is the client's own, but where a record would not fit its topic then: another codec may make it fit, as
// one did when it was published first.
type compressor struct {
	usual  kgo.Compressor // nil: none
	others []kgo.Compressor
	limit  atomic.Int64 // of what is compressed next; 0: whatever the usual one makes of it
}

func newCompressor(client *kgo.Client) (*compressor, error) {
	usual, _ := client.OptValue(kgo.WithCompressor).(kgo.Compressor)
	c := &compressor{usual: usual}
	// zstd last: some clients are built without it.
	for _, codec := range []kgo.CompressionCodec{kgo.Lz4Compression(), kgo.GzipCompression(), kgo.ZstdCompression()} {
		other, err := kgo.DefaultCompressor(codec)
		if err != nil {
			return nil, fmt.Errorf("deadletter: compression: %w", err)
		}
		c.others = append(c.others, other)
	}
	return c, nil
}

// Compress returns nil for what is to be sent as it is.
func (c *compressor) Compress(dst *bytes.Buffer, src []byte, flags ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	best, codec, _ := c.compress(dst, src, int(c.limit.Load()), flags...)
	return best, codec
}

// compress tries codecs until one makes it fit, and returns how long the shortest is.
func (c *compressor) compress(dst *bytes.Buffer, src []byte, limit int, flags ...kgo.CompressFlag) (
	best []byte, codec kgo.CompressionCodecType, size int,
) {
	size = len(src)
	if c.usual != nil {
		if best, codec = c.usual.Compress(dst, src, flags...); best != nil {
			size = min(size, len(best))
		}
	}
	if limit == 0 {
		return best, codec, size
	}
	for _, other := range c.others {
		if size <= limit {
			break
		}
		// Old brokers don't know zstd, and get nil.
		if tried, with := other.Compress(&bytes.Buffer{}, src, flags...); tried != nil && len(tried) < size {
			best, codec, size = tried, with, len(tried)
		}
	}
	return best, codec, size
}

// mayFit tells whether a batch of this record alone may be as small as that. The brokers decide.
func (c *compressor) mayFit(r *kgo.Record, limit int) bool {
	size := batchBytes(r)
	if size <= limit || size > maxLetterBytes {
		return size <= limit
	}
	content := make([]byte, 0, size)
	content = append(append(content, r.Key...), r.Value...)
	for _, h := range r.Headers {
		content = append(append(content, h.Key...), h.Value...)
	}
	_, _, size = c.compress(&bytes.Buffer{}, content, limit-batchOverhead)
	return size <= limit-batchOverhead
}
