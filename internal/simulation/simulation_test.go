//go:build synctests

package simulation

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/ledger"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run this seed only")
	seeds   = flag.Int("seeds", 24, "run so many seeds")
	from    = flag.Uint64("from", 1, "the first of them")
)

// totals are of all seeds.
type totals struct {
	mu                              sync.Mutex
	simulated                       time.Duration
	seeds, records, changes, faults int
	floods                          int // pauses of the flood guard
	excused                         int // redelivered, and explained
	byKind                          map[string]int
}

func TestSimulation(t *testing.T) {
	all := &totals{byKind: map[string]int{}}
	next, last := *from, *from+uint64(*seeds)
	if *oneSeed != 0 {
		next, last = *oneSeed, *oneSeed+1
	}
	var failed atomic.Bool // the first seed that fails is the last
	var at atomic.Uint64
	at.Store(next)
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for !failed.Load() {
					seed := at.Add(1) - 1
					if seed >= last {
						return
					}
					log := &lines{}
					ended := make(chan struct{})
					go awaitEnd(seed, log, ended)
					synctest.Test(t, func(t *testing.T) { simulate(t, seed, log, all) })
					close(ended)
					if t.Failed() {
						failed.Store(true)
					}
				}
			})
		}
	})
	t.Logf("%d seeds, %.0f simulated hours, %d records, %d membership changes, %d faults %v; pauses for floods %d; redelivered after a crash, a loss or a failed commit %d",
		all.seeds, all.simulated.Hours(), all.records, all.changes, all.faults, all.byKind, all.floods, all.excused)
}

// patience is how many seconds a seed may take. It takes less than one if the processors have nothing else to do.
const patience = 300

// awaitEnd gives a seed up that takes too long. It counts seconds one by one: of those in which the machine itself stands still, it
// sees one.
func awaitEnd(seed uint64, log *lines, ended <-chan struct{}) {
	for range patience {
		select {
		case <-ended:
			return
		case <-time.After(time.Second):
		}
	}
	giveUp(seed, log)
}

// giveUp ends the test when a seed hangs. Virtual time stands still while any goroutine of the bubble waits for something that time
// does not bring, a mutex for one, or runs in a circle: these come last.
func giveUp(seed uint64, log *lines) {
	stacks := make([]byte, 64<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var culprits []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		head, _, _ := strings.Cut(stack, "\n")
		if strings.Contains(head, "synctest bubble") && !strings.Contains(head, "durable") {
			culprits = append(culprits, stack)
		}
	}
	fmt.Printf("%s\n\n%s\nseed %d hangs; what stops the clock:\n\n%s\n", stacks, log, seed, strings.Join(culprits, "\n\n"))
	os.Exit(1)
}

const (
	topic = "orders"
	group = "group"
)

// world is one seed's.
type world struct {
	*testing.T
	seed    uint64
	random  *rand.Rand // of the director alone
	cluster *kfake.Cluster
	network kfake.VirtualNetwork
	wires   wires
	plan    plan
	log     *slog.Logger
	lines   *lines

	mu      sync.Mutex
	history ledger.History
	members []*member
	healthy bool // nothing is broken any more: whatever fails from now on is wrong
	faults  map[string]int
	changes int
	sent    int
	acked   []ledger.Place
	floods  int // pauses of the flood guard
	refused int // messages that Publish returned an error for
	excused int // redelivered, and explained

	preparing time.Time // when the group was last seen to do anything else than preparing for a rebalance
}

// plan is what a seed draws before anything happens.
type plan struct {
	partitions             int32
	records, keys, most    int // most members at once
	steps                  int
	protocol               string
	concurrency            int
	queued                 int // MaxQueuedRecords
	drain, session, commit time.Duration
	guarded                bool // each dead letter is a flood, and pauses its consumer
}

func draw(random *rand.Rand) plan {
	p := plan{
		partitions: 1 + random.Int32N(6), records: 100 + random.IntN(200), keys: 1 + random.IntN(40), most: 1 + random.IntN(4),
		steps: 10 + random.IntN(15), protocol: "classic", concurrency: []int{1, 1, 2, 8}[random.IntN(4)],
		queued: []int{4, 50, 250_000}[random.IntN(3)], session: 45 * time.Second,
		drain: time.Duration(1+random.IntN(30)) * time.Second, commit: time.Duration(200+random.IntN(5000)) * time.Millisecond,
	}
	if random.IntN(3) == 0 {
		p.protocol = "consumer"
	}
	return p
}

func simulate(t *testing.T, seed uint64, log *lines, all *totals) {
	random := rand.New(rand.NewPCG(seed, 0))
	w := &world{T: t, seed: seed, random: random, plan: draw(random), lines: log, faults: map[string]int{}}
	w.plan.guarded = seed%3 == 0 // not drawn: what is drawn later stays what it was
	w.log = slog.New(slog.NewTextHandler(w.lines, &slog.HandlerOptions{Level: slog.LevelInfo}))
	w.wires.off, w.wires.deaf, w.wires.slow = map[string]bool{}, map[string]bool{}, map[string]time.Duration{}
	w.history.HearsLate = 3 * time.Minute
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.Ports(ports[:]...),
		kfake.ListenFn(func(network, address string) (net.Listener, error) { return w.network.Listen(network, address) }),
		kfake.SeedTopics(w.plan.partitions, topic, "dlq-"+topic))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cluster.Close()
		time.Sleep(time.Minute) // for requests that their clients no longer wait for: time ends with the seed, and they would not
	}()
	w.cluster = cluster
	w.begin()
	if w.plan.protocol == "consumer" {
		w.fenceCommits()
	}
	began := time.Now()
	stop := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() { w.publish(seed) })
	background.Go(func() { w.sample(stop) })
	w.direct()
	w.heal()
	drained := w.drain()
	close(stop)
	background.Wait()
	w.stopAll()
	simulated := time.Since(began)
	w.judge(drained)
	if t.Failed() {
		t.Logf("replay with -seed %d: %+v", seed, w.plan)
		t.Log(log)
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	all.seeds++
	all.simulated += simulated
	all.records += len(w.history.Records)
	all.changes += w.changes
	all.floods += w.floods
	all.excused += w.excused
	for kind, n := range w.faults {
		all.faults += n
		all.byKind[kind] += n
	}
}

const brokers = 3

var ports = [brokers]int{9092, 9093, 9094}

func (w *world) client(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"), kgo.Dialer(w.network.DialContext), kgo.MetadataMinAge(250 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		w.Fatal(err)
	}
	return client
}

func (w *world) connection(dial func(context.Context, string, string) (net.Conn, error)) kafka.ClientConfig {
	return kafka.ClientConfig{
		Brokers: []string{"127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"}, ConnectTimeout: 20 * time.Second,
		Options: []kgo.Opt{kgo.Dialer(dial)}, Logger: w.log,
	}
}

// begin commits the beginning, so that no member ever has to guess where to begin: with a reset policy of none, a reset is an
// error.
func (w *world) begin() {
	client := w.client()
	defer client.Close()
	var offsets kadm.Offsets
	for id := range w.plan.partitions {
		offsets.AddOffset(topic, id, 0, -1)
	}
	if err := kadm.NewClient(client).CommitAllOffsets(w.Context(), group, offsets); err != nil {
		w.Fatal(err)
	}
}

// publish sends all records in bursts, over about as long as the director is at work.
func (w *world) publish(seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	cfg := kafka.NewProducerConfig(topic)
	cfg.ClientConfig = w.connection(func(ctx context.Context, network, address string) (net.Conn, error) {
		return w.wires.dial(ctx, &w.network, "producer", network, address)
	})
	cfg.DeliveryTimeout = 10 * time.Hour
	var producer *kafka.Producer[[]byte]
	for {
		var err error
		if producer, err = kafka.NewProducerWithCodec(cfg, kafka.Bytes()); err == nil {
			break
		}
		time.Sleep(time.Second) // as whoever runs it would
	}
	defer producer.Close()
	next := map[string]int{}
	for w.sent < w.plan.records {
		for range min(w.plan.records-w.sent, 1+random.IntN(w.plan.records/4)) {
			msg := drawOrder(random, w.plan.keys, next)
			w.sent++
			producer.PublishAsync(context.Background(), msg, func(msg kafka.Message[[]byte], err error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if err != nil {
					w.refused++
					return
				}
				w.acked = append(w.acked, ledger.Place{Partition: msg.Partition, Offset: msg.Offset})
			})
		}
		time.Sleep(time.Duration(random.IntN(60)) * time.Second)
	}
	if err := producer.Flush(context.Background()); err != nil {
		w.Errorf("flush: %v", err)
	}
}

// sample notes the committed offsets, every second and when asked.
func (w *world) sample(stop <-chan struct{}) {
	for {
		w.noteCommits()
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
	}
}

func (w *world) noteCommits() (total int64) {
	info := w.cluster.GroupInfo(group)
	w.mu.Lock()
	defer w.mu.Unlock()
	if info == nil {
		return 0
	}
	for id, commit := range info.Commits[topic] {
		total += commit.Offset
		w.history.Commits = append(w.history.Commits, ledger.Commit{At: time.Now().UnixNano(), Partition: id, Offset: commit.Offset})
	}
	return total
}

// drain waits until everything is committed; false means that nothing more is.
func (w *world) drain() bool {
	const longest = time.Hour // a handler takes some minutes at most
	moved, before := time.Now(), int64(-1)
	for ; time.Since(moved) < longest; time.Sleep(10 * time.Second) {
		end := int64(0)
		for _, info := range w.cluster.PartitionInfos(topic) {
			end += info.HighWatermark
		}
		w.mu.Lock()
		sent := w.sent
		w.mu.Unlock()
		committed := w.noteCommits()
		if sent == w.plan.records && committed == end {
			return true
		}
		if committed != before {
			moved, before = time.Now(), committed
		}
		w.keepOneAlive()
		w.evict()
	}
	w.Logf("the group: %+v", w.cluster.GroupInfo(group))
	return false
}

func (w *world) judge(drained bool) {
	w.noteCommits()
	client := w.client(kgo.ConsumeTopics(topic, "dlq-"+topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	left := int64(0)
	for _, name := range []string{topic, "dlq-" + topic} {
		for _, info := range w.cluster.PartitionInfos(name) {
			left += info.HighWatermark
		}
	}
	for left > 0 {
		client.PollFetches(w.Context()).EachRecord(func(r *kgo.Record) {
			left--
			if r.Topic == topic {
				w.history.Records = append(w.history.Records, recordOf(r))
				return
			}
			letter, ok := kafka.Message[order]{Headers: r.Headers}.DeadLetter()
			if !ok {
				w.Errorf("a letter without its place at %d@%d", r.Partition, r.Offset)
			}
			w.history.Letters = append(w.history.Letters, ledger.Place{Partition: letter.Partition, Offset: letter.Offset})
		})
	}
	stored := map[ledger.Place]bool{}
	for _, r := range w.history.Records {
		stored[r.Place] = true
	}
	for _, place := range w.acked {
		if !stored[place] {
			w.Errorf("%v was acknowledged and is not stored", place)
		}
	}
	for i, m := range w.members {
		judged := ledger.Member{Name: fmt.Sprint(i), Ended: m.ended}
		for _, at := range m.excuses {
			judged.Excuses = append(judged.Excuses, ledger.Excuse{At: at})
		}
		w.history.Members = append(w.history.Members, judged)
	}
	report := ledger.Judge(w.history)
	if !drained || !report.Good() || len(w.acked)+w.refused != w.plan.records || len(stored) > w.plan.records {
		w.Errorf("seed %d: drained %v; %d messages, %d acknowledged, %d refused, %d stored: %v",
			w.seed, drained, w.plan.records, len(w.acked), w.refused, len(w.history.Records), report)
	}
	w.excused = report.Excused
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(string(line), "record sent to dead letter topic") {
		l.text = append(l.text, string(line))
	}
	return len(line), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	const most = 200
	return strings.Join(l.text[max(0, len(l.text)-most):], "")
}
