package deadletter

import "time"

// Filter says which letters are meant. A letter has to meet all that is set; the zero value means every pending letter.
type Filter struct {
	State State // default: Pending

	Classes []string // of the error: transient, permanent, or another dialect's (Spring's and Connect's have the exception's class)
	Sources []string // topics that the letters came from
	Groups  []string // whose handler failed
	Key     string   // the record's, exactly
	Error   string   // is part of the error's text, or of its pattern as [Stats] has it

	Since time.Time // failed then or later; a letter that doesn't say when counts as of when it was written
	Until time.Time // failed before

	Partitions []int32 // of the dead letter topic
	FromOffset int64   // the letter's own, in each of the partitions
}

// State is whether a letter was sent back.
type State string

const (
	Pending  State = "pending"  // not sent back yet
	Redriven State = "redriven" // sent back
	All      State = "all"      // either
)
