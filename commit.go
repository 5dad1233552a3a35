package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file sends offset commits, decides what is in them, and reads what the group has committed.

// marks is how often in each CommitInterval what is done is marked.
const marks = 4

// commitTimeout bounds the commit of a handover, once a periodic one that is under way is over. Without it, the group
// would wait for a dead coordinator.
const commitTimeout = 5 * time.Second

// commitRetryPause is between two tries to commit a handover.
const commitRetryPause = 100 * time.Millisecond

// markRegularly marks what is done, for franz-go's periodic commits: some times between two of them, and not with each
// record, which would have all workers wait for one lock. It runs until Start is about to return.
func (c *consumer) markRegularly(ctx context.Context) {
	for range ticks(ctx, c.cfg.CommitInterval/marks) {
		for _, p := range c.assignedNow() {
			p.offsets.Mark()
		}
	}
}

// beforePeriodicCommit refuses a commit that was made in an earlier session or epoch and has waited for others since:
// franz-go would repeat it in the new one, when another member may have committed further in between. The marks stay
// for the next. client is nil only before there is anything to commit.
func (c *consumer) beforePeriodicCommit(ctx context.Context, client *kgo.Client, request *kmsg.OffsetCommitRequest) error {
	if client == nil || !c.membership.isMember() {
		return context.Canceled
	}
	c.directly.periodicBegins(ctx)
	if member, generation := client.GroupMetadata(); member != request.MemberID || generation != request.Generation {
		return context.Canceled
	}
	if !c.dropUnassigned(request) {
		return context.Canceled
	}
	c.tellProgress(request, nil)
	return nil
}

// dropUnassigned takes out of a periodic commit what is being handed over, or was: the handover's own commit tells of
// progress, and this one would say that there is none. So it does with what the member had before it was removed from
// the group, and with what is committed directly: one that has waited since before that would take the offset back. It
// returns false if nothing is left.
func (c *consumer) dropUnassigned(request *kmsg.OffsetCommitRequest) (left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range request.Topics {
		topic := &request.Topics[i]
		topic.Partitions = slices.DeleteFunc(topic.Partitions, func(p kmsg.OffsetCommitRequestTopicPartition) bool {
			own := c.partitions[topicPartition{topic.Topic, p.Partition}]
			return own == nil || !own.isOf(request.MemberID) || c.directly.has(topicPartition{topic.Topic, p.Partition}, p.Offset)
		})
	}
	request.Topics = slices.DeleteFunc(request.Topics, func(topic kmsg.OffsetCommitRequestTopic) bool { return len(topic.Partitions) == 0 })
	return len(request.Topics) > 0
}

// tellProgress puts the progress of partitions into the request that commits their offsets. leaving are those that are
// not among the assigned ones any more.
func (c *consumer) tellProgress(request *kmsg.OffsetCommitRequest, leaving []*partition) {
	if c.untold.Load() {
		return
	}
	partitions := map[topicPartition]*partition{}
	for _, p := range append(c.assignedNow(), leaving...) {
		partitions[p.place()] = p
	}
	for i := range request.Topics {
		topic := &request.Topics[i]
		for j := range topic.Partitions {
			commit := &topic.Partitions[j]
			if p := partitions[topicPartition{topic.Topic, commit.Partition}]; p != nil {
				if metadata := p.offsets.Metadata(commit.Offset); metadata != "" {
					commit.Metadata = &metadata
				}
			}
		}
	}
}

// toCommit is what is marked of partitions that leave, and where those stand whose progress is to be told though their
// offset has not moved. Those that stay are left to the periodic commits: this one may be tried again after another of
// them.
func (c *consumer) toCommit(client *kgo.Client, leaving []*partition) map[string]map[int32]kgo.EpochOffset {
	marked, offsets := client.MarkedOffsets(), map[string]map[int32]kgo.EpochOffset{}
	if c.directly.hasAll() {
		return offsets
	}
	for _, p := range leaving {
		at, ok := marked[p.topic][p.id]
		if ok = ok && !c.directly.has(p.place(), at.Offset); !ok {
			if at, ok = p.offsets.Beyond(); !ok || c.directly.isBehind(p.place(), at.Offset) {
				continue
			}
		}
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.topic][p.id] = at
	}
	return offsets
}

// commitHandover commits offsets. The partitions are the member's own until the callback ends, so that it asks again
// for commitTimeout what may be granted later. Brokers that take no metadata are asked without. Any other refusal is
// final: the partitions may be another member's by now.
func (c *consumer) commitHandover(client *kgo.Client, leaving []*partition, offsets map[string]map[int32]kgo.EpochOffset) error {
	asked, err := c.askToCommit(client, leaving, offsets)
	if !asked { // the time went by behind a periodic commit
		_, err = c.askToCommit(client, leaving, offsets)
	}
	return err
}

// askToCommit returns asked as false if no request got out in time.
func (c *consumer) askToCommit(client *kgo.Client, leaving []*partition, offsets map[string]map[int32]kgo.EpochOffset) (asked bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	told := kgo.PreCommitFnContext(ctx, func(request *kmsg.OffsetCommitRequest) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		asked = true
		c.tellProgress(request, leaving)
		return nil
	})
	for {
		client.CommitOffsetsSync(told, offsets,
			func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, e error) {
				err = cmp.Or(e, c.refusedCommit(response))
			})
		switch {
		case mayCommitLater(err) && wait(commitRetryPause, ctx.Done()):
		case errors.Is(err, kerr.OffsetMetadataTooLarge) && !c.untold.Swap(true):
		default:
			return asked, err
		}
	}
}

// mayCommitLater is of a coordinator that can't write just now, or has moved the member to a new epoch (KIP-848) that
// it is about to hear of. A topic that is gone is not waited for: it may be made again, and the offsets are not the new
// one's.
func mayCommitLater(err error) bool {
	gone := errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
	return kerr.IsRetriable(err) && !gone || errors.Is(err, kerr.StaleMemberEpoch)
}

// awaitPeriodicCommits returns once none is under way; those that wait in line are refused. The member joins again
// after that, and perhaps in the same epoch (KIP-848): brokers would take a late commit of the session before, though
// they have told the new one to begin at an earlier offset.
func (c *consumer) awaitPeriodicCommits(ctx context.Context, client *kgo.Client) {
	refused := kgo.PreCommitFnContext(ctx, func(*kmsg.OffsetCommitRequest) error { return context.Canceled })
	client.CommitOffsetsSync(refused, map[string]map[int32]kgo.EpochOffset{c.cfg.sources()[0]: {0: {}}}, nil) // waits for its turn
}

// committed tells of a commit.
func (c *consumer) committed(err error) {
	c.hooks.committed(err)
	if err == nil {
		return
	}
	if errors.Is(err, kerr.OffsetMetadataTooLarge) {
		c.untold.Store(true)
	}
	if c.removedFromGroup(err) {
		c.disown(c.assignedNow())
	}
	text := err.Error()
	if protocol, ok := errors.AsType[*kerr.Error](err); ok {
		text = protocol.Message // whichever partition it is about
	}
	if c.quiet.Allow("commit: " + text) {
		c.log.LogAttrs(context.Background(), slog.LevelWarn, "offset commit failed; finished records may be redelivered",
			slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group), slog.Any("error", err))
	}
}

// periodicCommitted is called after each of franz-go's periodic commits, sent or not.
func (c *consumer) periodicCommitted(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
	c.directly.periodicEnds()
	if errors.Is(err, context.Canceled) { // by a later commit or the end of the session
		return
	}
	c.committed(cmp.Or(err, c.refusedCommit(response)))
}

// refusedCommit returns the first refusal in the answer to a commit; nil for none.
func (c *consumer) refusedCommit(response *kmsg.OffsetCommitResponse) error {
	if response == nil {
		return nil
	}
	for _, answer := range response.Topics {
		for _, partition := range answer.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return fmt.Errorf("%s-%d: %w", c.topicOf(answer.Topic, answer.TopicID), partition.Partition, err)
			}
		}
	}
	return nil
}

// offsetsFetched ends the group's session, to join again, when the brokers refuse a partition's committed offset.
// franz-go would say so once and leave the partition out for as long as it is assigned. All partitions wait meanwhile;
// when it has lasted for AuthFailureTimeout, Start ends.
func (c *consumer) offsetsFetched(ctx context.Context, _ *kgo.Client, response *kmsg.OffsetFetchResponse) error {
	refusal := c.refusedOffset(response)
	if refusal == nil {
		c.refusedOffsets = time.Time{}
		c.learnProgress(response)
		return nil
	}
	if c.refusedOffsets.IsZero() {
		c.refusedOffsets = time.Now()
	}
	if time.Since(c.refusedOffsets) >= c.cfg.AuthFailureTimeout {
		c.fail(fmt.Errorf("kafka: group %s: %w", c.cfg.Group, refusal))
	}
	wait(refusedPause, ctx.Done()) // or we would join again some times a second
	return refusal
}

func (c *consumer) refusedOffset(response *kmsg.OffsetFetchResponse) error {
	for _, group := range response.Groups {
		for _, topic := range group.Topics {
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					return fmt.Errorf("committed offset of %s-%d: %w", c.topicOf(topic.Topic, topic.TopicID), partition.Partition, err)
				}
			}
		}
	}
	return nil
}

// learnProgress takes what earlier owners have told of newly assigned partitions, before these are fetched: where to go
// on, and what is done beyond that.
func (c *consumer) learnProgress(response *kmsg.OffsetFetchResponse) {
	for _, group := range response.Groups {
		for _, topic := range group.Topics {
			for _, committed := range topic.Partitions {
				if p := c.assignedAs(topicPartition{c.topicOf(topic.Topic, topic.TopicID), committed.Partition}); p != nil {
					p.offsets.Resume(committed.Offset, committed.Metadata)
				}
			}
		}
	}
}

// topicOf returns the name of a topic in an answer about offsets, which may name it by its id alone.
func (c *consumer) topicOf(name string, id [16]byte) string {
	if name != "" {
		return name
	}
	for topic := range c.routes {
		if known, _ := c.client.ids.Load(topic); known == id {
			return topic
		}
	}
	return ""
}

// startOfRetryTopics has retry topics begin at their first record where nothing is committed, or what is committed is
// not there, since it was deleted or the topic was made again: what was put off is not to be passed over, whatever AutoOffsetReset and StartFrom say.
func (c *consumer) startOfRetryTopics(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	if c.cfg.AutoOffsetReset == ResetEarliest && c.cfg.StartFrom.IsZero() {
		return offsets, nil
	}
	var retries []*partition
	for topic, partitions := range offsets {
		for id := range partitions {
			if p := c.assignedAs(topicPartition{topic, id}); p != nil && p.route.isRetryTopic() {
				retries = append(retries, p)
			}
		}
	}
	if len(retries) == 0 {
		return offsets, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	starts, ends := c.listOffsets(ctx, retries, earliestOffset), c.listOffsets(ctx, retries, latestOffset)
	for _, p := range retries {
		committed := p.offsets.Next()
		start, knowsStart := starts[p.place()]
		end, knowsEnd := ends[p.place()]
		if committed < 0 || knowsStart && committed < start || knowsEnd && committed > end {
			offsets[p.topic][p.id] = kgo.NewOffset().AtStart()
		}
	}
	return offsets, nil
}
