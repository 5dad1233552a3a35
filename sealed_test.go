package kafka_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/seal"
)

// sealed seals a record with a key, as a service that has it does.
func sealed(t *testing.T, key string, scope seal.Scope, r *kgo.Record) *kgo.Record {
	t.Helper()
	keys, err := seal.Parse(key)
	if err != nil {
		t.Fatal(err)
	}
	r.Headers = keys.Seal(r, scope)
	return r
}

// isSealed tells whether a stored record has the key's seal.
func isSealed(t *testing.T, key string, r *kgo.Record) bool {
	t.Helper()
	keys, err := seal.Parse(key)
	if err != nil {
		t.Fatal(err)
	}
	return keys.Verify(r)
}

// With a key, headers that nobody has sealed with it have no record skipped, name no first place, and are not shown to
// the handler.
func TestForgedControlHeadersDontCountWithAKey(t *testing.T) {
	t.Parallel()
	group := func() []kgo.RecordHeader { return sentBack("orders", "orders", "others") }
	mark := func() []kgo.RecordHeader {
		return headers(dlqheader.Redriven, "0-9", dlqheader.WrittenTo, "orders")
	}
	sealedAt := func(topic string, partition int32, key string) func(*testing.T, *kgo.Record) {
		return func(t *testing.T, r *kgo.Record) {
			at := *r
			at.Topic, at.Partition = topic, partition
			r.Headers = sealed(t, key, seal.ToPartition, &at).Headers
		}
	}
	for _, c := range []struct {
		name    string
		headers []kgo.RecordHeader
		mark    bool // the record has no value
		seal    func(*testing.T, *kgo.Record)
		skipped kafka.SkipReason
		first   bool // the letter names the first place
	}{
		{name: "for another group, unsealed", headers: group()},
		{name: "for another group, sealed", headers: group(), seal: sealedAt("orders", 0, controlKey), skipped: kafka.SkippedOtherGroup},
		{name: "for another group, sealed with the key before", headers: group(), seal: sealedAt("orders", 0, otherKey), skipped: kafka.SkippedOtherGroup},
		{name: "for another group, sealed with a stranger's key", headers: group(), seal: sealedAt("orders", 0, strings.Repeat("s", 32))},
		{name: "for another group, sealed for another topic", headers: group(), seal: sealedAt("payments", 0, controlKey)},
		{name: "for another group, sealed for another partition", headers: group(), seal: sealedAt("orders", 1, controlKey)},
		{name: "for another group, a header added", headers: group(), seal: func(t *testing.T, r *kgo.Record) {
			sealedAt("orders", 0, controlKey)(t, r)
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: dlqheader.RedriveGroup, Value: []byte("more")})
		}},
		{name: "for another group, another value", headers: group(), seal: func(t *testing.T, r *kgo.Record) {
			sealedAt("orders", 0, controlKey)(t, r)
			r.Value = []byte(`{"n":2}`)
		}},
		{name: "a mark, unsealed", headers: mark(), mark: true},
		{name: "a mark, sealed", headers: mark(), mark: true, seal: sealedAt("orders", 0, controlKey), skipped: kafka.SkippedMark},
		{name: "a first place, unsealed", headers: sentBack("orders", "orders", "group")},
		{name: "a first place, sealed", headers: sentBack("orders", "orders", "group"), seal: sealedAt("orders", 0, controlKey), first: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				r := &kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(`{"n":1}`), Headers: append(headers("own", "kept"), c.headers...)}
				if c.mark {
					r.Value = nil
				}
				if c.seal != nil {
					c.seal(t, r)
				}
				b.put(r)
				cfg := b.consumer()
				cfg.ControlKey, cfg.HandleTombstones = kafka.NewSecret(controlKey+"\n"+otherKey), true
				var mu sync.Mutex
				var skipped []kafka.SkipReason
				var handled []kafka.Message[numbered]
				_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
					mu.Lock()
					defer mu.Unlock()
					handled = append(handled, msg)
					return kafka.NewPermanentError("no", errors.New("ours"))
				}, kafka.ConsumerHooks{RecordSkipped: func(_ *kgo.Record, reason kafka.SkipReason) {
					mu.Lock()
					defer mu.Unlock()
					skipped = append(skipped, reason)
				}})
				time.Sleep(30 * time.Second)
				if err := stop(); err != nil {
					t.Error(err)
				}
				if c.skipped != "" {
					if len(handled) > 0 || b.letters() > 0 || !slices.Equal(skipped, []kafka.SkipReason{c.skipped}) {
						t.Errorf("handled %d times, %d letters, skipped %v; want it skipped as %s", len(handled), b.letters(), skipped, c.skipped)
					}
					return
				}
				if len(handled) != 1 || len(skipped) > 0 {
					t.Fatalf("handled %d times, skipped %v", len(handled), skipped)
				}
				_, shown := handled[0].DeadLetter()
				if own, _ := handled[0].Header("own"); shown != c.first || own != "kept" {
					t.Errorf("the handler gets the headers %q", handled[0].Headers)
				}
				if logged := b.log.count(slog.LevelWarn, "topic=orders", "partition=0", "offset=0"); (logged == 1) == c.first {
					t.Errorf("the log says so %d times", logged)
				}
				stored := b.read("dlq-orders", 1)[0]
				letter, _ := parseDeadLetter(stored.Headers)
				want := kafka.DeadLetter{Topic: "orders"}
				if c.first {
					want = kafka.DeadLetter{Topic: "orders", Partition: 1, Offset: 7, Redrives: 3}
				}
				if letter.Topic != want.Topic || letter.Partition != want.Partition || letter.Offset != want.Offset || letter.Redrives != want.Redrives {
					t.Errorf("letter %+v, want the place of %+v", letter, want)
				}
				if !isSealed(t, controlKey, stored) {
					t.Errorf("the letter is not sealed: %q", stored.Headers)
				}
			})
		})
	}
}

// A letter is sealed as it is stored: whatever middleware makes of it, and however few headers it has room for.
func TestLettersAreSealedAsTheyAreStored(t *testing.T) {
	t.Parallel()
	const limit = 3000
	for _, c := range []struct {
		name string
		size int // of the value
		want []string
		not  []string
	}{
		{"all headers", 10, []string{dlqheader.Message, dlqheader.Topic, dlqheader.Seal}, nil},
		{"the place alone", limit - 500, []string{dlqheader.Topic, dlqheader.WrittenTo, dlqheader.Seal}, []string{dlqheader.Message}},
		{"none of ours", limit - 200, nil, []string{dlqheader.Topic, dlqheader.Message, dlqheader.Seal}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				client := b.raw()
				defer client.Close()
				most := fmt.Sprint(limit)
				if _, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &most}}, "orders", "dlq-orders"); err != nil {
					t.Fatal(err)
				}
				b.put(&kgo.Record{Topic: "orders", Key: []byte("k"), Value: noise(c.size), Headers: headers("own", "kept")})
				cfg := b.consumer()
				cfg.ControlKey, cfg.Compression = kafka.NewSecret(controlKey), "none"
				_, stop := b.start(cfg, never, kafka.ConsumerHooks{DeadLetters: func(next kafka.PublishFunc) kafka.PublishFunc {
					return func(ctx context.Context, r *kafka.Record, done func(error)) {
						changed := *r.Record
						changed.Value = append([]byte("w"), r.Value[1:]...)
						changed.Headers = append(slices.Clone(r.Headers), headers("traced", "1", kafka.DLQPrefix+"traced", "1", dlqheader.Seal, "forged")...)
						next(ctx, &kafka.Record{Record: &changed, Group: r.Group, Attempt: r.Attempt}, done)
					}
				}})
				time.Sleep(time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
				stored := b.read("dlq-orders", 1)[0]
				for _, name := range c.want {
					if _, ok := lastHeader(stored.Headers, name); !ok {
						t.Errorf("no header %s", name)
					}
				}
				for _, name := range c.not {
					if _, ok := lastHeader(stored.Headers, name); ok {
						t.Errorf("a header %s", name)
					}
				}
				if stored.Value[0] != 'w' || isSealed(t, controlKey, stored) != (c.want != nil) {
					t.Errorf("value %.1q, headers %q", stored.Value, stored.Headers)
				}
			})
		})
	}
}

// What a producer could not store is sealed, too. Where it is stored is decided by its key, behind the seal.
func TestLettersOfProducersAreSealed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.producer()
		cfg.DLQTopic, cfg.ControlKey = "dlq-orders", kafka.NewSecret(controlKey)
		client := b.raw()
		defer client.Close()
		most := "3000"
		if _, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &most}}, "orders"); err != nil {
			t.Fatal(err)
		}
		producer, err := kafka.NewProducer[string](cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		for i := range 8 {
			if err := producer.Publish(t.Context(), kafka.Message[string]{Key: fmt.Sprint(i), Value: strings.Repeat("v", 4000)}); err == nil {
				t.Error("stored what is too large")
			}
		}
		for _, r := range b.read("dlq-orders", 8) {
			if !isSealed(t, controlKey, r) {
				t.Errorf("the letter in partition %d is not sealed: %q", r.Partition, r.Headers)
			}
		}
	}, kfake.SeedTopics(2, "orders", "dlq-orders"))
}

// The records of retry topics are sealed: the first place and the attempts of others count for nothing.
func TestRetryTopicsBelieveSealedRecordsAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.putOff()
		cfg.RetryDelays, cfg.ControlKey = cfg.RetryDelays[:1], kafka.NewSecret(controlKey)
		retry, began := cfg.RetryTopics()[0], time.Now()
		place := func(group string) []kgo.RecordHeader {
			return headers(dlqheader.WrittenTo, retry, dlqheader.Topic, "orders", dlqheader.Partition, "0", dlqheader.Offset, "7",
				dlqheader.Group, group, dlqheader.DeliveryCount, "40")
		}
		value := func(n int) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }
		b.put(&kgo.Record{Topic: retry, Value: value(1), Headers: place("group")})
		b.put(&kgo.Record{Topic: retry, Value: value(2), Headers: place("others")})
		b.put(sealed(t, controlKey, seal.ToTopic, &kgo.Record{Topic: retry, Value: value(3), Headers: place("others")}))
		b.put(&kgo.Record{Topic: "orders", Value: value(4)})
		a := &attempts{began: began, fails: func(n, attempt int) error {
			if n == 4 && attempt < 3 {
				return errAway
			}
			return nil
		}}
		_, stop := b.start(cfg, a.handle)
		time.Sleep(5 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for n, want := range [][]string{
			1: {"1 of " + retry + "-0/0: attempt 1 last in minute 1"},
			2: {"2 of " + retry + "-0/1: attempt 1 last in minute 1"},
			3: nil,
			4: {"4 of orders-0/0: attempt 1 in minute 0", "4 of orders-0/0: attempt 2 in minute 0", "4 of orders-0/0: attempt 3 last in minute 1"},
		} {
			if got := a.of(n); !slices.Equal(got, want) {
				t.Errorf("record %d: %q, want %q", n, got, want)
			}
		}
	})
}

// Neither letters nor marks that somebody else has written say which keys are parked.
func TestParkedKeysAreThoseOfSealedRecords(t *testing.T) {
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		cfg := l.config()
		cfg.ControlKey = kafka.NewSecret(controlKey)
		header := func(name, value string) []kgo.RecordHeader {
			return headers(name, value, dlqheader.WrittenTo, "dlq-orders")
		}
		letter := func(key string, headers []kgo.RecordHeader) *kgo.Record {
			return &kgo.Record{Topic: "dlq-orders", Key: []byte(key), Value: []byte("x"), Headers: headers}
		}
		l.refuse("a 0")
		l.publish("a 0", "b 0")
		_, stop := l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		l.wantHandled("b 0")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		unpark := header(dlqheader.Unparked, "orders/0/0/group")
		l.produce(
			letter("b", header(dlqheader.Parked, "orders/0/1/group")),
			&kgo.Record{Topic: "dlq-orders", Key: []byte("a"), Headers: unpark},
			sealed(t, otherKey, seal.ToTopic, &kgo.Record{Topic: "dlq-orders", Key: []byte("a"), Headers: unpark}),
		)
		l.refuse()
		l.publish("a 1", "b 1")
		_, stop = l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		l.wantHandled("b 1")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		l.produce(sealed(t, controlKey, seal.ToTopic, &kgo.Record{Topic: "dlq-orders", Key: []byte("a"), Headers: unpark}))
		l.publish("a 2")
		l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		l.wantHandled() // behind a 1, whose letter is sealed
	})
}

// While a key is introduced, what is not sealed counts as before: the records of services that have no key yet. A
// forged seal does not.
func TestUnsealedRecordsAreAcceptedWhileAKeyIsIntroduced(t *testing.T) {
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		before := l.config()
		l.refuse("a 0")
		l.publish("a 0")
		_, stop := l.start(before, l.handle)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		cfg := l.config()
		cfg.ControlKey, cfg.AcceptUnsealed = kafka.NewSecret(controlKey), true
		l.refuse()
		l.publish("a 1")
		skipped := &kgo.Record{Topic: "orders", Key: []byte("b"), Value: []byte(`{"n":0}`), Headers: sentBack("orders", "orders", "others")}
		forged := &kgo.Record{Topic: "orders", Key: []byte("b"), Value: []byte(`{"n":1}`), Headers: sentBack("orders", "orders", "others")}
		l.produce(skipped, sealed(t, otherKey, seal.ToPartition, forged))
		l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		l.wantHandled("b 1") // a 1 is parked behind the letter of before
		letters := l.wantLetters("permanent: a 0", "parked: a 1")
		if isSealed(t, controlKey, letters[0]) || !isSealed(t, controlKey, letters[1]) {
			t.Errorf("headers %q, %q", letters[0].Headers, letters[1].Headers)
		}
		l.sendBack(letters...) // as who has no key
		time.Sleep(time.Minute)
		l.wantHandled("a 0", "a 1")
	})
}

// noise is what no compression makes smaller.
func noise(size int) []byte {
	value := make([]byte, size)
	_, _ = rand.Read(value)
	return value
}
