package ledger

import (
	"strings"
	"testing"
)

// TestTimesMayTouch builds histories in which one thing happens in the same nanosecond as another one.
func TestTimesMayTouch(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *History)
		wrong  Verdict // "" for nothing
	}{
		"a commit at the beginning, and each commit twice": {func(h *History) {
			h.Commits = []Commit{
				{second, 0, 10}, {7 * second, 0, 11}, {8 * second, 0, 11}, {39 * second, 0, 13}, {89 * second, 0, 16}, {90 * second, 0, 16},
			}
		}, ""},
		"a commit when its record is done": {func(h *History) { h.Commits[0].At = 6 * second }, ""},
		"a record when the one before it of its key is done": {func(h *History) {
			h.Attempts[0].Ended = h.Attempts[3].Began
			h.Commits[0].At = h.Attempts[0].Ended
		}, ""},
		"the last record is not committed":         {func(h *History) { h.Commits[2].Offset = 15 }, Unread},
		"a record again when it is done":           {func(h *History) { again(h, 10, 6*second) }, Redelivered},
		"a record again when its offset is stored": {func(h *History) { again(h, 12, 39*second) }, Redelivered},
		"a record again after its offset was stored twice": {func(h *History) {
			h.Commits = []Commit{{7 * second, 0, 11}, {39 * second, 0, 13}, {60 * second, 0, 13}, {89 * second, 0, 16}}
			again(h, 12, 55*second)
		}, Recommitted},
		"an excuse when the record was begun first": {func(h *History) {
			h.Members[0].Excuses = []Excuse{{At: 15 * second, Exact: true}}
			again(h, 12, 39*second)
		}, ""},
		"an excuse when the record is begun again": {func(h *History) {
			h.Members[0].Excuses = []Excuse{{At: 39 * second, Exact: true}}
			again(h, 12, 39*second)
		}, ""},
	} {
		h := clean()
		c.change(&h)
		r := Judge(h)
		if c.wrong == "" && !r.Good() || c.wrong != "" && r.Wrong[c.wrong] != 1 {
			t.Errorf("%s: want %q once, or nothing: %v", name, c.wrong, r)
		}
		if c.wrong == Redelivered && r.Wrong[Recommitted] != 0 {
			t.Errorf("%s: the commit did not come before the record: %v", name, r)
		}
	}
}

// again has the first member handle a record once more.
func again(h *History, offset, began int64) {
	h.Attempts = append(h.Attempts, Attempt{0, Place{0, offset}, began, began + second/2, Final})
}

// TestALongAttemptOverlapsEachThatBeginsMeanwhile, and not only the first.
func TestALongAttemptOverlapsEachThatBeginsMeanwhile(t *testing.T) {
	h := clean()
	h.Attempts = append(h.Attempts, Attempt{1, Place{0, 10}, 4 * second, 30 * second, Failed})
	if r := Judge(h); r.Wrong[Overlapping] != 2 { // records 10 and 12, at 5 and 15 seconds
		t.Errorf("want 2 overlaps: %v", r)
	}
}

// TestAnOpenAttemptEndsWithItsMember: a process that has ended handles nothing. A member that never ended may still do so.
func TestAnOpenAttemptEndsWithItsMember(t *testing.T) {
	for ended, overlaps := range map[int64]int{40 * second: 0, 0: 1} {
		h := clean()
		h.Members[0].Ended = ended
		h.Members[0].Excuses = []Excuse{{At: 20 * second, Exact: true}}
		h.Attempts = append(h.Attempts, Attempt{0, Place{0, 14}, 39 * second, 0, Open})
		if r := Judge(h); r.Wrong[Overlapping] != overlaps || len(r.Wrong) > overlaps {
			t.Errorf("a member that ended at %d: want %d overlaps and nothing else: %v", ended, overlaps, r)
		}
	}
}

func TestTheReportGivesExamples(t *testing.T) {
	h := clean()
	const nothing = "; lost 0; redelivered for no reason 0; reordered 0; committed ahead 0"
	if text := Judge(h).String(); !strings.HasSuffix(text, nothing) {
		t.Errorf("nothing is wrong: %s", text)
	}
	h.Members[0].Excuses = []Excuse{{38 * second, "killed", true}}
	again(&h, 12, 38*second+second/2)
	if text := Judge(h).String(); !strings.Contains(text, "failed commit 1, 1 of these: killed; lost 0;") {
		t.Errorf("a redelivery is excused: %s", text)
	}
	h.Members[0].Excuses = nil
	h.Commits[0].Offset = 12 // when record 11 is not done
	again(&h, 12, 50*second)
	text := Judge(h).String()
	for _, line := range []string{
		"\nREDELIVERED FOR NO REASON 2:\n    0@12 (key \"0\", 1): done by member first, begun again by first 22.500 s later\n",
		"begun again by first 11.000 s later",
		"\nCOMMITTED AHEAD 1:\n    partition 0 at 12, and 0@11 (key \"1\", 0) was not done",
		"\n    0@12 (key \"0\", 1) begun by member first, 11.000 s after 13 was committed",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the report lacks %q:\n%s", line, text)
		}
	}
	h = clean()
	h.Letters = make([]Place, 2*examplesShown) // of offset 0, which does not exist
	if text := Judge(h).String(); strings.Count(text, "which is no record") != examplesShown {
		t.Errorf("want %d examples:\n%s", examplesShown, text)
	}
}
