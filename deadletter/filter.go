package deadletter

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

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

func (f Filter) check() error {
	switch f.State {
	case "", Pending, Redriven, All:
	default:
		return fmt.Errorf("deadletter: Filter.State is %q: want %q, %q or %q", f.State, Pending, Redriven, All)
	}
	for _, p := range f.Partitions {
		if p < 0 {
			return fmt.Errorf("deadletter: Filter.Partitions has %d", p)
		}
	}
	return nil
}

// means tells whether the filter means the letter.
func (f Filter) means(l Letter) bool {
	switch {
	case f.State == Redriven && !l.Redriven, (f.State == "" || f.State == Pending) && l.Redriven:
		return false
	case len(f.Classes) > 0 && !slices.Contains(f.Classes, string(l.Origin.Class)):
		return false
	case len(f.Sources) > 0 && !slices.Contains(f.Sources, l.Origin.Topic):
		return false
	case len(f.Groups) > 0 && !slices.Contains(f.Groups, l.Origin.Group):
		return false
	case f.Key != "" && f.Key != string(l.Key):
		return false
	case f.Error != "" && !strings.Contains(l.Origin.Message, f.Error) && !strings.Contains(errorPattern(l.Origin.Message), f.Error):
		return false
	case !f.Since.IsZero() && l.failedAt().Before(f.Since), !f.Until.IsZero() && !l.failedAt().Before(f.Until):
		return false
	}
	return true
}
