package decompress

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestMemoryIsThatOfFranzGosTypes(t *testing.T) {
	if size := unsafe.Sizeof(kgo.Record{}) + unsafe.Sizeof(&kgo.Record{}); recordMemory < size {
		t.Errorf("a record takes %d bytes, counted are %d", size, recordMemory)
	}
	if size := unsafe.Sizeof(kgo.RecordHeader{}); headerMemory != size {
		t.Errorf("a header takes %d bytes, counted are %d", size, headerMemory)
	}
}

// record is one on the wire, with empty headers.
func record(value string, headers int) []byte {
	body := []byte{0}                  // attributes
	body = kbin.AppendVarlong(body, 0) // timestamp
	body = kbin.AppendVarint(body, 0)  // offset
	body = kbin.AppendVarint(body, -1) // key
	body = kbin.AppendVarint(body, int32(len(value)))
	body = append(body, value...)
	body = kbin.AppendVarint(body, int32(headers))
	body = append(body, make([]byte, 2*headers)...)
	return append(kbin.AppendVarint(nil, int32(len(body))), body...)
}

func compress(t *testing.T, raw []byte, with kgo.CompressionCodec) ([]byte, kgo.CompressionCodecType) {
	t.Helper()
	compressor, err := kgo.DefaultCompressor(with)
	if err != nil {
		t.Fatal(err)
	}
	out, codec := compressor.Compress(new(bytes.Buffer), raw)
	return bytes.Clone(out), codec
}

var codecs = map[string]kgo.CompressionCodec{
	"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func TestBatchesWithinTheLimitsAreDecompressed(t *testing.T) {
	raw := append(record("one", 0), record("two", 3)...)
	for name, with := range codecs {
		src, codec := compress(t, raw, with)
		if out, err := New(1<<20, 1<<20).Decompress(src, codec); err != nil || !bytes.Equal(out, raw) {
			t.Errorf("%s: got %q, %v", name, out, err)
		}
	}
	if out, err := New(1, 0).Decompress(raw, kgo.CodecNone); err != nil || !bytes.Equal(out, raw) {
		t.Errorf("what is not compressed is %q, %v", out, err)
	}
}

// Each of these is KB on the wire. What is refused is refused before it is decoded: little more than its bytes is
// allocated.
func TestHostileBatchesAreRefusedBeforeTheyAreDecoded(t *testing.T) {
	const limit = 8 << 20
	for what, raw := range map[string][]byte{
		"many headers":        record("{}", 2_000_000),                // 4 MB, and 80 MB of headers
		"many records":        bytes.Repeat(record("", 0), 500_000),   // 4 MB, and 100 MB of records
		"headers and records": bytes.Repeat(record("", 1000), 2_000),  // 4 MB, and 80 MB of headers
		"zeros":               record(string(make([]byte, limit)), 0), // more than may be decompressed
	} {
		for name, with := range codecs {
			src, codec := compress(t, raw, with)
			d := New(limit, limit)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			out, err := d.Decompress(src, codec)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, kgo.ErrMaxDecompress) || out != nil {
				t.Errorf("%s by %s: %d bytes, %v", what, name, len(out), err)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 10*limit { // twice that for growing buffers, and pools are emptied under the race detector
				t.Errorf("%s by %s: %d MiB allocated to refuse %d KiB", what, name, allocated>>20, len(src)>>10)
			}
			if n := d.inMemory(); n != 0 {
				t.Errorf("%s by %s: %d bytes count as in memory", what, name, n)
			}
		}
	}
}

// A record that claims more headers than it has bytes has none, for franz-go too; what is cut ends the batch.
func TestClaimsWithoutBytesCostNothing(t *testing.T) {
	claims := []byte{0, 0, 0, 1, 1}
	claims = kbin.AppendVarint(claims, 1<<30)
	claims = append(kbin.AppendVarint(nil, int32(len(claims))), claims...)
	cut := record("value", 10)
	for what, test := range map[string]struct {
		raw  []byte
		want int64
	}{
		"nothing": {nil, 0}, "a claim of headers": {claims, recordMemory}, "cut": {cut[:len(cut)-1], 0}, "a length without an end": {bytes.Repeat([]byte{0xff}, 20), 0},
		"a negative length": {[]byte{1, 1, 1}, 0}, "a whole record before one that is cut": {append(record("", 2), 100), recordMemory + 2*headerMemory},
	} {
		if got := decodedOverhead(test.raw); got != test.want {
			t.Errorf("%s: %d bytes, want %d", what, got, test.want)
		}
	}
}

// While a response's batches are not polled, no others are decompressed; its broker's next response says that they are.
func TestBatchesAreRefusedWhileOthersWaitToBePolled(t *testing.T) {
	raw := record(string(make([]byte, 1<<20)), 0)
	src, codec := compress(t, raw, kgo.GzipCompression())
	d := New(64<<20, 3<<20) // two of them, and a little of their own
	broker, other := kgo.BrokerMetadata{NodeID: 1}, kgo.BrokerMetadata{NodeID: 2}
	read := func(broker kgo.BrokerMetadata) {
		t.Helper()
		out, err := d.Decompress(src, codec)
		if err != nil {
			t.Error(err)
		}
		d.OnFetchBatchRead(broker, "orders", 0, kgo.FetchBatchMetrics{NumRecords: 1, UncompressedBytes: len(out), CompressionType: 1})
	}
	refused := func() {
		t.Helper()
		_, err := d.Decompress(src, codec)
		if !kerr.IsRetriable(err) || errors.Is(err, kgo.ErrMaxDecompress) {
			t.Errorf("got %v, want an error that passes", err)
		}
		d.OnFetchBatchRead(broker, "orders", 0, kgo.FetchBatchMetrics{CompressionType: 1, CompressedBytes: len(src), UncompressedBytes: len(src)})
	}
	fetch := func(broker kgo.BrokerMetadata) { d.OnBrokerRead(broker, int16(kmsg.Fetch), 0, 0, 0, nil) }
	for range 3 {
		read(broker)
		read(broker)
		refused()
		fetch(other)
		d.OnBrokerRead(broker, int16(kmsg.Metadata), 0, 0, 0, nil)
		refused()
		fetch(broker)
		read(other)
		read(broker)
		refused()
		fetch(other)
		fetch(broker)
	}
	if n := d.inMemory(); n != 0 {
		t.Errorf("%d bytes count as in memory", n)
	}
	d.OnFetchBatchRead(broker, "orders", 0, kgo.FetchBatchMetrics{NumRecords: 1000, UncompressedBytes: 3 << 20})
	refused() // what came uncompressed counts
	if _, err := d.OneResponse().Decompress(src, codec); err != nil {
		t.Errorf("another response: %v", err)
	}
}

// A batch that franz-go can't read has no hook. It does not count for ever.
func TestABatchThatCantBeReadIsForgotten(t *testing.T) {
	d := New(1<<20, 100)
	src, codec := compress(t, record("value", 0), kgo.GzipCompression())
	if _, err := d.Decompress(src, codec); err != nil {
		t.Fatal(err)
	}
	if d.inMemory() == 0 {
		t.Error("it does not count at all")
	}
	d.decoded[0].at = time.Now().Add(-maxDecode)
	if n := d.inMemory(); n != 0 {
		t.Errorf("it counts %d bytes", n)
	}
}

// A broker that is asked for nothing more, since its partitions have moved, does not keep the others waiting.
func TestABrokerThatIsAskedNoMoreIsForgotten(t *testing.T) {
	d := New(1<<20, 100)
	d.OnFetchBatchRead(kgo.BrokerMetadata{NodeID: 1}, "orders", 0, kgo.FetchBatchMetrics{NumRecords: 1, UncompressedBytes: 100})
	src, codec := compress(t, record("value", 0), kgo.GzipCompression())
	if _, err := d.Decompress(src, codec); err == nil {
		t.Error("it does not count at all")
	}
	d.fetched[1] = response{d.fetched[1].memory, time.Now().Add(-2 * maxWait)}
	if _, err := d.Decompress(src, codec); err != nil {
		t.Error(err)
	}
}

// FuzzDecodedOverhead: it reads any bytes, and never counts less than franz-go decodes.
func FuzzDecodedOverhead(f *testing.F) {
	f.Add(record("value", 3))
	f.Add(append(record("", 0), record("x", 1)...))
	f.Add([]byte{10, 0, 0, 0, 1, 1, 100})
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := decodedOverhead(raw)
		records, headers := decode(raw)
		if want := int64(records)*recordMemory + int64(headers)*headerMemory; n < want {
			t.Fatalf("%d bytes for %d records and %d headers", n, records, headers)
		}
		if most := int64(len(raw)) * recordMemory; n > most {
			t.Fatalf("%d bytes for %d on the wire", n, len(raw))
		}
	})
}

// decode has franz-go decode the records of a batch.
func decode(raw []byte) (records, headers int) {
	b := kmsg.RecordBatch{Magic: 2, NumRecords: int32(len(raw)), LastOffsetDelta: int32(len(raw)), Records: raw, Length: int32(49 + len(raw))}
	partition := kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = b.AppendTo(nil)
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{DisableCRCValidation: true}, &partition, kgo.DefaultDecompressor(), nil)
	for _, r := range got.Records {
		headers += len(r.Headers)
	}
	return len(got.Records), headers
}
