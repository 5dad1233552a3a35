package deadletter

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// surveyed is a partition of a dead letter topic, and which of its letters are pending.
type surveyed struct {
	partition  int32
	start, end int64       // what there is to be read
	base       int64       // every letter before it was sent back
	sent       sentOffsets // of those from base on
	pending    int64       // how many of those from base on are, at least
	killed     bool        // the latest run did not end by itself
	records    bool        // there are some from base on
	failures   bool        // it has letters that say what went wrong, or notes about letters
}

// survey reads the marks. It costs reading the partitions from their first pending letters on.
func (r *reader) survey(ctx context.Context, partitions []int32) ([]surveyed, error) {
	starts, ends, err := r.bounds(ctx)
	if err != nil {
		return nil, err
	}
	settled, err := r.positions(ctx)
	if err != nil {
		return nil, err
	}
	if len(partitions) == 0 {
		partitions = sortedKeys(ends)
	}
	partitions = slices.Compact(slices.Sorted(slices.Values(partitions))) // one that is named twice would be sent twice
	var all []surveyed
	for _, p := range partitions {
		end, ok := ends[p]
		if !ok {
			return nil, fmt.Errorf("deadletter: %s has no partition %d", r.topic, p)
		}
		s := surveyed{partition: p, start: starts[p], end: end, base: starts[p]}
		if at, ok := settled[p]; ok && at.offset <= end {
			s.base, s.killed = max(s.base, at.offset), at.running
		}
		s.sent.base = s.base
		if _, _, err := r.read(ctx, p, s.base, s.end, func(record *kgo.Record) bool {
			s.learn(record, r.believed.isMark(record))
			return true
		}); err != nil {
			return nil, err
		}
		s.pending = max(0, s.pending-s.sent.count())
		all = append(all, s)
	}
	return all, nil
}

func (s *surveyed) learn(record *kgo.Record, mark bool) {
	s.records = true
	if mark {
		s.failures = true
		s.sent.learn(record)
		return
	}
	s.pending++
	s.failures = s.failures || newLetter(record).saysWhy()
}

// checkLetters returns [ErrNotDeadLetters], unless the topic is named like a dead letter topic, or has letters, or nothing at all.
func (r *reader) checkLetters(partitions []surveyed) error {
	records := false
	for _, s := range partitions {
		if s.failures || s.base > s.start { // which a redrive has committed
			return nil
		}
		records = records || s.records
	}
	if !records || sourceOf(r.topic) != "" {
		return nil
	}
	return fmt.Errorf("%w: %s is not named like one, and none of its records says what went wrong", ErrNotDeadLetters, r.topic)
}

// settledAt is a position that a run has committed: every letter before it was sent back.
type settledAt struct {
	offset  int64
	running bool // the run goes on, or was killed
}

// positions are believed only with metadata of ours that names this very topic: one that was made again has other letters at the same
// offsets, and anybody may set a group's offsets. Without them, the marks say the same, at the cost of reading more.
func (r *reader) positions(ctx context.Context) (map[int32]settledAt, error) {
	var committed kadm.OffsetResponses
	err := persist(ctx, func() (err error) {
		committed, err = kadm.NewClient(r.client).FetchOffsets(ctx, GroupOf(r.topic))
		return err
	})
	// There may be no group yet; and who only looks may do without.
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) && !errors.Is(err, kerr.GroupAuthorizationFailed) {
		return nil, fmt.Errorf("deadletter: offsets of group %s: %w", GroupOf(r.topic), err)
	}
	settled := map[int32]settledAt{}
	committed.Each(func(o kadm.OffsetResponse) {
		state, ours := strings.CutPrefix(o.Metadata, r.commitMark())
		if o.Topic == r.topic && o.Err == nil && ours {
			settled[o.Partition] = settledAt{o.At, state == stateRunning}
		}
	})
	return settled, nil
}

// What the metadata of a run's commits ends with.
const (
	stateRunning = "running"
	stateDone    = "done"
)

// commitMark begins the metadata of a run's commits. Its 1 is the format's version.
func (r *reader) commitMark() string {
	return "redrive1:" + base64.RawStdEncoding.EncodeToString(r.found.id[:]) + ":"
}

// letters is read with a surveyed partition's letters and marks, from where the filter begins.
func (r *reader) letters(ctx context.Context, s surveyed, filter Filter, yield func(Letter, bool) bool) (at int64, goOn bool, err error) {
	from := s.base
	if filter.State != Pending && filter.State != "" {
		from = s.start
	}
	return r.read(ctx, s.partition, max(from, filter.FromOffset), s.end, func(record *kgo.Record) bool {
		if r.believed.isMark(record) {
			return yield(Letter{Record: record}, true)
		}
		letter := r.believed.letter(record)
		letter.Redriven = s.sent.has(record.Offset)
		return yield(letter, false)
	})
}

// openAll opens a topic for a read with that filter. unsealed says that marks without a seal count, too.
func openAll(ctx context.Context, client *kafka.Client, topic string, filter Filter, unsealed bool) (*reader, []surveyed, error) {
	if err := filter.check(); err != nil {
		return nil, nil, err
	}
	r, err := open(ctx, client, topic)
	if err != nil {
		return nil, nil, err
	}
	r.believed.unsealed = unsealed
	all, err := r.survey(ctx, filter.Partitions)
	return r, all, err
}
