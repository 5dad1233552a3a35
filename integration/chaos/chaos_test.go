package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

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
	short = size{records: 40_000, keys: 400, calm: 4, changes: 6, brokers: 2, frozen: 1, step: 1500 * time.Millisecond}
	full  = size{records: 1_000_000, keys: 5_000, calm: 14, changes: 28, brokers: 24, frozen: 3, step: 3 * time.Second}
)

const (
	partitions = 12
	// drainTimeout is long for what handlers do: letters are written one after another, and a broker's restart takes its time.
	drainTimeout = 5 * time.Second
)

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

	frozen                   *member   // nil: none is
	frozenUntil, brokenUntil time.Time // brokenUntil is zero while no broker is broken

	joined, left, killed, stopped int // members
	brokersKilled, brokersFrozen  int
	coordinators, controllers     int // of those
}

func (r *run) all(concurrency int) {
	began := time.Now()
	r.topic = fmt.Sprintf("chaos-%08x", rand.Uint32())
	makeTopics(r.T, r.cluster.Brokers, r.topic)
	r.steps = r.size.calm + r.size.changes + r.size.brokers + r.size.frozen
	// Handlers take so long that records are worked off about as fast as they are published, and a backlog stays.
	duration := time.Duration(r.steps) * (r.size.step + time.Second)
	work := duration * time.Duration(partitions*concurrency) / time.Duration(r.size.records) / 2
	r.crew = &crew{t: r.T, folder: r.TempDir(), task: task{
		Brokers: r.cluster.Brokers, Topic: r.topic, Group: r.topic, Protocol: *protocol, Concurrency: concurrency,
		Drain: drainTimeout, Work: work, Slow: min(drainTimeout/4, 100*work),
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
	r.crew.members[0].awaitWork(r.T) // a change amid nothing proves nothing
	r.calmly()
	r.quietly() // nothing has happened yet that would explain a redelivery
	r.wildly()
	r.heal()
	r.drain(samples)
	r.judge(samples, time.Since(began))
}

// makeTopics makes a topic and its dead letter topic, which lose nothing when one broker is lost.
func makeTopics(t *testing.T, brokers []string, topic string) {
	t.Helper()
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: brokers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	safe := topics.New(topic, partitions).WithReplicationFactor(3).WithConfig("min.insync.replicas", "2")
	letters := safe
	letters.Name = "dlq-" + topic
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := topics.Ensure(ctx, client, safe, letters); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		_, _ = kadm.NewClient(client).DeleteTopics(context.Background(), topic, letters.Name)
	})
}

// pass publishes a step's share of the records and waits.
func (r *run) pass() {
	r.workload.publish(r.T, (r.size.records-r.workload.sent)/max(1, r.steps))
	r.steps--
	time.Sleep(r.size.step/2 + rand.N(r.size.step))
	r.thaw(false)
	r.mend(false)
	if err := r.workload.failed.Load(); err != nil {
		r.Fatalf("a message was not stored: %v", *err)
	}
}

func (r *run) calmly() {
	for range r.size.calm {
		r.change()
		r.pass()
	}
}

// quietly judges the time in which nothing was broken: nothing was redelivered, and nothing noted that would excuse it.
func (r *run) quietly() {
	var h ledger.History
	excuses := r.crew.history(&h)
	done, again := map[ledger.Place]bool{}, 0
	for _, a := range h.Attempts {
		if a.Outcome == ledger.Final {
			if done[a.Place] {
				again++
			}
			done[a.Place] = true
		}
	}
	if excuses > 0 || again > 0 {
		r.Errorf("%d redelivered, %d losses or failed commits while nothing was broken", again, excuses)
	}
	r.Logf("calm: members joined %d, left %d; handled to the end %d, redelivered %d", r.joined, r.left, len(done), again)
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

// heal ends what is broken.
func (r *run) heal() {
	r.thaw(true)
	r.mend(true)
	r.cluster.AwaitInSync(r.T)
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
		case err == nil && total >= int64(r.workload.sent):
			for _, m := range r.crew.working() {
				r.leave(m)
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
		HearsLate: 2 * sessionTimeout,
		Commits:   cluster.Commits(r.T, r.cluster.Brokers, r.topic, r.topic), Seen: samples.end(r.T), Letters: letters(r.T, r.cluster.Brokers, r.topic),
		Records: r.workload.records(r.T, r.cluster.Brokers, r.topic),
	}
	checkSamples(r.T, h.Seen, h.Commits)
	excuses := r.crew.history(&h)
	report := ledger.Judge(h)
	changes := r.joined + r.left + r.killed + r.stopped
	r.Logf("%v: %d partitions, %d brokers; brokers killed %d, frozen %d, chosen as coordinators %d, as controllers %d; member changes %d: joined %d, left %d, killed %d, frozen %d; losses and failed commits %d",
		took.Round(time.Second), partitions, len(r.cluster.Brokers), r.brokersKilled, r.brokersFrozen, r.coordinators, r.controllers,
		changes, r.joined, r.left, r.killed, r.stopped, excuses)
	r.Log(strings.TrimSpace(report.String()))
	if !report.Good() {
		r.Error("that must not happen")
	}
}
