//go:build synctests

package kafka_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

const (
	codesRecords  = 8                       // in each of the two partitions; every fourth goes to the dead letter topic
	codesHandling = 4 * time.Second         // of a record: half a minute for all
	codesPatience = 2 * time.Minute         // within which what stands still must have said why
	codesRecovery = 5 * time.Minute         // within which work goes on when the errors are over: some sessions time out
	codesRestart  = 2 * time.Second         // between a member's end with an error and its successor
	codesLatency  = 1 * time.Millisecond    // see wires
	codesLook     = 500 * time.Millisecond  // between two looks at what is awaited
	codesInHand   = 2 * codesHandling       // how far a member is when it is struck
	codesMargin   = 1500 * time.Millisecond // that ends may take over their bounds
)

// scene is where a case is played.
type scene struct {
	codeCase
	*bubble
	ledger *codesLedger
	fault  *kfake.FaultHandle
}

// run plays the case, and tells whether a client met the error at all. Whoever fails within a bubble ends its test.
func (c codeCase) run(t *testing.T) (met bool, breaches []string) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bubble) {
		s := &scene{codeCase: c, bubble: b, ledger: newCodesLedger()}
		s.play()
		met = s.fault != nil && s.fault.Hits() > 0
		breaches = s.ledger.breaches
	})
	return met, breaches
}

func (s *scene) play() {
	s.cluster.ControlKey(int16(kmsg.OffsetCommit), s.ledger.commit)
	for partition := range int32(2) {
		s.seed(partition, codesRecords)
	}
	if s.resumes {
		s.commitBefore()
	}
	members := []*supervised{s.member("first")}
	defer func() {
		for _, m := range members {
			m.stop()
		}
	}()
	switch s.point {
	case constructing:
		s.strike()
		members[0].begin(nil)
	case starting:
		members[0].begin(s.strike)
	default:
		members[0].begin(nil)
		time.Sleep(codesInHand)
		s.strike()
	}
	if s.point == handingOver {
		members = append(members, s.member("second"))
		members[1].begin(nil)
	}
	if s.point != stopping {
		s.watch(members)
	}
	for i := len(members) - 1; i >= 0; i-- { // the second first: its partitions are handed back
		members[i].stop()
	}
	s.finish()
	s.judge()
}

// strike lets the brokers refuse.
func (s *scene) strike() {
	if s.fault != nil {
		return
	}
	if s.trigger != nil {
		s.cluster.Fault(*s.trigger)
	}
	fault := s.refusal.fault
	fault.Err, fault.Count = s.code, map[lasting]int{once: 1, fiveTimes: 5, aMinute: -1, forEver: -1}[s.lasting]
	s.fault = s.cluster.Fault(fault)
}

func (s *scene) mend() { s.fault.Remove() }

// watch waits until all is done, or said.
func (s *scene) watch(members []*supervised) {
	working := func() bool {
		records, _ := s.ledger.doneOf()
		for _, m := range members {
			if !m.ready() {
				return false
			}
		}
		return records == 2*codesRecords
	}
	if !s.brief() {
		patience := codesPatience
		if slices.ContainsFunc(s.refusal.fault.Keys, func(key kmsg.Key) bool { return key == kmsg.Produce || key == kmsg.InitProducerID }) {
			patience += kafka.DefaultDeliveryTimeout // after which it names the letter: no client learns what the answers were
		}
		await(patience, working)
		if !working() && !s.atDebug && !s.said(members) {
			records, _ := s.ledger.doneOf()
			s.ledger.breach("stands still in silence: %d of %d records are done, and no line at Warn, no problem names %s; %s", records, 2*codesRecords, s.cause(), s.tail())
		}
		if s.lasting == forEver {
			return
		}
		s.mend()
	}
	if !await(codesRecovery, working) {
		records, _ := s.ledger.doneOf()
		s.ledger.breach("the error is over, the work does not go on: %d of %d records are done; %s", records, 2*codesRecords, s.tail())
	}
}

// said tells whether somebody who looks at the log, or at the health, knows what is wrong.
func (s *scene) said(members []*supervised) bool {
	if s.ledger.failed() > 0 { // each of which names it
		return true
	}
	for _, m := range members {
		if consumer := m.consumer.Load(); consumer != nil && s.names(strings.Join(consumer.Health().Problems, "\n")) {
			return true
		}
	}
	for _, line := range s.warnings() {
		if s.names(line) || strings.Contains(line, " session_timeout=") || strings.Contains(line, " dlq_topic=") {
			return true
		}
	}
	return false
}

func (s *scene) warnings() []string { return s.log.texts(slog.LevelWarn) }

// tail is the end of the log, for a report.
func (s *scene) tail() string {
	lines := s.log.texts(slog.LevelDebug)
	return "the log ends with\n\t" + strings.Join(lines[max(0, len(lines)-6):], "\t")
}

// finish lets another member do what is left, in peace.
func (s *scene) finish() {
	for partition := range int32(2) {
		if at, done := max(0, s.committed(partition)), s.ledger.upTo(partition); at != done && s.ledger.excuses() == 0 && s.ledger.failed() == 0 {
			s.ledger.breach("Start returned nil, orders-%d is done up to %d and committed up to %d", partition, done, at)
		}
	}
	s.mend()
	if s.allCommitted() {
		return
	}
	heir := s.member("heir")
	left := 2*codesRecords - int(max(0, s.committed(0))+max(0, s.committed(1)))
	before := s.ledger.total()
	heir.commits = 0 // the group may wait for a member that could not leave, see bubble
	heir.begin(nil)
	await(codesRecovery, func() bool { return s.ledger.total() >= before+left })
	heir.stop()
	if !s.allCommitted() {
		s.ledger.breach("lost: a new member commits up to %d and %d, not %d; %s", s.committed(0), s.committed(1), codesRecords, s.tail())
	}
}

func (s *scene) allCommitted() bool {
	return s.committed(0) == codesRecords && s.committed(1) == codesRecords
}

// judge looks at the whole.
func (s *scene) judge() {
	records, again := s.ledger.doneOf()
	if records != 2*codesRecords {
		s.ledger.breach("lost: %d of %d records were ever done", records, 2*codesRecords)
	}
	if stored := s.letters(); stored < int64(s.ledger.letters) {
		s.ledger.breach("%d letters are said to be stored, %d are", s.ledger.letters, stored)
	}
	passes := s.asSeen().Retriable && s.lasting == once && s.code != kerr.UnknownTopicOrPartition && s.code != kerr.UnknownTopicID
	if again > 0 && s.ledger.lost == 0 && (passes || s.ledger.excuses()+s.ledger.failed() == 0) {
		s.ledger.breach("%d records came again: the code is retriable, no partition was lost; %s", again, s.tail())
	}
}

// excuses are what may make records come again.
func (l *codesLedger) excuses() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost + l.commits + l.rewinds
}

// commitBefore leaves the group as an earlier member did: with an offset that names its leader's epoch.
func (s *scene) commitBefore() {
	m := s.member("earlier")
	m.begin(nil)
	time.Sleep(codesHandling + codesHandling/2)
	m.stop()
}

// member is one that is started again, as services are, when it ends with an error.
func (s *scene) member(name string) *supervised {
	return &supervised{scene: s, name: name, commits: s.refusal.commits, quit: make(chan struct{}), ended: make(chan struct{})}
}

type supervised struct {
	*scene
	name     string
	commits  time.Duration                            // CommitInterval; 0: an hour
	consumer atomic.Pointer[kafka.Consumer[numbered]] // the latest
	quit     chan struct{}
	ended    chan struct{}
	stopped  bool
}

// begin runs it. before is called before each Start.
func (m *supervised) begin(before func()) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-m.quit
		cancel()
	}()
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			if err := m.live(ctx, before); err != nil {
				m.failed(err)
				wait(codesRestart, ctx.Done())
			}
		}
	}()
}

func (m *supervised) live(ctx context.Context, before func()) error {
	cfg := m.scene.consumer()
	cfg.CommitInterval = cmp.Or(m.commits, time.Hour)
	cfg.GroupProtocol = kafka.GroupProtocol(m.protocol)
	cfg.Options = []kgo.Opt{kgo.Dialer(m.dial), kgo.FetchMaxWait(5 * time.Second)}
	began := time.Now()
	consumer, err := kafka.NewConsumer(cfg, m.handle)
	if took := time.Since(began); took > 2*time.Second {
		m.ledger.breach("the constructor took %v", took)
	}
	if err != nil {
		return err
	}
	defer consumer.Close()
	consumer.Use(m.ledger.hooks())
	m.consumer.Store(consumer)
	if before != nil {
		before()
	}
	return consumer.Start(ctx)
}

func (m *supervised) handle(ctx context.Context, msg kafka.Message[numbered]) error {
	m.ledger.begin(msg.Partition, msg.Offset)
	finished := wait(codesHandling, ctx.Done())
	bad := msg.Value.N%4 == 3
	m.ledger.end(msg.Partition, msg.Offset, finished && !bad)
	switch {
	case !finished:
		return ctx.Err()
	case bad:
		return kafka.NewPermanentError("bad", nil)
	}
	return nil
}

// failed judges the error that a member ended with: it says where, and what the brokers said.
func (m *supervised) failed(err error) {
	defer m.ledger.fail()
	if !strings.HasPrefix(err.Error(), "kafka: ") {
		m.ledger.breach("the %s member's error does not say whose it is: %v", m.name, err)
	}
	if _, answered := errors.AsType[*kerr.Error](err); !answered && !m.said([]*supervised{m}) { // what follows from it will do
		m.ledger.breach("the %s member ended with an error that does not name the cause, nor does anything else: %v", m.name, err)
	}
}

func (m *supervised) ready() bool {
	select {
	case <-m.ended:
		return true
	default:
	}
	consumer := m.consumer.Load()
	return consumer != nil && consumer.Health().Ready()
}

// stop ends it, within the time that Start's documentation gives.
func (m *supervised) stop() {
	if m.stopped {
		return
	}
	m.stopped = true
	began := time.Now()
	close(m.quit)
	<-m.ended
	bound := kafka.DefaultDrainTimeout + kafka.DrainGrace + kafka.CommitTimeout + kafka.LeaveTimeout
	if m.point == handingOver {
		bound += kafka.DefaultDrainTimeout
	}
	if took := time.Since(began); took > bound+codesMargin {
		m.ledger.breach("the %s member ended %v after it was asked to, the bound is %v", m.name, took, bound)
	}
}

// dial is the bubble's network with a little latency: franz-go repeats some requests at once, and without latency it would do
// so for ever at one moment of the bubble's time.
func (s *scene) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.network.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return codesWire{conn}, nil
}

type codesWire struct{ net.Conn }

func (c codesWire) Write(data []byte) (int, error) {
	time.Sleep(codesLatency)
	return c.Conn.Write(data)
}

// await tells whether something came to be in time.
func await(limit time.Duration, what func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(codesLook) {
		if what() {
			return true
		}
		if !time.Now().Before(end) {
			return false
		}
	}
}
