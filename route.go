package kafka

import (
	"cmp"
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
	tier               // of the topic itself
	next        tier   // where what may pass waits for its next attempt; no topic: nowhere
	dlq         string // the dead letter topic; "" for none
	maxRetries  int    // attempts that follow the first one here
	parksKeys   bool   // see ConsumerConfig.ParkKeys
	retries     *sink  // which is next; nil: none
	deadLetters *sink  // nil: none
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
	routes := map[string]*route{}
	for _, source := range c.cfg.sources() {
		own := tier{topic: source, source: source}
		next := append(c.cfg.tiers(source), tier{})
		routes[source] = &route{tier: own, next: next[0], dlq: c.cfg.deadLetterTopicOf(source), maxRetries: c.cfg.MaxRetries, parksKeys: c.cfg.ParkKeys}
		for i, t := range c.cfg.tiers(source) {
			routes[t.topic] = &route{tier: t, next: next[i+1], dlq: c.cfg.deadLetterTopicOf(source)}
		}
	}
	for _, t := range c.stranded() {
		routes[t.topic] = &route{tier: t, dlq: c.cfg.deadLetterTopicOf(t.source)}
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
		var parked []topicUse
		for _, name := range c.cfg.deadLetterTopics() {
			parked = append(parked, topicUse{topic: name, operation: kmsg.ACLOperationRead, role: forLetters})
		}
		if _, err := c.client.partitionCounts(ctx, parked...); err != nil {
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
	for _, name := range c.cfg.deadLetterTopics() {
		writes = append(writes, topicUse{topic: name, operation: kmsg.ACLOperationWrite, role: forLetters})
	}
	return reads, writes
}

// prepareToFail refuses topics that would not take what they are for, and makes the routes' writers.
func (c *consumer) prepareToFail(ctx context.Context, counts map[string]int32, writes []topicUse) error {
	names := c.cfg.sources()
	for _, use := range writes {
		names = append(names, use.topic)
	}
	limits, writers := c.client.limitsOf(ctx, names...), map[string]*sink{}
	for _, use := range writes {
		c.compressor.learn(limits[use.topic].maxBytes)
		writers[use.topic] = newSink(use.topic, counts[use.topic], c.client, letterMaxBytes(c.cfg), c.hooks)
	}
	for _, name := range c.cfg.deadLetterTopics() {
		switch {
		case !limits[name].compacted:
		case c.cfg.ParkKeys:
			return fmt.Errorf("kafka: dead letter topic %s is compacted (cleanup.policy): it would lose letters that park their keys; ParkKeys needs delete", name)
		default:
			c.log.Warn("dead letter topic is compacted (cleanup.policy): of the letters of one key only the latest is kept; it needs delete",
				slog.String("dlq_topic", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.routes)) {
		r := c.routes[name]
		if err := cmp.Or(r.checkRoom("retry", r.next.topic, limits), r.checkRoom("dead letter", r.dlq, limits), r.checkRetryTopic(limits)); err != nil {
			return err
		}
		r.retries, r.deadLetters = writers[r.next.topic], writers[r.dlq]
	}
	return nil
}

// checkRoom refuses a topic whose records must be smaller than those that are to go there. A limit of 0 is not known.
func (r *route) checkRoom(kind, topic string, limits map[string]topicLimits) error {
	takes, source := limits[topic].maxBytes, limits[r.source].maxBytes
	if source <= 0 || takes <= 0 || takes >= source {
		return nil
	}
	return fmt.Errorf("kafka: %s topic %s takes records of %d bytes, fewer than the %d of %s: a large record could not be put there; raise its max.message.bytes to %d",
		kind, topic, takes, source, r.source, source)
}
