package faults

import (
	"testing"
	"time"

	"github.com/skeji/kafka"
)

func TestMembersComeAndGoWhileBacklogged(t *testing.T) {
	t.Parallel()
	comeAndGo(t, 1000, func(int) fate { return good })
}

func TestMembersComeAndGoDuringRetries(t *testing.T) {
	t.Parallel()
	comeAndGo(t, 1000, func(i int) fate {
		if i%3 == 0 {
			return flaky
		}
		return good
	})
}

func TestMembersComeAndGoDuringDeadLetters(t *testing.T) {
	t.Parallel()
	comeAndGo(t, 300, func(i int) fate { // letters are written one after another
		if i%2 == 0 {
			return poison
		}
		return good
	})
}

// comeAndGo lets three members come and go while there is a backlog. Every handover is a clean one: nothing is handled twice.
func comeAndGo(t *testing.T, backlog int, fateOf func(i int) fate) {
	for name, set := range map[string]func(cfg *kafka.ConsumerConfig){
		"Classic":  func(*kafka.ConsumerConfig) {},
		"Consumer": func(cfg *kafka.ConsumerConfig) { cfg.GroupProtocol = "consumer" },
		"Lanes":    func(cfg *kafka.ConsumerConfig) { cfg.Concurrency = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const keys, changes = 60, 5
			s := newScenario(t, 6, nil)
			cfg := s.config()
			set(&cfg)
			handle := slowly(3 * time.Millisecond * time.Duration(max(1, cfg.Concurrency)))
			members := []*member{s.join(cfg, handle)}
			for change := range changes {
				goal, newest := s.handled()+200, members[len(members)-1]
				s.until("the members are at work, the newest too", func() bool {
					if s.left() < backlog { // there is always one
						s.seed(backlog, keys, fateOf)
					}
					return s.handled() >= goal && s.handledBy(newest.number) > 0
				})
				if len(members) == 3 || change%3 == 2 {
					members[0].mustStop()
					members = members[1:]
				} else {
					members = append(members, s.join(cfg, handle))
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
