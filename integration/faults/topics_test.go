package faults

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// byHand connects a client whose records go to the partition that they name.
func (s *scenario) byHand(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	return s.connect(append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
}

// recordsFor are n good records for a partition, of one key.
func (s *scenario) recordsFor(partition int32, key string, n int) (records []*kgo.Record) {
	for range n {
		r := s.record(key, good)
		r.Partition = partition
		records = append(records, r)
	}
	return records
}

// put stores records without noting them: they may not be there to be handled.
func (s *scenario) put(client *kgo.Client, records ...*kgo.Record) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// refreshed asks for metadata every second. franz-go's default is five minutes.
func refreshed(cfg kafka.ConsumerConfig) kafka.ConsumerConfig {
	cfg.Options = append(cfg.Options, kgo.MetadataMaxAge(time.Second))
	return cfg
}

// Partitions that are added amid a backlog are consumed from their start, though they had records before the group knew of them.
func TestPartitionsAddedWhileRunning(t *testing.T) {
	t.Parallel()
	const before, added = 3, 50
	s := newScenario(t, before, nil)
	s.seed(1500, 30, func(int) fate { return good })
	there := make(chan struct{}) // closed when the new partitions have records
	m := s.join(refreshed(s.config()), func(ctx context.Context, msg kafka.Message[event]) error {
		if msg.Partition < before && msg.Value.Seq >= 25 { // half of the backlog waits for that
			select {
			case <-there:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return comesTo(ctx, msg)
	})
	s.until("some are handled", func() bool { return s.handled() > 20 })
	if _, err := s.admin.CreatePartitions(t.Context(), 2, s.topic); err != nil {
		t.Fatal(err)
	}
	s.until("every broker knows them", func() bool {
		return !slices.ContainsFunc(s.client.DiscoveredBrokers(), func(b *kgo.Broker) bool {
			request := kmsg.NewPtrMetadataRequest()
			topic := kmsg.NewMetadataRequestTopic()
			topic.Topic = &s.topic
			request.Topics = append(request.Topics, topic)
			response, err := request.RequestWith(t.Context(), b)
			return err != nil || len(response.Topics[0].Partitions) < before+2
		})
	})
	client := s.byHand()
	for partition := int32(before); partition < before+2; partition++ {
		records := s.recordsFor(partition, "new", added)
		s.put(client, records...)
		s.stored(records...)
	}
	if s.left() < added*2 {
		t.Fatalf("%d records left: that was no backlog", s.left())
	}
	close(there)
	s.drained()
	m.mustStop()
	s.judgeClean()
}

// A topic that is deleted amid a backlog ends Start. Made again it is another topic: the brokers have forgotten what the group
// had committed, and it begins at the start.
func TestTopicDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	s := newScenario(t, 3, nil)
	s.seed(300, 30, func(int) fate { return good })
	m := s.join(refreshed(s.config()), slowly(10*time.Millisecond))
	s.until("some are committed", func() bool { return s.left() < 280 })
	if _, err := s.admin.DeleteTopics(t.Context(), s.topic); err != nil {
		t.Fatal(err)
	}
	if err := m.wait(); !errors.Is(err, kafka.ErrTopicMissing) {
		t.Errorf("Start returned %v, want ErrTopicMissing", err)
	}
	// The notes begin anew with the topic.
	again := newScenarioWithoutTopics(t)
	again.topic = s.topic
	again.makeTopics(topics.Topic{Name: s.topic, Partitions: 3})
	again.seed(240, 30, func(int) fate { return good })
	second := again.join(again.config(), comesTo)
	again.drained()
	second.mustStop()
	again.judgeClean()
}
