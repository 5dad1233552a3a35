package faults

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/integration/internal/cluster"
)

func TestTheCoordinatorMoves(t *testing.T) {
	breakOne(t, coordinator, killed)
}

func TestTheControllerIsLost(t *testing.T) {
	breakOne(t, func(s *scenario, c *cluster.Cluster) int { return c.Controller(s.t.Context()) }, killed)
}

// The frozen broker coordinates the group and leads some of its partitions: no connection is closed, and nothing answers.
func TestAFrozenCoordinator(t *testing.T) {
	breakOne(t, coordinator, frozen)
}

func TestAFrozenLeader(t *testing.T) {
	breakOne(t, func(s *scenario, c *cluster.Cluster) int { return c.Leader(s.t.Context(), s.topic, 0) }, frozen)
}

func coordinator(s *scenario, c *cluster.Cluster) int { return c.Coordinator(s.t.Context(), s.topic) }

func killed(t *testing.T, c *cluster.Cluster, broker int) { c.Kill(t, broker) }

func frozen(t *testing.T, c *cluster.Cluster, broker int) {
	c.Freeze(t, broker)
	time.Sleep(sessionTimeout + 3*time.Second) // that long is the fault
}

// breakOne breaks a broker amid a backlog, and judges that all is done before it is mended, and after.
func breakOne(t *testing.T, which func(*scenario, *cluster.Cluster) int, breaks func(*testing.T, *cluster.Cluster, int)) {
	c := cluster.Find(t)
	s := newScenario(t, 6, nil)
	s.seed(2400, 60, func(i int) fate {
		switch {
		case i%50 == 0:
			return poison
		case i%20 == 0:
			return flaky
		}
		return good
	})
	cfg := shortSessions(s.config())
	members := []*member{s.join(cfg, slowly(10*time.Millisecond)), s.join(cfg, slowly(10*time.Millisecond))}
	s.until("the members are at work", func() bool { return s.handled() > 300 })
	broker, at := which(s, c), time.Now()
	breaks(t, c, broker)
	s.drained() // through the two others
	t.Logf("broker %d; all done %.1f s after the fault began", broker, time.Since(at).Seconds())
	c.Mend(t)
	s.seed(300, 60, halfPoison)
	s.drained()
	for _, m := range members {
		m.mustStop()
	}
	s.judge()
}

// Whatever was acknowledged is stored, once, and in the order of its key.
func TestABrokerKilledWhileProducing(t *testing.T) {
	c := cluster.Find(t)
	s := newScenario(t, 6, nil)
	producer, err := kafka.NewProducer[event](kafka.ProducerConfig{ClientConfig: s.connection(), Topic: s.topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	const keys = 20
	stop := make(chan struct{})
	acknowledged := make([]int, keys)
	var writers sync.WaitGroup
	for i := range keys {
		writers.Go(func() {
			key := fmt.Sprintf("key-%d", i)
			for {
				select {
				case <-stop:
					return
				default:
				}
				msg := kafka.NewMessage[event]().WithKey(key).WithValue(event{Key: key, Seq: acknowledged[i]}).Build()
				if err := producer.Publish(context.Background(), msg); err != nil {
					t.Errorf("publish: %v", err)
					return
				}
				acknowledged[i]++
				time.Sleep(time.Millisecond)
			}
		})
	}
	time.Sleep(time.Second) // before, during and after: each a second at least
	c.Kill(t, c.Leader(t.Context(), s.topic, 0))
	time.Sleep(4 * time.Second)
	c.Mend(t)
	time.Sleep(time.Second)
	close(stop)
	writers.Wait()
	records := s.read(s.topic)
	stored := map[string]int{}
	slices.SortFunc(records, func(a, b *kgo.Record) int { return int(a.Offset - b.Offset) })
	for _, r := range records {
		e := s.eventOf(r)
		if e.Seq != stored[e.Key] {
			t.Errorf("%s: %d stored where %d was next", e.Key, e.Seq, stored[e.Key])
		}
		stored[e.Key] = e.Seq + 1
	}
	total := 0
	for i := range keys {
		total += acknowledged[i]
		if key := fmt.Sprintf("key-%d", i); stored[key] != acknowledged[i] {
			t.Errorf("%s: %d acknowledged, %d stored", key, acknowledged[i], stored[key])
		}
	}
	t.Logf("%d acknowledged, %d stored", total, len(records))
	s.stored(records...)
	m := s.join(s.config(), comesTo)
	s.drained()
	m.mustStop()
	s.judgeClean()
}
