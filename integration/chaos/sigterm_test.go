package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/integration/internal/cluster"
	"github.com/skeji/kafka/internal/ledger"
)

// TestSIGTERMWithABacklog ends a process amid a backlog, whatever its handlers are doing, some for an hour: after DrainTimeout it
// is gone, and the committed offsets are those of the first records that are not done.
func TestSIGTERMWithABacklog(t *testing.T) {
	const drain = 2 * time.Second
	kinds := []do{succeed, backOff, fail, beDeaf, beLong}
	backlog, rounds := 20_000, 10
	if *long {
		backlog, rounds = 100_000, 100
	}
	c := cluster.Find(t)
	topic := fmt.Sprintf("sigterm-%08x", rand.Uint32())
	makeTopics(t, c.Brokers, topic)
	w := newWorkload(t, c.Brokers, topic, 1, 1000)
	w.unlike = 0
	w.publish(t, backlog)
	w.settle(t)
	stored := w.records(t, c.Brokers, topic)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	var mu sync.Mutex
	longest := map[do]time.Duration{}
	t.Run("rounds", func(t *testing.T) { // each is a group of its own
		for round := range rounds {
			kind, concurrency := kinds[round%len(kinds)], []int{1, 8}[round/len(kinds)%2]
			t.Run(fmt.Sprintf("%d, %s, Concurrency %d", round, kind, concurrency), func(t *testing.T) {
				t.Parallel()
				members := &crew{t: t, folder: t.TempDir(), task: task{
					Brokers: c.Brokers, Topic: topic, Group: fmt.Sprint(topic, "-", round), Protocol: *protocol,
					Concurrency: concurrency, Do: kind, Drain: drain, Work: time.Millisecond,
				}}
				defer func() {
					if t.Failed() {
						members.tell()
					}
				}()
				m := members.join()
				m.awaitWork(t)
				time.Sleep(rand.N(300 * time.Millisecond)) // amid whatever it is
				asked := time.Now()
				m.leave()
				m.mayFail = kind == beDeaf || kind == beLong
				m.await(t)
				if failed := m.process.ProcessState.ExitCode() != 0; failed != m.mayFail {
					t.Errorf("unfinished records are an error of Start: %v, want %v", failed, m.mayFail)
				}
				if err := doneIsCommitted(t, kadm.NewClient(client), members, stored); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				longest[kind] = max(longest[kind], time.Unix(0, m.at).Sub(asked))
			})
		}
	})
	t.Logf("%d rounds; the longest took this long after SIGTERM: %v", rounds, longest)
}

// awaitWork waits until the member has begun a record of each partition, or as many of fewer.
func (m *member) awaitWork(t *testing.T) {
	t.Helper()
	const patience = 4 * time.Minute
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		notes, _ := os.ReadFile(m.Notes)
		if strings.Count(string(notes), "\n") >= partitions {
			return
		}
		select {
		case <-m.ended:
			t.Fatalf("%s ended by itself: %s", m.Name, m.output.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not work: %q", m.Name, notes)
		}
	}
}

// doneIsCommitted wants the group's offset in each partition at the first record that is not done.
func doneIsCommitted(t *testing.T, admin *kadm.Client, members *crew, stored []ledger.Record) error {
	t.Helper()
	var h ledger.History
	members.history(&h)
	done := map[ledger.Place]bool{}
	for _, a := range h.Attempts {
		if a.Outcome == ledger.Final {
			done[a.Place] = true
		}
	}
	want := map[int32]int64{}
	for _, r := range stored {
		if first, known := want[r.Partition]; !done[r.Place] && (!known || r.Offset < first) {
			want[r.Partition] = r.Offset
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	offsets, err := admin.FetchOffsets(ctx, members.task.Group)
	if err != nil {
		return err
	}
	for partition, first := range want {
		at, committed := offsets.Lookup(members.task.Topic, partition)
		if !committed && first == 0 {
			continue
		}
		if at.At != first {
			return fmt.Errorf("partition %d is committed at %d, and the first record that is not done is %d", partition, at.At, first)
		}
	}
	return nil
}
