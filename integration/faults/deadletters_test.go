package faults

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/integration/internal/cluster"
	"github.com/skeji/kafka/topics"
)

// Every other record is poison, and the dead letter topic takes none for a while: nothing is lost, no handler runs a second
// time, the health names the dead letter topic, and all goes on when it is back.

// The dead letter topic's partitions are all on one broker, which is killed.
func TestALeaderlessDeadLetterTopicHoldsItsRecords(t *testing.T) {
	c := cluster.Find(t)
	s := newScenarioWithoutTopics(t)
	s.makeTopics(topics.Topic{Name: s.topic, Partitions: 3, Config: map[string]string{"min.insync.replicas": "1"}})
	victim := (coordinator(s, c) + 1) % len(c.Brokers)
	s.makeTopicOn("dlq-"+s.topic, 3, int32(victim))
	s.seed(300, 30, halfPoison)
	refuse(s, func() { c.Kill(t, victim) }, func() {}, func() { c.Mend(t) })
}

func TestADeadLetterTopicThatRefusesSizeHoldsItsRecords(t *testing.T) {
	t.Parallel()
	s := newScenario(t, 3, nil)
	large := func() {
		r := s.record("large", poison)
		r.Value = append(r.Value, strings.Repeat(" ", 5000)...)
		s.produce(r, s.record("small", good))
	}
	large()
	s.sheds = true // when the limit goes up between two tries, the second of which has fewer headers
	// Brokers take a while to heed the setting: letters may still be stored at first.
	refuse(s, func() { s.configure("dlq-"+s.topic, "max.message.bytes", "2000") }, large,
		func() { s.configure("dlq-"+s.topic, "max.message.bytes", "100000") })
}

// refuse lets a member run into a dead letter topic that refuses, and publishes more until it has.
func refuse(s *scenario, begin, more, end func()) {
	started, release := make(chan struct{}, 1), make(chan struct{})
	cfg := s.config()
	cfg.DeliveryTimeout = time.Second
	cfg.Compression = "none" // the limit is on what arrives
	m := s.join(cfg, func(ctx context.Context, msg kafka.Message[event]) error {
		select {
		case started <- struct{}{}:
		default:
		}
		<-release // Start has found the dead letter topic in order
		return comesTo(ctx, msg)
	})
	s.await("a record in hand", started)
	begin()
	close(release)
	s.until("the health names the dead letter topic", func() bool {
		more()
		return strings.Contains(strings.Join(m.consumer.Health().Problems, "\n"), "dlq-"+s.topic)
	})
	if h := m.consumer.Health(); !h.Live() || !h.Ready() {
		s.t.Errorf("live %v, ready %v: a restart would not help", h.Live(), h.Ready())
	}
	if s.left() == 0 {
		s.t.Error("everything was committed without a letter")
	}
	end()
	s.drained()
	m.mustStop()
	s.judgeClean()
}

func halfPoison(i int) fate {
	if i%2 == 0 {
		return poison
	}
	return good
}

// makeTopicOn makes a topic whose partitions are on one broker alone.
func (s *scenario) makeTopicOn(topic string, partitions, broker int32) {
	s.t.Helper()
	request := kmsg.NewPtrCreateTopicsRequest()
	request.TimeoutMillis = 30_000
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, -1, -1
	for id := range partitions {
		assignment := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		assignment.Partition, assignment.Replicas = id, []int32{broker}
		wanted.ReplicaAssignment = append(wanted.ReplicaAssignment, assignment)
	}
	minInsync, one := kmsg.NewCreateTopicsRequestTopicConfig(), "1"
	minInsync.Name, minInsync.Value = "min.insync.replicas", &one
	wanted.Configs = append(wanted.Configs, minInsync)
	request.Topics = append(request.Topics, wanted)
	response, err := request.RequestWith(s.t.Context(), s.client)
	if err != nil {
		s.t.Fatal(err)
	}
	if code := response.Topics[0].ErrorCode; code != 0 {
		s.t.Fatalf("create %s: code %d", topic, code)
	}
	s.makeTopics(topics.Topic{Name: topic}) // waits until every broker knows it
}

func (s *scenario) configure(topic, name, value string) {
	s.t.Helper()
	altered, err := s.admin.AlterTopicConfigs(s.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	if err == nil {
		_, err = altered.On(topic, nil)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// await waits for a channel.
func (s *scenario) await(what string, ch <-chan struct{}) {
	s.t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		s.t.Fatalf("never: %s", what)
	}
}
