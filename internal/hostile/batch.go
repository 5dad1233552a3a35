// Package hostile has batches that are small on the wire and large in memory, for tests, and a process that reads them
// and says how much memory that took.
package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Record returns a record as it is on the wire, with empty headers. offset is within its batch.
func Record(offset int, value []byte, headers int) []byte {
	return record(offset, nil, value, headers, make([]byte, 2*headers))
}

// Keyed returns a record with a key, or without one for "".
func Keyed(offset int, key string, value []byte, headers ...kgo.RecordHeader) []byte {
	var encoded []byte
	for _, h := range headers {
		encoded = kbin.AppendVarintString(encoded, h.Key)
		encoded = kbin.AppendVarintBytes(encoded, h.Value)
	}
	if key == "" {
		return record(offset, nil, value, len(headers), encoded)
	}
	return record(offset, []byte(key), value, len(headers), encoded)
}

func record(offset int, key, value []byte, headers int, encoded []byte) []byte {
	body := []byte{0} // attributes
	body = kbin.AppendVarlong(body, 0)
	body = kbin.AppendVarint(body, int32(offset))
	if key == nil {
		body = kbin.AppendVarint(body, -1)
	} else {
		body = kbin.AppendVarint(body, int32(len(key)))
		body = append(body, key...)
	}
	body = kbin.AppendVarint(body, int32(len(value)))
	body = append(body, value...)
	body = kbin.AppendVarint(body, int32(headers))
	body = append(body, encoded...)
	return append(kbin.AppendVarint(nil, int32(len(body))), body...)
}

// Batch returns a batch of that many records, compressed.
func Batch(codec kgo.CompressionCodec, count int, records []byte) []byte {
	compressor, err := kgo.DefaultCompressor(codec)
	if err != nil {
		panic(err) // a test's constant
	}
	compressed, used := compressor.Compress(new(bytes.Buffer), records)
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(used), LastOffsetDelta: int32(count - 1), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		FirstTimestamp: time.Now().UnixMilli(), MaxTimestamp: time.Now().UnixMilli(), NumRecords: int32(count), Records: bytes.Clone(compressed),
	}
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// Zeros is a batch of one record with a value of so many equal bytes.
func Zeros(size int) []byte {
	return Batch(kgo.ZstdCompression(), 1, Record(0, bytes.Repeat([]byte("0"), size), 0))
}

// Headers is a batch of one record with so many empty headers: two bytes each on the wire, forty in memory.
func Headers(count int) []byte {
	return Batch(kgo.ZstdCompression(), 1, Record(0, []byte("{}"), count))
}

// Records is a batch of so many empty records.
func Records(count int) []byte {
	var all []byte
	for i := range count {
		all = append(all, Record(i, nil, 0)...)
	}
	return Batch(kgo.ZstdCompression(), count, all)
}

// Publish stores a batch as it is. The client must speak no later version than Kafka 3.9, whose requests name topics.
func Publish(ctx context.Context, client *kgo.Client, topic string, partition int32, batch []byte) error {
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, batch
	produced := kmsg.NewProduceRequestTopic()
	produced.Topic, produced.Partitions = topic, append(produced.Partitions, part)
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis, request.Topics = -1, 30_000, append(request.Topics, produced)
	for ; ; time.Sleep(10 * time.Millisecond) { // a topic that was just made has no leader yet
		err := produce(ctx, client, topic, partition, request)
		if !kerr.IsRetriable(err) || ctx.Err() != nil {
			return err
		}
	}
}

func produce(ctx context.Context, client *kgo.Client, topic string, partition int32, request *kmsg.ProduceRequest) error {
	at, err := leader(ctx, client, topic, partition)
	if err != nil {
		return err
	}
	response, err := client.Broker(int(at)).RetriableRequest(ctx, request)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

func leader(ctx context.Context, client *kgo.Client, topic string, partition int32) (int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	request.Topics = append(request.Topics, asked)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return 0, err
	}
	for _, p := range response.Topics[0].Partitions {
		if p.Partition == partition {
			return p.Leader, kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return 0, kerr.UnknownTopicOrPartition
}
