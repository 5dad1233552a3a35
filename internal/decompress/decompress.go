// Package decompress bounds the memory that fetched batches take, before it is taken.
//
// A few KB on the wire can become GB in memory, in two ways: bytes that compress well, and records and headers without
// content, of which each takes two bytes or seven when decompressed, and 40 or 200 in memory. franz-go decompresses and
// decodes all batches of a fetch, before anybody sees the first record.
//
// There is no limit of the ratio: what a batch may take is bounded in bytes, whatever it was compressed from, and
// repetitive records of honest publishers reach any ratio that a limit could allow.
package decompress

import (
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a decoded record and a header take, beside their bytes. A test holds them to franz-go's types.
const (
	recordMemory = 208 // a kgo.Record and the pointer to it
	headerMemory = 40  // a kgo.RecordHeader
)

// maxDecode is how long franz-go may take from a batch's decompression to its hook. What takes longer had no hook: the
// batch could not be read.
const maxDecode = 10 * time.Second

// Decompressor decompresses a client's batches, within limits. Give it to the client with Options, which also counts
// what is fetched.
type Decompressor struct {
	codecs func() kgo.Decompressor // franz-go's, bounded at maxBatch
	// maxBatch is the most bytes that a batch may have when it is decompressed, and the most memory that its records
	// and headers may take on top. A batch above it stops its partition, with kgo.ErrDecompressTooLarge.
	maxBatch int64
	// maxFetched is how much may be decoded and not polled, over all brokers, for another batch to be decompressed.
	// With more, it is fetched again.
	maxFetched int64

	mu      sync.Mutex
	fetched map[int32]response // by broker
	latest  int64              // memory of the batch that was decompressed last
	decoded []batch            // those whose broker's hook is still to come
}

// response is what a broker's latest response came to.
type response struct {
	memory int64
	at     time.Time // of its latest batch
}

// maxWait is how long a response counts. Its broker may never be asked again, having lost its partitions to others.
const maxWait = 10 * time.Second

// batch is one that is decompressed and that franz-go decodes now.
type batch struct {
	bytes  int   // decompressed
	memory int64 // with its records and headers
	at     time.Time
}

// New returns a decompressor with these limits; see [Decompressor].
func New(maxBatch, maxFetched int64) *Decompressor {
	return &Decompressor{
		codecs: sync.OnceValue(func() kgo.Decompressor { return bounded(maxBatch) }), maxBatch: maxBatch, maxFetched: maxFetched,
		fetched: map[int32]response{},
	}
}

// bounded returns franz-go's own decompressor with a limit, which it makes for clients alone. This client connects to
// nothing.
func bounded(limit int64) kgo.Decompressor {
	client, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(int(limit)))
	if err != nil {
		panic(fmt.Sprintf("kafka: a decompressor of %d bytes: %v", limit, err)) // limits are validated before
	}
	defer client.Close()
	return client.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
}

// Options has a client use it.
func (d *Decompressor) Options() []kgo.Opt {
	return []kgo.Opt{kgo.WithDecompressor(d), kgo.WithHooks(d)}
}

// OneResponse returns a decompressor with the same limits for a single fetch response, for those who fetch by
// themselves.
func (d *Decompressor) OneResponse() *Decompressor {
	return &Decompressor{codecs: d.codecs, maxBatch: d.maxBatch, maxFetched: d.maxFetched, fetched: map[int32]response{}}
}

// notNow is a batch that is not decompressed while others wait to be polled. franz-go returns what the partition has
// before it, or fetches the partition again by itself, which it does for errors that pass by themselves; and for this
// one without an urgent request for metadata.
type notNow struct{}

func (notNow) Error() string { return "batches that were fetched before wait to be polled" }
func (notNow) Unwrap() error { return kerr.UnknownTopicOrPartition }

// Decompress implements [kgo.Decompressor].
func (d *Decompressor) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if codec == kgo.CodecNone {
		return src, nil
	}
	if d.full() {
		return nil, notNow{}
	}
	raw, err := d.codecs().Decompress(src, codec)
	if err != nil {
		return nil, err
	}
	overhead := decodedOverhead(raw)
	if overhead > d.maxBatch {
		return nil, fmt.Errorf("%w: its records and headers would take %d bytes on top", kgo.ErrMaxDecompress, overhead)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latest = int64(len(raw)) + overhead
	d.decoded = append(d.decoded, batch{len(raw), d.latest, time.Now()})
	return raw, nil
}

// full tells whether another batch may be too much, if it is like the one before it. A batch alone never is.
func (d *Decompressor) full() bool {
	waiting := d.inMemory()
	d.mu.Lock()
	defer d.mu.Unlock()
	return waiting > 0 && waiting+d.latest > d.maxFetched
}

// inMemory is what is decoded and may not be polled yet.
func (d *Decompressor) inMemory() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for broker, r := range d.fetched {
		if time.Since(r.at) > maxWait {
			delete(d.fetched, broker)
			continue
		}
		n += r.memory
	}
	recent := d.decoded[:0]
	for _, b := range d.decoded {
		if time.Since(b.at) < maxDecode {
			recent = append(recent, b)
			n += b.memory
		}
	}
	d.decoded = recent
	return n
}

// OnBrokerRead implements [kgo.HookBrokerRead]. A broker is asked for more when what it has sent before is polled.
func (d *Decompressor) OnBrokerRead(broker kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key != int16(kmsg.Fetch) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.fetched, broker.NodeID)
}

// OnFetchBatchRead implements [kgo.HookFetchBatchRead]: a batch is decoded. What came uncompressed counts, too, as far
// as is known.
func (d *Decompressor) OnFetchBatchRead(broker kgo.BrokerMetadata, _ string, _ int32, read kgo.FetchBatchMetrics) {
	d.mu.Lock()
	defer d.mu.Unlock()
	memory := int64(read.UncompressedBytes) + int64(read.NumRecords)*recordMemory
	if read.CompressionType != 0 {
		memory = 0 // it was refused, unless it is found
		for i, b := range d.decoded {
			if b.bytes == read.UncompressedBytes {
				memory = b.memory
				d.decoded = append(d.decoded[:i], d.decoded[i+1:]...)
				break
			}
		}
	}
	d.fetched[broker.NodeID] = response{d.fetched[broker.NodeID].memory + memory, time.Now()}
}

// decodedOverhead is what the records of a batch and their headers take in memory beside their bytes. It reads them as
// franz-go does, and allocates nothing. What can't be read, franz-go does not decode either.
func decodedOverhead(raw []byte) (n int64) {
	for len(raw) > 0 {
		length, used := kbin.Varint(raw)
		if used <= 0 || length < 0 || int64(length) > int64(len(raw)-used) {
			break
		}
		record := kbin.Reader{Src: raw[used : used+int(length)]}
		record.Int8() // attributes
		record.Varlong()
		record.Varint()
		record.VarintBytes() // key
		record.VarintBytes() // value
		n += recordMemory
		if headers := record.VarintArrayLen(); headers > 0 {
			n += int64(headers) * headerMemory
		}
		raw = raw[used+int(length):]
	}
	return n
}
