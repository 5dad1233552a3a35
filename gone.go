package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// This file notices that a topic was deleted. franz-go tells of that where a client reads one topic. Where it reads others
// beside it, the brokers answer within the fetch session, in which the topic has no id, and franz-go waits for ever.

// goneCheck is between two looks at the topics. What two of them do not find is gone.
const goneCheck = 10 * time.Second

// watchTopics ends the consumer when a topic is deleted. It runs until Start is about to return.
func (c *consumer) watchTopics(ctx context.Context, client *kgo.Client) {
	if len(c.routes) == 1 {
		return
	}
	names, missed := slices.Collect(maps.Keys(c.routes)), map[string]bool{}
	for range ticks(ctx, goneCheck) {
		missing := c.missing(ctx, names)
		for _, topic := range missing {
			switch {
			case !missed[topic]:
			case c.routes[topic].isStranded(): // and deleted since it was empty
				names = slices.DeleteFunc(names, func(name string) bool { return name == topic })
				c.log.LogAttrs(ctx, slog.LevelInfo, "retry topic that RetryDelays no longer has was deleted; it is no longer read",
					slog.String("retry_topic", topic), slog.String("topic", c.routes[topic].source), slog.String("group", c.cfg.Group))
				client.PurgeTopicsFromConsuming(topic)
			default:
				c.fail(goneError(topic, kerr.UnknownTopicOrPartition))
			}
		}
		clear(missed)
		for _, topic := range missing {
			missed[topic] = true
		}
	}
}

// missing returns the topics that the brokers no longer have, or have made again.
func (c *consumer) missing(ctx context.Context, names []string) (missing []string) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	for name, id := range c.client.topicIDs(ctx, names...) {
		if known, ok := c.client.ids.Load(name); ok && known != id {
			missing = append(missing, name)
		}
	}
	return missing
}

func goneError(topic string, err error) error {
	return fmt.Errorf("kafka: consume %s: %w any more, say the brokers: it was deleted, and perhaps made again; start again once it is there: %w",
		topic, ErrTopicMissing, err)
}
