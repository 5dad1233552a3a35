package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/integration/internal/cluster"
	"github.com/skeji/kafka/internal/ledger"
)

// childRole is the environment variable that makes this binary another process of a test: what it is to do.
const childRole = "KAFKA_TEST_FAULTS_CHILD"

// Where a process of a test consumes, and as which kind of member.
const (
	childTopic    = "KAFKA_TEST_FAULTS_TOPIC"
	childProtocol = "KAFKA_TEST_FAULTS_PROTOCOL"
)

// child is the main of such a process.
func child(role string) (code int) {
	cfg := shortSessions(configOf(os.Getenv(childTopic), kafka.ClientConfig{
		Brokers: cluster.Brokers(), ConnectTimeout: patience,
	}))
	cfg.GroupProtocol = kafka.GroupProtocol(os.Getenv(childProtocol))
	var err error
	switch role {
	case "consume":
		err = consumeAndTell(cfg)
	case "fill":
		err = fillQueue(cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// line is what a consuming process writes about an attempt, when it begins and, before the handler returns, when it ends; and when
// it hears of what explains redeliveries.
type line struct {
	Place   ledger.Place
	At      int64
	Outcome ledger.Outcome // Open: it begins
	Excuse  bool           // it has lost partitions, or a commit failed
}

// consumeAndTell consumes until it is killed.
func consumeAndTell(cfg kafka.ConsumerConfig) error {
	consumer, err := kafka.NewConsumer(cfg, func(ctx context.Context, msg kafka.Message[event]) error {
		place := ledger.Place{Partition: msg.Partition, Offset: msg.Offset}
		tell(line{Place: place, At: now(), Outcome: ledger.Open})
		time.Sleep(5 * time.Millisecond)
		err := comesTo(ctx, msg)
		outcome := ledger.Final
		if kafka.ClassOf(err) == kafka.ClassTransient && msg.Attempt <= cfg.MaxRetries {
			outcome = ledger.Failed
		}
		tell(line{Place: place, At: now(), Outcome: outcome})
		return err
	})
	if err != nil {
		return err
	}
	defer consumer.Close()
	excuse := func() { tell(line{At: now(), Excuse: true}) }
	consumer.Use(kafka.ConsumerHooks{
		PartitionsLost: func(string, []int32) { excuse() },
		OffsetsCommitted: func(err error) {
			if err != nil {
				excuse()
			}
		},
	})
	return consumer.Start(context.Background())
}

// tell writes a line with one call, so that a kill leaves none in a buffer.
func tell(l line) {
	text, _ := json.Marshal(l)
	_, _ = os.Stdout.Write(append(text, '\n'))
}

// process is a member in a process of its own.
type process struct {
	s      *scenario
	number int
	cmd    *exec.Cmd
	read   chan struct{} // closed when all that it wrote is noted
}

// spawn starts one.
func (s *scenario) spawn(protocol string) *process {
	s.t.Helper()
	p := &process{s: s, number: s.newMember(), cmd: s.command("consume", protocol), read: make(chan struct{})}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go p.note(bufio.NewScanner(output))
	s.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// command is this binary in a role.
func (s *scenario) command(role, protocol string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childTopic+"="+s.topic, childProtocol+"="+protocol)
	cmd.Stderr = s.log
	return cmd
}

// note notes the process' attempts until its output ends.
func (p *process) note(lines *bufio.Scanner) {
	defer close(p.read)
	open := map[ledger.Place]int{} // attempts that have not ended
	for lines.Scan() {
		var l line
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue // cut off by the kill
		}
		p.s.mu.Lock()
		if l.Excuse {
			m := &p.s.history.Members[p.number]
			m.Excuses = append(m.Excuses, ledger.Excuse{At: l.At})
		} else if l.Outcome == ledger.Open {
			open[l.Place] = len(p.s.history.Attempts)
			p.s.history.Attempts = append(p.s.history.Attempts, ledger.Attempt{Member: p.number, Place: l.Place, Began: l.At})
		} else {
			a := &p.s.history.Attempts[open[l.Place]]
			a.Ended, a.Outcome = l.At, l.Outcome
		}
		p.s.mu.Unlock()
	}
}

func (p *process) signal(signal syscall.Signal) {
	p.s.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.s.t.Fatal(err)
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.s.t.Helper()
	p.s.excuse(p.number)
	p.signal(syscall.SIGKILL)
	<-p.read
	_ = p.cmd.Wait()
	p.s.ended(p.number)
}

// handledBy counts the attempts that a member ended.
func (s *scenario) handledBy(number int) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.history.Attempts {
		if a.Member == number && a.Outcome == ledger.Final {
			n++
		}
	}
	return n
}

// untilBothWork keeps a backlog until both members are at work.
func (s *scenario) untilBothWork(one, other int) {
	s.t.Helper()
	s.until("both members are at work", func() bool {
		if s.left() < 1000 {
			s.seed(1000, 40, mixed)
		}
		return s.handledBy(one) > 50 && s.handledBy(other) > 50
	})
}

func TestAKilledConsumer(t *testing.T) {
	t.Parallel()
	s := newScenario(t, 6, nil)
	p := s.spawn("classic")
	m := s.join(shortSessions(s.config()), slowly(5*time.Millisecond))
	s.untilBothWork(p.number, m.number)
	p.kill()
	if s.left() == 0 {
		t.Error("the backlog was gone")
	}
	s.drained()
	m.mustStop()
	// What comes again is what the process had in hand, or had finished since its last commit: some commit intervals' worth
	// at 5 ms a record and six partitions, on a machine that is busy.
	report := s.judge()
	t.Logf("redelivered after the kill: %d", report.Excused)
}

// A zombie is a member that stood still for longer than its session and goes on: others have its partitions, and have
// committed beyond what it knows.
func TestAZombieCommitsNothing(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := newScenario(t, 6, nil)
			cfg := shortSessions(s.config())
			cfg.GroupProtocol = kafka.GroupProtocol(protocol)
			p := s.spawn(protocol)
			m := s.join(cfg, slowly(5*time.Millisecond))
			s.untilBothWork(p.number, m.number)
			s.excuse(p.number)
			p.signal(syscall.SIGSTOP)
			s.drained() // by the other, once the session is over
			before := s.handledBy(p.number)
			s.excuse(p.number)
			p.signal(syscall.SIGCONT)
			// It has learnt that it is no member any more when it is one again and handles new records. What it commits until
			// then, the sampler sees.
			s.until("it is a member again", func() bool {
				s.seed(40, 40, mixed)
				return s.handledBy(p.number) > before+20
			})
			s.drained()
			p.kill()
			m.mustStop()
			s.judge()
		})
	}
}

func mixed(i int) fate {
	switch {
	case i%50 == 0:
		return poison
	case i%20 == 0:
		return flaky
	case i%30 == 0:
		return rejected
	}
	return good
}
