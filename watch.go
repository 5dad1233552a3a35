package kafka

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	stallChecks    = 4                // in each StallTimeout
	lagAge         = 10 * time.Second // how old a partition's known end may be while somebody asks for it
	lagAskedLately = time.Minute      // how long after a question somebody counts as asking; scrapes come every 15 s to 1 min
)

// ticks yields once in each interval, of a millisecond at least, until ctx ends.
func ticks(ctx context.Context, interval time.Duration) func(yield func() bool) {
	return func(yield func() bool) {
		ticker := time.NewTicker(max(interval, time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if !yield() {
				return
			}
		}
	}
}

// watchStalls names handlers that don't return, and says when a restart would be better. It runs until Start is about to
// return.
func (c *consumer) watchStalls(ctx context.Context) {
	live := true
	for range ticks(ctx, c.cfg.StallTimeout/stallChecks) {
		for _, p := range c.assignedNow() {
			for _, stall := range p.stalls(c.cfg.StallTimeout) {
				c.log.LogAttrs(ctx, slog.LevelWarn, "handler is still running", slog.String("topic", stall.Topic),
					slog.Int("partition", int(stall.Partition)), slog.Int64("offset", stall.Offset), slog.String("group", c.cfg.Group),
					slog.Int("attempt", stall.Attempt), slog.Duration("running", stall.For))
				c.hooks.stalled(stall)
			}
		}
		h, _ := c.snapshot()
		if live != h.Live() {
			if live = h.Live(); live {
				c.log.LogAttrs(ctx, slog.LevelInfo, "live again", slog.String("topic", h.Topic), slog.String("group", h.Group))
			} else { // the probe's answer is read by nobody
				c.log.LogAttrs(ctx, slog.LevelError, "not live: the process should be restarted", slog.String("topic", h.Topic),
					slog.String("group", h.Group), slog.String("reason", h.NotLive))
			}
		}
	}
}

// watchLag asks the brokers for the ends of partitions in which nothing is fetched, as long as somebody wants to know. It
// runs until Start is about to return.
func (c *consumer) watchLag(ctx context.Context, client *kgo.Client) {
	for range ticks(ctx, lagAge/2) {
		asked := c.healthAsked.Load()
		if asked == 0 || time.Since(c.made)-time.Duration(asked) > lagAskedLately {
			continue
		}
		var stale []*partition
		for _, p := range c.assignedNow() {
			if p.lagIsOld(lagAge) {
				stale = append(stale, p)
			}
		}
		if len(stale) > 0 {
			c.askForEnds(ctx, client, stale)
		}
	}
}

// askForEnds says nothing if it fails: what is wrong shows in the fetches, and lag stays what it was.
func (c *consumer) askForEnds(ctx context.Context, client *kgo.Client, stale []*partition) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	starts, ends := c.listOffsets(ctx, stale, earliestOffset), c.listOffsets(ctx, stale, latestOffset)
	from := c.startingOffsets(ctx, stale, ends)
	committed := client.CommittedOffsets()
	for _, p := range stale {
		start, ok := starts[p.place()]
		end, isKnown := ends[p.place()]
		if !ok || !isKnown {
			continue
		}
		position := start
		at, ok := committed[p.topic][p.id]
		asked, fromTime := from[p.place()]
		switch {
		case fromTime && (!ok || at.Offset == c.cfg.StartFrom.UnixMilli()): // which franz-go has for an offset until it fetches
			position = asked
		case ok && at.Offset >= start:
			position = at.Offset
		case c.cfg.AutoOffsetReset == ResetLatest && !p.route.isRetryTopic():
			position = end
		}
		p.learnEnd(end, position)
	}
}

// startingOffsets is where StartFrom has partitions begin; nil without it.
func (c *consumer) startingOffsets(ctx context.Context, partitions []*partition, ends map[topicPartition]int64) map[topicPartition]int64 {
	partitions = slices.DeleteFunc(slices.Clone(partitions), func(p *partition) bool { return p.route.isRetryTopic() })
	if c.cfg.StartFrom.IsZero() || len(partitions) == 0 {
		return nil
	}
	from := c.listOffsets(ctx, partitions, c.cfg.StartFrom.UnixMilli())
	for place, at := range from {
		if at < 0 { // no record is that late
			from[place] = ends[place]
		}
	}
	return from
}

// listOffsets returns what the leaders that answer say of these partitions.
func (c *consumer) listOffsets(ctx context.Context, partitions []*partition, at int64) map[topicPartition]int64 {
	topics := map[string]kmsg.ListOffsetsRequestTopic{}
	for _, p := range partitions {
		partition := kmsg.NewListOffsetsRequestTopicPartition()
		partition.Partition, partition.Timestamp = p.id, at
		topics[p.topic] = kmsg.ListOffsetsRequestTopic{Topic: p.topic, Partitions: append(topics[p.topic].Partitions, partition)} // no other field has a default
	}
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.Topics = -1, slices.Collect(maps.Values(topics))
	offsets := map[topicPartition]int64{}
	for _, shard := range c.client.kgo.RequestSharded(ctx, request) {
		response, ok := shard.Resp.(*kmsg.ListOffsetsResponse)
		if shard.Err != nil || !ok {
			continue
		}
		for _, topic := range response.Topics {
			for _, partition := range topic.Partitions {
				if partition.ErrorCode == 0 {
					offsets[topicPartition{topic.Topic, partition.Partition}] = partition.Offset
				}
			}
		}
	}
	return offsets
}

// assignedNow returns the assigned partitions of the moment.
func (c *consumer) assignedNow() []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	partitions := make([]*partition, 0, len(c.partitions))
	for _, p := range c.partitions {
		partitions = append(partitions, p)
	}
	return partitions
}
