package deadletter

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/skeji/kafka"
)

// Stats counts the letters of a topic that a filter means.
type Stats struct {
	Letters    int64 // all that follows is of these
	Redriven   int64 // were sent back
	CameBack   int64 // had been sent back before they failed again
	Unreadable int64 // don't say where they came from
	Unsealed   int64 // may be forged: see Letter.Unsealed
	Bytes      int64 // of keys and values

	Oldest, Newest time.Time // when they failed

	// ByX are most letters first, ByHour in the order of time. Each has 1,000 values at most; what comes after these is counted
	// under [Other].
	ByClass, BySource, ByGroup []Count
	ByError                    []Count // by pattern: numbers and ids are replaced by #, so that one cause is one line
	ByHour                     []Count // by the hour of the failure in UTC, as RFC 3339; "" if it is not known

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
	Example        string    // the error's text of the first of them
}

// ReadStats reads the letters that the filter means and counts them.
func ReadStats(ctx context.Context, client *kafka.Client, topic string, filter Filter) (Stats, error) {
	r, partitions, err := openAll(ctx, client, topic, filter, false)
	if err != nil {
		return Stats{}, err
	}
	var stats Stats
	classes, sources, groups, texts, hours := tally{}, tally{}, tally{}, tally{}, tally{}
	for _, s := range partitions {
		_, _, err := r.letters(ctx, s, filter, func(letter Letter, mark bool) bool {
			if mark {
				stats.Marks++
				return true
			}
			if !filter.means(letter) {
				return true
			}
			stats.add(letter)
			classes.add(string(letter.Origin.Class), letter)
			sources.add(letter.Origin.Topic, letter)
			groups.add(letter.Origin.Group, letter)
			texts.add(errorPattern(letter.Origin.Message), letter)
			hours.add(hourOf(letter), letter)
			return true
		})
		if err != nil {
			return stats, err
		}
	}
	stats.ByClass, stats.BySource, stats.ByGroup = classes.most(), sources.most(), groups.most()
	stats.ByError, stats.ByHour = texts.most(), hours.inOrder()
	return stats, nil
}

// hourOf is "" for a letter that does not say when it was written.
func hourOf(letter Letter) string {
	at := letter.failedAt()
	if at.IsZero() {
		return ""
	}
	return at.UTC().Truncate(time.Hour).Format(time.RFC3339)
}

func (s *Stats) add(letter Letter) {
	s.Letters++
	s.Bytes += int64(len(letter.Key) + len(letter.Value))
	if letter.Redriven {
		s.Redriven++
	}
	if letter.Origin.Redrives > 0 {
		s.CameBack++
	}
	if letter.Err != nil {
		s.Unreadable++
	}
	if letter.Unsealed {
		s.Unsealed++
	}
	s.Oldest, s.Newest = widen(s.Oldest, s.Newest, letter.failedAt())
}

func widen(oldest, newest, at time.Time) (time.Time, time.Time) {
	if at.IsZero() { // not known
		return oldest, newest
	}
	if oldest.IsZero() || at.Before(oldest) {
		oldest = at
	}
	if at.After(newest) {
		newest = at
	}
	return oldest, newest
}

// maxValues bounds a tally: texts of errors come from outside.
const maxValues = 1000

// tally counts letters by a value of theirs.
type tally map[string]*Count

func (t tally) add(value string, letter Letter) {
	count, ok := t[value]
	if !ok && len(t) >= maxValues {
		value = Other
		count, ok = t[value]
	}
	if !ok {
		count = &Count{Value: value, Example: letter.Origin.Message}
		t[value] = count
	}
	count.Letters++
	count.Oldest, count.Newest = widen(count.Oldest, count.Newest, letter.failedAt())
}

// most returns the counts, most letters first.
func (t tally) most() []Count {
	return t.sorted(func(a, b Count) int { return cmp.Or(cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Value, b.Value)) })
}

// inOrder returns the counts in the order of their values.
func (t tally) inOrder() []Count {
	return t.sorted(func(a, b Count) int { return cmp.Compare(a.Value, b.Value) })
}

func (t tally) sorted(compare func(a, b Count) int) []Count {
	counts := make([]Count, 0, len(t))
	for _, c := range t {
		counts = append(counts, *c)
	}
	slices.SortFunc(counts, compare)
	return counts
}

// varying is what differs from one error to the next of the same cause: numbers, and ids with digits in them.
var varying = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|\b[0-9a-fA-F]*[0-9][0-9a-fA-F]{7,}\b|[0-9]+`)

// errorPattern is an error's text with # for what varies.
func errorPattern(text string) string { return varying.ReplaceAllString(text, "#") }
