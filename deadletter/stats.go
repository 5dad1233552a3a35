package deadletter

import (
	"context"
	"errors"
	"time"

	"github.com/skeji/kafka"
)

// Stats counts the letters of a topic that a filter means.
type Stats struct {
	Letters    int64 // all that follows is of these
	Redriven   int64 // were sent back
	CameBack   int64 // had been sent back before they failed again
	Unreadable int64 // don't say where they came from
	Bytes      int64 // of keys and values

	Oldest, Newest time.Time // when they failed

	// ByX are most letters first, ByHour in the order of time. Each has 1,000 values at most; what comes after these is counted
	// under [Other].
	ByClass, BySource, ByGroup []Count
	ByError                    []Count // by pattern: numbers and ids are replaced by #, so that one cause is one line
	ByHour                     []Count // by the hour of the failure in UTC, as RFC 3339

	// Marks is how many records of the topic are no letters but notes about them: of redrives, and of consumers that park keys.
	Marks int64
}

// Other is the value under which Stats counts what is beyond its 1,000 values.
const Other = "(other)"

// Count is how many letters have a value.
type Count struct {
	Value          string    // "" for letters that don't say
	Letters        int64     // that have it
	Oldest, Newest time.Time // when they failed
	Example        string    // ByError: the text of the first
}

// ReadStats reads the letters that the filter means and counts them.
func ReadStats(ctx context.Context, client *kafka.Client, topic string, filter Filter) (Stats, error) {
	return Stats{}, errors.New("not built")
}
