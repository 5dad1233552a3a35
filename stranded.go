package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/topicname"
)

// This file finds records that wait in retry topics which RetryDelays no longer has, since it was shortened or removed.
// Without it they would be neither handled nor dead-lettered, and nothing would say so. The constructor looks for them.
// What it finds is consumed as the other retry topics are, but a record that fails there goes to the dead letter topic.

const (
	// maxStrandedWait is the longest wait for a due time in a topic whose delay is no longer known.
	maxStrandedWait = 24 * time.Hour
	// strandedPatience is how long brokers that don't answer may hold the constructor up for what is only a precaution.
	strandedPatience = 5 * time.Second
	// strandedInterval is how often topics that were empty are looked at again: longer than a deploy takes.
	strandedInterval = 10 * time.Minute
)

// isStranded reports whether RetryDelays no longer has a delay for the retry topic.
func (t tier) isStranded() bool { return t.isRetryTopic() && t.delay == 0 }

// beyondRetryDelays returns the retry topics that a longer RetryDelays would have, by name.
func (c ConsumerConfig) beyondRetryDelays() map[string]tier {
	tiers := map[string]tier{}
	for _, source := range c.sources() {
		for n := len(c.RetryDelays) + 1; n <= maxRetryDelays; n++ {
			name := c.retryTopic(source, n)
			if topicname.Check(name) == nil { // Group may hold what no topic's name may
				tiers[name] = tier{topic: name, source: source, index: n, longest: max(c.longestDelay(), maxStrandedWait)}
			}
		}
	}
	return tiers
}

// stranded returns the retry topics beyond RetryDelays that hold records which the group has not consumed, and logs
// them.
func (c *consumer) stranded() (tiers []tier) {
	beyond := c.cfg.beyondRetryDelays()
	if len(beyond) == 0 {
		return nil
	}
	look := c.lookForStranded(context.Background(), slices.Sorted(maps.Keys(beyond)))
	for _, left := range look.found {
		switch {
		case left.lag == 0:
			c.unread = append(c.unread, left.name)
		case !left.mayRead:
			c.logStranded("records wait in a retry topic that RetryDelays no longer has, and this consumer may not read it: grant READ and restart, or send them back with the deadletter command", left)
		default:
			c.logStranded("records wait in a retry topic that RetryDelays no longer has; each is handled when it is due, and not retried if it fails", left)
			tiers = append(tiers, beyond[left.name])
		}
	}
	c.logNotSeen(look.failed)
	return tiers
}

// watchStranded logs records that come to a retry topic beyond RetryDelays after the constructor's look: in a rolling
// deploy, a process with the earlier RetryDelays may still write there. It asks only for topics that exist, and ends
// when each was logged.
func (c *consumer) watchStranded(ctx context.Context) {
	names := c.unread
	if len(names) == 0 {
		return
	}
	for range ticks(ctx, strandedInterval) {
		told := map[string]bool{}
		for _, left := range c.lookForStranded(ctx, names).found {
			if left.lag > 0 {
				c.logStranded("records came to a retry topic that RetryDelays no longer has, after this consumer was made; unless another process reads them, restart to have them handled", left)
				told[left.name] = true
			}
		}
		if names = slices.DeleteFunc(names, func(name string) bool { return told[name] }); len(names) == 0 {
			return
		}
	}
}

func (c *consumer) lookForStranded(ctx context.Context, names []string) *strandedLook {
	ctx, cancel := context.WithTimeout(ctx, min(c.cfg.ConnectTimeout, strandedPatience))
	defer cancel()
	look := &strandedLook{client: c.client, group: c.cfg.Group, failed: map[string]error{}}
	look.find(ctx, names)
	for _, left := range look.found {
		if left.lag > 0 {
			delete(look.failed, left.name) // what is known is enough
		}
	}
	return look
}

func (c *consumer) logStranded(text string, left leftover) {
	c.log.LogAttrs(context.Background(), slog.LevelWarn, text, slog.String("retry_topic", left.name), slog.Int64("lag", left.lag),
		slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group), slog.String("dlq_topic", strings.Join(c.cfg.deadLetterTopics(), ",")))
}

// logNotSeen logs why topics could not be looked at. A missing permission is no fault of the moment: many services have
// none for topics that they never had, and those without RetryDelays likely never had any.
func (c *consumer) logNotSeen(failed map[string]error) {
	var denied, others []string
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		if isAuthorization(failed[name]) {
			denied = append(denied, name)
		} else {
			others = append(others, name)
		}
	}
	write := func(level slog.Level, text string, names []string) {
		if len(names) > 0 {
			c.log.LogAttrs(context.Background(), level, text, slog.Any("retry_topics", names),
				slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group), slog.Any("error", failed[names[0]]))
		}
	}
	level := slog.LevelDebug
	if len(c.cfg.RetryDelays) > 0 {
		level = slog.LevelInfo
	}
	write(level, "no permission to look for records in retry topics that RetryDelays no longer has: grant DESCRIBE on them, or delete them when they are empty", denied)
	write(slog.LevelWarn, "could not look for records in retry topics that RetryDelays no longer has; such records are handled after the next start that can", others)
}

// strandedLook asks the brokers for records that a group has not consumed: one request for metadata and, where topics
// exist, one for the ends of their partitions, one for committed offsets, and one for the beginnings.
type strandedLook struct {
	client *Client
	group  string
	found  []leftover       // topics that exist
	failed map[string]error // topics that could not be looked at, or not at all of their partitions
}

// leftover is a topic that may hold records which nobody reads.
type leftover struct {
	name       string
	partitions []int32 // those with a leader
	mayRead    bool    // READ is granted, as far as the brokers say
	lag        int64   // records that are not consumed
}

// find fills found, without lag where a request fails.
func (l *strandedLook) find(ctx context.Context, names []string) {
	if err := l.describe(ctx, names); err != nil {
		for _, name := range names {
			l.failed[name] = err
		}
		return
	}
	if err := l.count(ctx); err != nil {
		for _, left := range l.found {
			l.failed[left.name] = err
		}
	}
}

// describe asks which topics exist. It creates none.
func (l *strandedLook) describe(ctx context.Context, names []string) error {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false
	request.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, l.client.ask())
	if err != nil {
		return err
	}
	for _, topic := range response.Topics {
		if topic.Topic == nil || !slices.Contains(names, *topic.Topic) {
			continue
		}
		name := *topic.Topic
		switch err := kerr.ErrorForCode(topic.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
			continue // there is none
		case err != nil && !errors.Is(err, kerr.LeaderNotAvailable):
			l.failed[name] = fmt.Errorf("topic %s: %w", name, err)
			continue
		}
		left := leftover{name: name, mayRead: topic.AuthorizedOperations <= 0 || topic.AuthorizedOperations&(1<<kmsg.ACLOperationRead) != 0}
		for _, partition := range topic.Partitions {
			if partition.Leader < 0 { // it would be waited for
				l.failed[name] = fmt.Errorf("%s-%d has no leader", name, partition.Partition)
				continue
			}
			left.partitions = append(left.partitions, partition.Partition)
		}
		l.found = append(l.found, left)
	}
	return nil
}

// count fills in the lags.
func (l *strandedLook) count(ctx context.Context) error {
	ends, err := l.ends(ctx, latestOffset)
	if err != nil || !slices.ContainsFunc(slices.Collect(maps.Values(ends)), func(end int64) bool { return end > 0 }) {
		return err
	}
	committed, err := l.committed(ctx)
	if err != nil {
		return err
	}
	from := map[topicPartition]int64{} // where the group goes on, in partitions that it may not have read to the end
	for at, end := range ends {
		offset, ok := committed[at]
		if !ok || offset > end { // the topic was made again
			offset = 0
		}
		if offset < end {
			from[at] = offset
		}
	}
	if len(from) == 0 {
		return nil
	}
	starts, err := l.ends(ctx, earliestOffset)
	if err != nil {
		return err
	}
	for i, left := range l.found {
		for _, partition := range left.partitions {
			at := topicPartition{left.name, partition}
			if offset, ok := from[at]; ok {
				l.found[i].lag += max(0, ends[at]-max(offset, starts[at]))
			}
		}
	}
	return nil
}

// ends asks for the latest or the earliest offsets.
func (l *strandedLook) ends(ctx context.Context, which int64) (map[topicPartition]int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	for _, left := range l.found {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = left.name
		for _, partition := range left.partitions {
			asked := kmsg.NewListOffsetsRequestTopicPartition()
			asked.Partition, asked.Timestamp = partition, which
			topic.Partitions = append(topic.Partitions, asked)
		}
		request.Topics = append(request.Topics, topic)
	}
	offsets := map[topicPartition]int64{}
	if len(request.Topics) == 0 {
		return offsets, nil
	}
	response, err := request.RequestWith(ctx, l.client.kgo)
	if err != nil {
		return nil, err
	}
	for _, topic := range response.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				l.failed[topic.Topic] = fmt.Errorf("offsets of %s-%d: %w", topic.Topic, partition.Partition, err)
				continue
			}
			offsets[topicPartition{topic.Topic, partition.Partition}] = partition.Offset
		}
	}
	return offsets, nil
}

// committed asks for what the group has committed.
func (l *strandedLook) committed(ctx context.Context) (map[topicPartition]int64, error) {
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = l.group
	for _, left := range l.found {
		topic := kmsg.NewOffsetFetchRequestGroupTopic()
		topic.Topic, topic.Partitions = left.name, left.partitions
		group.Topics = append(group.Topics, topic)
	}
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Groups = append(request.Groups, group)
	response, err := request.RequestWith(ctx, l.client.kgo)
	if err != nil {
		return nil, err
	}
	offsets := map[topicPartition]int64{}
	for _, group := range response.Groups {
		if err := kerr.ErrorForCode(group.ErrorCode); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return nil, fmt.Errorf("committed offsets of group %s: %w", l.group, err)
		}
		for _, topic := range group.Topics {
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					return nil, fmt.Errorf("committed offset of %s-%d: %w", topic.Topic, partition.Partition, err)
				}
				if partition.Offset >= 0 {
					offsets[topicPartition{topic.Topic, partition.Partition}] = partition.Offset
				}
			}
		}
	}
	return offsets, nil
}
