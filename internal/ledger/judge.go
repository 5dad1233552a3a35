package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Verdict is a kind of thing that must not happen.
type Verdict string

const (
	Lost          Verdict = "lost"                      // acknowledged, and never done
	Unread        Verdict = "not committed at the end"  // done, but the committed offset is below
	Redelivered   Verdict = "redelivered for no reason" // done twice, and nothing explains it
	Recommitted   Verdict = "handled though committed"  // begun when a commit already said that it is done
	Reordered     Verdict = "reordered"                 // begun before an earlier one of its key was done
	Overlapping   Verdict = "overlapping"               // two attempts at one key at the same time
	Ahead         Verdict = "committed ahead"           // a commit says that it is done when it is not
	Backwards     Verdict = "committed backwards"       // a commit below an earlier one
	NotDead       Verdict = "dead letter missing"       // it failed for good
	DeadTwice     Verdict = "dead-lettered twice"       // and handled once
	DeadWrong     Verdict = "dead-lettered wrongly"     // it was good, or there is no such record
	Orphaned      Verdict = "orphaned"                  // in hand when its member ended in peace
	examplesShown         = 5
)

// Report is the judgement. It is good if Wrong is empty.
type Report struct {
	Records, Handled, Letters, Commits, Members int
	Excused                                     int            // redelivered, and explained by what happened to a member
	ExcusedBy                                   map[string]int // the same, by Member.Why
	Wrong                                       map[Verdict]int
	Examples                                    map[Verdict][]string
}

func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d records, %d handled to the end, %d dead letters, %d members, %d commits seen; redelivered after a kill, a loss or a failed commit %d",
		r.Records, r.Handled, r.Letters, r.Members, r.Commits, r.Excused)
	for _, why := range slices.Sorted(maps.Keys(r.ExcusedBy)) {
		if why != "" {
			fmt.Fprintf(&b, ", %d of these: %s", r.ExcusedBy[why], why)
		}
	}
	for _, verdict := range []Verdict{Lost, Redelivered, Reordered, Ahead} { // what everybody asks for
		if r.Wrong[verdict] == 0 {
			fmt.Fprintf(&b, "; %s 0", verdict)
		}
	}
	for _, verdict := range slices.Sorted(maps.Keys(r.Wrong)) {
		fmt.Fprintf(&b, "\n%s %d:", strings.ToUpper(string(verdict)), r.Wrong[verdict])
		for _, example := range r.Examples[verdict] {
			fmt.Fprintf(&b, "\n    %s", example)
		}
	}
	return b.String()
}

// Good tells whether nothing is wrong.
func (r Report) Good() bool { return len(r.Wrong) == 0 }

func (r *Report) wrong(verdict Verdict, format string, args ...any) {
	r.Wrong[verdict]++
	if len(r.Examples[verdict]) < examplesShown {
		r.Examples[verdict] = append(r.Examples[verdict], fmt.Sprintf(format, args...))
	}
}

const never = math.MaxInt64

// state is what became of one record.
type state struct {
	Record
	attempts []int // indices, in the order of their beginnings
	done     int64 // when it was first done; never
	finals   int
	letters  int
}

type court struct {
	History
	report Report
	states map[Place]*state
	order  map[int32][]*state // by partition, in the order of offsets
}

// Judge judges. It expects that everything has been drained: what is not done is lost.
func Judge(h History) Report {
	c := &court{History: h, states: make(map[Place]*state, len(h.Records)), order: map[int32][]*state{}}
	c.report = Report{
		Records: len(h.Records), Members: len(h.Members), Commits: len(h.Commits), Letters: len(h.Letters),
		ExcusedBy: map[string]int{}, Wrong: map[Verdict]int{}, Examples: map[Verdict][]string{},
	}
	c.gather()
	c.completeness()
	c.keys()
	c.commits()
	return c.report
}

func (c *court) gather() {
	for _, r := range c.Records {
		s := &state{Record: r, done: never}
		c.states[r.Place] = s
		c.order[r.Partition] = append(c.order[r.Partition], s)
	}
	for _, states := range c.order {
		slices.SortFunc(states, func(a, b *state) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	slices.SortStableFunc(c.Attempts, func(a, b Attempt) int { return cmp.Compare(a.Began, b.Began) })
	for i := range c.Attempts {
		a := &c.Attempts[i]
		s := c.states[a.Place]
		if s == nil {
			c.report.wrong(Lost, "%v was handled and is no record of the topic that was acknowledged", a.Place)
			continue
		}
		s.attempts = append(s.attempts, i)
		if a.Outcome >= Final {
			s.finals++
			s.done = min(s.done, a.Ended)
			c.report.Handled++
		}
		if a.Outcome == Open {
			member := c.Members[a.Member]
			if a.Ended = never; member.Ended > 0 {
				a.Ended = member.Ended
			}
			if len(member.Excuses) == 0 {
				c.report.wrong(Orphaned, "%s in the hands of member %s, which ended in peace", c.name(s), member.Name)
			}
		}
	}
	for _, place := range c.Letters {
		if s := c.states[place]; s != nil {
			s.letters++
		} else {
			c.report.wrong(DeadWrong, "a letter of %v, which is no record", place)
		}
	}
}

func (c *court) name(s *state) string {
	return fmt.Sprintf("%d@%d (key %q, %d)", s.Partition, s.Offset, s.Key, s.Seq)
}

// completeness: each record is done once, and dead-lettered if it is to be.
func (c *court) completeness() {
	for _, states := range c.order {
		for _, s := range states {
			switch {
			case s.finals == 0:
				c.report.wrong(Lost, "%s: %d attempts, none to the end", c.name(s), len(s.attempts))
			case s.Dead && s.letters == 0:
				c.report.wrong(NotDead, "%s", c.name(s))
			case !s.Dead && s.letters > 0:
				c.report.wrong(DeadWrong, "%s", c.name(s))
			case s.letters > s.finals:
				c.report.wrong(DeadTwice, "%s: %d letters, handled to the end %d times", c.name(s), s.letters, s.finals)
			}
			c.redeliveries(s)
		}
	}
}

// redeliveries: what was done begins again only if something happened to the member that had done it, or to the other.
func (c *court) redeliveries(s *state) {
	finished := -1
	for _, i := range s.attempts {
		a := c.Attempts[i]
		if finished >= 0 && c.Attempts[finished].Ended <= a.Began {
			before := c.Attempts[finished]
			why, ok := c.excuse(before.Member, before.Began, a.Began)
			if !ok { // the one who begins it may have lost the partition itself, without having heard of it
				why, ok = c.excuse(a.Member, before.Began, a.Began)
			}
			if ok {
				c.report.Excused++
				c.report.ExcusedBy[why]++
			} else {
				c.report.wrong(Redelivered, "%s: done by member %s, begun again by %s %.3f s later", c.name(s),
					c.Members[before.Member].Name, c.Members[a.Member].Name, float64(a.Began-before.Ended)/1e9)
			}
		}
		if a.Outcome == Final {
			finished = i
		}
	}
}

// excused tells whether something happened to the member between two moments.
func (c *court) excused(member int, from, to int64) bool {
	_, ok := c.excuse(member, from, to)
	return ok
}

// excuse is what happened to the member between two moments, "" if nobody knows its name.
func (c *court) excuse(member int, from, to int64) (why string, ok bool) {
	for _, e := range c.Members[member].Excuses {
		latest := to
		if !e.Exact {
			latest += int64(c.HearsLate)
		}
		if from <= e.At && e.At <= latest {
			return e.Why, true
		}
	}
	return "", false
}

// keys: a key's records begin in order, each after the one before it is done, and one at a time.
func (c *court) keys() {
	byKey := map[string][]*state{}
	for _, s := range c.states {
		if s.Key != "" {
			byKey[s.Key] = append(byKey[s.Key], s)
		}
	}
	for _, states := range byKey {
		slices.SortFunc(states, func(a, b *state) int { return cmp.Compare(a.Seq, b.Seq) })
		var attempts []int
		before := &state{done: math.MinInt64}
		for _, s := range states {
			for _, i := range s.attempts {
				if a := c.Attempts[i]; a.Began < before.done && before.Partition == s.Partition {
					c.report.wrong(Reordered, "%s begun by member %s before %s was done", c.name(s), c.Members[a.Member].Name, c.name(before))
				}
			}
			attempts = append(attempts, s.attempts...)
			before = s
		}
		slices.Sort(attempts)
		latest := -1 // the attempt that ends last so far
		for _, i := range attempts {
			a := c.Attempts[i]
			if latest >= 0 {
				if other := c.Attempts[latest]; other.Ended > a.Began && other.Place.Partition == a.Place.Partition &&
					!c.excused(other.Member, other.Began, a.Began) && !c.excused(a.Member, other.Began, a.Began) {
					c.report.wrong(Overlapping, "key of %s: member %s begins it while member %s has %v in hand", c.name(c.states[a.Place]),
						c.Members[a.Member].Name, c.Members[other.Member].Name, other.Place)
				}
			}
			if latest < 0 || a.Ended >= c.Attempts[latest].Ended {
				latest = i
			}
		}
	}
}

// commits: at each moment the committed offset is at most that of the first record that is not done, and never goes back; at
// the end it is the end.
func (c *court) commits() {
	doneBy := map[int32][]int64{} // when the records up to this one were all done
	for id, states := range c.order {
		all := make([]int64, len(states))
		latest := int64(math.MinInt64)
		for i, s := range states {
			latest = max(latest, s.done)
			all[i] = latest
		}
		doneBy[id] = all
	}
	committed := map[int32]int64{}
	for _, commit := range c.Commits {
		states := c.order[commit.Partition]
		n, _ := slices.BinarySearchFunc(states, commit.Offset, func(s *state, offset int64) int { return cmp.Compare(s.Offset, offset) })
		if n > 0 && doneBy[commit.Partition][n-1] > commit.At {
			i := slices.IndexFunc(states[:n], func(s *state) bool { return s.done > commit.At })
			c.report.wrong(Ahead, "partition %d at %d, and %s was not done", commit.Partition, commit.Offset, c.name(states[i]))
		}
		if before := committed[commit.Partition]; before > commit.Offset {
			c.report.wrong(Backwards, "partition %d from %d to %d", commit.Partition, before, commit.Offset)
		}
		committed[commit.Partition] = commit.Offset
	}
	first := c.firstSeen()
	for id, states := range c.order {
		if last := states[len(states)-1]; committed[id] <= last.Offset {
			c.report.wrong(Unread, "partition %d at %d, and the last record is %s", id, committed[id], c.name(last))
		}
		c.recommitted(states, first[id])
	}
}

// firstSeen is when each offset was first known to be committed, by partition. A commit may be in the log for a while before
// brokers answer with it; where nobody asked, that is left out of account.
func (c *court) firstSeen() map[int32]map[int64]int64 {
	first, highest := map[int32]map[int64]int64{}, map[int32]int64{}
	seen := c.Seen
	if seen == nil {
		seen = c.Commits
	}
	for _, commit := range seen {
		if commit.Offset <= highest[commit.Partition] {
			continue // as before, or the answer of a broker that does not know yet that it was replaced
		}
		highest[commit.Partition] = commit.Offset
		if first[commit.Partition] == nil {
			first[commit.Partition] = map[int64]int64{}
		}
		first[commit.Partition][commit.Offset] = commit.At
	}
	return first
}

// recommitted: nobody begins what a commit has said to be done. But a commit may be late: a member that was cut off may commit,
// once it is back, what it had done before, when it has been told an older offset already.
func (c *court) recommitted(states []*state, first map[int64]int64) {
	offsets := make([]int64, 0, len(first))
	for offset := range first {
		offsets = append(offsets, offset)
	}
	slices.Sort(offsets)
	for _, s := range states {
		i, _ := slices.BinarySearch(offsets, s.Offset+1) // the first commit that says it is done
		if i == len(offsets) {
			continue
		}
		for _, attempt := range s.attempts {
			a := c.Attempts[attempt]
			if a.Began > first[offsets[i]] && !c.excused(a.Member, first[offsets[i]]-int64(c.HearsLate), a.Began) {
				c.report.wrong(Recommitted, "%s begun by member %s, %.3f s after %d was committed", c.name(s), c.Members[a.Member].Name,
					float64(a.Began-first[offsets[i]])/1e9, offsets[i])
			}
		}
	}
}
