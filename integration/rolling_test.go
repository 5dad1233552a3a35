package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// ordered notes what the members of a group handled, and what came twice or before its time.
type ordered struct {
	mu      sync.Mutex
	last    map[string]int // of each key
	handled map[int]int    // by message, however often
	wrong   []string
}

// handle puts every seventh message off at its first place, if there is a retry topic. Keys of the others keep their order.
func (o *ordered) handle(topic string, retries bool) kafka.Handler[numbered] {
	return func(_ context.Context, msg kafka.Message[numbered]) error {
		time.Sleep(time.Millisecond) // so that there is work during the deploy
		putOff := msg.Value.N%7 == 0
		if putOff && retries && msg.Topic == topic {
			return errors.New("the database is away")
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.handled[msg.Value.N]++
		if last, ok := o.last[msg.Key]; !putOff && ok && last >= msg.Value.N {
			o.wrong = append(o.wrong, fmt.Sprintf("%d of key %s after %d", msg.Value.N, msg.Key, last))
		}
		if !putOff {
			o.last[msg.Key] = msg.Value.N
		}
		return nil
	}
}

func (o *ordered) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.handled)
}

// A rolling deploy adds retry topics, and another one takes them away: members of one group read unlike topics for a while.
// Nothing is lost, comes twice, or before its time.
func TestRollingDeploysAddAndRemoveRetryTopics(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			const records, keys, partitions = 12_000, 60, 4
			topic := "rolling-" + uuid.NewString()
			config := func(delays ...time.Duration) kafka.ConsumerConfig {
				cfg := kafka.NewConsumerConfig(topic, topic, brokers(t)...)
				cfg.Logger, cfg.GroupProtocol, cfg.RetryDelays, cfg.MaxRetries = discard(), kafka.GroupProtocol(protocol), delays, kafka.NoRetries
				return cfg
			}
			list := topics.List{topics.New(topic, partitions)}.WithDeadLetters(config(time.Second, 2*time.Second))
			makeTopics(t, kafka.ClientConfig{Brokers: brokers(t)}, list...)
			raw, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...))
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			seeds := make([]*kgo.Record, records)
			for n := range seeds {
				seeds[n] = &kgo.Record{Topic: topic, Key: fmt.Append(nil, n%keys), Value: fmt.Appendf(nil, `{"N":%d}`, n)}
			}
			if err := raw.ProduceSync(t.Context(), seeds...).FirstErr(); err != nil {
				t.Fatal(err)
			}

			o := &ordered{last: map[string]int{}, handled: map[int]int{}}
			member := func(delays ...time.Duration) groupMember[numbered] {
				return startMember(t, config(delays...), o.handle(topic, len(delays) > 0))
			}
			members := []groupMember[numbered]{member(), member()}
			for _, delays := range [][]time.Duration{{time.Second}, {time.Second, 2 * time.Second}, nil} {
				for i := range members {
					before := o.count()
					eventually(t, "the group goes on", func() bool { return o.count() > before+200 })
					members[i].stop(t)
					members[i] = member(delays...)
				}
			}
			eventually(t, "all are handled", func() bool { return o.count() == records })
			for _, m := range members {
				m.stop(t)
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			times := 0
			for _, n := range o.handled {
				times += n
			}
			if times != records || len(o.wrong) > 0 {
				t.Errorf("%d messages are handled %d times; before their time: %q", records, times, o.wrong)
			}
			ends, err := kadm.NewClient(raw).ListEndOffsets(t.Context(), "dlq-"+topic)
			if err != nil {
				t.Fatal(err)
			}
			ends.Each(func(end kadm.ListedOffset) {
				if end.Offset > 0 {
					t.Errorf("%d dead letters in partition %d", end.Offset, end.Partition)
				}
			})
		})
	}
}

// A rolling deploy has a group read another topic as well, and takes the first one away: nothing is lost, comes twice, or
// before its time.
func TestRollingDeploysAddAndRemoveTopics(t *testing.T) {
	t.Parallel()
	for _, protocol := range []kafka.GroupProtocol{kafka.ProtocolClassic, kafka.ProtocolConsumer} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			const records, keys = 6_000, 60
			group := "topics-" + uuid.NewString()
			orders, refunds := group+"-orders", group+"-refunds"
			config := func(names ...string) kafka.ConsumerConfig {
				cfg := kafka.NewConsumerConfig("", group, brokers(t)...)
				cfg.Topics, cfg.Logger, cfg.GroupProtocol = names, discard(), protocol
				return cfg
			}
			list := topics.List{topics.New(orders, 4), topics.New(refunds, 4)}.WithDeadLetters(config(orders, refunds))
			makeTopics(t, kafka.ClientConfig{Brokers: brokers(t)}, list...)
			raw, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...))
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			var seeds []*kgo.Record
			for n := range records {
				for i, topic := range []string{orders, refunds} {
					seeds = append(seeds, &kgo.Record{Topic: topic, Key: fmt.Append(nil, topic, n%keys), Value: fmt.Appendf(nil, `{"N":%d}`, 2*n+i)})
				}
			}
			if err := raw.ProduceSync(t.Context(), seeds...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			o := &ordered{last: map[string]int{}, handled: map[int]int{}}
			member := func(names ...string) groupMember[numbered] {
				return startMember(t, config(names...), o.handle("", false))
			}
			members := []groupMember[numbered]{member(orders), member(orders)}
			for _, names := range [][]string{{orders, refunds}, {refunds}, {orders, refunds}} {
				for i := range members {
					before := o.count()
					eventually(t, "the group goes on", func() bool { return o.count() > before+200 })
					members[i].stop(t)
					members[i] = member(names...)
				}
			}
			eventually(t, "all are handled", func() bool { return o.count() == 2*records })
			for _, m := range members {
				m.stop(t)
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			times := 0
			for _, n := range o.handled {
				times += n
			}
			if times != 2*records || len(o.wrong) > 0 {
				t.Errorf("%d messages are handled %d times; before their time: %q", 2*records, times, o.wrong)
			}
		})
	}
}
