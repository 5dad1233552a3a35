package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/recordheader"
)

// This file parks records and unparks keys, on a record's way through settle. All of a key's records come here one after another,
// since they share a lane.

// deletedEvery is how often a record of a parked key has the brokers asked whether the letters before it are still there. Who deletes
// letters is a person, or retention, which takes days: neither is in a hurry, and a question costs a round trip.
const deletedEvery = 30 * time.Second

// keepBack tells whether the record has to follow a letter of its key into the dead letter topic. That is its verdict then, without an
// attempt.
func (p *partition) keepBack(t *task) bool {
	if p.parking == nil || t.attempt > 0 || t.record.Key == nil {
		return false
	}
	lane := t.parkingLane()
	first, parked := p.parking.first(lane)
	if !parked || first.origin >= p.originOf(t.record) { // its own letter, or those of later ones: it comes before them
		return false
	}
	if p.parking.due(deletedEvery) {
		p.forgetDeleted()
		if first, parked = p.parking.first(lane); !parked || first.origin >= p.originOf(t.record) {
			return false
		}
	}
	dlq := p.route.deadLetters
	t.verdict = judge(&parkedError{dlq.name, dlq.partitionOf(p.id), first.offset})
	return true
}

// parkingLane is the key's, which a partition with a Concurrency of 1 does not ask for otherwise.
func (t *task) parkingLane() uint64 {
	if t.keyed {
		return t.lane
	}
	return maphash.Bytes(laneSeed, t.record.Key)
}

// originOf returns the offset at which a record was first: its own or, if it was sent back, that of the record which failed. Its place
// says so, or, where that is another topic's or there was no room for it, the letter that was sent back. Whoever may write to the topic
// can claim one. He gains no more than that a record of a parked key is handled before its time, of a key that he may write to anyway.
func (p *partition) originOf(r *kgo.Record) int64 {
	first, ok := p.firstPlace(r)
	if ok && first.Partition == p.id && first.Offset >= 0 && first.Offset < r.Offset {
		return first.Offset
	}
	if letter, ok := sentFrom(r, p.route.deadLetters.partitionOf(p.id)); ok {
		if origin, ok := p.parking.originAt(maphash.Bytes(laneSeed, r.Key), letter); ok && origin < r.Offset {
			return origin
		}
	}
	return r.Offset
}

// sentFrom returns the offset of the letter that was sent back as this record, if it was in that partition.
func sentFrom(r *kgo.Record, partition int32) (offset int64, ok bool) {
	from, _ := lastHeader(r.Headers, dlqheader.LetterPartition)
	if !isBound(r) || from != strconv.Itoa(int(partition)) {
		return 0, false
	}
	at, _ := lastHeader(r.Headers, dlqheader.LetterOffset)
	offset, err := strconv.ParseInt(at, 10, 64)
	return offset, err == nil
}

// parkedAs says whose letter a record's is; "" if it parks nothing, as one without a key has no others behind it.
func (p *partition) parkedAs(r *kgo.Record) string {
	if p.parking == nil || r.Key == nil {
		return ""
	}
	return parkedPlace{p.topic, p.id, p.originOf(r), p.c.cfg.Group}.String()
}

// parkKey notes that the record's letter is stored: later ones of its key are to follow. A letter that had no room to say so gets a mark
// behind it. It returns false if that can't be stored before the partition stops.
func (p *partition) parkKey(t *task, stored *kgo.Record) bool {
	place := p.parkedAs(t.record)
	if place == "" {
		return true
	}
	said := false
	if stored != nil {
		_, said = recordheader.Last(stored.Headers, dlqheader.Parked)
	}
	if !said {
		// dlqheader.Unparked tells readers that it is a mark; it names none that is unparked.
		if stored = p.writeMark(t, kgo.RecordHeader{Key: dlqheader.Parked, Value: []byte(place)}, kgo.RecordHeader{Key: dlqheader.Unparked}); stored == nil {
			return false
		}
	}
	if !p.parking.add(t.parkingLane(), parkedLetter{p.originOf(t.record), stored.Offset}) {
		p.stopAlone(p.tooManyParked())
	}
	return true
}

// unpark notes, once a record is done, that its letter counts no more, if it had one. It returns false if that can't be stored before the
// partition stops: then the record is to be handled again.
func (p *partition) unpark(t *task, outcome Outcome) bool {
	if p.parking == nil || t.record.Key == nil || outcome != OutcomeHandled && outcome != OutcomeRejected {
		return true
	}
	lane := t.parkingLane()
	if _, parked := p.parking.first(lane); !parked {
		return true
	}
	origin := p.originOf(t.record)
	if !p.parking.has(lane, origin) {
		return true
	}
	place := parkedPlace{p.topic, p.id, origin, p.c.cfg.Group}.String()
	if p.writeMark(t, kgo.RecordHeader{Key: dlqheader.Unparked, Value: []byte(place)}) == nil {
		return false
	}
	p.parking.remove(lane, origin)
	return true
}

// writeMark puts a record into the dead letter topic that is no letter: behind those of its key, and without a value. It returns nil if the
// partition stops before that is stored.
func (p *partition) writeMark(t *task, headers ...kgo.RecordHeader) *kgo.Record {
	dlq := p.route.deadLetters
	p.tasks.keepApart(t)
	key := t.record.Key // for compacted topics, which refuse records without; and for people
	p.tasks.now(t, ActivityDeadLetter)
	for attempt := 1; ; attempt++ {
		mark := &kgo.Record{Topic: dlq.name, Partition: p.id, Key: key, Headers: append([]kgo.RecordHeader{
			{Key: dlqheader.WrittenTo, Value: []byte(dlq.name)},
		}, headers...)}
		err := dlq.mark(p.ctx, mark)
		switch {
		case err == nil:
			return mark
		case p.ctx.Err() != nil:
			return nil
		case errors.Is(err, kerr.MessageTooLarge) && key != nil: // a key that is as large as a record may be
			key = nil
			continue
		}
		p.tasks.refused(t, fmt.Errorf("dead letter topic %s refuses a mark of its parked key: %w", dlq.name, err))
		p.log(slog.LevelError, "dead letter topic refuses a mark; its partition waits", t.record,
			slog.String("dlq_topic", dlq.name), slog.Int("attempt", attempt), slog.Any("error", err))
		if !wait(backoff(attempt, p.c.cfg.RetryBackoff, p.c.cfg.RetryBackoffMax), p.stop) {
			return nil
		}
	}
}

// forgetDeleted asks the brokers which letters are deleted. If they don't say, none is.
func (p *partition) forgetDeleted() {
	running, cancel := p.untilHalt()
	defer cancel()
	ctx, cancel := context.WithTimeout(running, p.c.cfg.ConnectTimeout)
	defer cancel()
	dlq := p.route.deadLetters
	if start, err := p.c.client.startOffset(ctx, dlq.name, dlq.partitionOf(p.id)); err == nil {
		p.parking.forgetBelow(start)
	}
}

// untilHalt returns a context that ends when the partition stops. Its goroutine ends with it, or with cancel.
func (p *partition) untilHalt() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(p.ctx)
	go func() {
		select {
		case <-p.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (p *partition) tooManyParked() error {
	return fmt.Errorf("more than %d records wait in %s behind dead letters of their keys: that is MaxParkedRecords (KAFKA_CONSUMER_MAX_PARKED_RECORDS);"+
		" raise it, start again, and send the letters back, which unparks their keys; or delete letters and start again; or turn ParkKeys off,"+
		" which has later records of these keys handled before them", p.c.cfg.MaxParkedRecords, p.route.deadLetters.name)
}
