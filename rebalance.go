package kafka

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file is what the group's callbacks do: partitions come, are handed over, or are gone. franz-go calls them one at a
// time and never during a poll.

// drainGrace is how long handlers have to heed their cancelled context before they are given up.
const drainGrace = 500 * time.Millisecond

// assigned starts a worker for each partition. Fetching begins after it returns, so that a record finds its worker.
func (c *consumer) assigned(ctx context.Context, client *kgo.Client, added map[string][]int32) {
	held := c.take(client, added)
	c.logPartitions(slog.LevelInfo, "partitions assigned", added)
	if held == 0 {
		c.log.LogAttrs(context.Background(), slog.LevelInfo, "no partition assigned; other members have them all",
			slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group))
	}
	c.membership.assigned()
	c.directly.end(ctx)
	c.directly.settled()
	c.tellOf(added, c.hooks.assigned)
	if others := c.ofOthers(client, c.assignedNow()); len(others) > 0 {
		c.disown(others)
		c.leaveToJoinAgain(ctx, client)
	}
}

// take returns how many partitions there are now.
func (c *consumer) take(client *kgo.Client, added map[string][]int32) (held int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	member, _ := client.GroupMetadata()
	for topic, ids := range added {
		for _, id := range ids {
			place := topicPartition{topic, id}
			c.directly.forget(place)
			p := newPartition(c, client, topic, id, member, c.stragglers[place]) // not forgotten yet: it may be lost again meanwhile
			c.partitions[place] = p
			go p.run()
		}
	}
	return len(c.partitions)
}

// revoked hands partitions over: what is in hand is finished and committed first.
func (c *consumer) revoked(ctx context.Context, client *kgo.Client, removed map[string][]int32) {
	c.membership.rebalancing()
	c.directly.end(ctx)
	defer c.joinsAgain()
	leaving := c.remove(removed)
	if len(leaving) == 0 {
		return // cooperative rebalancing says so at every session's end
	}
	if len(c.ofOthers(client, leaving)) > 0 {
		c.letGo(client, leaving, removed)
		c.handedOver()
		return
	}
	c.logPartitions(slog.LevelInfo, "partitions revoked; what is in hand is finished first", removed)
	c.tellOf(removed, c.hooks.revoked)
	c.drain(leaving)
	offsets := c.toCommit(client, leaving)
	var err error
	if len(offsets) > 0 {
		err = c.commitHandover(client, leaving, offsets)
		c.committed(err)
	}
	c.mu.Lock()
	if c.ending() {
		c.lastCommit = cmp.Or(c.lastCommit, err)
	}
	c.mu.Unlock()
	c.handedOver()
}

// handedOver ends what remove began.
func (c *consumer) handedOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining--
	c.nothingLeftToDrain()
}

// lost lets go of partitions that are another member's already: nothing is finished, nothing committed.
func (c *consumer) lost(ctx context.Context, client *kgo.Client, removed map[string][]int32) {
	c.membership.lost()
	c.directly.end(ctx)
	leaving := c.remove(removed)
	if len(leaving) > 0 {
		c.letGo(client, leaving, removed)
	}
	c.awaitPeriodicCommits(ctx, client)
	if len(leaving) > 0 {
		c.handedOver()
	}
}

// letGo stops work on partitions that are another member's.
func (c *consumer) letGo(client *kgo.Client, leaving []*partition, removed map[string][]int32) {
	uncommitted := c.uncommitted(client, leaving)
	c.mu.Lock()
	ending := c.ending()
	if ending && uncommitted {
		c.lastCommit = cmp.Or(c.lastCommit, ErrPartitionLost)
	}
	c.mu.Unlock()
	if ending && !uncommitted {
		c.logPartitions(slog.LevelInfo, "partitions given up at the end; all that is finished is committed", removed)
	} else {
		c.logPartitions(slog.LevelWarn, "partitions lost", removed)
	}
	c.disown(leaving)
	c.abandon(awaitWorkers(leaving, drainGrace))
	c.tellOf(removed, c.hooks.lost)
}

// remove takes partitions out of the map. If it returns any, a handover is under way.
func (c *consumer) remove(removed map[string][]int32) (leaving []*partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, ids := range removed {
		for _, id := range ids {
			place := topicPartition{topic, id}
			if p := c.partitions[place]; p != nil {
				delete(c.partitions, place)
				p.endFlow()
				c.settled += p.settled.Load()
				leaving = append(leaving, p)
			}
		}
	}
	if len(leaving) > 0 {
		c.draining++
		if c.closing {
			c.leave.Reset(c.leaveWithin()) // a handover that was under way has taken some of the time
		}
	}
	return leaving
}

// drain waits for the records in hand, cancels those that outlast DrainTimeout, and fences.
func (c *consumer) drain(leaving []*partition) {
	for _, p := range leaving {
		p.halt()
	}
	late := awaitWorkers(leaving, c.cfg.DrainTimeout)
	for _, p := range late {
		p.cancel(ErrDrainTimeout)
	}
	stuck := awaitWorkers(late, drainGrace)
	for _, p := range leaving {
		p.offsets.Seal()
	}
	c.abandon(stuck)
	for _, p := range late {
		if !slices.Contains(stuck, p) && !p.leftRecord() {
			continue
		}
		c.log.LogAttrs(p.ctx, slog.LevelWarn, "record not finished within drain timeout; it will be redelivered",
			slog.String("topic", p.topic), slog.Int("partition", int(p.id)), slog.String("group", c.cfg.Group),
			slog.Duration("drain_timeout", c.cfg.DrainTimeout))
		c.mu.Lock()
		if c.ending() {
			c.unfinished = append(c.unfinished, p.place().String())
		}
		c.mu.Unlock()
	}
	for _, p := range leaving {
		if p.waitsForPrevious() {
			c.log.LogAttrs(p.ctx, slog.LevelWarn, "a handler still runs that outlasted an earlier handover of this partition; it ignores its context",
				slog.String("topic", p.topic), slog.Int("partition", int(p.id)), slog.String("group", c.cfg.Group))
		}
	}
}

// abandon remembers workers whose handler ignores its context, for the partition's next worker to wait for.
func (c *consumer) abandon(stuck []*partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range stuck {
		if !p.waitsForPrevious() { // or its handler has not begun, and the one before it is still to be waited for
			c.stragglers[p.place()] = p.done
		}
	}
}

// straggling returns the partitions in which a handler runs that outlasted their handover, whoever has them by now. The
// caller holds c.mu.
func (c *consumer) straggling() (names []string) {
	for place, done := range c.stragglers {
		select {
		case <-done:
		default:
			names = append(names, place.String())
		}
	}
	return names
}

// awaitWorkers returns the partitions whose worker has not ended in time.
func awaitWorkers(partitions []*partition, timeout time.Duration) (late []*partition) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	over := false
	for _, p := range partitions {
		if !over {
			select {
			case <-p.done:
				continue
			case <-timer.C:
				over = true
			}
		}
		select {
		case <-p.done:
		default:
			late = append(late, p)
		}
	}
	return late
}

// tellOf tells hooks of the partitions of each topic; of none, where other members have them all, for one of the topics.
func (c *consumer) tellOf(partitions map[string][]int32, hooks func(topic string, partitions []int32)) {
	for _, topic := range slices.Sorted(maps.Keys(partitions)) {
		hooks(topic, partitions[topic])
	}
	if len(partitions) == 0 {
		hooks(c.cfg.sources()[0], nil)
	}
}

// logPartitions is one line for each topic in a rebalance.
func (c *consumer) logPartitions(level slog.Level, text string, partitions map[string][]int32) {
	for topic, ids := range partitions {
		if len(ids) > 0 {
			slices.Sort(ids)
			c.log.LogAttrs(context.Background(), level, text, slog.String("topic", topic),
				slog.String("group", c.cfg.Group), slog.Any("partitions", ids))
		}
	}
}
