package faults

import (
	"testing"
	"time"

	"github.com/skeji/kafka"
)

func TestMembersComeAndGoWhileBacklogged(t *testing.T) {
	t.Parallel()
	comeAndGo(t, func(int) fate { return good })
}

func TestMembersComeAndGoDuringRetries(t *testing.T) {
	t.Parallel()
	comeAndGo(t, func(i int) fate {
		if i%3 == 0 {
			return flaky
		}
		return good
	})
}

func TestMembersComeAndGoDuringDeadLetters(t *testing.T) {
	t.Parallel()
	comeAndGo(t, func(i int) fate {
		if i%2 == 0 {
			return poison
		}
		return good
	})
}

// comeAndGo lets three members come and go while there is a backlog. Every handover is a clean one: nothing is handled twice.
func comeAndGo(t *testing.T, fateOf func(i int) fate) {
	for name, set := range map[string]func(cfg *kafka.ConsumerConfig){
		"Classic":  func(*kafka.ConsumerConfig) {},
		"Consumer": func(cfg *kafka.ConsumerConfig) { cfg.GroupProtocol = "consumer" },
		"Lanes":    func(cfg *kafka.ConsumerConfig) { cfg.Concurrency = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const records, keys, changes = 2400, 60, 5
			s := newScenario(t, 6, nil)
			s.seed(records, keys, fateOf)
			cfg := s.config()
			set(&cfg)
			members := []*member{s.join(cfg, slowly(3*time.Millisecond))}
			for change := range changes {
				goal := s.handled() + records/(changes+3)
				s.until("the members get on", func() bool { return s.handled() >= min(goal, records) })
				if s.left() == 0 {
					t.Fatalf("the backlog was gone at change %d", change)
				}
				if len(members) == 3 || change%3 == 2 {
					members[0].mustStop()
					members = members[1:]
				} else {
					members = append(members, s.join(cfg, slowly(3*time.Millisecond)))
				}
			}
			s.drained()
			for _, m := range members {
				m.mustStop()
			}
			s.judgeClean()
		})
	}
}
