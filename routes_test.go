package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// However many retry topics there are, one client consumes and one produces, and hooks and Health name the topics.
func TestRetryTopicsTakeNoClientsOfTheirOwn(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.putOff()
		var clients atomic.Int32
		var mu sync.Mutex
		assigned := map[string][]int32{}
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil }, kafka.ConsumerHooks{
			Client: func(*kgo.Client) kgo.Hook {
				clients.Add(1)
				return nil
			},
			PartitionsAssigned: func(topic string, partitions []int32) {
				mu.Lock()
				defer mu.Unlock()
				assigned[topic] = slices.Sorted(slices.Values(partitions))
			},
		})
		time.Sleep(time.Minute)
		if n := clients.Load(); n != 2 {
			t.Errorf("there are %d clients, want one that consumes and one that produces", n)
		}
		want := map[string][]int32{}
		for _, p := range consumer.Health().Partitions {
			want[p.Topic] = append(want[p.Topic], p.Partition)
		}
		mu.Lock()
		defer mu.Unlock()
		if fmt.Sprint(assigned) != fmt.Sprint(want) || len(want) != 3 {
			t.Errorf("assigned are %v, Health has %v", assigned, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Records that wait in a retry topic don't fill the queue that others need, and each is handled when it is due.
func TestWhatIsNotDueIsNotFetched(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 8} {
		t.Run(fmt.Sprintf("Concurrency%d", concurrency), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				cfg := b.putOff()
				cfg.Concurrency = concurrency
				retry := cfg.RetryTopics()[1] // of ten minutes
				records := make([]*kgo.Record, 10_000)
				for i := range records {
					records[i] = &kgo.Record{Topic: retry, Key: fmt.Append(nil, i), Value: []byte(`{"n":1}`)}
				}
				client := b.raw()
				defer client.Close()
				if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				var early, handled atomic.Int64
				consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
					handled.Add(1)
					if msg.Topic == retry && time.Since(began) < 9*time.Minute {
						early.Add(1)
					}
					return nil
				})
				time.Sleep(time.Minute)
				for _, p := range consumer.Health().Partitions {
					if p.Paused {
						t.Errorf("%s-%d is paused: nothing is wrong with what is not due", p.Topic, p.Partition)
					}
					if p.QueuedRecords+p.RecordsInHand > 4000 {
						t.Errorf("%s-%d holds %d records that are not due", p.Topic, p.Partition, p.QueuedRecords)
					}
				}
				b.seed(0, 10)
				time.Sleep(time.Minute)
				if n := handled.Load(); n != 10 {
					t.Errorf("%d records are handled after %v, want the 10 that are due", n, time.Since(began))
				}
				time.Sleep(20 * time.Minute)
				if n := handled.Load(); n != 10_010 || early.Load() > 0 {
					t.Errorf("%d records are handled in the end, %d before they were due", n, early.Load())
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What waits in a retry topic is older than the start, and retention may have deleted what was committed last. None of
// what is there is passed over, whatever is said about the topic itself.
func TestRetryTopicsAreReadFromTheirFirstRecord(t *testing.T) {
	t.Parallel()
	for _, reset := range []string{"earliest", "latest", "none"} {
		for _, committed := range []int64{-1, 1} {
			t.Run(fmt.Sprintf("%s/%d", reset, committed), func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bubble) {
					cfg := b.putOff()
					retry := cfg.RetryTopics()[0]
					for n := range 6 {
						b.put(&kgo.Record{Topic: retry, Value: fmt.Appendf(nil, `{"n":%d}`, n)})
					}
					if committed >= 0 {
						b.commitOf(retry, 0, committed, nil)
					}
					b.deleteRecordsOf(retry, 0, 3)
					for partition := range int32(2) {
						b.commit(partition, 0, nil)
					}
					for _, name := range cfg.RetryTopics() {
						b.commitOf(name, 1, 0, nil)
					}
					cfg.AutoOffsetReset = kafka.OffsetReset(reset)
					if handled := b.consume(cfg); !slices.Equal(handled, []int64{3, 4, 5}) {
						t.Errorf("handled %v, want 3 to 5:\n%s", handled, b.log.String())
					}
				})
			})
		}
	}
}

// A partition of the same number in another topic is another one: nothing is committed of it.
func TestCommitsAreOfATopicsPartition(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.putOff()
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(time.Minute)
		core := kafka.CoreOf(consumer)
		member, _ := core.Assigned(0).Client().GroupMetadata()
		request := &kmsg.OffsetCommitRequest{MemberID: member}
		for _, name := range []string{"orders", "refunds", cfg.RetryTopics()[0]} {
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic, topic.Partitions = name, []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()}
			request.Topics = append(request.Topics, topic)
		}
		if !core.DropUnassigned(request) || len(request.Topics) != 2 || request.Topics[0].Topic != "orders" || request.Topics[1].Topic != cfg.RetryTopics()[0] {
			t.Errorf("committed are %+v, want those of orders and of its retry topic", request.Topics)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A consumer of several topics is one member with one handler. Each topic has its own dead letter topic, unless one is named
// for all.
func TestSeveralTopicsAreConsumed(t *testing.T) {
	t.Parallel()
	for _, protocol := range []kafka.GroupProtocol{kafka.ProtocolClassic, kafka.ProtocolConsumer} {
		for _, dlq := range []string{"", "dlq-orders"} {
			t.Run(fmt.Sprint(protocol, dlq), func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bubble) {
					b.createTopic("refunds")
					b.createTopic("dlq-refunds")
					b.seed(0, 10)
					for n := range 10 {
						b.put(&kgo.Record{Topic: "refunds", Value: fmt.Appendf(nil, `{"n":%d}`, n)})
					}
					cfg := b.consumer()
					cfg.Topic, cfg.Topics, cfg.GroupProtocol, cfg.DLQTopic = "", []string{"orders", "refunds"}, protocol, dlq
					var mu sync.Mutex
					handled := map[string]int{}
					consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
						mu.Lock()
						defer mu.Unlock()
						if msg.Value.N == 3 {
							return kafka.NewPermanentError("no good", nil)
						}
						handled[msg.Topic]++
						return nil
					})
					time.Sleep(time.Minute)
					if h := consumer.Health(); h.Topic != "orders,refunds" || len(h.Partitions) != 4 || h.Partitions[2].Topic != "refunds" || !h.Ready() {
						t.Errorf("health: %+v", h)
					}
					if err := stop(); err != nil {
						t.Error(err)
					}
					if handled["orders"] != 9 || handled["refunds"] != 9 {
						t.Errorf("handled are %v, want 9 of each", handled)
					}
					commits := b.cluster.GroupInfo("group").Commits
					if commits["orders"][0].Offset != 10 || commits["refunds"][0].Offset != 10 {
						t.Errorf("committed are %v", commits)
					}
					want := map[string]int64{"dlq-orders": 1, "dlq-refunds": 1}
					if dlq != "" {
						want = map[string]int64{"dlq-orders": 2, "dlq-refunds": 0}
					}
					for name, n := range want {
						if got := storedIn(b.cluster, name); got != n {
							t.Errorf("%d letters in %s, want %d", got, name, n)
						}
					}
				})
			})
		}
	}
}

// A consumer's own dead letters would come back to it for ever.
func TestDeadLettersOfOneOfSeveralTopicsAreNotConsumedWithIt(t *testing.T) {
	for name, cfg := range map[string]kafka.ConsumerConfig{
		"its own": {Topic: "orders", Topics: []string{"dlq-orders"}},
		"for all": {Topics: []string{"orders", "letters"}, DLQTopic: "letters"},
	} {
		cfg.Group, cfg.Brokers = "group", []string{"kafka-1:9092"}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "for ever") {
			t.Errorf("%s: %v, want that they would come back", name, err)
		}
		cfg.DisableDeadLetters = true
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s, without dead letters: %v", name, err)
		}
	}
	if err := (kafka.ConsumerConfig{ClientConfig: kafka.ClientConfig{Brokers: []string{"kafka-1:9092"}}, Group: "group"}).Validate(); err == nil || !strings.Contains(err.Error(), "Topic") {
		t.Errorf("no topic: %v", err)
	}
}
