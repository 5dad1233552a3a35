package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file keeps what is wrong with one partition from holding up the others.

// StuckPartition is a partition of which nothing more is handled, or that goes on again.
type StuckPartition struct {
	Topic     string // of the partition
	Partition int32  // its number
	Err       error  // why it is stuck; nil: it goes on
}

// stuck is why nothing more of a partition is handled or fetched. The partition's lock guards it.
type stuck struct {
	err   error // nil: it goes on
	since time.Time
	final bool // for as long as the partition is assigned
	tries int  // to fetch what can't be read

	// Since when the partition has waited for records at an offset; zero: it does not wait.
	awaited int64
	waiting time.Time
}

const (
	// Of a partition whose next batch can't be read: how long the first wait for another try is, the longest, and how
	// long a try may take.
	unreadPause    = time.Second
	maxUnreadPause = time.Minute
	unreadTry      = 2 * time.Second

	fetchCheck    = 10 * time.Second // between two looks at what is fetched
	fetchPatience = time.Minute      // how long records may be there and not come
	emptyFetches  = 3                // in one fetchCheck that bring no record are no accident
)

// stopAlone has nothing more of the partition handled or fetched for as long as it is assigned. What is in hand is
// finished and committed.
func (p *partition) stopAlone(err error) {
	p.halt()
	p.endFetching(err)
}

// endFetching has nothing more of the partition fetched for as long as it is assigned, as franz-go has it for a batch that
// is too large. What was fetched before is handled.
func (p *partition) endFetching(err error) {
	p.mu.Lock()
	p.flow.pause(pausedStopped)
	p.mu.Unlock()
	p.getStuck(err, true)
}

// unreadable has the partition fetched again after a while: what comes next can't be read. franz-go would fetch it
// without a pause.
func (p *partition) unreadable(err error) {
	next := p.offsets.Next()
	if p.pauseUnread() {
		p.getStuck(fmt.Errorf("offset %d can't be read: %w; it is tried again every %v at most; if the brokers' copies of it are damaged,"+
			" restore the topic, or skip what can't be read by setting the offset of group %s behind it, while no member runs",
			next, err, maxUnreadPause, p.c.cfg.Group), false)
	}
}

// pauseUnread pauses fetching for longer each time. It returns false if the partition has stopped.
func (p *partition) pauseUnread() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flow.halted {
		return false
	}
	p.flow.pause(pausedUnread)
	pause := min(unreadPause<<min(p.stuck.tries, 10), maxUnreadPause)
	p.stuck.tries++
	time.AfterFunc(pause, p.tryUnread)
	return true
}

// tryUnread has the partition fetched again. Not every failure is told: what brings nothing for a while has failed.
func (p *partition) tryUnread() {
	p.mu.Lock()
	defer p.mu.Unlock()
	tries := p.stuck.tries
	p.flow.resume(pausedUnread)
	time.AfterFunc(unreadTry, func() {
		p.mu.Lock()
		failed := p.stuck.err != nil && p.stuck.tries == tries
		p.mu.Unlock()
		if failed {
			p.pauseUnread()
		}
	})
}

// getStuck notes why the partition does not go on. What is final stays.
func (p *partition) getStuck(err error, final bool) {
	p.mu.Lock()
	s := &p.stuck
	if s.final || s.err != nil && !final && s.err.Error() == err.Error() {
		p.mu.Unlock()
		return
	}
	if s.err == nil {
		s.since = time.Now()
	}
	s.err, s.final = err, final
	p.mu.Unlock()
	p.c.log.LogAttrs(p.ctx, slog.LevelError, "partition does not go on; others do", slog.String("topic", p.topic),
		slog.Int("partition", int(p.id)), slog.String("group", p.c.cfg.Group), slog.Bool("until_assigned_again", final), slog.Any("error", err))
	p.c.hooks.stuck(StuckPartition{p.topic, p.id, err})
}

// getUnstuck notes that the partition goes on.
func (p *partition) getUnstuck() {
	p.mu.Lock()
	was := p.stuck.err != nil && !p.stuck.final
	if was {
		p.stuck = stuck{}
	}
	p.mu.Unlock()
	if was {
		p.c.log.LogAttrs(p.ctx, slog.LevelInfo, "partition goes on", slog.String("topic", p.topic), slog.Int("partition", int(p.id)),
			slog.String("group", p.c.cfg.Group))
		p.c.hooks.stuck(StuckPartition{p.topic, p.id, nil})
	}
}

// isStuck tells whether getUnstuck has anything to do.
func (p *partition) isStuck() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stuck.err != nil && !p.stuck.final
}

// batchesRead counts the batches that a client reads, by partition. It is a hook of the client.
type batchesRead struct {
	mu     sync.Mutex
	counts map[topicPartition]int
}

// OnFetchBatchRead implements [kgo.HookFetchBatchRead].
func (b *batchesRead) OnFetchBatchRead(_ kgo.BrokerMetadata, topic string, partition int32, _ kgo.FetchBatchMetrics) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts == nil {
		b.counts = map[topicPartition]int{}
	}
	b.counts[topicPartition{topic, partition}]++
}

// take returns the counts since the last call.
func (b *batchesRead) take() map[topicPartition]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := b.counts
	b.counts = nil
	return counts
}

// watchFetching names partitions that have records of which none comes: franz-go fetches a batch that it can't make
// sense of again and again, without a word and without a pause. It runs until Start is about to return.
func (c *consumer) watchFetching(ctx context.Context, client *kgo.Client, read *batchesRead) {
	for range ticks(ctx, fetchCheck) {
		counts, uncommitted := read.take(), readsUncommitted(client)
		for _, p := range c.assignedNow() {
			switch waits := p.waits(time.Now()); {
			case uncommitted && waits >= fetchCheck/2 && counts[p.place()] >= emptyFetches:
				p.unreadable(fmt.Errorf("its batch has come %d times in %v and does not hold the records that it should", counts[p.place()], fetchCheck))
			case waits >= fetchPatience:
				p.missesRecords()
			}
		}
	}
}

// waits returns for how long the partition has had nothing to do, and was fetched at one offset.
func (p *partition) waits(now time.Time) time.Duration {
	next, blocked := p.offsets.Next(), p.tasks.isBlocked()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.stuck
	switch {
	case p.flow.halted || p.flow.held > 0 || p.flow.paused != 0 || blocked || s.err != nil:
		s.waiting = time.Time{}
		return 0
	case s.waiting.IsZero() || s.awaited != next:
		s.awaited, s.waiting = next, now
	}
	return now.Sub(s.waiting)
}

// missesRecords names a partition that has waited for long, if records are known to be there: watchLag asks the brokers
// while somebody looks.
func (p *partition) missesRecords() {
	at := p.offsets.Position()
	p.mu.Lock()
	end, since, lag := p.status.end, p.stuck.waiting, p.status.lag(at)
	known := p.status.endAt.After(since) && time.Since(p.status.endAt) < 2*lagAge
	p.mu.Unlock()
	if lag > 0 && known {
		p.getStuck(fmt.Errorf("offset %d has not come since %s, though the partition goes on to %d: its batch may be larger than a"+
			" response may be, which the log says then; or it belongs to a transaction that is still open, or to many that were"+
			" aborted, where kgo.FetchIsolationLevel is set in Options", at, since.UTC().Format(time.RFC3339), end), false)
	}
}

// stuckProblem is what Health says; "" if the partition goes on. The caller holds p.mu.
func (p *partition) stuckProblem() string {
	if p.stuck.err == nil {
		return ""
	}
	return fmt.Sprintf("since %s %v", p.stuck.since.UTC().Format(time.RFC3339), p.stuck.err)
}

// assignedAs returns the partition, if it is assigned.
func (c *consumer) assignedAs(place topicPartition) *partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partitions[place]
}

// readsUncommitted tells whether every batch that is read brings records, or a marker of a transaction.
func readsUncommitted(client *kgo.Client) bool {
	level, ok := client.OptValue(kgo.FetchIsolationLevel).(int8)
	return ok && level == 0
}
