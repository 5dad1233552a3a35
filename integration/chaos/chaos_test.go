package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/integration/internal/cluster"
	"github.com/skeji/kafka/internal/ledger"
	"github.com/skeji/kafka/topics"
)

var (
	seedFlag    = flag.Uint64("seed", 0, "replay the schedule of this seed; 0: a new one")
	long        = flag.Bool("long", false, "the long form: a million records for each run")
	concurrency = flag.Int("concurrency", 0, "run with this Concurrency only; 0: with 1 and 8")
	protocol    = flag.String("protocol", "classic", "the group's protocol")
)

// size is how much happens in a run.
type size struct {
	records, keys                  int
	calm, changes, brokers, frozen int // clean member changes without faults; member changes, broker faults, and frozen members amid them
	step                           time.Duration
}

var (
	short = size{records: 60_000, keys: 600, calm: 5, changes: 8, brokers: 4, frozen: 1, step: 1500 * time.Millisecond}
	full  = size{records: 1_000_000, keys: 5_000, calm: 14, changes: 28, brokers: 24, frozen: 3, step: 3 * time.Second}
)

const partitions = 12

// TestChaos breaks brokers and members while records are published and consumed, and then judges every record.
func TestChaos(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1_000_000)
	}
	for _, n := range []int{1, 8} {
		if *concurrency > 0 && n != *concurrency {
			continue
		}
		t.Run(fmt.Sprintf("Concurrency%d", n), func(t *testing.T) {
			t.Logf("replay with -seed %d -concurrency %d -protocol %s", seed, n, *protocol)
			c := cluster.Find(t)
			s := short
			if *long {
				s = full
			}
			(&run{T: t, cluster: c, size: s, random: rand.New(rand.NewPCG(seed, uint64(n))), seed: seed}).all(n)
		})
	}
}

// run is one run of a schedule.
type run struct {
	*testing.T
	cluster *cluster.Cluster
	size    size
	seed    uint64
	random  *rand.Rand

	topic    string
	crew     *crew
	workload *workload
	steps    int // how many are still to come

	joined, left, killed, stopped       int // members
	brokersKilled, brokersFrozen, moved int // moved: of those, how many held the group's coordinator or the controller
	frozenMembers                       sync.WaitGroup
}

func (r *run) all(concurrency int) {
	began := time.Now()
	r.topic = fmt.Sprintf("chaos-%08x", rand.Uint32())
	r.makeTopics()
	r.steps = r.size.calm + r.size.changes + r.size.brokers + r.size.frozen
	// Handlers take so long that records are worked off about as fast as they are published, and a backlog stays.
	duration := time.Duration(r.steps) * (r.size.step + 4*time.Second)
	work := duration * time.Duration(partitions*concurrency) / time.Duration(r.size.records) / 2
	r.crew = &crew{t: r.T, folder: r.TempDir(), task: task{
		Brokers: r.cluster.Brokers, Topic: r.topic, Group: r.topic, Protocol: *protocol, Concurrency: concurrency,
		Work: work, Slow: min(drainTimeout/2, 100*work),
	}}
	r.workload = newWorkload(r.T, r.cluster.Brokers, r.topic, r.seed, r.size.keys)
	r.Cleanup(func() {
		if r.Failed() {
			r.crew.tell()
		}
	})
	r.workload.publish(r.T, r.size.records/5)
	r.join()
	r.join()
	samples := sample(r.T, r.cluster.Brokers, r.topic, r.topic)
	r.calmly()
	r.quietly() // nothing has happened yet that would explain a redelivery
	r.wildly()
	r.heal()
	r.drain(samples)
	r.judge(samples, time.Since(began))
}

func (r *run) makeTopics() {
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: r.cluster.Brokers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		r.Fatal(err)
	}
	defer client.Close()
	list := topics.List{
		{Name: r.topic, Partitions: partitions, ReplicationFactor: 3, Config: map[string]string{"min.insync.replicas": "2"}},
		{Name: "dlq-" + r.topic, Partitions: partitions, ReplicationFactor: 3, Config: map[string]string{"min.insync.replicas": "2"}},
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := topics.Ensure(ctx, client, list...); err != nil {
		r.Fatal(err)
	}
}

// pass publishes a step's share of the records and waits.
func (r *run) pass() {
	r.workload.publish(r.T, (r.size.records-r.workload.sent)/max(1, r.steps))
	r.steps--
	time.Sleep(r.size.step/2 + rand.N(r.size.step))
	if err := r.workload.failed.Load(); err != nil {
		r.Fatalf("a message was not stored: %v", *err)
	}
}

func (r *run) join() {
	r.crew.join()
	r.joined++
}

// change lets a member come or go in peace.
func (r *run) change() {
	working := r.crew.working()
	switch n := len(working); {
	case n < 2 || n < 4 && r.random.IntN(2) == 0:
		r.join()
	default:
		working[r.random.IntN(n)].leave()
		r.left++
	}
}

func (r *run) calmly() {
	for range r.size.calm {
		r.change()
		r.pass()
	}
}

// quietly fails if a member has noted what excuses redeliveries.
func (r *run) quietly() {
	var h ledger.History
	if excuses := r.crew.history(&h); excuses > 0 {
		r.Errorf("%d losses or failed commits while nothing was broken", excuses)
	}
	r.Logf("calm: %d joined, %d left, %d attempts", r.joined, r.left, len(h.Attempts))
}

// wildly breaks what there is, in an order that the seed gives.
func (r *run) wildly() {
	var acts []func()
	for range r.size.changes {
		acts = append(acts, r.disturb)
	}
	for range r.size.brokers {
		acts = append(acts, r.breakBroker)
	}
	for range r.size.frozen {
		acts = append(acts, r.freezeMember)
	}
	r.random.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
	for _, act := range acts {
		act()
		r.pass()
	}
}

// disturb lets a member come, go or die.
func (r *run) disturb() {
	if working := r.crew.working(); len(working) > 1 && r.random.IntN(3) == 0 {
		working[r.random.IntN(len(working))].kill()
		r.killed++
		r.join() // in its place
		return
	}
	r.change()
}

// freezeMember stops a member for longer than its session lasts.
func (r *run) freezeMember() {
	working := r.crew.working()
	if len(working) < 2 {
		r.join()
	}
	m := working[r.random.IntN(len(working))]
	m.freeze()
	r.stopped++
	time.Sleep(sessionTimeout + sessionTimeout/2)
	m.thaw()
}

// breakBroker kills or freezes one for a while: any, the group's coordinator, or the controller.
func (r *run) breakBroker() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker, why := r.random.IntN(len(r.cluster.Brokers)), "any"
	switch r.random.IntN(4) {
	case 0:
		if at := r.cluster.Coordinator(ctx, r.topic); at >= 0 {
			broker, why = at, "the coordinator"
			r.moved++
		}
	case 1:
		if at := r.cluster.Controller(ctx); at >= 0 {
			broker, why = at, "the controller"
			r.moved++
		}
	case 2:
		if at := r.cluster.Leader(ctx, r.topic, int32(r.random.IntN(partitions))); at >= 0 {
			broker, why = at, "a leader"
		}
	}
	kill, outage := r.random.IntN(2) == 0, 2*time.Second+time.Duration(r.random.Int64N(int64(4*time.Second)))
	if kill {
		r.cluster.Kill(r.T, broker)
		r.brokersKilled++
	} else {
		if r.random.IntN(3) == 0 {
			outage = sessionTimeout * 3 / 2
		}
		r.cluster.Freeze(r.T, broker)
		r.brokersFrozen++
	}
	r.Logf("broker %d (%s): killed %v, for %v", broker, why, kill, outage.Round(time.Millisecond))
	time.Sleep(outage)
	r.cluster.Mend(r.T) // all in sync: one at a time
}

// heal ends what is broken.
func (r *run) heal() {
	r.cluster.Mend(r.T)
	r.workload.publish(r.T, r.size.records-r.workload.sent)
	r.workload.settle(r.T)
}

// drain waits until everything is committed.
func (r *run) drain(samples *sampler) {
	const patience = 5 * time.Minute // without progress
	close(samples.stop)
	<-samples.done
	samples.stop, samples.done = make(chan struct{}), make(chan struct{})
	close(samples.done)
	latest, since := int64(-1), time.Now()
	for {
		total, err := samples.once(10 * time.Second)
		switch {
		case err == nil && total == int64(r.workload.sent):
			for _, m := range r.crew.working() {
				m.leave()
				r.left++
			}
			for _, m := range r.crew.members {
				m.await(r.T)
			}
			return
		case err == nil && total > latest:
			latest, since = total, time.Now()
		case time.Since(since) > patience:
			r.Errorf("it stands still at %d of %d records: %v", total, r.workload.sent, errors.Join(err))
			return
		}
		if len(r.crew.working()) == 0 {
			r.join()
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (r *run) judge(samples *sampler, took time.Duration) {
	h := ledger.History{
		HearsLate: 15 * time.Second,
		Commits: samples.end(r.T), Letters: letters(r.T, r.cluster.Brokers, r.topic),
		Records: r.workload.records(r.T, r.cluster.Brokers, r.topic),
	}
	excuses := r.crew.history(&h)
	report := ledger.Judge(h)
	changes := r.joined + r.left + r.killed + r.stopped
	r.Logf("%v: %d partitions, %d brokers; brokers killed %d, frozen %d, of these coordinators or controllers %d; member changes %d: joined %d, left %d, killed %d, frozen %d; losses and failed commits %d",
		took.Round(time.Second), partitions, len(r.cluster.Brokers), r.brokersKilled, r.brokersFrozen, r.moved, changes, r.joined, r.left, r.killed, r.stopped, excuses)
	r.Log(strings.TrimSpace(report.String()))
	if !report.Good() {
		r.Error("that must not happen")
	}
}
