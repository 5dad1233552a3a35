package kafka

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file is ConsumerConfig.RetryDelays. A record whose retries are used up waits in a topic for its next attempt, and its key goes
// on. Each retry topic has a consumer of its own, of the same group and with the same handler, inside Start. What it reads is written
// as a dead letter is, so that the record's first place and its attempts so far are in the headers.

// tier is a retry topic, or the topic whose records may come there.
type tier struct {
	topic  string
	source string        // that topic
	index  int           // its place among the retry topics, from 1; 0: it is none
	delay  time.Duration // until a record that is written there is due
}

func (t tier) isRetryTopic() bool { return t.index > 0 }

const (
	maxRetryDelays     = 10
	maxEarlierAttempts = 1000 // what a header may claim
	// retryQueueShare is what part of MaxQueuedRecords and MaxQueuedBytes each retry topic has on top: its records wait in the topic.
	retryQueueShare = 16
)

// RetryTopics returns the names of the topics that RetryDelays takes: retry-<n>-<group>-<topic>, with n from 1. They must exist;
// package topics makes them with the dead letter topic.
func (c ConsumerConfig) RetryTopics() []string {
	names := make([]string, len(c.RetryDelays))
	for i := range c.RetryDelays {
		names[i] = c.retryTopic(i + 1)
	}
	return names
}

// retryTopic is the name of the n-th retry topic. The delay is no part of it: with another one, the records that wait are still read.
func (c ConsumerConfig) retryTopic(n int) string {
	return fmt.Sprintf("retry-%d-%s-%s", n, c.Group, c.Topic)
}

func (c ConsumerConfig) tiers() []tier {
	tiers := make([]tier, len(c.RetryDelays))
	for i, delay := range c.RetryDelays {
		tiers[i] = tier{topic: c.retryTopic(i + 1), source: c.Topic, index: i + 1, delay: delay}
	}
	return tiers
}

// atTier is the config of a retry topic's consumer. It begins at the topic's beginning, or it would pass over what was written before it
// first came; and it tries each record once.
func (c ConsumerConfig) atTier(t tier) ConsumerConfig {
	c.Topic = t.topic
	c.MaxRetries = 0
	c.AutoOffsetReset, c.StartFrom = "earliest", time.Time{}
	c.MaxQueuedRecords = max(1, c.MaxQueuedRecords/retryQueueShare)
	c.MaxQueuedBytes = max(1, c.MaxQueuedBytes/retryQueueShare)
	if c.InstanceID != "" {
		c.InstanceID += fmt.Sprintf("-retry-%d", t.index)
	}
	return c
}

// startRetries starts the consumers of the retry topics. One that fails ends this one. wait returns why, once all have ended.
func (c *consumer) startRetries(ctx context.Context) (wait func() error) {
	var running sync.WaitGroup
	errs := make([]error, len(c.retries))
	for i, retry := range c.retries {
		running.Go(func() {
			if errs[i] = retry.start(ctx); errs[i] != nil {
				c.fail(errs[i])
			}
		})
	}
	return func() error {
		running.Wait()
		return cmp.Or(errs...)
	}
}

// untilDue is how long the record has to wait for its first attempt here, once. A clock that is ahead, or somebody else's record, can't
// make that longer than the delay.
func (p *partition) untilDue(r *kgo.Record) time.Duration {
	if !p.c.tier.isRetryTopic() {
		return 0
	}
	delay := p.c.tier.delay
	return min(delay, delay-time.Since(r.Timestamp))
}

// attemptsBefore is how often a record of a retry topic was tried before it came there. Headers of other topics claim what they like.
func (c *consumer) attemptsBefore(r *kgo.Record) int {
	if !c.tier.isRetryTopic() {
		return 0
	}
	letter, _ := c.firstPlace(r)
	return min(letter.Attempts, maxEarlierAttempts)
}

func (p *partition) logPutOff(t *task, stored *Record) {
	p.logSparsely(slog.LevelWarn, "record put off; it is tried again from its retry topic", t.record,
		slog.String("retry_topic", stored.Topic), slog.Duration("delay", p.c.next.delay),
		slog.Int("attempts", t.attempt+p.c.attemptsBefore(t.record)), slog.String("error", t.verdict.text))
}

// checkRetryTopic refuses one that would lose records before they are due.
func (c *consumer) checkRetryTopic(limits topicLimits) error {
	switch {
	case limits.compacted:
		return fmt.Errorf("kafka: retry topic %s is compacted (cleanup.policy): it would lose records; it needs delete", c.next.topic)
	case limits.retention > 0 && limits.retention <= c.next.delay:
		return fmt.Errorf("kafka: retry topic %s keeps records for %v (retention.ms) and is to delay them for %v: they would be deleted before they are due; raise retention.ms to at least %d",
			c.next.topic, limits.retention, c.next.delay, min(2*c.next.delay.Milliseconds(), math.MaxInt64/2))
	}
	return nil
}

func (f *faults) checkRetryDelays(c ConsumerConfig) {
	const variable = "KAFKA_CONSUMER_RETRY_DELAYS"
	if len(c.RetryDelays) > maxRetryDelays {
		f.addf("RetryDelays has %d entries: want %d at most (%s)", len(c.RetryDelays), maxRetryDelays, variable)
	}
	if len(c.RetryDelays) > 0 && c.ParkKeys {
		f.addf("RetryDelays and ParkKeys are both set: a retry topic gives the order of a key up, and ParkKeys keeps it (%s, KAFKA_CONSUMER_PARK_KEYS)", variable)
	}
	for i, t := range c.tiers() {
		if t.delay < time.Millisecond {
			f.addf("RetryDelays[%d] is %v: want 1ms or more (%s)", i, t.delay, variable)
			continue
		}
		f.checkTopic("RetryDelays: the retry topic, made of Group and Topic,", t.topic)
	}
}
