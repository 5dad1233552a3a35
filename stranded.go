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

// This file finds retry topics which RetryDelays no longer has, since it was shortened or removed. Records may wait there,
// or come yet, from a process of before: without a reader they would be neither handled nor dead-lettered, and nothing would
// say so. The constructor looks for such topics. They are read as the other retry topics are, but a record that fails there
// goes to the dead letter topic.

const (
	// maxStrandedWait is the longest wait for a due time in a topic whose delay is no longer known.
	maxStrandedWait = 24 * time.Hour
	// strandedPatience is how long brokers that don't answer may hold the constructor up for what is only a precaution.
	strandedPatience = 5 * time.Second
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

// stranded returns the retry topics beyond RetryDelays that exist and may be read.
func (c *consumer) stranded() (tiers []tier) {
	beyond := c.cfg.beyondRetryDelays()
	if len(beyond) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), min(c.cfg.ConnectTimeout, strandedPatience))
	defer cancel()
	found, failed := c.client.existing(ctx, slices.Sorted(maps.Keys(beyond)))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		level, text := slog.LevelInfo, "retry topic that RetryDelays no longer has is read as well; delete it once it is empty and no process of before runs"
		if mayRead := found[name]; mayRead {
			tiers = append(tiers, beyond[name])
		} else {
			level, text = slog.LevelWarn, "records may wait in a retry topic that RetryDelays no longer has, and this consumer may not read it: grant READ and restart, or send them back with the deadletter command"
		}
		c.log.LogAttrs(ctx, level, text, slog.String("retry_topic", name), slog.String("topic", c.cfg.topicNames()),
			slog.String("group", c.cfg.Group), slog.String("dlq_topic", strings.Join(c.cfg.deadLetterTopics(), ",")))
	}
	c.logNotSeen(failed)
	return tiers
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
	write(level, "no permission to look for retry topics that RetryDelays no longer has: grant DESCRIBE on them, or delete them when they are empty", denied)
	write(slog.LevelWarn, "could not look for retry topics that RetryDelays no longer has; records that wait there are handled after the next start that can", others)
}

// existing asks which of the topics exist, and says whether READ is granted, as far as the brokers say. It creates none.
func (c *Client) existing(ctx context.Context, names []string) (found map[string]bool, failed map[string]error) {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false
	request.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	found, failed = map[string]bool{}, map[string]error{}
	response, err := request.RequestWith(ctx, c.ask())
	if err != nil {
		for _, name := range names {
			failed[name] = err
		}
		return found, failed
	}
	for _, topic := range response.Topics {
		if topic.Topic == nil || !slices.Contains(names, *topic.Topic) {
			continue
		}
		switch err := kerr.ErrorForCode(topic.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException): // there is none
		case err != nil && !errors.Is(err, kerr.LeaderNotAvailable):
			failed[*topic.Topic] = fmt.Errorf("topic %s: %w", *topic.Topic, err)
		default:
			found[*topic.Topic] = topic.AuthorizedOperations <= 0 || topic.AuthorizedOperations&(1<<kmsg.ACLOperationRead) != 0
		}
	}
	return found, failed
}
