// Package ledger judges what the members of a group did with a topic's records: it takes their notes, the dead letters and
// the committed offsets, and says what was lost, redelivered, reordered, or committed before it was done. The simulation and
// the tests on real clusters share it.
package ledger

import "time"

// History is what happened. Times are nanoseconds on one clock.
type History struct {
	Records  []Record // all that the brokers acknowledged; each partition's in the order of offsets
	Members  []Member
	Attempts []Attempt
	Commits  []Commit // each, in the order in which they were made
	Seen     []Commit // what brokers answered when they were asked, in the order of time; nil: the same
	Letters  []Place  // as their headers tell
	// HearsLate is how much later than the others a member may learn that it has lost its partitions.
	HearsLate time.Duration
}

// Place is where a record is.
type Place struct {
	Partition int32
	Offset    int64
}

// Record is one record of the topic.
type Record struct {
	Place
	Key  string // "" for none: no order to keep
	Seq  int    // its number among those of its key, from 0
	Dead bool   // its handler fails until the record is dead-lettered
}

// Member is one consumer, from its start to its end.
type Member struct {
	Name    string
	Ended   int64 // when it ended; 0: never
	Excuses []Excuse
}

// Excuse is something that happened to a member and allows what it had finished since its last commit to come again: it was
// killed, frozen or thawed, it lost partitions, a handler outlasted its drain, a commit failed.
type Excuse struct {
	At    int64
	Why   string // for the report
	Exact bool   // it happened then; otherwise the member heard of it then, which may be History.HearsLate later
}

// Outcome is what an attempt came to.
type Outcome byte

const (
	Open   Outcome = iota // it never ended, as far as is known
	Failed                // another attempt is to come, or its context was taken away
	Final                 // the record is done, or its letter is all that is left to do
	LetGo                 // the latter, and its member let the record go without knowing the letter stored: it may come again
)

// Attempt is one call of a handler.
type Attempt struct {
	Member       int // index in History.Members
	Place        Place
	Began, Ended int64
	Outcome      Outcome
}

// Commit is the group's offset in a partition at a moment.
type Commit struct {
	At        int64
	Partition int32
	Offset    int64
}
