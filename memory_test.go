package kafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// hostileRecord is one on the wire, with empty headers.
func hostileRecord(offset int, value []byte, headers int) []byte {
	body := []byte{0} // attributes
	body = kbin.AppendVarlong(body, 0)
	body = kbin.AppendVarint(body, int32(offset))
	body = kbin.AppendVarint(body, -1) // no key
	body = kbin.AppendVarint(body, int32(len(value)))
	body = append(body, value...)
	body = kbin.AppendVarint(body, int32(headers))
	body = append(body, make([]byte, 2*headers)...)
	return append(kbin.AppendVarint(nil, int32(len(body))), body...)
}

// hostileBatch is a batch of these records, compressed by zstd.
func hostileBatch(t *testing.T, count int, records []byte) []byte {
	t.Helper()
	return batchOf(t, kgo.ZstdCompression(), count, records)
}

func batchOf(t *testing.T, codec kgo.CompressionCodec, count int, records []byte) []byte {
	t.Helper()
	compressor, err := kgo.DefaultCompressor(codec)
	if err != nil {
		t.Fatal(err)
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

// publishBatch stores a batch as it is.
func publishBatch(t *testing.T, client *kgo.Client, topic string, partition int32, batch []byte) {
	t.Helper()
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, batch
	produced := kmsg.NewProduceRequestTopic()
	produced.Topic, produced.Partitions = topic, append(produced.Partitions, part)
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis, request.Topics = -1, 10_000, append(request.Topics, produced)
	response, err := request.RequestWith(t.Context(), client)
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// maxHostileRSS is the most memory that a process may take for batches of some KB, with default settings.
const maxHostileRSS = 512 << 20

// Some KB on the wire are GB in memory, by zeros, by empty headers, or by empty records. A process that consumes them
// stays below 512 MiB, whatever reads them.
func TestHostileBatchesTakeLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("some GB are decompressed")
	}
	if peakRSS() == 0 {
		t.Skip("this system does not tell how much memory a process takes")
	}
	const size = 60_000_000
	zeros := func(t *testing.T) []byte {
		return hostileBatch(t, 1, hostileRecord(0, bytes.Repeat([]byte("0"), size), 0))
	}
	headers := func(t *testing.T) []byte { return hostileBatch(t, 1, hostileRecord(0, []byte("{}"), 16_000_000)) }
	records := func(t *testing.T) []byte {
		var all []byte
		const count = 1_000_000
		for i := range count {
			all = append(all, hostileRecord(i, nil, 0)...)
		}
		return hostileBatch(t, count, all)
	}
	within := func(t *testing.T) []byte { return hostileBatch(t, 1, hostileRecord(0, []byte("{}"), 1_000_000)) }
	for _, test := range []struct {
		name       string
		batch      func(*testing.T) []byte
		times      int
		partitions int
		reader     string
		want       string // that the process prints
	}{
		{"Zeros", zeros, 30, 1, "consumer", "handled 30 records: <nil>"},
		{"Headers", headers, 1, 1, "consumer", "offset 0: the batch takes more than MaxDecompressedBatchBytes"},
		{"Records", records, 1, 1, "consumer", "offset 0: the batch takes more than MaxDecompressedBatchBytes"},
		{"HeadersWithinTheLimit", within, 20, 1, "consumer", "settled 20 records"},
		{"Replies", zeros, 30, 1, "requester", "no reply in time"},
		{"RepliesWithHeaders", headers, 30, 1, "requester", "no reply in time"},
		{"Letters", zeros, 30, 1, "letters", "read 30 letters"},
		{"LettersWithHeaders", headers, 1, 1, "letters", "the batch at offset 0 takes more than 64 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(test.partitions), "orders", "dlq-orders"), kfake.SeedTopics(1, "requests"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.MaxVersions(kversion.V3_9_0()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			batch := test.batch(t)
			publish := func() {
				for i := range test.times * test.partitions {
					publishBatch(t, client, "orders", int32(i%test.partitions), batch)
				}
			}
			var output bytes.Buffer
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHostileBatchesTakeLittleMemory$")
			cmd.Env = append(os.Environ(), "KAFKA_TEST_VICTIM="+test.reader, "KAFKA_TEST_VICTIM_BROKER="+cluster.ListenAddrs()[0],
				"KAFKA_TEST_VICTIM_RECORDS="+strconv.Itoa(test.times*test.partitions), "GOMEMLIMIT=460MiB") // nine tenths, as deploy/ sets it
			cmd.Stdout, cmd.Stderr = &output, &output
			if test.reader == "requester" { // which begins at the end
				time.AfterFunc(time.Second, publish)
			} else {
				publish()
			}
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v\n%s", err, output.String())
			}
			_, text, _ := strings.Cut(output.String(), "peak RSS ")
			peak, err := strconv.Atoi(strings.TrimSpace(text))
			t.Logf("%d times %d bytes: peak RSS %d MiB\n%s", test.times*test.partitions, len(batch), peak>>20, output.String())
			if err != nil || peak > maxHostileRSS || !strings.Contains(output.String(), test.want) {
				t.Errorf("the process took %d bytes, want %d at most, and %q", peak, maxHostileRSS, test.want)
			}
		})
	}
}

// peakRSS is the most memory that this process had in RAM, in bytes; 0 where the system does not tell.
func peakRSS() int {
	status, _ := os.ReadFile("/proc/self/status")
	for text := range strings.Lines(string(status)) {
		if fields := strings.Fields(text); len(fields) > 1 && fields[0] == "VmHWM:" {
			kilobytes, _ := strconv.Atoi(fields[1])
			return kilobytes << 10
		}
	}
	return 0
}

func init() {
	if reader := os.Getenv("KAFKA_TEST_VICTIM"); reader != "" {
		beVictim(reader, os.Getenv("KAFKA_TEST_VICTIM_BROKER"))
		fmt.Println("peak RSS", peakRSS())
		os.Exit(0)
	}
}

// beVictim reads what the test has published, in a process of its own.
func beVictim(reader, broker string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	most, _ := strconv.ParseInt(os.Getenv("KAFKA_TEST_VICTIM_RECORDS"), 10, 64)
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelWarn}))
	switch reader {
	case "consumer":
		cfg := kafka.NewConsumerConfig("orders", "group", broker)
		cfg.Logger = log
		var handled, settled atomic.Int64
		consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(context.Context, kafka.Message[[]byte]) error {
			time.Sleep(20 * time.Millisecond)
			handled.Add(1)
			return nil
		})
		if err == nil {
			consumer.Use(kafka.ConsumerHooks{
				RecordSettled: func(context.Context, *kgo.Record, kafka.Settlement) {
					if settled.Add(1) == most {
						cancel()
					}
				},
				PartitionStuck: func(p kafka.StuckPartition) {
					fmt.Println(p.Err)
					cancel()
				},
			})
			err = consumer.Start(ctx)
		}
		fmt.Println("settled", settled.Load(), "records, handled", handled.Load(), "records:", err)
	case "requester":
		cfg := kafka.NewRequesterConfig("requests", "orders", broker)
		cfg.Logger = slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
		defer cancel()
		requester, err := kafka.NewRequester[int, int](cfg)
		if err == nil {
			_, err = requester.Request(ctx, kafka.NewMessage[int]().WithValue(1).Build())
		}
		fmt.Println(err)
	case "letters":
		client, err := kafka.NewClient(kafka.ClientConfig{Brokers: []string{broker}, Logger: log})
		if err != nil {
			fmt.Println(err)
			return
		}
		read := 0
		for _, err = range deadletter.List(ctx, client, "orders", deadletter.Filter{}) {
			if err != nil {
				break
			}
			read++
		}
		fmt.Println("read", read, "letters:", errors.Join(err))
	}
}
