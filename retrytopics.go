package kafka

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// This file is ConsumerConfig.RetryDelays. A record whose retries are used up waits in a topic for its next attempt, and its key goes
// on. Each retry topic is a route of the same consumer. What waits there is written as a dead letter is, so that the
// record's first place and its attempts so far are in the headers.

// tier is a retry topic, or the topic whose records may come there.
type tier struct {
	topic   string
	source  string        // that topic
	index   int           // its place among the retry topics, from 1; 0: it is none
	delay   time.Duration // until a record that is written there is due; 0: not known, since RetryDelays no longer has it
	longest time.Duration // that a record waits there, whatever it says
}

func (t tier) isRetryTopic() bool { return t.index > 0 }

const (
	maxRetryDelays     = 10
	maxEarlierAttempts = 1000 // what a header may claim
)

// RetryTopics returns the names of the topics that RetryDelays takes: retry-<n>-<group>-<topic>, with n from 1, for each topic.
// They must exist; package topics makes them with the dead letter topics.
func (c ConsumerConfig) RetryTopics() (names []string) {
	for _, source := range c.sources() {
		for i := range c.RetryDelays {
			names = append(names, c.retryTopic(source, i+1))
		}
	}
	return names
}

// retryTopic is the name of the n-th retry topic. The delay is no part of it: with another one, the records that wait
// are still read.
func (c ConsumerConfig) retryTopic(source string, n int) string {
	return fmt.Sprintf("retry-%d-%s-%s", n, c.Group, source)
}

func (c ConsumerConfig) tiers(source string) []tier {
	tiers := make([]tier, len(c.RetryDelays))
	for i, delay := range c.RetryDelays {
		tiers[i] = tier{topic: c.retryTopic(source, i+1), source: source, index: i + 1, delay: delay, longest: c.longestDelay()}
	}
	return tiers
}

func (c ConsumerConfig) longestDelay() (longest time.Duration) {
	for _, delay := range c.RetryDelays {
		longest = max(longest, delay)
	}
	return longest
}

// dueTime is when a record that is written to the topic is due; zero if that is no retry topic.
func (p *partition) dueTime(to *sink) time.Time {
	if to != p.route.retries {
		return time.Time{}
	}
	return time.Now().Add(p.route.next.delay)
}

// untilDue is how long the record has to wait for its first attempt here, once: until the time that its header names,
// so that a record keeps the time that it was given when RetryDelays changes. Without that header, it is the topic's
// delay since the record was written. A clock that is ahead, or a forged record, can't make the wait longer than the
// longest delay, nor end it later than that after the record was written.
func (p *partition) untilDue(r *kgo.Record) time.Duration {
	t := p.route
	if !t.isRetryTopic() {
		return 0
	}
	longest, due := t.delay, r.Timestamp.Add(t.delay)
	if text, ok := lastHeader(r.Headers, dlqheader.Due); ok && isBound(r) {
		if at := parseTime(text); !at.IsZero() {
			longest, due = t.longest, at
		}
	}
	now := time.Now()
	return min(longest, due.Sub(now), r.Timestamp.Add(longest).Sub(now))
}

// attemptsBefore is how often a record of a retry topic was tried before it came there. Headers of other topics claim what they like.
func (p *partition) attemptsBefore(r *kgo.Record) int {
	if !p.route.isRetryTopic() {
		return 0
	}
	letter, _ := p.firstPlace(r)
	return min(letter.Attempts, maxEarlierAttempts)
}

func (p *partition) logPutOff(t *task, stored *Record) {
	p.logSparsely(slog.LevelWarn, "record put off; it is tried again from its retry topic", t.record,
		slog.String("retry_topic", stored.Topic), slog.Duration("delay", p.route.next.delay),
		slog.Int("attempts", t.attempt+p.attemptsBefore(t.record)), slog.String("error", t.verdict.text))
}

// checkRetryTopic refuses one that would lose records before they are due.
func (r *route) checkRetryTopic(limits map[string]topicLimits) error {
	switch limit := limits[r.next.topic]; {
	case limit.compacted:
		return fmt.Errorf("kafka: retry topic %s is compacted (cleanup.policy): it would lose records; it needs delete", r.next.topic)
	case limit.retention > 0 && limit.retention <= r.next.delay:
		return fmt.Errorf("kafka: retry topic %s keeps records for %v (retention.ms) and is to delay them for %v: they would be deleted before they are due; raise retention.ms to at least %d",
			r.next.topic, limit.retention, r.next.delay, min(2*r.next.delay.Milliseconds(), math.MaxInt64/2))
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
	for i, delay := range c.RetryDelays {
		if delay < time.Millisecond {
			f.addf("RetryDelays[%d] is %v: want 1ms or more (%s)", i, delay, variable)
			continue
		}
		for _, source := range c.sources() {
			f.checkTopic("RetryDelays: the retry topic, made of Group and Topic,", c.retryTopic(source, i+1))
		}
	}
}
