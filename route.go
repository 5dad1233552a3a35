package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file is about the topics that a consumer reads: its own and those in which its records wait for another attempt.
// All are consumed in one membership of the group, by one client; what fails is written by another.

// route is a topic that is read, and where its records go when they fail.
type route struct {
	tier                         // of the topic itself
	next        tier             // where what may pass waits for its next attempt; no topic: nowhere
	maxRetries  int              // attempts that follow the first one here
	parksKeys   bool             // see ConsumerConfig.ParkKeys
	retries     *deadLetterTopic // which is next; nil: none
	deadLetters *deadLetterTopic // nil: none
}

// topicPartition is a partition of a topic.
type topicPartition struct {
	topic string
	id    int32
}

func (t topicPartition) String() string { return fmt.Sprintf("%s-%d", t.topic, t.id) }

// newRoutes returns the routes by their topics. A retry topic's records are tried once each, and the order of their keys
// is lost already.
func (c *consumer) newRoutes() map[string]*route {
	tiers := c.cfg.tiers()
	next := append(slices.Clone(tiers), tier{})
	routes := map[string]*route{c.cfg.Topic: {
		tier: tier{topic: c.cfg.Topic, source: c.cfg.Topic}, next: next[0], maxRetries: c.cfg.MaxRetries, parksKeys: c.cfg.ParkKeys,
	}}
	for i, t := range append(tiers, c.stranded()...) {
		routes[t.topic] = &route{tier: t, next: next[min(i+1, len(next)-1)]}
	}
	return routes
}

// checkTopics finds what would otherwise show only when the first record, or the first dead letter, comes, and prepares
// the routes for writing.
func (c *consumer) checkTopics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	if err := c.client.reach(ctx); err != nil { // much may have changed since the constructor's
		return err
	}
	if c.cfg.GroupProtocol == ProtocolConsumer {
		if err := c.client.checkSpeaks(ctx, kmsg.ConsumerGroupHeartbeat, "GroupProtocol consumer (KIP-848, Kafka 4.0)"); err != nil {
			return err
		}
	}
	reads, writes := c.topicUses()
	counts, err := c.client.partitionCounts(ctx, slices.Concat(reads, writes)...)
	if err != nil || len(writes) == 0 {
		return err
	}
	if err := c.client.prepareToWrite(ctx); err != nil {
		return err
	}
	if c.cfg.ParkKeys {
		if _, err := c.client.partitionCounts(ctx, topicUse{topic: c.cfg.DLQTopic, operation: kmsg.ACLOperationRead, role: forLetters}); err != nil {
			return err
		}
	}
	return c.prepareToFail(ctx, counts, writes)
}

// topicUses returns what is read and what is written to, each in the order of the names.
func (c *consumer) topicUses() (reads, writes []topicUse) {
	for _, name := range slices.Sorted(maps.Keys(c.routes)) {
		r := c.routes[name]
		read := topicUse{topic: name, operation: kmsg.ACLOperationRead}
		if r.isRetryTopic() {
			read.role = forRetries
		}
		reads = append(reads, read)
		if r.next.topic != "" {
			writes = append(writes, topicUse{topic: r.next.topic, operation: kmsg.ACLOperationWrite, role: forRetries})
		}
	}
	if c.cfg.DLQTopic != "" {
		writes = append(writes, topicUse{topic: c.cfg.DLQTopic, operation: kmsg.ACLOperationWrite, role: forLetters})
	}
	return reads, writes
}

// prepareToFail refuses topics that would not take what they are for, and makes the routes' writers.
func (c *consumer) prepareToFail(ctx context.Context, counts map[string]int32, writes []topicUse) error {
	names := []string{c.cfg.Topic}
	for _, use := range writes {
		names = append(names, use.topic)
	}
	limits := c.client.limitsOf(ctx, names...)
	for _, use := range writes {
		c.compressor.learn(limits[use.topic].maxBytes)
		if err := c.roomForLetters(use, limits[use.topic].maxBytes, limits[c.cfg.Topic].maxBytes); err != nil {
			return err
		}
	}
	if !c.cfg.ParkKeys && limits[c.cfg.DLQTopic].compacted {
		c.log.Warn("dead letter topic is compacted (cleanup.policy): of the letters of one key only the latest is kept; it needs delete",
			slog.String("dlq_topic", c.cfg.DLQTopic))
	}
	if c.cfg.ParkKeys && limits[c.cfg.DLQTopic].compacted {
		return fmt.Errorf("kafka: dead letter topic %s is compacted (cleanup.policy): it would lose letters that park their keys; ParkKeys needs delete",
			c.cfg.DLQTopic)
	}
	writers := map[string]*deadLetterTopic{}
	for _, use := range writes {
		writers[use.topic] = newDeadLetterTopic(use.topic, counts[use.topic], c.client, letterMaxBytes(c.cfg), c.hooks)
	}
	for _, r := range c.routes {
		if r.next.topic != "" {
			if err := r.checkRetryTopic(limits[r.next.topic]); err != nil {
				return err
			}
		}
		r.retries, r.deadLetters = writers[r.next.topic], writers[c.cfg.DLQTopic]
	}
	return nil
}

// roomForLetters refuses a topic whose records must be smaller than those that are to go there. 0 is not known.
func (c *consumer) roomForLetters(use topicUse, takes, source int32) error {
	if source <= 0 || takes <= 0 || takes >= source {
		return nil
	}
	kind := "dead letter"
	if use.role == forRetries {
		kind = "retry"
	}
	return fmt.Errorf("kafka: %s topic %s takes records of %d bytes, fewer than the %d of %s: a large record could not be put there; raise its max.message.bytes to %d",
		kind, use.topic, takes, source, c.cfg.Topic, source)
}
