package ledger

import (
	"fmt"
	"testing"
	"time"
)

const second = int64(time.Second)

// clean is a history in which two members share a partition one after the other: six records of two keys, one of them dead,
// one tried twice.
func clean() History {
	h := History{Members: []Member{{Name: "first", Ended: 40 * second}, {Name: "second", Ended: 90 * second}}}
	for i := range 6 {
		h.Records = append(h.Records, Record{Place: Place{0, int64(10 + i)}, Key: fmt.Sprint(i % 2), Seq: i / 2, Dead: i == 3})
		member, at := 0, int64(i+1)*5*second
		if i >= 3 {
			member, at = 1, int64(i+10)*5*second
		}
		if i == 1 {
			h.Attempts = append(h.Attempts, Attempt{member, Place{0, int64(10 + i)}, at - second, at, Failed})
		}
		h.Attempts = append(h.Attempts, Attempt{member, Place{0, int64(10 + i)}, at, at + second, Final})
	}
	h.Letters = []Place{{0, 13}}
	h.Commits = []Commit{{7 * second, 0, 11}, {39 * second, 0, 13}, {89 * second, 0, 16}}
	return h
}

func TestWhatIsRightPasses(t *testing.T) {
	if r := Judge(clean()); !r.Good() || r.Handled != 6 || r.Excused != 0 {
		t.Errorf("%v", r)
	}
	killed := clean()
	killed.Members[0].Excuses = []Excuse{{At: 40 * second, Exact: true}} // with one record finished and not committed, and one in hand
	killed.Commits[1] = Commit{39 * second, 0, 12}
	killed.Attempts = append(killed.Attempts, Attempt{0, Place{0, 13}, 39 * second, 0, Open}, Attempt{1, Place{0, 12}, 55 * second, 56 * second, Final})
	if r := Judge(killed); !r.Good() || r.Handled != 7 || r.Excused != 1 {
		t.Errorf("after a kill: %v", r)
	}
	frozen := clean() // the first goes on for a moment with what is the second's by now
	frozen.Members[0].Excuses = []Excuse{{36 * second, "frozen", true}, {72 * second, "thawed", true}}
	frozen.Attempts = append(frozen.Attempts, Attempt{0, Place{0, 13}, 73 * second, 74 * second, Final})
	if r := Judge(frozen); !r.Good() || r.ExcusedBy["thawed"] != 1 {
		t.Errorf("after a thaw: %v", r)
	}
	held := clean() // the first hands a record over whose letter is held up, and stored all the same
	held.Attempts = append(held.Attempts, Attempt{0, Place{0, 13}, 35 * second, 36 * second, LetGo})
	held.Letters = append(held.Letters, Place{0, 13})
	if r := Judge(held); !r.Good() || r.Excused != 0 {
		t.Errorf("after a letter that was held up: %v", r)
	}
	late := clean() // the first loses its partition and gets it back; a commit from before comes in between
	late.HearsLate = 5 * time.Second
	late.Members[0].Excuses = []Excuse{{At: 20 * second}}
	late.Commits = []Commit{{7 * second, 0, 11}, {21 * second, 0, 13}, {89 * second, 0, 16}}
	late.Attempts = append(late.Attempts, Attempt{0, Place{0, 12}, 23 * second, 24 * second, Final})
	if r := Judge(late); !r.Good() {
		t.Errorf("after a late commit: %v", r)
	}
	late.Members[0].Excuses = []Excuse{{At: 10 * second}}
	if r := Judge(late); r.Wrong[Recommitted] == 0 {
		t.Errorf("without a late commit: %v", r)
	}
}

// A kill explains nothing that came before it. A loss does, since the member hears of it last.
func TestAnExcuseHasItsTime(t *testing.T) {
	for _, exact := range []bool{true, false} {
		h := clean()
		h.HearsLate = 10 * time.Second
		h.Members[0].Excuses = []Excuse{{At: 60 * second, Exact: exact}}
		h.Attempts = append(h.Attempts, Attempt{1, Place{0, 12}, 55 * second, 56 * second, Final})
		h.Commits[1].Offset = 12
		if r := Judge(h); (r.Wrong[Redelivered] == 1) != exact {
			t.Errorf("exact %v: %v", exact, r)
		}
	}
}

// A commit that brokers don't answer with yet keeps nobody from beginning its records, and what a broker answers that has been
// replaced is no commit.
func TestWhatBrokersAnswerIsNotAlwaysWhatIsCommitted(t *testing.T) {
	h := clean()
	h.Members[0].Excuses = []Excuse{{At: 40 * second}}
	h.Attempts = append(h.Attempts, Attempt{1, Place{0, 12}, 50 * second, 51 * second, Final})
	if r := Judge(h); r.Wrong[Recommitted] != 1 {
		t.Errorf("begun after its commit: %v", r)
	}
	h.Seen = []Commit{{8 * second, 0, 11}, {52 * second, 0, 13}, {53 * second, 0, 11}, {89 * second, 0, 16}}
	if r := Judge(h); !r.Good() || r.Excused != 1 {
		t.Errorf("begun before its commit could be known: %v", r)
	}
}

// Each thing that must not happen is seen.
func TestWhatIsWrongIsSeen(t *testing.T) {
	for want, spoil := range map[Verdict]func(h *History){
		Lost:   func(h *History) { h.Attempts = h.Attempts[:len(h.Attempts)-1] },
		Unread: func(h *History) { h.Commits = h.Commits[:2] },
		Redelivered: func(h *History) {
			h.Attempts = append(h.Attempts, Attempt{1, Place{0, 12}, 50 * second, 51 * second, Final})
		},
		Recommitted: func(h *History) {
			h.Attempts = append(h.Attempts, Attempt{1, Place{0, 10}, 50 * second, 51 * second, Final})
		},
		Reordered:   func(h *History) { h.Attempts[3].Began = 9 * second }, // the third, of the first's key
		Overlapping: func(h *History) { h.Attempts[0].Ended = 16 * second },
		Ahead:       func(h *History) { h.Commits[0].Offset = 12 },
		Backwards:   func(h *History) { h.Commits = append(h.Commits[:2], Commit{50 * second, 0, 12}, h.Commits[2]) },
		NotDead:     func(h *History) { h.Letters = nil },
		DeadTwice:   func(h *History) { h.Letters = append(h.Letters, h.Letters[0]) },
		DeadWrong:   func(h *History) { h.Letters = append(h.Letters, Place{0, 12}) },
		Orphaned:    func(h *History) { h.Attempts = append(h.Attempts, Attempt{0, Place{0, 13}, 39 * second, 0, Open}) },
	} {
		h := clean()
		if want == Reordered {
			h.Attempts[0].Ended = 20 * second // the first is not done yet
			h.Attempts[0].Began = 19 * second
			h.Commits = h.Commits[1:]
		}
		if want == Overlapping {
			h.Attempts[0].Began = 5 * second
			h.Attempts = append(h.Attempts, Attempt{1, Place{0, 10}, 6 * second, 7 * second, Final})
		}
		spoil(&h)
		if r := Judge(h); r.Wrong[want] == 0 {
			t.Errorf("%s is not seen: %v", want, r)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	const records, keys = 1_000_000, 10_000
	var h History
	h.Members = []Member{{Name: "one", Ended: records}}
	for i := range int64(records) {
		place := Place{int32(i % 12), i}
		h.Records = append(h.Records, Record{Place: place, Key: fmt.Sprint(i % keys), Seq: int(i / keys)})
		h.Attempts = append(h.Attempts, Attempt{0, place, i, i + 1, Final})
	}
	for b.Loop() {
		Judge(h)
	}
}
