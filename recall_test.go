package kafka_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/hostile"
)

// The dead letter topic is all that the next owner of a partition has.
func TestParkedKeysSurviveARestart(t *testing.T) {
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		restart := func(stop func() error) func() error {
			t.Helper()
			if stop != nil {
				if err := stop(); err != nil {
					t.Fatal(err)
				}
			}
			_, stop = l.start(l.config(), l.handle)
			return stop
		}
		l.refuse("a 0", "b 0")
		l.publish("a 0", "b 0", "a 1")
		stop := restart(nil)
		time.Sleep(time.Minute)
		stop = restart(stop)
		l.publish("a 2", "c 0")
		time.Sleep(time.Minute)
		l.wantHandled("c 0")
		letters := l.wantLetters("permanent: a 0", "permanent: b 0", "parked: a 1", "parked: a 2")

		l.refuse()
		l.sendBack(letters[0], letters[2])
		time.Sleep(time.Minute)
		l.wantHandled("a 0", "a 1")
		stop = restart(stop)
		l.publish("a 3", "b 1")
		time.Sleep(time.Minute)
		l.wantHandled()
		letters, _ = l.stored()
		l.sendBack(letters[3], letters[4], letters[1], letters[5])
		time.Sleep(time.Minute)
		l.wantHandled("a 2", "a 3", "b 0", "b 1")
		stop = restart(stop)
		l.publish("a 4", "b 2")
		time.Sleep(time.Minute)
		l.wantHandled("a 4", "b 2")
		if letters, marks := l.stored(); len(letters) != 6 || len(marks) != 6 {
			t.Errorf("%d letters and %d marks, want 6 of each", len(letters), len(marks))
		}
		_ = stop
	})
}

// Letters of other groups, topics and partitions are in the same partition of the dead letter topic, and so are marks that no
// longer count, records of other programs, and a transaction's marker at the end.
func TestOnlyOwnLettersPark(t *testing.T) {
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
		letter := func(key string, headers ...kgo.RecordHeader) *kgo.Record {
			return &kgo.Record{Topic: "dlq-orders", Key: []byte(key), Value: []byte("x"), Headers: headers}
		}
		l.produce(
			letter("a", header(dlqheader.Parked, "orders/0/2/others")),
			letter("a", header(dlqheader.Parked, "orders/2/2/group")),
			letter("a", header(dlqheader.Parked, "invoices/0/2/group")),
			letter("a", header(dlqheader.Topic, "orders"), header(dlqheader.Partition, "0"), header(dlqheader.Offset, "0"), header(dlqheader.Group, "group")),
			letter("a"),
			letter("a", header(dlqheader.Parked, "")), letter("a", header(dlqheader.Parked, "orders/0/-1/group")), letter("a", header(dlqheader.Parked, "orders/x/0/group")),
			letter("b", header(dlqheader.Parked, "orders/0/0/group")),
			letter("b", header(dlqheader.Unparked, "orders/0/0/group")),
			letter("c", header(dlqheader.Parked, "orders/0/0/group")),
			&kgo.Record{Topic: "dlq-orders", Headers: []kgo.RecordHeader{header(dlqheader.Unparked, "orders/0/0/group")}}, // of a key that is too large for it
			letter("d", header(dlqheader.Parked, "orders/0/1/group")),
			letter("d", header(dlqheader.Unparked, "orders/0/1/others")),
			letter("d", header(dlqheader.Unparked, "orders/0/2/group")),
			letter("d", header(dlqheader.Unparked, "")),
		)
		transactional, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(l.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("t"))
		if err != nil {
			t.Fatal(err)
		}
		defer transactional.Close()
		if err := transactional.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := transactional.ProduceSync(t.Context(), letter("a")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := transactional.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		l.publish("x 0", "x 1", "x 2", "a 0", "b 0", "c 0", "d 0")
		l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		l.wantHandled("x 0", "x 1", "x 2", "a 0", "b 0", "c 0")
	})
}

// A partition whose dead letters can't be read waits, and says so; the others go on. It gives up at once when it is stopped.
func TestAPartitionWaitsForItsParkedKeys(t *testing.T) {
	for _, fault := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.TopicAuthorizationFailed}, // an answer
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.LeaderNotAvailable},       // asked again and again
		{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.LeaderNotAvailable},             // asked again and again by franz-go
	} {
		fault.Topic, fault.Partitions, fault.Count = "dlq-orders", []int32{0}, -1
		aPartitionWaits(t, fault)
	}
}

// Letters above the limit of what is decompressed keep their partition waiting, with the setting and the way past them.
func TestALetterTooLargeToReadNamesTheWayOut(t *testing.T) {
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		client := l.bubble.raw(kgo.MaxVersions(kversion.V3_9_0()))
		defer client.Close()
		publishBatch(t, client, "dlq-orders", 0, hostile.Batch(kgo.GzipCompression(), 1, hostile.Record(0, nil, 2<<20))) // 80 MiB of headers, in some KB
		l.publish("a 0")
		consumer, stop := l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		l.wantHandled()
		problem := strings.Join(consumer.Health().Problems, "\n")
		wantFault(t, errors.New(problem), "dead letter topic dlq-orders can't be read: offset 0:", "raise MaxDecompressedBatchBytes",
			"KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES", "up to offset 1:")
		if strings.Contains(problem, "SetOffsets") {
			t.Errorf("the problem names what nobody can call: %s", problem)
		}
		_ = stop()
	})
}

func aPartitionWaits(t *testing.T, fault kfake.Fault) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		cfg := l.config()
		l.refuse("a 0")
		l.publish("a 0")
		_, stop := l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		outage := l.cluster.Fault(fault)
		l.publish("a 1", "b 0")
		l.produce(&kgo.Record{Topic: "orders", Partition: 1, Key: []byte("c"), Value: []byte(`{"n":0}`)})
		consumer, stop := l.start(cfg, l.handle)
		for health := consumer.Health(); len(health.Partitions) == 0 || health.Partitions[0].Activity != kafka.ActivityRecalling; health = consumer.Health() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond) // it waits for an answer
		l.stopsAtOnce(stop)
		l.wantHandled("c 0")

		l.produce(&kgo.Record{Topic: "orders", Partition: 1, Key: []byte("c"), Value: []byte(`{"n":1}`)})
		consumer, stop = l.start(cfg, l.handle)
		time.Sleep(aLongTime) // it waits to ask again, likely
		l.wantHandled("c 1")
		health := consumer.Health()
		if p := health.Partitions[0]; p.Activity != kafka.ActivityRecalling || p.QueuedRecords != 2 || !health.Live() || !health.Ready() {
			t.Errorf("health says %+v", health)
		}
		if len(health.Problems) == 0 || !strings.Contains(health.Problems[0], "orders-0: since 2000-01-01T00:") || !strings.Contains(health.Problems[0], "it waits to know which keys are parked: dead letter topic dlq-orders can't be read: ") {
			t.Errorf("problems are %q", health.Problems)
		}
		if l.log.count(slog.LevelError, "partition=0", "until_assigned_again=false", "!offset") == 0 {
			t.Error("nothing is logged")
		}
		l.stopsAtOnce(stop)

		consumer, _ = l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		outage.Remove()
		time.Sleep(aLongTime)
		l.wantHandled("b 0")
		if health := consumer.Health(); len(health.Problems) != 0 {
			t.Errorf("problems are %q", health.Problems)
		}
		l.wantLetters("permanent: a 0", "parked: a 1")
	})
}
