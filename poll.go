package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxPollRecords   = 1000         // few enough to spread over partitions, enough to make a poll's cost vanish
	firstPollRecords = 100          // their size is not known yet
	refusedPause     = fetchMaxWait // between two fetches that permissions forbid: as if the topic were idle
	// pollPatience ends a poll that brings nothing, so that the loop shows that it is alive.
	pollPatience = 5 * time.Second
)

// poll moves records from the client to the partitions' queues until ctx ends.
func (c *consumer) poll(ctx context.Context, client *kgo.Client, access *accessWatch) {
	// Of the latest records, to poll no more than there is room for. The first poll is a small one.
	recordCost := max(c.queued.perRecord, c.queued.room()/firstPollRecords)
	var full time.Time
	for c.awaitRoom(ctx, &full) {
		patience, cancel := context.WithTimeout(ctx, pollPatience)
		fetches := client.PollRecords(patience, int(min(maxPollRecords, max(1, c.queued.room()/recordCost))))
		cancel()
		// From here to AllowRebalance no callback runs, and nothing may wait.
		if cost, n := c.dispatch(fetches); n > 0 {
			recordCost = cost / n
		}
		refused := false
		fetches.EachError(func(topic string, partition int32, err error) {
			refused = refused || isAuthorization(err)
			if fatal := c.pollError(ctx, topic, partition, err, access); fatal != nil {
				c.fail(fatal)
			}
		})
		client.AllowRebalance() // after every poll, or Close hangs
		if refused {
			wait(refusedPause, ctx.Done()) // franz-go would ask again at once, thousands of times a second
		}
	}
}

// dispatch hands the records to their partitions' queues and returns their cost and count.
func (c *consumer) dispatch(fetches kgo.Fetches) (cost, n int64) {
	var rewinds, gone []rewind
	var moving []*partition // that were stuck
	c.leaveOutUnsealed(fetches)
	c.mu.Lock()
	fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
		if p := c.partitions[topicPartition{fetched.Topic, fetched.Partition}]; p != nil && len(fetched.Records) > 0 {
			taken, back := p.enqueue(fetched.Records, fetched.HighWatermark)
			cost += taken
			n += int64(len(fetched.Records))
			if fetched.Err == nil && p.isStuck() {
				moving = append(moving, p)
			}
			switch {
			case back.from > back.to:
				rewinds = append(rewinds, back)
			case back.from >= 0 && back.from < fetched.LogStartOffset: // and no gap of compaction or of a transaction
				gone = append(gone, back)
			}
		}
	})
	c.mu.Unlock()
	for _, p := range moving {
		p.getUnstuck()
	}
	for _, ahead := range gone { // franz-go resets the offset without a word
		c.log.LogAttrs(context.Background(), slog.LevelError, "records were deleted before they were handled; consuming goes on behind them",
			slog.String("topic", ahead.of.topic), slog.Int("partition", int(ahead.of.id)), slog.Int64("from", ahead.from),
			slog.Int64("to", ahead.to), slog.String("group", c.cfg.Group))
	}
	for _, back := range rewinds {
		c.log.LogAttrs(context.Background(), slog.LevelError, "fetching went back; records are handled again",
			slog.String("topic", back.of.topic), slog.Int("partition", int(back.of.id)), slog.Int64("from", back.from),
			slog.Int64("to", back.to), slog.String("group", c.cfg.Group))
		c.directly.forget(back.of)
		c.hooks.rewound(back.of.topic, back.of.id, back.from, back.to)
	}
	return cost, n
}

// beat notes that the poll loop is alive.
func (c *consumer) beat() { c.polledAt.Store(int64(time.Since(c.made))) }

// pollError returns err if it ends the consumer.
func (c *consumer) pollError(ctx context.Context, topic string, partition int32, err error, access *accessWatch) error {
	if ctx.Err() != nil || errors.Is(err, kgo.ErrClientClosed) || topic == "" && err == context.DeadlineExceeded { // our patience
		return nil
	}
	where := slog.String("topic", topic)
	if session, ok := errors.AsType[*kgo.ErrGroupSession](err); ok {
		return c.groupError(ctx, session.Err, access)
	}
	protocol, isProtocol := errors.AsType[*kerr.Error](err)
	switch {
	case isAuthorization(err):
		access.refused(fmt.Errorf("kafka: consume %s: %w: %w", topic, ErrAuthorization, err))
		return nil
	case errors.Is(err, kerr.UnknownTopicID): // franz-go says so once it has given the topic up
		if r := c.routes[topic]; r != nil && r.isStranded() {
			return nil // watchTopics sees to that
		}
		return goneError(topic, err)
	case isAuthentication(err):
		return nil // the connection's hook has seen it
	case isType[*kgo.ErrDataLoss](err):
		c.log.LogAttrs(ctx, slog.LevelError, "records were lost by the brokers; consuming goes on at another offset", where,
			slog.Int("partition", int(partition)), slog.Any("error", err))
		return nil
	case isProtocol && !protocol.Retriable && !errors.Is(err, kerr.UnknownServerError): // which may be anything
		return fmt.Errorf("kafka: consume %s-%d: %w", topic, partition, err)
	case !isProtocol:
		if p := c.assignedAs(topicPartition{topic, partition}); p != nil {
			return p.fetchError(err)
		}
		err = c.readError(err)
	}
	if c.quiet.Allow(err.Error()) {
		c.log.LogAttrs(ctx, slog.LevelWarn, "fetching failed; it is tried again", where,
			slog.Int("partition", int(partition)), slog.Any("error", err))
	}
	return nil
}

// fetchError is pollError for what franz-go says of a partition, and not the brokers. Most of it is a batch that can't be
// read.
func (p *partition) fetchError(err error) error {
	switch {
	case isType[*kgo.ErrDecompressTooLarge](err):
		p.endFetching(p.c.decompressError(err))
	case p.offsets.Next() < 0 && p.c.cfg.AutoOffsetReset == ResetNone && !p.route.isRetryTopic(): // the group has no committed offset
		return fmt.Errorf("kafka: consume %s-%d: %w", p.topic, p.id, err)
	default:
		p.unreadable(err)
	}
	return nil
}

// passing are the errors by which a group tells a member to join again.
var passing = []error{
	kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.MemberIDRequired,
	kerr.FencedMemberEpoch, kerr.StaleMemberEpoch, kerr.UnreleasedInstanceID, kerr.UnknownServerError,
}

// groupError returns err if the group will never have this member.
func (c *consumer) groupError(ctx context.Context, err error, access *accessWatch) error {
	if isAuthorization(err) {
		access.refused(fmt.Errorf("kafka: group %s: %w: %w", c.cfg.Group, ErrAuthorization, err))
		return nil
	}
	err = fmt.Errorf("kafka: group %s: %w", c.cfg.Group, err)
	protocol, ok := errors.AsType[*kerr.Error](err)
	if ok && !protocol.Retriable && !isAuthentication(err) && !slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) }) {
		return err
	}
	if c.quiet.Allow(err.Error()) {
		c.log.LogAttrs(ctx, slog.LevelWarn, "group membership interrupted; joining again", slog.Any("error", err))
	}
	return nil
}

// refused ends the consumer when the brokers refuse it for too long, or before it ever had a partition.
func (c *consumer) refused(err error, lasting time.Duration) {
	if c.quiet.Allow("refused") {
		c.log.LogAttrs(context.Background(), slog.LevelError, "brokers refuse access", slog.String("topic", c.cfg.topicNames()),
			slog.String("group", c.cfg.Group), slog.Duration("lasting", lasting), slog.Any("error", err))
	}
	if lasting >= c.cfg.AuthFailureTimeout || !c.membership.everAssigned() {
		c.fail(err)
	}
}
