package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/recordheader"
)

// This file reads which keys of a partition are parked, when it is assigned and before its first record is handled.

// maxRecalling is how many partitions of a consumer read at a time: each has a client of its own, with up to fetchMaxBytes.
const maxRecalling = 4

// recallPatience is how long nothing may come before it is said and tried again: franz-go would wait for brokers without a word.
const recallPatience = 10 * time.Second

// errTooManyParked ends a reading that would not fit.
var errTooManyParked = errors.New("more records are parked than there is room for")

// recall returns when it is known which keys are parked, or the partition stops. Until then the partition waits, and no other does.
func (p *partition) recall() {
	p.tasks.block(ActivityRecalling)
	defer p.tasks.block("")
	ctx, cancel := p.untilHalt()
	defer cancel()
	for attempt := 1; ; attempt++ {
		parking, err := p.readParked(ctx)
		switch {
		case err == nil:
			p.mu.Lock()
			p.parking = parking
			p.mu.Unlock()
			p.getUnstuck()
			return
		case ctx.Err() != nil:
			return
		case errors.Is(err, errTooManyParked):
			p.stopAlone(p.tooManyParked())
			return
		}
		p.getStuck(fmt.Errorf("it waits to know which keys are parked: dead letter topic %s can't be read: %w", p.route.deadLetters.name, err), false)
		if !wait(backoff(attempt, p.c.cfg.RetryBackoff, p.c.cfg.RetryBackoffMax), p.stop) {
			return
		}
	}
}

// readParked reads the partition of the dead letter topic that takes this one's letters, up to its end as it is now: who has written
// there before has no more to write, unless he lost the partition and does not know it.
func (p *partition) readParked(ctx context.Context) (*parkedKeys, error) {
	select {
	case p.c.recalling <- struct{}{}:
		defer func() { <-p.c.recalling }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	client, dlq := p.c.client, p.route.deadLetters
	partition := dlq.partitionOf(p.id)
	start, end, err := p.extentOfLetters(ctx, partition)
	if err != nil {
		return nil, client.explain(err)
	}
	parking := newParkedKeys(p.c.cfg.MaxParkedRecords)
	if start >= end {
		return parking, nil
	}
	largest := int64(letterMaxBytes(p.c.cfg)) // what can be a letter can be read
	opts, err := readingOptions(p.c.cfg.ClientConfig, dlq.name, partition, start, largest, client.logs)
	if err != nil {
		return nil, err
	}
	// Where the last records are markers of a transaction, or of one that still runs, it would never get to the end.
	reader, err := kgo.NewClient(append(opts, kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadUncommitted()))...)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	for next := start; next < end; {
		patience, cancel := context.WithTimeout(ctx, recallPatience)
		fetches := reader.PollFetches(patience)
		err := fetches.Err()
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil, fmt.Errorf("nothing has come for %v: read up to offset %d of %d", recallPatience, next, end)
		case isType[*kgo.ErrDecompressTooLarge](err):
			return nil, tooLargeToRead(err, largest, fmt.Sprintf("raise MaxDecompressedBatchBytes above that (%s),"+
				" or delete the batch and all letters before it, whose keys are no longer parked then, up to offset", decompressedVariable))
		case err != nil:
			return nil, client.explain(err)
		}
		for _, r := range fetches.Records() {
			if next = r.Offset + 1; next > end {
				break
			}
			if !p.remember(parking, r) {
				return nil, errTooManyParked
			}
		}
	}
	return parking, nil
}

// extentOfLetters returns where the partition of the dead letter topic begins and ends.
func (p *partition) extentOfLetters(ctx context.Context, partition int32) (start, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.c.cfg.ConnectTimeout)
	defer cancel()
	if start, err = p.c.client.startOffset(ctx, p.route.deadLetters.name, partition); err != nil {
		return 0, 0, err
	}
	end, err = p.c.client.endOffset(ctx, p.route.deadLetters.name, partition)
	return start, end, err
}

// remember takes a record of the dead letter topic. It returns false if there is no room for it.
func (p *partition) remember(parking *parkedKeys, r *kgo.Record) (fits bool) {
	if r.Attrs.IsControl() || !p.c.client.TrustsHeaders(r) {
		return true
	}
	lane := maphash.Bytes(laneSeed, r.Key)
	if place, ok := p.ownPlace(r, dlqheader.Unparked); ok {
		if r.Key == nil {
			parking.removeAnywhere(place.origin)
		}
		parking.remove(lane, place.origin)
		return true
	}
	if place, ok := p.ownPlace(r, dlqheader.Parked); ok {
		return parking.add(lane, parkedLetter{place.origin, r.Offset})
	}
	return true // another partition's, group's or topic's, or of a time when keys were not parked
}

// ownPlace reads the header if it is about this group's work on this partition.
func (p *partition) ownPlace(r *kgo.Record, header string) (place parkedPlace, ok bool) {
	text, _ := recordheader.Last(r.Headers, header)
	place, ok = parseParkedPlace(string(text))
	return place, ok && place.topic == p.topic && place.partition == p.id && place.group == p.c.cfg.Group
}
