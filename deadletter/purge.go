package deadletter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/recordheader"
)

// PurgeOptions says up to where letters are deleted. A log is deleted from its beginning on: there is no purge by class or key. The zero
// value means all that is there.
type PurgeOptions struct {
	Before     time.Time // up to the first letter that was written then or later
	Redriven   bool      // up to the first letter that is pending, or that still parks its key: it went back, and was not handled since
	Unsealed   bool      // with Redriven, believe letters and marks without a seal, too: see RedriveOptions.Unsealed
	Partitions []int32   // only of these
	AnyTopic   bool      // a topic that seems to have no dead letters, too: see [ErrNotDeadLetters]
	Audit      Audit     // who deletes letters, and why, for the log lines about it
}

// Purge is a deletion that is planned: what it would delete has been counted. It is JSON, too, but for who and why.
type Purge struct {
	Topic   string          `json:"topic"`           // the dead letter topic
	TopicID string          `json:"topicId"`         // as Kafka's tools print it: Do deletes nothing of a topic that was made again
	UpTo    map[int32]int64 `json:"upTo"`            // by partition: the first offset that stays
	Letters int64           `json:"letters"`         // that are deleted
	Pending int64           `json:"pending"`         // of them: never sent back, and lost then
	Oldest  time.Time       `json:"oldest,omitzero"` // of them, as written
	Newest  time.Time       `json:"newest,omitzero"` // of them, as written
	Audit   Audit           `json:"-"`               // that of the options
}

// PlanPurge counts what would be deleted, and deletes nothing.
func PlanPurge(ctx context.Context, client *kafka.Client, topic string, opts PurgeOptions) (Purge, error) {
	plan := Purge{Topic: topic, UpTo: map[int32]int64{}, Audit: opts.Audit}
	r, partitions, err := openAll(ctx, client, topic, Filter{State: All, Partitions: opts.Partitions}, opts.Unsealed)
	if err != nil {
		return plan, err
	}
	plan.TopicID = r.found.idText()
	if !opts.AnyTopic {
		if err := r.checkLetters(partitions); err != nil {
			return plan, err
		}
	}
	for _, s := range partitions {
		var parked parkedPlaces
		if opts.Redriven {
			if parked, err = r.parkedPlaces(ctx, s); err != nil {
				return plan, err
			}
		}
		upTo, _, err := r.letters(ctx, s, Filter{State: All}, func(letter Letter, mark bool) bool {
			tooNew := !opts.Before.IsZero() && !letter.Timestamp.Before(opts.Before)
			needed := opts.Redriven && (!mark && (!letter.Redriven || r.believed.leaves(letter)) || parked.by(letter.Record))
			if tooNew || needed {
				return false
			}
			if mark {
				return true
			}
			plan.Letters++
			if !letter.Redriven {
				plan.Pending++
			}
			plan.Oldest, plan.Newest = widen(plan.Oldest, plan.Newest, letter.Timestamp)
			return true
		})
		if err != nil {
			return plan, err
		}
		if upTo > s.start {
			plan.UpTo[s.partition] = upTo
		}
	}
	return plan, nil
}

// parkedPlaces are what letters park by, as their headers say it, with the offset of the latest record that names each: a letter that
// came back, or the mark of a consumer that handled what was sent back. They take memory for each key that was ever parked, and is in
// the topic.
type parkedPlaces map[string]int64

func (r *reader) parkedPlaces(ctx context.Context, s surveyed) (parkedPlaces, error) {
	latest := parkedPlaces{}
	_, _, err := r.read(ctx, s.partition, s.start, s.end, func(record *kgo.Record) bool {
		if !r.believed.counts(record) {
			return true
		}
		for _, name := range []string{HeaderParked, HeaderUnparked} { // a mark that parks has both, one of them empty
			if place, _ := recordheader.Last(record.Headers, name); len(place) > 0 {
				latest[string(place)] = record.Offset
			}
		}
		return true
	})
	return latest, err
}

// by tells whether a record is what keeps a key parked. Without it, the key's later records would be handled before the one that went
// back.
func (p parkedPlaces) by(record *kgo.Record) bool {
	place, ok := recordheader.Last(record.Headers, HeaderParked)
	return ok && p[string(place)] == record.Offset
}

// Do deletes what was counted and nothing else, and logs who did so, and why. It needs DELETE on the topic. Where it fails for some
// partitions, the error names them.
// While a redrive is running it returns [ErrRunning], if these credentials may describe its group: what that has not sent yet would be
// lost.
func (p Purge) Do(ctx context.Context, client *kafka.Client) error {
	if len(p.UpTo) == 0 {
		return nil
	}
	r, err := open(ctx, client, p.Topic)
	switch {
	case err != nil:
		return err
	case r.found.idText() != p.TopicID:
		return fmt.Errorf("deadletter: purge %s: nothing is deleted: %w", p.Topic, errMadeAgain)
	}
	switch who, err := members(ctx, r); {
	case errors.Is(err, kerr.GroupAuthorizationFailed): // who may delete need not know of redrives
	case err != nil:
		return fmt.Errorf("deadletter: purge %s: is a redrive running? %w", p.Topic, explain(err))
	case len(who) > 0:
		return errorRunning(r, who)
	}
	attrs := []slog.Attr{slog.Int64("letters", p.Letters), slog.Int64("pending", p.Pending), slog.Any("up_to", p.UpTo)}
	p.Audit.line(ctx, client, "purge of dead letters begins", p.Topic, nil, attrs...)
	err = p.delete(ctx, client)
	p.Audit.line(ctx, client, "purge of dead letters ended", p.Topic, err, attrs...)
	return err
}

func (p Purge) delete(ctx context.Context, client *kafka.Client) error {
	offsets := kadm.Offsets{}
	for partition, upTo := range p.UpTo {
		offsets.AddOffset(p.Topic, partition, upTo, -1)
	}
	responses, err := kadm.NewClient(client.KGO()).DeleteRecords(ctx, offsets)
	if err != nil {
		return fmt.Errorf("deadletter: purge %s: %w", p.Topic, explain(err))
	}
	var faults []error
	for _, partition := range sortedKeys(p.UpTo) {
		response, _ := responses.Lookup(p.Topic, partition)
		if response.Err != nil && !errors.Is(response.Err, kerr.OffsetOutOfRange) { // retention was faster
			err := explain(response.Err)
			if errors.Is(err, kerr.PolicyViolation) {
				err = fmt.Errorf("%w: Kafka deletes nothing from a topic with cleanup.policy=compact alone", err)
			}
			faults = append(faults, fmt.Errorf("deadletter: purge %s-%d: %w", p.Topic, partition, err))
		}
	}
	return errors.Join(faults...)
}
