package deadletter_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/kafkatest"
)

var (
	controlKey = strings.Repeat("c", 32)
	newKey     = strings.Repeat("n", 32)
)

func newSealedPlace(t *testing.T) *place { return start(t, &place{t: t, key: controlKey}, nil) }

// connect returns a client with these keys.
func (p *place) connect(keys string) *kafka.Client {
	p.t.Helper()
	cfg := p.broker.ClientConfig()
	cfg.ControlKey = kafka.NewSecret(keys)
	client, err := kafka.NewClient(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = client.Close() })
	return client
}

// sealed seals records as the service does that has the key.
func (p *place) sealed(records ...*kgo.Record) []*kgo.Record {
	for _, r := range records {
		p.client.SealHeaders(r)
	}
	return records
}

func mark(partition int32, ranges string) *kgo.Record {
	return &kgo.Record{Topic: dlq, Partition: partition, Key: []byte(ranges), Value: []byte{}, Headers: []kgo.RecordHeader{
		header(deadletter.HeaderRedriven, ranges), header(deadletter.HeaderWrittenTo, dlq),
	}}
}

func (p *place) stats(filter deadletter.Filter) deadletter.Stats {
	p.t.Helper()
	stats, err := deadletter.ReadStats(p.context(), p.client, dlq, filter)
	if err != nil {
		p.t.Fatal(err)
	}
	return stats
}

// purge deletes what the options mean, and returns how many letters that was.
func (p *place) purge(opts deadletter.PurgeOptions) int64 {
	p.t.Helper()
	plan, err := deadletter.PlanPurge(p.context(), p.client, dlq, opts)
	if err == nil {
		err = plan.Do(p.context(), p.client)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return plan.Letters
}

// Marks that nobody has sealed, or for another partition, make no letter disappear: it stays pending, is not purged,
// and goes back.
func TestForgedMarksDontCountWithAKey(t *testing.T) {
	t.Parallel()
	p := newSealedPlace(t)
	p.write(p.sealed(letter(0, 0), letter(0, 1), letter(1, 0))...)
	unparked := &kgo.Record{Topic: dlq, Key: []byte("key-0/0"), Headers: []kgo.RecordHeader{header(deadletter.HeaderUnparked, "orders/0/0/"+group), header(deadletter.HeaderWrittenTo, dlq)}}
	p.write(mark(0, "0-1"), mark(1, "0"), unparked)
	replayed := p.sealed(mark(1, "0"))[0]
	replayed.Partition = 0
	stranger := mark(0, "0-1")
	p.connect(newKey).SealHeaders(stranger)
	p.write(replayed, stranger)

	if stats := p.stats(deadletter.Filter{}); stats.Redriven != 0 || stats.Letters-stats.Unsealed != 3 || stats.Unsealed != 5 || stats.Marks != 0 {
		t.Errorf("%+v, want 3 letters that are pending, and 5 records that may be forged", stats)
	}
	if n := p.purge(deadletter.PurgeOptions{Redriven: true}); n != 0 {
		t.Errorf("%d letters are purged as if they had been sent back", n)
	}
	result := p.redrive(deadletter.RedriveOptions{})
	if result.Sent != 3 || result.Left[deadletter.LeftUnsealed] != 5 {
		t.Errorf("%+v", result)
	}
	if n := p.purge(deadletter.PurgeOptions{Redriven: true}); n != 3 {
		t.Errorf("%d letters are purged once they were sent back, want 3", n)
	}
}

// A letter that keeps its key parked stays, whatever a forged record says of the same place.
func TestForgedPlacesOfParkedKeysDontCountWithAKey(t *testing.T) {
	t.Parallel()
	p := newSealedPlace(t)
	place := header(deadletter.HeaderParked, "orders/0/0/"+group)
	p.write(p.sealed(letter(0, 0, place))...)
	p.redrive(deadletter.RedriveOptions{})
	p.write(set(letter(0, 0, place), deadletter.HeaderGroup, ""), &kgo.Record{Topic: dlq, Headers: []kgo.RecordHeader{header(deadletter.HeaderUnparked, "orders/0/0/"+group)}})
	if n := p.purge(deadletter.PurgeOptions{Redriven: true}); n != 0 {
		t.Errorf("%d letters are purged while they park their key", n)
	}
	p.write(p.sealed(&kgo.Record{Topic: dlq, Headers: []kgo.RecordHeader{header(deadletter.HeaderUnparked, "orders/0/0/"+group)}})...)
	if n := p.purge(deadletter.PurgeOptions{Redriven: true}); n != 1 {
		t.Errorf("%d letters are purged once its record was handled, want 1", n)
	}
}

// Letters without a seal are shown with what they say, and go back if that is asked for alone. Then they are sealed.
func TestUnsealedLettersAreShownAndLeft(t *testing.T) {
	t.Parallel()
	p := newSealedPlace(t)
	spring := &kgo.Record{Topic: dlq, Key: []byte("k"), Value: []byte(`"spring"`), Headers: []kgo.RecordHeader{header("kafka_dlt-original-topic", source), header("kafka_dlt-exception-fqcn", "x.Y")}}
	p.write(letter(0, 0), spring)
	p.write(p.sealed(letter(0, 1))...)
	var shown []bool
	for l, err := range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
		if err != nil || l.Err != nil || l.Origin.Topic != source || l.Origin.Class == "" {
			t.Errorf("%+v, %v", l, err)
		}
		shown = append(shown, l.Unsealed)
	}
	if !slices.Equal(shown, []bool{true, true, false}) {
		t.Errorf("unsealed: %v", shown)
	}
	var left []int64
	result := p.redrive(deadletter.RedriveOptions{OnLeft: func(l deadletter.Letter, why deadletter.Reason) {
		if why != deadletter.LeftUnsealed || !l.Unsealed {
			t.Errorf("left %+v: %s", l, why)
		}
		left = append(left, l.Offset)
	}})
	if result.Sent != 1 || !slices.Equal(left, []int64{0, 1}) || !result.Complete {
		t.Errorf("%+v, left %v", result, left)
	}
	if result := p.redrive(deadletter.RedriveOptions{Unsealed: true}); result.Sent != 2 || len(result.Left) > 0 {
		t.Errorf("%+v", result)
	}
	for _, r := range p.stored(source) {
		if !p.client.TrustsHeaders(r) {
			t.Errorf("sent back without a seal: %q", r.Headers)
		}
	}
	if n := p.purge(deadletter.PurgeOptions{Redriven: true}); n != 0 {
		t.Errorf("%d letters are purged, though nobody has sealed the first", n)
	}
	if n := p.purge(deadletter.PurgeOptions{Redriven: true, Unsealed: true}); n != 3 {
		t.Errorf("%d letters are purged, want 3", n)
	}
}

// What was sent back before there was a key is not sent again with Unsealed.
func TestMarksOfBeforeTheKeyCountIfThatIsAskedFor(t *testing.T) {
	t.Parallel()
	p := newSealedPlace(t)
	p.write(letter(0, 0), letter(0, 1), mark(0, "0"))
	if result := p.redrive(deadletter.RedriveOptions{Unsealed: true}); result.Sent != 1 {
		t.Errorf("%+v, want one letter", result)
	}
}

// A client without a key takes sealed letters for what they are, as before.
func TestWithoutAKeySealsAreNotLookedAt(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	var log strings.Builder
	cfg := p.broker.ClientConfig()
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	client, err := kafka.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.client.Close()
	p.client = client // which the place closes
	old := letter(0, 0)
	p.connect(controlKey).SealHeaders(old)
	p.write(old, letter(0, 1))
	if stats := p.stats(deadletter.Filter{}); stats.Letters != 2 || stats.Unsealed != 0 {
		t.Errorf("%+v", stats)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 2 {
		t.Errorf("%+v", result)
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "KAFKA_CONTROL_KEY") {
		t.Errorf("the log does not say that the key is missing: %s", text)
	}
	for _, r := range p.stored(source) {
		if slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == deadletter.HeaderSeal }) {
			t.Errorf("sent back with a seal that holds no more: %q", r.Headers)
		}
	}
}

// A key is replaced while letters of the old one wait: they go back with the new one's seal, and are handled by who
// knows both.
func TestKeysAreReplacedWhileLettersWait(t *testing.T) {
	t.Parallel()
	p := newSealedPlace(t)
	s := &seen{broken: true}
	consume := func(group, keys string, s *seen) (stop func()) {
		cfg := p.broker.ConsumerConfig(source, group)
		cfg.ControlKey = kafka.NewSecret(keys)
		consumer, err := kafka.NewConsumer(cfg, s.handle)
		if err != nil {
			t.Fatal(err)
		}
		return kafkatest.Run(t, consumer)
	}
	stop := consume(group, controlKey, s)
	kafkatest.Publish(t, p.broker, source, kafka.NewMessage[string]().WithKey("k").WithValue("a").Build())
	kafkatest.AwaitDone(t, p.broker, source, group)
	stop()
	s.breaks(false)
	other := &seen{}
	consume(group, controlKey+"\n"+newKey, s)
	consume("other", newKey+"\n"+controlKey, other)
	kafkatest.AwaitDone(t, p.broker, source, "other")
	if _, err := deadletter.Redrive(p.context(), p.connect(newKey), dlq, deadletter.RedriveOptions{}); err != nil || len(p.stored(source)) != 1 {
		t.Fatalf("%v; %d records, want the first alone: this client does not know the letter's key", err, len(p.stored(source)))
	}
	result, err := deadletter.Redrive(p.context(), p.connect(newKey+"\n"+controlKey), dlq, deadletter.RedriveOptions{})
	if err != nil || result.Sent != 1 {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, g := range []string{group, "other"} {
		kafkatest.AwaitDone(t, p.broker, source, g)
	}
	if got := s.got(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("its group handled %q", got)
	}
	if got := other.got(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("the other group handled %q, want what was published alone", got)
	}
	if !p.connect(newKey).TrustsHeaders(p.stored(source)[1]) {
		t.Error("what was sent back is not sealed with the new key")
	}
}

// stored returns a topic's records, one partition after another.
func (p *place) stored(topic string) (records []*kgo.Record) {
	p.t.Helper()
	for partition, info := range p.cluster.PartitionInfos(topic) {
		reader := p.dial(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(partition): kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords())
		for next := info.LogStartOffset; next < info.HighWatermark; {
			fetches := reader.PollFetches(p.context())
			if err := fetches.Err(); err != nil {
				p.t.Fatal(err)
			}
			for _, r := range fetches.Records() {
				if next = r.Offset + 1; !r.Attrs.IsControl() {
					records = append(records, r)
				}
			}
		}
		reader.Close()
	}
	return records
}

// While a key is introduced, letters of services that have none yet are like others, and forged seals are not.
func TestUnsealedLettersAreAcceptedWhileAKeyIsIntroduced(t *testing.T) {
	t.Parallel()
	p := newSealedPlace(t)
	forged := letter(0, 2)
	p.connect(newKey).SealHeaders(forged)
	p.write(letter(0, 0), p.sealed(letter(0, 1))[0], forged)
	cfg := p.broker.ClientConfig()
	cfg.AcceptUnsealed = true
	client, err := kafka.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	result, err := deadletter.Redrive(p.context(), client, dlq, deadletter.RedriveOptions{})
	if err != nil || result.Sent != 2 || result.Left[deadletter.LeftUnsealed] != 1 {
		t.Errorf("%+v, %v", result, err)
	}
}
