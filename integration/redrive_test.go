package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/topics"
)

const (
	redrivenKeys       = 1_000
	redrivenPartitions = 6

	redriveTopicVariable   = "KAFKA_TEST_REDRIVE_TOPIC"
	redriveBrokersVariable = "KAFKA_TEST_REDRIVE_BROKERS"
	redriveRateVariable    = "KAFKA_TEST_REDRIVE_RATE"
)

// TestRedriveInAChild is a process of TestAKilledRedriveLosesNothing, and skips without it.
func TestRedriveInAChild(t *testing.T) {
	topic := os.Getenv(redriveTopicVariable)
	if topic == "" {
		t.Skip("runs as a child of TestAKilledRedriveLosesNothing")
	}
	client := connect(t, kafka.ClientConfig{Brokers: strings.Split(os.Getenv(redriveBrokersVariable), ",")})
	rate, err := strconv.Atoi(os.Getenv(redriveRateVariable))
	if err != nil {
		t.Fatal(err)
	}
	result, err := deadletter.Redrive(t.Context(), client, "dlq-"+topic, deadletter.RedriveOptions{Wait: accessPatience, Rate: float64(rate)})
	t.Logf("%+v", result)
	if err != nil {
		t.Fatal(err)
	}
}

// Letters go back while the process that sends them is killed twice: none is lost, each key's order is kept, and what is
// sent twice is a window for each kill at most, and counted.
func TestAKilledRedriveLosesNothing(t *testing.T) {
	notShort(t)
	t.Parallel()
	seeds := brokers(t)
	letters := int64(rounds(20_000, 100_000)) // of each key, as many
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	topic := "redrive-" + uuid.NewString()
	client := connect(t, kafka.ClientConfig{Brokers: seeds})
	apply(t, client, topics.Create, topics.List{topics.New(topic, redrivenPartitions), topics.New("dlq-"+topic, redrivenPartitions)})
	fillWithLetters(t, ctx, seeds, topic, letters)

	begun := time.Now()
	for _, until := range []int64{letters / 6, letters / 3} { // in some seconds; a child alone would take many times that
		child := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestRedriveInAChild$", "-test.v")
		var output bytes.Buffer
		child.Stdout, child.Stderr = &output, &output
		child.Env = append(os.Environ(), redriveTopicVariable+"="+topic, redriveBrokersVariable+"="+strings.Join(seeds, ","),
			redriveRateVariable+"="+fmt.Sprint(letters/20))
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprint(until, " letters are sent"), func() bool { return countOf(t, ctx, client, topic) >= until })
		if _, err := deadletter.Redrive(ctx, client, "dlq-"+topic, deadletter.RedriveOptions{}); !errors.Is(err, deadletter.ErrRunning) {
			t.Errorf("beside another run: %v", err)
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil {
			t.Fatalf("the child was not killed in the middle:\n%s", &output)
		}
	}
	result, err := deadletter.Redrive(ctx, client, "dlq-"+topic, deadletter.RedriveOptions{Wait: accessPatience})
	if err != nil || !result.Complete {
		t.Fatalf("%+v, %v", result, err)
	}
	took := time.Since(begun)
	repeated := judgeRedriven(t, ctx, seeds, topic, int(letters)/redrivenKeys)
	if repeated > 0 { // to those who read what is committed
		t.Errorf("%d letters were sent twice", repeated)
	}
	t.Logf("%d letters in %v with two kills, %d sent twice; the last run sent %d in %v and says that it repeats %d at most",
		letters, took.Round(time.Millisecond), repeated, result.Sent, result.Elapsed.Round(time.Millisecond), result.Repeated)
	if again, err := deadletter.Redrive(ctx, client, "dlq-"+topic, deadletter.RedriveOptions{}); err != nil || again.Sent != 0 || again.Repeated != 0 {
		t.Errorf("one more run: %+v, %v", again, err)
	}
}

// fillWithLetters writes letters whose values count their key's.
func fillWithLetters(t *testing.T, ctx context.Context, seeds []string, topic string, letters int64) {
	t.Helper()
	raw := producer(t, seeds)
	for i := range letters {
		key := i % redrivenKeys
		raw.Produce(ctx, letterOf(topic, int32(key%redrivenPartitions), i/redrivenPartitions, fmt.Sprint("key-", key), fmt.Sprint(i/redrivenKeys)), nil)
	}
	if err := raw.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func producer(t *testing.T, seeds []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	raw, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	return raw
}

func letterOf(topic string, partition int32, offset int64, key, value string) *kgo.Record {
	return &kgo.Record{Topic: "dlq-" + topic, Partition: partition, Key: []byte(key), Value: []byte(value), Headers: []kgo.RecordHeader{
		{Key: dlqheader.Topic, Value: []byte(topic)}, {Key: dlqheader.Partition, Value: []byte(strconv.Itoa(int(partition)))},
		{Key: dlqheader.Offset, Value: []byte(strconv.FormatInt(offset, 10))},
		{Key: dlqheader.DeliveryCount, Value: []byte("4")}, {Key: dlqheader.Class, Value: []byte("transient")},
		{Key: dlqheader.Message, Value: []byte("connect to db: timeout")},
	}}
}

func countOf(t *testing.T, ctx context.Context, client *kafka.Client, topic string) (n int64) {
	t.Helper()
	ends, err := kadm.NewClient(client.KGO()).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// judgeRedriven reads the source topic, and returns how many records are there a second time.
func judgeRedriven(t *testing.T, ctx context.Context, seeds []string, topic string, perKey int) (repeated int) {
	t.Helper()
	// Letters of a run that was killed in the middle of a transaction are aborted. Markers say that a partition's end is reached.
	reader, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	ends, err := kadm.NewClient(reader).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	left := map[int32]int64{} // by partition, its end, until that is read
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	next := map[string]int{} // by key, the value that comes first now
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if r.Attrs.IsControl() {
				return
			}
			value, err := strconv.Atoi(string(r.Value))
			if err != nil {
				t.Fatal(err)
			}
			switch key := string(r.Key); {
			case value == next[key]:
				next[key]++
			case value < next[key]:
				repeated++
			default:
				t.Errorf("%s: %d comes before %d", key, value, next[key])
				next[key] = value + 1
			}
		})
	}
	for i := range redrivenKeys {
		if key := fmt.Sprint("key-", i); next[key] != perKey {
			t.Errorf("%s: %d letters of %d came back", key, next[key], perKey)
		}
	}
	return repeated
}

// Letters go to groups that read their topic, as brokers tell it of either protocol: by members alone while nothing is committed.
func TestRedrivesKnowWhichGroupsRead(t *testing.T) {
	t.Parallel()
	seeds := brokers(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*accessPatience)
	defer cancel()
	topic := "reads-" + uuid.NewString()
	client := connect(t, kafka.ClientConfig{Brokers: seeds})
	apply(t, client, topics.Create, topics.List{topics.New(topic, 1), topics.New(topic+"-empty", 1), topics.New("dlq-"+topic, 1)})
	if err := producer(t, seeds).ProduceSync(ctx, letterOf(topic, 0, 0, "a", "1")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	dry := func(group, to string) error {
		_, err := deadletter.Redrive(ctx, client, "dlq-"+topic, deadletter.RedriveOptions{Group: group, To: to, DryRun: true})
		return err
	}
	for _, protocol := range []string{"classic", "consumer"} {
		group := topic + "-" + protocol
		if err := dry(group, topic+"-empty"); !errors.Is(err, deadletter.ErrGroup) {
			t.Errorf("no group: %v", err)
		}
		cfg := kafka.NewConsumerConfig(topic+"-empty", group)
		cfg.Brokers, cfg.GroupProtocol, cfg.DisableDeadLetters = seeds, kafka.GroupProtocol(protocol), true
		startConsumer(t, cfg, func(context.Context, kafka.Message[booking]) error { return nil })
		eventually(t, protocol+" members read the empty topic", func() bool { return dry(group, topic+"-empty") == nil })
		// While they join, brokers don't say what they read.
		eventually(t, protocol+" members don't read the topic", func() bool { return errors.Is(dry(group, topic), deadletter.ErrGroup) })
	}
}

// Reads of dead letter topics end: behind transactions, committed and aborted, before open ones, where letters are deleted, and where
// compaction takes them.
func TestReadsOfDeadLettersEnd(t *testing.T) {
	t.Parallel()
	seeds := brokers(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*accessPatience)
	defer cancel()
	topic := "reads-" + uuid.NewString()
	client := connect(t, kafka.ClientConfig{Brokers: seeds})
	apply(t, client, topics.Create, topics.List{topics.New(topic, 2), topics.New("dlq-"+topic, 2).
		WithConfig("cleanup.policy", "compact").WithConfig("segment.ms", "100").WithConfig("min.cleanable.dirty.ratio", "0.001").WithConfig("max.compaction.lag.ms", "100")})
	count := func() (n int64) {
		stats, err := deadletter.ReadStats(ctx, client, "dlq-"+topic, deadletter.Filter{State: deadletter.All})
		if err != nil {
			t.Fatal(err)
		}
		return stats.Letters
	}
	admin := kadm.NewClient(client.KGO())
	sum := func(list func(context.Context, ...string) (kadm.ListedOffsets, error)) (n int64) {
		offsets, err := list(ctx, "dlq-"+topic)
		if err != nil {
			t.Fatal(err)
		}
		offsets.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	ends, committedEnds := func() int64 { return sum(admin.ListEndOffsets) }, func() int64 { return sum(admin.ListCommittedOffsets) }
	transact := func(id string, end func(*kgo.Client) error, key string) {
		raw := producer(t, seeds, kgo.TransactionalID(topic+id))
		if err := raw.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := raw.ProduceSync(ctx, letterOf(topic, 0, 1, key, "1"), letterOf(topic, 1, 1, key, "1")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := end(raw); err != nil {
			t.Fatal(err)
		}
	}
	transact("committed", func(raw *kgo.Client) error { return raw.EndTransaction(ctx, kgo.TryCommit) }, "a")
	eventually(t, "both letters are read behind the commit", func() bool { return count() == 2 }) // brokers write its markers after they have answered
	transact("aborted", func(raw *kgo.Client) error { return raw.EndTransaction(ctx, kgo.TryAbort) }, "b")
	eventually(t, "the aborted are passed over", func() bool {
		if n := count(); n != 2 {
			t.Fatalf("%d letters behind an abort, want 2", n)
		}
		return ends() == committedEnds()
	})
	if result, err := deadletter.Redrive(ctx, client, "dlq-"+topic, deadletter.RedriveOptions{}); err != nil || result.Sent != 2 {
		t.Errorf("%+v, %v", result, err)
	}
	raw := producer(t, seeds)
	for i := range 50 {
		if err := raw.ProduceSync(ctx, letterOf(topic, 0, int64(i), "c", fmt.Sprint(i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "most letters of a key are compacted away", func() bool {
		if err := raw.ProduceSync(ctx, letterOf(topic, 0, 100, "roll", "x")).FirstErr(); err != nil { // only segments that are complete are compacted
			t.Fatal(err)
		}
		return count() < 25
	})
	stats, err := deadletter.ReadStats(ctx, client, "dlq-"+topic, deadletter.Filter{State: deadletter.Redriven})
	if err != nil || stats.Letters != 2 {
		t.Errorf("marks are lost with compaction: %+v, %v", stats, err)
	}
	transact("open", func(*kgo.Client) error { return nil }, "d")
	before := count()
	plan, err := deadletter.PlanPurge(ctx, client, "dlq-"+topic, deadletter.PurgeOptions{})
	if err != nil || plan.Letters == 0 || plan.Letters > before { // compaction goes on
		t.Errorf("%+v, %v, want up to %d letters", plan, err, before)
	}
}
