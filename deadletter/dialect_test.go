package deadletter_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// shareLetter is one as brokers write it for a share group (KIP-1191): no class, and no time.
func shareLetter(key, value []byte) *kgo.Record {
	return &kgo.Record{Topic: dlq, Key: key, Value: value, Headers: []kgo.RecordHeader{
		header(deadletter.HeaderTopic, source), header(deadletter.HeaderPartition, "0"), header(deadletter.HeaderOffset, "7"),
		header(deadletter.HeaderGroup, "shared"), header(deadletter.HeaderDeliveryCount, "5"), header(deadletter.HeaderMessage, "rejected"),
	}}
}

// joinShare runs a member of a share group.
func (p *place) joinShare(name, topic string) {
	p.t.Helper()
	member := p.dial(kgo.ShareGroup(name), kgo.ConsumeTopics(topic))
	go func() { // ends with the client
		for !member.PollFetches(p.t.Context()).IsClientClosed() && p.t.Context().Err() == nil {
		}
	}()
	for ctx := p.context(); ; {
		groups, err := kadm.NewClient(p.raw).DescribeShareGroupOffsets(ctx, name) // which it has once it reads
		if err == nil && len(groups[name].Offsets[topic]) > 0 {
			return
		}
		if ctx.Err() != nil {
			p.t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A share group that reads the topic gets its letters back; one that reads another topic does not, nor does one that is
// gone.
func TestLettersOfShareGroupsGoBack(t *testing.T) {
	t.Parallel()
	p := newPlace(t, source, "payments")
	p.write(shareLetter([]byte("k"), []byte(`"v"`)))
	if result := p.redrive(deadletter.RedriveOptions{DryRun: true}); result.Sent != 0 || result.Left[deadletter.LeftGroup] != 1 {
		t.Errorf("a group that is not there: %+v", result)
	}
	p.joinShare("elsewhere", "payments")
	p.joinShare("shared", source)
	p.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ShareGroupDescribe}, Err: kerr.GroupIDNotFound, Count: 1, Group: "shared"})
	if result := p.redrive(deadletter.RedriveOptions{DryRun: true}); result.Groups["shared"] != 1 {
		t.Errorf("a group that has read the topic, and has no members now: %+v", result)
	}
	other := set(shareLetter([]byte("k2"), []byte(`"v2"`)), deadletter.HeaderGroup, "elsewhere")
	p.write(other)
	result := p.redrive(deadletter.RedriveOptions{})
	if result.Sent != 1 || result.Groups["shared"] != 1 || result.Left[deadletter.LeftGroup] != 1 {
		t.Errorf("%+v", result)
	}
}

// A letter may only say where its record is: brokers write those of share groups so by default. It is never sent back
// as a record without key and value. A letter of this library whose record had neither is one, as ever.
func TestLettersWithoutTheirRecordAreLeft(t *testing.T) {
	t.Parallel()
	p := newPlace(t, source, "payments")
	p.joinShare("shared", source)
	empty := letter(0, 1)
	empty.Key, empty.Value = nil, nil
	p.write(shareLetter(nil, nil), empty)
	for _, opts := range []deadletter.RedriveOptions{{DryRun: true}, {DryRun: true, To: "payments"}} {
		result := p.redrive(opts)
		if result.Sent != 1 || result.Left[deadletter.LeftPointer] != 1 {
			t.Errorf("%+v: %+v", opts, result)
		}
	}
	for l, err := range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
		if err != nil || l.Pointer != (l.Offset == 0) {
			t.Errorf("%+v, %v", l, err)
		}
	}
	for l, err := range deadletter.Peek(p.context(), p.client, dlq, kafka.Bytes(), deadletter.Filter{}) {
		if err != nil || errors.Is(l.DecodeErr, deadletter.ErrPointer) != l.Pointer || l.Message.Tombstone == l.Pointer {
			t.Errorf("%+v, %v", l, err)
		}
	}
}

func javaInt(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// Spring says under other names why a key could not be deserialized.
func TestSpringsErrorsOfKeysAreRead(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	spring := func(more ...kgo.RecordHeader) *kgo.Record {
		return &kgo.Record{Topic: dlq, Key: []byte("k"), Value: []byte("v"), Headers: append([]kgo.RecordHeader{
			header("kafka_dlt-original-topic", source), {Key: "kafka_dlt-original-partition", Value: javaInt(0)},
		}, more...)}
	}
	p.write(
		spring(header("kafka_dlt-key-exception-fqcn", "org.KeyException"), header("kafka_dlt-key-exception-message", "no key")),
		spring(header("kafka_dlt-key-exception-fqcn", "org.KeyException"), header("kafka_dlt-key-exception-message", "no key"),
			header("kafka_dlt-exception-fqcn", "org.ListenerException"), header("kafka_dlt-exception-message", "no value")),
	)
	var got []string
	for l, err := range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(l.Origin.Class)+": "+l.Origin.Message)
	}
	if !slices.Equal(got, []string{"org.KeyException: no key", "org.ListenerException: no value"}) {
		t.Errorf("%q", got)
	}
}

// takeLarge lets a topic take batches of ten megabytes.
func (p *place) takeLarge(topic string) {
	p.t.Helper()
	alter := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: new("10000000")}}
	if _, err := kadm.NewClient(p.raw).AlterTopicConfigs(p.context(), alter, topic); err != nil {
		p.t.Fatal(err)
	}
}

// A record that its topic has taken compressed goes back compressed; what no compression makes fit is left, alone.
func TestWhatFitsCompressedGoesBack(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.takeLarge(dlq)
	noise := func(n int) []byte {
		bytes := make([]byte, n)
		for i := range bytes {
			bytes[i] = "0123456789abcdef"[rand.IntN(16)] // half the size for a code of single bytes, nothing repeats
		}
		return append(append([]byte{'"'}, bytes...), '"')
	}
	repeats := letter(0, 1)
	repeats.Value = append(append([]byte{'"'}, slices.Repeat([]byte("a"), 4<<20)...), '"')
	coded := letter(0, 2)
	coded.Value = noise(3 << 19) // snappy, the client's own, finds nothing to save
	never := letter(0, 3)
	never.Value = noise(4 << 20)
	large := p.dial(kgo.ProducerBatchMaxBytes(9 << 20))
	for _, l := range []*kgo.Record{letter(0, 0), repeats, coded, never, letter(0, 4)} {
		if err := large.ProduceSync(p.context(), l).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var left []int64
	result := p.redrive(deadletter.RedriveOptions{OnLeft: func(l deadletter.Letter, why deadletter.Reason) {
		if why == deadletter.LeftTooLarge {
			left = append(left, l.Offset)
		}
	}})
	if result.Sent != 4 || result.Left[deadletter.LeftTooLarge] != 1 || !slices.Equal(left, []int64{3}) || !result.Complete {
		t.Errorf("%+v, left %v", result, left)
	}
	var lengths []int
	for _, m := range p.sent() {
		lengths = append(lengths, len(m.Value))
	}
	if !slices.Equal(lengths, []int{3, 4 << 20, 3 << 19, 3}) {
		t.Errorf("sent values of %v bytes", lengths)
	}
	if got := p.list(deadletter.Filter{}); len(got) != 1 {
		t.Errorf("%d letters are pending, want the one that is too large", len(got))
	}
}

// Brokers decide what is too large, whatever the topic's settings seemed to be: the letter is left, and those around it
// go.
func TestALetterThatBrokersFindTooLargeIsLeft(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	refused := letter(1, 1)
	refused.Partition = 0
	p.write(letter(0, 0), refused, letter(0, 2))
	p.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: source, Partitions: []int32{1}, Err: kerr.MessageTooLarge, Count: -1})
	result := p.redrive(deadletter.RedriveOptions{})
	if result.Sent != 2 || result.Left[deadletter.LeftTooLarge] != 1 || !result.Complete {
		t.Errorf("%+v", result)
	}
	if got := p.committed(); !slices.Equal(got, []string{`"0/0"`, `"0/2"`}) {
		t.Errorf("committed %q", got)
	}
	if got := p.list(deadletter.Filter{}); !slices.Equal(got, []string{`"1/1"`}) {
		t.Errorf("pending %q", got)
	}
}
