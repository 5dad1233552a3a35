package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/integration/internal/cluster"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/ledger"
	"github.com/skeji/kafka/topics"
)

// patience limits every wait. It is long because the machine may be slow: only a hang reaches it.
const patience = 4 * time.Minute

// sessionTimeout is that of members whose end, or whose coordinator's, a test waits for; see shortSessions.
const sessionTimeout = 6 * time.Second

// event is what the records say: the seq-th of its key, and what its handler comes to.
type event struct {
	Key  string `json:"key"`
	Seq  int    `json:"seq"`
	Fate fate   `json:"fate,omitempty"`
}

type fate string

const (
	good     fate = ""
	flaky    fate = "flaky"    // fails twice, then succeeds
	rejected fate = "rejected" // by the business
	poison   fate = "poison"   // fails for good
	panics   fate = "panics"
	exits    fate = "exits" // the handler's goroutine
)

func (f fate) dead() bool { return f == poison || f == panics || f == exits }

// comesTo is the handler of all scenarios, unless they have their own.
func comesTo(_ context.Context, msg kafka.Message[event]) error {
	switch msg.Value.Fate {
	case flaky:
		if msg.Attempt <= 2 {
			return kafka.NewTransientError("not yet", nil)
		}
	case rejected:
		return kafka.NewBusinessError("declined", nil)
	case poison:
		return kafka.NewPermanentError("poison", nil)
	case panics:
		panic("a bug in the handler")
	case exits:
		goexit()
	}
	return nil
}

// slowly is comesTo by a handler that takes its time, so that a backlog stays.
func slowly(pace time.Duration) kafka.Handler[event] {
	return func(ctx context.Context, msg kafka.Message[event]) error {
		select {
		case <-time.After(pace):
			return comesTo(ctx, msg)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// scenario is one topic and one group, and notes of all that becomes of the topic's records.
type scenario struct {
	t       *testing.T
	began   int64
	topic   string // and the group's name
	brokers []string
	client  *kgo.Client
	admin   *kadm.Client
	looking *kgo.Client // at committed offsets; nil after an error
	log     *journal
	sheds   bool // letters may come without the library's headers

	mu          sync.Mutex
	history     ledger.History
	next        map[string]int // each key's next number
	endSampling context.CancelFunc
	stopped     chan struct{}
	commits     map[int32]int64 // the latest that were seen
	lookError   error           // of the latest look at them
}

// newScenario makes a topic and its dead letter topic.
func newScenario(t *testing.T, partitions int32, config map[string]string) *scenario {
	t.Helper()
	s := newScenarioWithoutTopics(t)
	s.makeTopics(topics.Topic{Name: s.topic, Partitions: partitions, Config: config},
		topics.Topic{Name: "dlq-" + s.topic, Partitions: partitions})
	return s
}

func newScenarioWithoutTopics(t *testing.T) *scenario {
	t.Helper()
	s := &scenario{
		t: t, topic: fmt.Sprintf("faults-%08x", rand.Uint32()), log: &journal{}, next: map[string]int{}, commits: map[int32]int64{},
		stopped: make(chan struct{}), brokers: clusterBrokers(t), began: now(),
	}
	s.client = s.connect()
	s.admin = kadm.NewClient(s.client)
	ctx, cancel := context.WithCancel(context.Background())
	s.endSampling = cancel
	go s.sample(ctx)
	t.Cleanup(func() {
		cancel()
		<-s.stopped
		if t.Failed() {
			s.log.tell(t)
		}
		_, _ = s.admin.DeleteTopics(context.Background(), s.topic, "dlq-"+s.topic)
	})
	return s
}

func (s *scenario) connect(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(clusterBrokers(s.t)...), kgo.MetadataMinAge(100 * time.Millisecond), kgo.RequestTimeoutOverhead(5 * time.Second),
	}, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	return client
}

func (s *scenario) makeTopics(list ...topics.Topic) {
	s.t.Helper()
	client, err := kafka.NewClient(s.connection())
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := topics.Ensure(ctx, client, list...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scenario) connection() kafka.ClientConfig {
	return kafka.ClientConfig{Brokers: clusterBrokers(s.t), ConnectTimeout: patience, Logger: slog.New(slog.NewTextHandler(s.log, nil))}
}

// config is a member's.
func (s *scenario) config() kafka.ConsumerConfig { return configOf(s.topic, s.connection()) }

// configOf has short waits.
func configOf(topic string, connection kafka.ClientConfig) kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig(topic, topic)
	cfg.ClientConfig = connection
	cfg.RetryBackoff, cfg.RetryBackoffMax = 10*time.Millisecond, 100*time.Millisecond
	cfg.CommitInterval = 100 * time.Millisecond
	cfg.DrainTimeout = 5 * time.Second
	// Sessions are long, as by default: a busy machine must not evict a member where a test wants no redelivery.
	return cfg
}

// shortSessions makes the coordinator notice soon that a member is gone.
func shortSessions(cfg kafka.ConsumerConfig) kafka.ConsumerConfig {
	cfg.SessionTimeout, cfg.RebalanceTimeout = sessionTimeout, 10*time.Second
	return cfg
}

// seed publishes n records of some keys. fateOf tells the i-th's.
func (s *scenario) seed(n, keys int, fateOf func(i int) fate) {
	s.t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = s.record(fmt.Sprintf("key-%d", i%keys), fateOf(i))
	}
	s.produce(records...)
}

// record is the next of its key.
func (s *scenario) record(key string, f fate) *kgo.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, _ := json.Marshal(event{key, s.next[key], f})
	s.next[key]++
	return &kgo.Record{Topic: s.topic, Key: []byte(key), Value: value}
}

// produce stores records and notes them.
func (s *scenario) produce(records ...*kgo.Record) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	s.stored(records...)
}

// stored notes records that the brokers have acknowledged.
func (s *scenario) stored(records ...*kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		var e event
		_ = json.Unmarshal(r.Value, &e)
		s.history.Records = append(s.history.Records, ledger.Record{
			Place: ledger.Place{Partition: r.Partition, Offset: r.Offset}, Key: e.Key, Seq: e.Seq, Dead: e.Fate.dead(),
		})
	}
}

// member is a running consumer.
type member struct {
	s        *scenario
	number   int
	consumer *kafka.Consumer[event]
	cancel   context.CancelFunc
	result   chan error
	losses   chan struct{} // one for each loss of partitions, as far as there is room
}

// join starts a member.
func (s *scenario) join(cfg kafka.ConsumerConfig, handle kafka.Handler[event]) *member {
	s.t.Helper()
	m := &member{s: s, number: s.newMember(), result: make(chan error, 1), losses: make(chan struct{}, 100)}
	consumer, err := kafka.NewConsumer(cfg, s.noted(m.number, cfg.MaxRetries, handle))
	if err != nil {
		s.t.Fatal(err)
	}
	m.consumer = consumer
	consumer.Use(kafka.ConsumerHooks{
		PartitionsLost: func(string, []int32) { s.excuse(m.number); m.losses <- struct{}{} },
		OffsetsCommitted: func(err error) {
			if err != nil {
				s.excuse(m.number)
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	go func() {
		err := consumer.Start(ctx)
		s.ended(m.number)
		m.result <- err
	}()
	s.t.Cleanup(func() {
		cancel()
		_ = consumer.Close()
	})
	return m
}

func (s *scenario) newMember() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.Members = append(s.history.Members, ledger.Member{Name: strconv.Itoa(len(s.history.Members))})
	return len(s.history.Members) - 1
}

func (s *scenario) ended(member int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.Members[member].Ended = now()
}

// excuse notes that something happened to the member which explains redeliveries.
func (s *scenario) excuse(member int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.Members[member].Excuses = append(s.history.Members[member].Excuses, ledger.Excuse{At: now()})
}

// noted is the handler, with notes of its attempts.
func (s *scenario) noted(member, maxRetries int, handle kafka.Handler[event]) kafka.Handler[event] {
	return func(ctx context.Context, msg kafka.Message[event]) (err error) {
		attempt := s.begins(member, ledger.Place{Partition: msg.Partition, Offset: msg.Offset})
		outcome := ledger.Final // of a panic, too
		defer func() { s.ends(attempt, outcome) }()
		if err = handle(ctx, msg); err == nil {
			return nil
		}
		if ctx.Err() != nil || kafka.ClassOf(err) == kafka.ClassTransient && msg.Attempt <= maxRetries {
			outcome = ledger.Failed
		}
		return err
	}
}

func (s *scenario) begins(member int, place ledger.Place) (attempt int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history.Attempts = append(s.history.Attempts, ledger.Attempt{Member: member, Place: place, Began: now()})
	return len(s.history.Attempts) - 1
}

func (s *scenario) ends(attempt int, outcome ledger.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.history.Attempts[attempt]
	a.Ended, a.Outcome = now(), outcome
}

// stopped shuts the member down as a signal would, and returns Start's error.
func (m *member) stop() error {
	m.s.t.Helper()
	m.cancel()
	return m.wait()
}

func (m *member) wait() error {
	m.s.t.Helper()
	select {
	case err := <-m.result:
		return err
	case <-time.After(patience):
		m.s.t.Fatal("Start does not return")
		return nil
	}
}

func (m *member) mustStop() {
	m.s.t.Helper()
	if err := m.stop(); err != nil {
		m.s.t.Errorf("member %d: Start: %v", m.number, err)
	}
}

// sample notes the committed offsets as they change.
func (s *scenario) sample(ctx context.Context) {
	defer close(s.stopped)
	for ctx.Err() == nil {
		s.look(ctx)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// look notes them once. After an error it asks with another client: one that knows a coordinator goes on asking it, dead or not.
func (s *scenario) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if s.looking == nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...))
		if err != nil {
			s.t.Error(err)
			return
		}
		s.looking = client
	}
	offsets, err := kadm.NewClient(s.looking).FetchOffsets(ctx, s.topic)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		s.looking.Close()
		s.looking = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lookError = err; err != nil {
		return
	}
	at := now()
	for _, o := range offsets[s.topic] {
		if seen, ok := s.commits[o.Partition]; o.Err == nil && (!ok || seen != o.At) {
			s.commits[o.Partition] = o.At
			s.history.Seen = append(s.history.Seen, ledger.Commit{At: at, Partition: o.Partition, Offset: o.At})
		}
	}
}

// drained waits until all that was stored is committed.
func (s *scenario) drained() {
	s.t.Helper()
	s.until("all records are committed", func() bool { return s.left() == 0 })
}

// left counts the stored records that are not committed.
func (s *scenario) left() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.history.Records {
		if s.commits[r.Partition] <= r.Offset {
			n++
		}
	}
	return n
}

// handled counts attempts that came to an end.
func (s *scenario) handled() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.history.Attempts {
		if a.Outcome == ledger.Final {
			n++
		}
	}
	return n
}

// until waits for what no channel tells.
func (s *scenario) until(what string, condition func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			s.t.Fatalf("never: %s (%d attempts ended, %d records not committed, last look at commits: %v)", what, s.handled(), s.left(), s.lookError)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// judge compares all notes. Call it when no member runs.
func (s *scenario) judge() ledger.Report {
	s.t.Helper()
	s.endSampling()
	<-s.stopped
	s.look(context.Background())
	s.history.Commits = slices.DeleteFunc(cluster.Commits(s.t, s.brokers, s.topic, s.topic), func(commit ledger.Commit) bool {
		return commit.At < s.began // to an earlier topic of that name
	})
	s.history.Letters = s.letters()
	s.history.HearsLate = 15 * time.Second
	report := ledger.Judge(s.history)
	s.t.Log(report)
	if !report.Good() {
		s.t.Error("what became of the records is wrong, see above")
	}
	return report
}

// judgeClean judges a run in which nothing explains a redelivery.
func (s *scenario) judgeClean() {
	s.t.Helper()
	if report := s.judge(); report.Excused > 0 {
		s.t.Errorf("%d records were redelivered, want none", report.Excused)
	}
}

// letters returns where the dead letters came from.
func (s *scenario) letters() (places []ledger.Place) {
	s.t.Helper()
	for _, r := range s.read("dlq-" + s.topic) {
		partition, err1 := strconv.Atoi(header(r, dlqheader.Partition))
		offset, err2 := strconv.ParseInt(header(r, dlqheader.Offset), 10, 64)
		place := ledger.Place{Partition: int32(partition), Offset: offset}
		err := errors.Join(err1, err2)
		if err != nil && s.sheds {
			place, err = s.placeOf(r.Value)
		}
		if err != nil {
			s.t.Errorf("letter %d@%d: %v", r.Partition, r.Offset, err)
		}
		places = append(places, place)
	}
	return places
}

// placeOf returns where the record with that value is.
func (s *scenario) placeOf(value []byte) (ledger.Place, error) {
	var of event
	if err := json.Unmarshal(value, &of); err != nil {
		return ledger.Place{}, err
	}
	for _, r := range s.history.Records {
		if r.Key == of.Key && r.Seq == of.Seq {
			return r.Place, nil
		}
	}
	return ledger.Place{}, fmt.Errorf("nobody has published %+v", of)
}

func header(r *kgo.Record, name string) (value string) {
	for _, h := range r.Headers {
		if h.Key == name {
			value = string(h.Value)
		}
	}
	return value
}

// read returns all that a topic holds.
func (s *scenario) read(topic string) (records []*kgo.Record) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ends, err := s.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	starts, err := s.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		s.t.Fatal(err)
	}
	missing := map[int32]int64{} // where each partition that is not read yet ends
	ends.Each(func(o kadm.ListedOffset) {
		if start, _ := starts.Lookup(topic, o.Partition); start.Offset < o.Offset {
			missing[o.Partition] = o.Offset
		}
	})
	client := s.connect(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.KeepControlRecords())
	defer client.Close()
	for len(missing) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			s.t.Fatalf("%s can't be read to its end", topic)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
			if r.Offset >= missing[r.Partition]-1 {
				delete(missing, r.Partition)
			}
		})
	}
	return records
}

// now is a moment on the clock that the test's process and its children share.
func now() int64 { return time.Now().UnixNano() }

// journal keeps the library's latest lines, for a test that fails.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Write(line []byte) (int, error) {
	const most = 400
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(line))
	j.lines = j.lines[max(0, len(j.lines)-most):]
	return len(line), nil
}

// holds tells whether some line has that level and these attributes, which follow one another.
func (j *journal) holds(level slog.Level, attrs string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.lines, func(line string) bool {
		return strings.Contains(line, " level="+level.String()+" ") && strings.Contains(line, " "+attrs+" ")
	})
}

func (j *journal) tell(t *testing.T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines[max(0, len(j.lines)-60):] {
		t.Log(strings.TrimSuffix(line, "\n"))
	}
}

func (s *scenario) eventOf(r *kgo.Record) (e event) {
	s.t.Helper()
	if err := json.Unmarshal(r.Value, &e); err != nil {
		s.t.Fatal(err)
	}
	return e
}
