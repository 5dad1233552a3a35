package deadletter_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/internal/hostile"
	"github.com/skeji/kafka/internal/variable"
)

// transact writes records in a transaction, and ends it, or leaves it open.
func (p *place) transact(id string, commit *kgo.TransactionEndTry, records ...*kgo.Record) {
	p.t.Helper()
	client := p.dial(kgo.TransactionalID(id))
	if err := client.BeginTransaction(); err != nil {
		p.t.Fatal(err)
	}
	if err := client.ProduceSync(p.context(), records...).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
	if commit == nil {
		return
	}
	if err := client.EndTransaction(p.context(), *commit); err != nil {
		p.t.Fatal(err)
	}
}

// Reads end behind a transaction's marker, behind what was aborted, and before what is still open, and see only what is committed.
func TestReadsEndOnTransactionalTopics(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0))
	p.transact("committed", new(kgo.TryCommit), letter(0, 1), letter(1, 1))
	p.transact("aborted", new(kgo.TryAbort), letter(0, 2), letter(1, 2))
	want := []string{`"0/0"`, `"0/1"`, `"1/1"`}
	if got := p.list(deadletter.Filter{}); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	p.transact("open", nil, letter(0, 3), letter(2, 3))
	if got := p.list(deadletter.Filter{}); !slices.Equal(got, want) {
		t.Errorf("with an open transaction: %q, want %q", got, want)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 3 || !result.Complete {
		t.Errorf("%+v", result)
	}
	if got := p.list(deadletter.Filter{}); len(got) != 0 {
		t.Errorf("pending %q", got)
	}
}

// Reads end where compaction has taken the tail, or deletion the head, and marks outlive compaction.
func TestReadsEndOnCompactedTopics(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	compact := kadm.AlterConfig{Op: kadm.SetConfig, Name: "cleanup.policy", Value: new("compact")}
	if _, err := kadm.NewClient(p.raw).AlterTopicConfigs(p.context(), []kadm.AlterConfig{compact}, dlq); err != nil {
		t.Fatal(err)
	}
	p.write(letter(0, 0), letter(0, 1))
	if result := p.redrive(deadletter.RedriveOptions{Max: 1}); result.Sent != 1 {
		t.Fatalf("%+v", result)
	}
	p.transact("aborted", new(kgo.TryAbort), letter(0, 2), letter(0, 3))
	p.cluster.Compact()
	if got := p.list(deadletter.Filter{}); !slices.Equal(got, []string{`"0/1"`}) {
		t.Errorf("pending %q", got)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 1 || !result.Complete {
		t.Errorf("%+v", result)
	}
	if got := p.sentValues(); !slices.Equal(got, []string{"0/0", "0/1"}) {
		t.Errorf("sent %q", got)
	}
}

// Reads end where the brokers have nothing more before the end, and wait where the leader doesn't know the end yet.
func TestReadsEndWhereNothingIsLeft(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1), letter(0, 2))
	behind := true
	p.cluster.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		p.cluster.KeepControl()
		fetch := request.(*kmsg.FetchRequest)
		asked := fetch.Topics[0].Partitions[0]
		if asked.FetchOffset < 2 && !behind {
			return nil, nil, false
		}
		response := fetch.ResponseKind().(*kmsg.FetchResponse)
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = fetch.Topics[0].Topic, fetch.Topics[0].TopicID
		partition := kmsg.NewFetchResponseTopicPartition()
		partition.Partition, partition.HighWatermark, partition.LastStableOffset = asked.Partition, 3, 3
		if behind {
			behind, partition.LastStableOffset = false, 1
		}
		topic.Partitions = append(topic.Partitions, partition)
		response.Topics = append(response.Topics, topic)
		return response, nil, true
	})
	// The marks are read from 0 on, which the broker answers in full; the letters from 2 on, where it has nothing.
	if got := p.list(deadletter.Filter{FromOffset: 2}); len(got) != 0 {
		t.Errorf("listed %q", got)
	}
}

// Letters that are deleted while they are read are gone, and no error.
func TestReadsOutliveDeletion(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1), letter(0, 2))
	once := false
	p.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		p.cluster.KeepControl()
		if !once {
			once = true
			p.cluster.SleepControl(func() {
				if _, err := kadm.NewClient(p.raw).DeleteRecords(p.t.Context(), deleteUpTo(0, 2)); err != nil {
					t.Error(err)
				}
			})
		}
		return nil, nil, false
	})
	if got := p.list(deadletter.Filter{}); !slices.Equal(got, []string{`"0/2"`}) {
		t.Errorf("listed %q", got)
	}
}

func deleteUpTo(partition int32, offset int64) kadm.Offsets {
	offsets := kadm.Offsets{}
	offsets.AddOffset(dlq, partition, offset, -1)
	return offsets
}

func TestFiltersAndStats(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for i := range int64(6) {
		p.write(set(letter(0, i), deadletter.HeaderMessage, fmt.Sprintf("order %d of 01890a5d-ac96-774b-bcce-b302099a8057: no room", i)))
	}
	poison := set(set(letter(1, 6), deadletter.HeaderClass, "permanent"), deadletter.HeaderMessage, "decode value: unexpected end")
	set(poison, deadletter.HeaderFailedAt, "2026-01-03T00:00:00.000Z")
	other := set(set(letter(2, 7), deadletter.HeaderTopic, "payments"), deadletter.HeaderGroup, "others")
	lost := &kgo.Record{Topic: dlq, Partition: 2, Value: []byte("x")}
	p.write(poison, other, lost)
	stats, err := deadletter.ReadStats(p.context(), p.client, dlq, deadletter.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if stats.Letters != 9 || stats.Unreadable != 1 || stats.Redriven != 0 {
		t.Errorf("%+v", stats)
	}
	for name, got := range map[string][]deadletter.Count{
		"transient 7, 1,permanent 1": stats.ByClass, "orders 7, 1,payments 1": stats.BySource, "orders-service 7, 1,others 1": stats.ByGroup,
		"order # of #: no room 6, 1,decode value: unexpected end 1,no room 1": stats.ByError,
	} {
		var text []string
		for _, c := range got {
			text = append(text, fmt.Sprint(c.Value, " ", c.Letters))
		}
		if joined := strings.Join(text, ","); joined != name {
			t.Errorf("counted %q, want %q", joined, name)
		}
	}
	if stats.ByError[0].Example != "order 0 of 01890a5d-ac96-774b-bcce-b302099a8057: no room" {
		t.Errorf("example %q", stats.ByError[0].Example)
	}
	if h := stats.ByHour; len(h) != 3 || h[0].Value != "2026-01-02T04:00:00Z" || h[0].Letters != 7 || h[1].Value != "2026-01-03T00:00:00Z" {
		t.Errorf("by hour %+v", h)
	}
	day := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	for name, f := range map[string]struct {
		filter deadletter.Filter
		want   int
	}{
		"class": {deadletter.Filter{Classes: []string{"permanent", "other"}}, 1}, "source": {deadletter.Filter{Sources: []string{"payments"}}, 1},
		"group": {deadletter.Filter{Groups: []string{group}}, 7}, "key": {deadletter.Filter{Key: "key-0/3"}, 1},
		"error": {deadletter.Filter{Error: "order 3"}, 1}, "pattern": {deadletter.Filter{Error: "order # of #"}, 6},
		"since": {deadletter.Filter{Since: day, Sources: []string{source}}, 1}, "until": {deadletter.Filter{Until: day}, 7},
		"partition": {deadletter.Filter{Partitions: []int32{0}}, 6}, "offset": {deadletter.Filter{Partitions: []int32{0}, FromOffset: 4}, 2},
		"both": {deadletter.Filter{Groups: []string{group}, Classes: []string{"permanent"}}, 1},
	} {
		if got := p.list(f.filter); len(got) != f.want {
			t.Errorf("%s: %d letters, want %d: %q", name, len(got), f.want, got)
		}
	}
	for _, f := range []deadletter.Filter{{State: "done"}, {Partitions: []int32{9}}} {
		if _, err := deadletter.ReadStats(p.context(), p.client, dlq, f); err == nil {
			t.Errorf("no error for %+v", f)
		}
	}
}

func TestUnreadableLettersAreNamed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(1, 0), &kgo.Record{Topic: dlq, Partition: 1}, set(letter(1, 2), deadletter.HeaderTopic, "no topic/name"))
	n := 0
	for letter, err := range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if letter.Err == nil {
			continue
		}
		n++
		if want := fmt.Sprintf("%s-1 offset %d", dlq, letter.Offset); !errors.Is(letter.Err, deadletter.ErrUnreadable) || !strings.Contains(letter.Err.Error(), want) {
			t.Errorf("%v", letter.Err)
		}
	}
	if n != 2 {
		t.Errorf("%d letters unreadable, want 2", n)
	}
}

// A batch above the limit of what is decompressed is an error with the setting of those who can read it, and the way past it.
func TestABatchAboveTheLimitNamesTheWayOut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	client := p.dial(kgo.MaxVersions(kversion.V3_9_0()))
	if err := hostile.Publish(p.context(), client, dlq, 1, hostile.Headers(2<<20)); err != nil { // 80 MiB, in some KB
		t.Fatal(err)
	}
	_, err := deadletter.ReadStats(p.context(), p.client, dlq, deadletter.Filter{})
	if !errors.Is(err, kgo.ErrMaxDecompress) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"offset 0 takes more than 64 MiB", "a consumer of " + dlq, "MaxDecompressedBatchBytes (KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES)", "to offset 1)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing: %v", want, err)
		}
	}
	if said := variable.ForCommand(err.Error()); strings.Contains(said, "MaxDecompressedBatchBytes") {
		t.Errorf("a command says %q", said)
	}
}

// A publisher's headers don't make his record a mark, which nobody would see.
func TestForgedMarksAreLetters(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1, header(deadletter.HeaderRedriven, "0-0")), letter(0, 2, header(deadletter.HeaderUnparked, "")))
	if got := p.list(deadletter.Filter{}); len(got) != 3 {
		t.Errorf("pending %q", got)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 3 {
		t.Errorf("%+v", result)
	}
}

func TestPeekDecodes(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	broken := letter(0, 1)
	broken.Value = []byte(`{"secret`)
	p.write(letter(0, 0), broken)
	var got []string
	for peeked, err := range deadletter.Peek(p.context(), p.client, dlq, kafka.JSON[string](), deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, peeked.Message.Value)
		if m := peeked.Message; m.Topic != source || m.Partition != 0 || m.Offset != peeked.Origin.Offset || m.Key != string(peeked.Key) {
			t.Errorf("%+v", m)
		}
		if bad := peeked.Offset == 1; bad != (peeked.DecodeErr != nil) || bad && (strings.Contains(peeked.DecodeErr.Error(), "secret") || string(peeked.Value) != `{"secret`) {
			t.Errorf("offset %d: %v", peeked.Offset, peeked.DecodeErr)
		}
	}
	if !slices.Equal(got, []string{"0/0", ""}) {
		t.Errorf("peeked %q", got)
	}
}

// The loop's break ends the read.
func TestListBreaksOff(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(1, 1))
	n := 0
	for range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d letters", n)
	}
}

func TestOtherDialects(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	retried := springLetter() // behind a retry topic, which has added its own place
	for i, h := range retried.Headers {
		retried.Headers[i].Key = strings.Replace(h.Key, "kafka_dlt-", "kafka_", 1)
	}
	retried.Headers = append(retried.Headers, header("kafka_original-topic", "orders-retry-1"), header("kafka_exception-message", "still no room"), header("retry_topic-attempts", "\x00\x00\x00\x03"))
	retried.Partition = 2
	p.write(springLetter(), retried, &kgo.Record{Topic: dlq, Partition: 1, Key: []byte("c"), Value: []byte(`"c"`), Headers: []kgo.RecordHeader{
		header("__connect.errors.topic", source), header("__connect.errors.partition", "1"), header("__connect.errors.offset", "8"),
		header("__connect.errors.connector.name", "sink"), header("__connect.errors.class.name", "org.example.Task"),
		header("__connect.errors.exception.class.name", "org.example.DataException"), header("__connect.errors.exception.message", "no schema"),
		header("mine", "x"),
	}})
	p.join("spring-group")
	p.join("connect-sink")
	var got []deadletter.Letter
	for letter, err := range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, letter)
	}
	want := []kafka.DeadLetter{
		{Topic: source, Partition: 2, Offset: 1 << 40, Timestamp: time.UnixMilli(1767323045000).UTC(), Group: "spring-group", Class: "com.example.NoRoom", Message: "no room"},
		{Topic: source, Partition: 1, Offset: 8, Group: "connect-sink", Class: "org.example.DataException", Message: "no schema"},
	}
	want = append(want, want[0])
	want[2].Message = "still no room"
	for i, dialect := range []deadletter.Dialect{deadletter.DialectSpring, deadletter.DialectConnect, deadletter.DialectSpring} {
		if got[i].Dialect != dialect || got[i].Origin != want[i] || got[i].Err != nil {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 3 {
		t.Errorf("%+v", result)
	}
	for _, m := range p.sent() {
		if slices.ContainsFunc(m.Headers, func(h kgo.RecordHeader) bool {
			return strings.HasPrefix(h.Key, "kafka_") || strings.HasPrefix(h.Key, "retry_topic") || strings.HasPrefix(h.Key, "__connect.")
		}) {
			t.Errorf("sent with headers %q", m.Headers)
		}
	}
	// Spring's recoverer keeps the record's headers, and so what the redrive has added, and adds its own.
	again := springLetter()
	again.Headers = append(p.sent()[1].Headers, again.Headers...)
	again.Partition = 0
	p.write(again)
	for letter, err := range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if letter.Origin.Redrives != 1 || letter.Dialect != deadletter.DialectSpring || letter.Origin.Offset != 1<<40 || letter.Origin.Message != "no room" {
			t.Errorf("came back as %+v", letter.Origin)
		}
	}
}

func springLetter() *kgo.Record {
	long := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	return &kgo.Record{Topic: dlq, Partition: 0, Key: []byte("s"), Value: []byte(`"s"`), Headers: []kgo.RecordHeader{
		header("kafka_dlt-original-topic", source), {Key: "kafka_dlt-original-partition", Value: binary.BigEndian.AppendUint32(nil, 2)},
		{Key: "kafka_dlt-original-offset", Value: long(1 << 40)}, {Key: "kafka_dlt-original-timestamp", Value: long(1767323045000)},
		header("kafka_dlt-original-consumer-group", "spring-group"), header("kafka_dlt-exception-fqcn", "org.springframework.kafka.listener.ListenerExecutionFailedException"),
		header("kafka_dlt-exception-cause-fqcn", "com.example.NoRoom"), header("kafka_dlt-exception-message", "no room"),
	}}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1), letter(1, 2))
	p.redrive(deadletter.RedriveOptions{Filter: deadletter.Filter{Key: "key-0/0"}})
	plan, err := deadletter.PlanPurge(p.context(), p.client, dlq, deadletter.PurgeOptions{Redriven: true})
	if err != nil || plan.Letters != 1 || plan.Pending != 0 || plan.UpTo[0] != 1 || len(plan.UpTo) != 1 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if text, err := json.Marshal(plan); err != nil || !strings.Contains(string(text), `"upTo":{"0":1}`) {
		t.Errorf("%s, %v", text, err)
	}
	if err := plan.Do(p.context(), p.client); err != nil {
		t.Fatal(err)
	}
	if got := p.list(deadletter.Filter{State: deadletter.All}); !slices.Equal(got, []string{`"0/1"`, `"1/2"`}) {
		t.Errorf("left %q", got)
	}
	if plan, err = deadletter.PlanPurge(p.context(), p.client, dlq, deadletter.PurgeOptions{Before: time.Now().Add(-time.Hour)}); err != nil || len(plan.UpTo) != 0 {
		t.Errorf("of an hour ago: %+v, %v", plan, err)
	}
	plan, err = deadletter.PlanPurge(p.context(), p.client, dlq, deadletter.PurgeOptions{})
	if err != nil || plan.Letters != 2 || plan.Pending != 2 {
		t.Fatalf("%+v, %v", plan, err)
	}
	p.write(letter(1, 3)) // which was not counted
	if err := plan.Do(p.context(), p.client); err != nil {
		t.Fatal(err)
	}
	if got := p.list(deadletter.Filter{State: deadletter.All}); !slices.Equal(got, []string{`"1/3"`}) {
		t.Errorf("left %q", got)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 1 {
		t.Errorf("%+v", result)
	}
}
