package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
)

// putOff is a config with retry topics of a minute and of ten, which exist.
func (b *bubble) putOff() kafka.ConsumerConfig {
	b.t.Helper()
	cfg := b.consumer()
	cfg.MaxRetries, cfg.RetryBackoff, cfg.RetryBackoffMax = 1, time.Second, time.Second
	cfg.RetryDelays = []time.Duration{time.Minute, 10 * time.Minute}
	for _, name := range cfg.RetryTopics() {
		b.createTopic(name)
	}
	return cfg
}

// attempts are a handler's calls, which fail for records below n for so long.
type attempts struct {
	began time.Time
	fails func(n, attempt int) error

	mu    sync.Mutex
	calls []string
	order []int // of what went well
}

func (a *attempts) handle(_ context.Context, msg kafka.Message[numbered]) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := msg.Value.N
	total := msg.Attempt
	place := fmt.Sprintf("%s-%d/%d", msg.Topic, msg.Partition, msg.Offset)
	if letter, ok := msg.DeadLetter(); ok {
		place = fmt.Sprintf("%s-%d/%d", letter.Topic, letter.Partition, letter.Offset)
		total += letter.Attempts
	}
	last := ""
	if msg.LastAttempt {
		last = " last"
	}
	a.calls = append(a.calls, fmt.Sprintf("%d of %s: attempt %d%s in minute %d", n, place, total, last, int(time.Since(a.began)/time.Minute)))
	if err := a.fails(n, total); err != nil {
		return err
	}
	a.order = append(a.order, n)
	return nil
}

// of returns the calls about record n.
func (a *attempts) of(n int) (calls []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, call := range a.calls {
		if strings.HasPrefix(call, fmt.Sprintf("%d of ", n)) {
			calls = append(calls, call)
		}
	}
	return calls
}

var errAway = errors.New("the database is away")

func TestARecordThatIsPutOffBlocksNothing(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 8} {
		t.Run(fmt.Sprintf("Concurrency%d", concurrency), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 20)
				cfg := b.putOff()
				cfg.Concurrency = concurrency
				a := &attempts{began: time.Now(), fails: func(n, attempt int) error {
					switch {
					case n == 3 && attempt < 3, n == 4: // 3 goes well from the first retry topic, 4 never does
						return errAway
					case n == 5 && attempt < 3:
						return errAway
					case n == 5:
						return kafka.NewPermanentError("broken", errAway)
					case n == 6 && attempt < 4:
						return errAway
					case n == 6:
						return kafka.NewBusinessError("too late", errAway)
					}
					return nil
				}}
				ends := map[kafka.Outcome]int{}
				consumer, stop := b.start(cfg, a.handle, kafka.ConsumerHooks{RecordSettled: func(_ context.Context, _ *kgo.Record, s kafka.Settlement) {
					a.mu.Lock()
					defer a.mu.Unlock()
					ends[s.Outcome]++
				}})
				time.Sleep(30 * time.Second)
				if at := b.committed(0); at != 20 {
					t.Errorf("%d committed while four records wait, want 20", at)
				}
				h := consumer.Health()
				topics := map[string]bool{}
				for _, p := range h.Partitions {
					topics[p.Topic] = true
				}
				if len(topics) != 3 || !h.Live() || !h.Ready() {
					t.Errorf("health: %+v", h)
				}
				time.Sleep(12 * time.Minute)
				for n, want := range map[int][]string{
					2: {"attempt 1 in minute 0"},
					3: {"attempt 1 in minute 0", "attempt 2 in minute 0", "attempt 3 in minute 1"},
					4: {"attempt 1 in minute 0", "attempt 2 in minute 0", "attempt 3 in minute 1", "attempt 4 last in minute 11"},
					5: {"attempt 1 in minute 0", "attempt 2 in minute 0", "attempt 3 in minute 1"},
					6: {"attempt 1 in minute 0", "attempt 2 in minute 0", "attempt 3 in minute 1", "attempt 4 last in minute 11"},
				} {
					for i := range want {
						want[i] = fmt.Sprintf("%d of orders-0/%d: %s", n, n, want[i])
					}
					if got := a.of(n); !slices.Equal(got, want) {
						t.Errorf("record %d: %q, want %q", n, got, want)
					}
				}
				if len(a.order) != 17 {
					t.Errorf("%v went well, want 17", a.order)
				}
				letters := b.readLetters(2)
				for i, want := range []kafka.DeadLetter{
					{Offset: 5, Attempts: 3, Class: kafka.ClassPermanent, Message: "broken: the database is away"},
					{Offset: 4, Attempts: 4, Class: kafka.ClassTransient, Message: "the database is away"},
				} {
					got, ok := parseDeadLetter(letters[i].Headers)
					if !ok || got.Topic != "orders" || got.Partition != 0 || got.Offset != want.Offset || got.Attempts != want.Attempts ||
						got.Class != want.Class || got.Message != want.Message || got.Group != "group" {
						t.Errorf("letter %d: %+v, want %+v", i, got, want)
					}
				}
				if n := b.letters(); n != 2 {
					t.Errorf("%d letters, want 2", n)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				// Put off are four from orders, and two of these once more.
				want := map[kafka.Outcome]int{kafka.OutcomeHandled: 17, kafka.OutcomePutOff: 6, kafka.OutcomeDeadLettered: 2, kafka.OutcomeRejected: 1}
				if !maps.Equal(ends, want) {
					t.Errorf("outcomes %v, want %v", ends, want)
				}
			})
		})
	}
}

// A pause that is hours long holds neither the end nor a handover up, and outlives both.
func TestARecordThatIsPutOffOutlivesRestarts(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 50)
				b.seed(1, 50)
				cfg := b.putOff()
				cfg.GroupProtocol, cfg.CommitInterval = kafka.GroupProtocol(protocol), time.Hour
				cfg.InstanceID = "pod-1"
				a := &attempts{began: time.Now(), fails: func(_, attempt int) error {
					if attempt < 3 {
						return errAway
					}
					return nil
				}}
				_, stop := b.start(cfg, a.handle)
				time.Sleep(5 * time.Second) // some are put off, some wait for that
				for range 4 {
					began := time.Now()
					if err := stop(); err != nil {
						t.Error(err)
					}
					if took := time.Since(began); took > 10*time.Second {
						t.Errorf("the end took %v", took)
					}
					_, stop = b.start(cfg, a.handle)
					time.Sleep(20 * time.Second)
				}
				time.Sleep(10 * time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
				seen := map[int]int{}
				for _, n := range a.order {
					seen[n]++
				}
				if len(seen) != 50 || b.letters() != 0 {
					t.Errorf("%d of 50 values went well, %d letters", len(seen), b.letters())
				}
				for n, times := range seen {
					if times != 2 {
						t.Errorf("%d went well %d times, want 2: once for each partition", n, times)
					}
				}
				for n := range 50 {
					if calls := a.of(n); !strings.Contains(calls[len(calls)-1], "attempt 3 in minute") || strings.Contains(calls[len(calls)-1], "minute 0") {
						t.Errorf("%q", calls)
					}
				}
			})
		})
	}
}

// What a header or a timestamp claims makes no attempt and no wait of its own.
func TestForgedRetriesDoNoHarm(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.putOff()
		cfg.RetryDelays = cfg.RetryDelays[:1]
		forged := func(topic, count string) []kgo.RecordHeader {
			return headers(dlqheader.WrittenTo, topic, dlqheader.Topic, "orders", dlqheader.Partition, "0", dlqheader.Offset, "7", dlqheader.Group, "group", dlqheader.DeliveryCount, count)
		}
		client := b.raw()
		defer client.Close()
		for i, r := range []*kgo.Record{
			{Topic: "orders", Headers: forged("orders", "1000000000")},
			{Topic: cfg.RetryTopics()[0], Headers: forged(cfg.RetryTopics()[0], "2147483647"), Timestamp: time.Now().Add(1000 * time.Hour)},
			{Topic: cfg.RetryTopics()[0], Headers: forged(cfg.RetryTopics()[0], "-5")},
			{Topic: cfg.RetryTopics()[0]}, // no header at all: the letter had no room
			{Topic: cfg.RetryTopics()[0], Headers: headers(dlqheader.WrittenTo, cfg.RetryTopics()[0], dlqheader.Topic, "orders", dlqheader.Partition, "0", dlqheader.Offset, "7", dlqheader.Group, "another")},
		} {
			r.Key, r.Value = []byte("k"), fmt.Appendf(nil, `{"n":%d}`, i)
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		a := &attempts{began: time.Now(), fails: func(int, int) error { return kafka.NewPermanentError("never", nil) }}
		_, stop := b.start(cfg, a.handle)
		time.Sleep(5 * time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for n, minute := range []string{"minute 0", "minute 1", "minute 1", "minute 1"} {
			if got := a.of(n); len(got) != 1 || !strings.HasSuffix(got[0], minute) {
				t.Errorf("record %d: %q, want one attempt in %s", n, got, minute)
			}
		}
		if got := a.of(4); len(got) != 0 {
			t.Errorf("another group's record was handled: %q", got)
		}
		counts := map[string]int{}
		for _, r := range b.readLetters(4) {
			letter, _ := parseDeadLetter(r.Headers)
			counts[string(r.Value)] = letter.Attempts
		}
		if want := map[string]int{`{"n":0}`: 1, `{"n":1}`: 1001, `{"n":2}`: 1, `{"n":3}`: 1}; !maps.Equal(counts, want) {
			t.Errorf("the letters count %v attempts, want %v", counts, want)
		}
	})
}

func TestRetryTopicsAreChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		prepare func(b *bubble, cfg *kafka.ConsumerConfig)
		want    error
		text    string
	}{
		{"missing", func(b *bubble, cfg *kafka.ConsumerConfig) { cfg.RetryDelays = append(cfg.RetryDelays, time.Hour) }, kafka.ErrTopicMissing, "leave its delay out of RetryDelays"},
		{"compacted", func(b *bubble, cfg *kafka.ConsumerConfig) {
			cfg.RetryDelays = append(cfg.RetryDelays, 2*time.Minute)
			_ = b.cluster.CreateTopic("retry-3-group-orders", 1, map[string]string{"cleanup.policy": "compact"})
		}, nil, "retry topic retry-3-group-orders is compacted"},
		{"short retention", func(b *bubble, cfg *kafka.ConsumerConfig) {
			cfg.RetryDelays = append(cfg.RetryDelays, 3*time.Minute)
			_ = b.cluster.CreateTopic("retry-3-group-orders", 1, map[string]string{"retention.ms": "180000"})
		}, nil, "raise retention.ms to at least 360000"},
		{"small", func(b *bubble, cfg *kafka.ConsumerConfig) {
			cfg.RetryDelays = append(cfg.RetryDelays, 4*time.Minute)
			_ = b.cluster.CreateTopic("retry-3-group-orders", 1, map[string]string{"max.message.bytes": "5000"})
		}, nil, "retry topic retry-3-group-orders takes records of 5000 bytes"},
		{"large", func(b *bubble, cfg *kafka.ConsumerConfig) { // beside a dead letter topic that takes what the source does
			cfg.RetryDelays = append(cfg.RetryDelays, 5*time.Minute)
			_ = b.cluster.CreateTopic("retry-3-group-orders", 1, map[string]string{"max.message.bytes": "5000000"})
		}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				cfg := b.putOff()
				test.prepare(b, &cfg)
				_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
				time.Sleep(time.Minute)
				err := stop()
				if test.text == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
					t.Errorf("Start returned %v, want %v, %q", err, test.want, test.text)
				}
			})
		})
	}
}

func TestRetryTopicsHaveNames(t *testing.T) {
	cfg := kafka.NewConsumerConfig("orders", "billing", "localhost:9092")
	cfg.RetryDelays = []time.Duration{1500 * time.Millisecond, time.Minute, time.Minute, time.Hour} // one of a minute twice
	want := []string{"retry-1-billing-orders", "retry-2-billing-orders", "retry-3-billing-orders", "retry-4-billing-orders"}
	if got := cfg.RetryTopics(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	cfg.Group, cfg.ParkKeys = "billing service", true
	cfg.RetryDelays = []time.Duration{time.Minute, -1, time.Hour}
	err := cfg.Validate()
	for _, text := range []string{"RetryDelays[1] is -1ns: want 1ms or more", "RetryDelays and ParkKeys", `"retry-3-billing service-orders"`, "KAFKA_CONSUMER_RETRY_DELAYS"} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v does not say %q", err, text)
		}
	}
	cfg.ParkKeys = false
	if _, err := kafka.NewBatchConsumer(cfg, func(context.Context, []kafka.Message[numbered]) error { return nil }); err == nil || !strings.Contains(err.Error(), "RetryDelays") {
		t.Errorf("a batch consumer: %v", err)
	}
}

// What was put off before a member first came to the retry topic is not passed over, wherever new groups begin.
func TestRetryTopicsAreReadFromTheirBeginning(t *testing.T) {
	t.Parallel()
	for _, reset := range []string{"latest", "none"} {
		t.Run(reset, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				cfg := b.putOff()
				cfg.AutoOffsetReset = kafka.OffsetReset(reset)
				b.commit(0, 0, nil)
				b.commit(1, 0, nil)
				client := b.raw()
				defer client.Close()
				if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: cfg.RetryTopics()[1], Value: []byte(`{"n":7}`)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
				a := &attempts{began: time.Now(), fails: func(int, int) error { return nil }}
				_, stop := b.start(cfg, a.handle)
				time.Sleep(11 * time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
				if got := a.of(7); len(got) != 1 {
					t.Errorf("%q, want one attempt", got)
				}
			})
		})
	}
}

// Whatever ends one of its topics' consumers ends the whole.
func TestTheEndOfARetryTopicEndsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.putOff()
		consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(t.Context()) }()
		time.Sleep(time.Minute)
		b.deleteTopic(cfg.RetryTopics()[1])
		select {
		case err := <-ended:
			if !errors.Is(err, kafka.ErrTopicMissing) || !strings.Contains(err.Error(), cfg.RetryTopics()[1]) {
				t.Errorf("Start returned %v, want ErrTopicMissing of the retry topic", err)
			}
		case <-time.After(time.Hour):
			t.Error("Start goes on")
		}
		if h := consumer.Health(); h.Live() || !strings.Contains(h.NotLive, cfg.RetryTopics()[1]) {
			t.Errorf("health: %+v", h)
		}
		if err := consumer.Close(); err != nil {
			t.Error(err)
		}
	})
}
