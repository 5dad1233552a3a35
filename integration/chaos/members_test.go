package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skeji/kafka/internal/ledger"
)

// crew is the members of one group, as processes.
type crew struct {
	t       *testing.T
	task    task // of each, but for its name and files
	folder  string
	members []*member // all there ever were
}

type member struct {
	task
	process  *exec.Cmd
	output   bytes.Buffer
	ended    chan struct{}
	excuses  []ledger.Excuse // what was done to it
	frozen   bool
	dead     bool // killed, or asked to end
	mayFail  bool // faults came upon it while it was ending: its last commit may have been refused
	thawedAt time.Time
	at       int64 // when it ended
}

// join starts a member.
func (c *crew) join() *member {
	c.t.Helper()
	m := &member{task: c.task, ended: make(chan struct{})}
	m.Name = fmt.Sprintf("member-%d", len(c.members))
	m.Notes, m.Log = filepath.Join(c.folder, m.Name+".notes"), filepath.Join(c.folder, m.Name+".log")
	text, err := json.Marshal(m.task)
	if err != nil {
		c.t.Fatal(err)
	}
	m.process = exec.Command(os.Args[0])
	m.process.Env = append(os.Environ(), taskVariable+"="+string(text))
	m.process.Stdout, m.process.Stderr = &m.output, &m.output
	if _, err := m.process.StdinPipe(); err != nil { // closed when this process ends, however it ends
		c.t.Fatal(err)
	}
	if err := m.process.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.members = append(c.members, m)
	go func() {
		_ = m.process.Wait()
		m.at = time.Now().UnixNano()
		close(m.ended)
	}()
	c.t.Cleanup(func() {
		_ = m.process.Process.Kill()
		<-m.ended
	})
	return m
}

// working returns the members that run and were not asked to end.
func (c *crew) working() []*member {
	return slices.DeleteFunc(slices.Clone(c.members), func(m *member) bool { return m.dead || m.frozen })
}

func (m *member) signal(s syscall.Signal) { _ = m.process.Process.Signal(s) }

func (m *member) excuse(why string) {
	m.excuses = append(m.excuses, ledger.Excuse{At: time.Now().UnixNano(), Why: why, Exact: true})
}

// kill ends the member as a crash would.
func (m *member) kill() {
	m.dead = true
	m.signal(syscall.SIGKILL)
	<-m.ended
	m.excuse("killed") // whatever it began, it began before
}

// freeze stops the member as a hang would.
func (m *member) freeze() {
	m.frozen = true
	m.signal(syscall.SIGSTOP)
	m.excuse("frozen")
}

func (m *member) thaw() {
	m.excuse("thawed")
	m.signal(syscall.SIGCONT)
	m.frozen, m.thawedAt = false, time.Now()
}

func (m *member) hasEnded() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// leave asks the member to end, and does not wait.
func (m *member) leave() {
	m.dead = true
	m.signal(syscall.SIGTERM)
}

// await waits for the end of a member that was asked to, and fails if it ended with an error for no reason.
func (m *member) await(t *testing.T) {
	t.Helper()
	const patience = 2 * time.Minute
	select {
	case <-m.ended:
	case <-time.After(patience):
		t.Fatalf("%s does not end", m.Name)
	}
	if code := m.process.ProcessState.ExitCode(); code > 0 && !m.mayFail {
		t.Errorf("%s ended with %d: %s", m.Name, code, m.output.String())
	}
}

// history adds what the members have noted, and tells how many excuses they noted themselves.
func (c *crew) history(h *ledger.History) (excuses int) {
	c.t.Helper()
	for i, m := range c.members {
		notes, err := os.ReadFile(m.Notes)
		if err != nil && !os.IsNotExist(err) {
			c.t.Fatal(err)
		}
		judged := ledger.Member{Name: m.Name, Excuses: slices.Clone(m.excuses), Ended: m.at}
		open := map[ledger.Place]int{} // index in h.Attempts
		for line := range strings.SplitSeq(string(notes), "\n") {
			kind, rest, _ := strings.Cut(line, " ")
			stamp, about, complete := strings.Cut(rest, " ")
			at, err := strconv.ParseInt(stamp, 10, 64)
			if !complete || err != nil {
				continue // a note that a kill has cut off
			}
			if kind[0] == noteExcuse {
				judged.Excuses = append(judged.Excuses, ledger.Excuse{At: at, Why: about})
				excuses++
				continue
			}
			p := parsePlace(about)
			switch kind[0] {
			case noteBegan:
				open[p] = len(h.Attempts)
				h.Attempts = append(h.Attempts, ledger.Attempt{Member: i, Place: p, Began: at})
			case noteLetGo:
				if a := &h.Attempts[open[p]]; a.Outcome == ledger.Final {
					a.Outcome = ledger.LetGo
				}
			default:
				a := &h.Attempts[open[p]]
				if a.Ended, a.Outcome = at, ledger.Failed; kind[0] == noteFinal {
					a.Outcome = ledger.Final
				}
			}
		}
		h.Members = append(h.Members, judged)
	}
	return excuses
}

func parsePlace(text string) ledger.Place {
	partition, offset, _ := strings.Cut(text, " ")
	p, _ := strconv.ParseInt(partition, 10, 32)
	o, _ := strconv.ParseInt(offset, 10, 64)
	return ledger.Place{Partition: int32(p), Offset: o}
}

// tell prints what the members logged of their group, for a run that fails.
func (c *crew) tell() {
	const most = 60
	for _, m := range c.members {
		log, _ := os.ReadFile(m.Log)
		var lines []string
		for line := range strings.SplitSeq(string(log), "\n") {
			if line != "" && !strings.Contains(line, "record sent to dead letter topic") {
				lines = append(lines, line)
			}
		}
		c.t.Logf("%s (%v):\n%s", m.Name, m.excuses, strings.Join(lines[max(0, len(lines)-most):], "\n"))
	}
}
