package topics

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/skeji/kafka"
)

const (
	retentionKey = "retention.ms"
	cleanupKey   = "cleanup.policy"
	maxBytesKey  = "max.message.bytes"

	// Kafka's defaults for a topic, taken for one whose settings can't be read.
	defaultRetention = 7 * 24 * time.Hour
	defaultMaxBytes  = 1048588

	// Letters outlive the records they are made of: people look at them after the weekend.
	minLetterRetention = 14 * 24 * time.Hour
)

// WithDeadLetters returns the list with the dead letter topic of each consumer that has one, and its retry topics, whose names the
// list does not declare itself. What such a topic gets follows the topics whose letters it takes, as the list declares them or as
// the cluster has them:
//
//   - as many partitions as the largest of them, since letters are placed by their record's partition, and the same
//     replication factor and declared min.insync.replicas;
//   - cleanup.policy=delete: compaction would keep one letter of each key;
//   - retention.ms of twice theirs, and at least 14 days;
//   - max.message.bytes of twice theirs: room for the letter's headers, and for a record that compresses less well alone
//     than among others.
//
// A source whose settings can't be read, or that does not exist, counts with Kafka's defaults, and a warning says so. An
// existing dead letter topic is compared with less: it must delete, not compact, and half of that retention and size will do.
func (l List) WithDeadLetters(consumers ...kafka.ConsumerConfig) List {
	l = slices.Clone(l)
	for _, cfg := range consumers {
		for _, source := range append([]string{cfg.Topic}, cfg.Topics...) {
			if source == "" && len(cfg.Topics) > 0 {
				continue
			}
			cfg.Topic, cfg.Topics = source, nil
			if !cfg.DisableDeadLetters { // merged keeps what is declared
				l = append(l, Topic{Name: cmp.Or(cfg.DLQTopic, "dlq-"+source), lettersOf: []string{source}})
			}
			for _, name := range cfg.RetryTopics() { // what is written there are letters, too
				l = append(l, Topic{Name: name, lettersOf: []string{source}})
			}
		}
	}
	return l
}

// derive fills in a dead letter topic from its sources. known has them as they are, or will be; declared has those of the
// list. The warnings say where Kafka's defaults had to do.
func (t Topic) derive(known map[string]found, declared map[string]Topic) (derived Topic, warnings []string) {
	retention, maxBytes := int64(0), int64(0)
	forever := false
	for _, source := range t.lettersOf {
		of, inList := known[source], declared[source]
		switch {
		case of.exists && of.config != nil:
		case of.exists || of.hidden:
			warnings = append(warnings, fmt.Sprintf("the settings of %s, whose dead letters it takes, can't be read: Kafka's defaults are assumed", source))
		case known != nil && inList.Name == "":
			warnings = append(warnings, fmt.Sprintf("%s, whose dead letters it takes, does not exist", source))
		}
		if !of.exists { // as far as the list goes
			of.partitions, of.replicas = inList.Partitions, inList.ReplicationFactor
		}
		t.Partitions = max(t.Partitions, of.partitions)
		t.ReplicationFactor = max(t.ReplicationFactor, of.replicas)
		if isr := inList.Config[minISRKey]; number(isr, 0) > number(t.Config[minISRKey], 0) {
			t = t.WithConfig(minISRKey, isr)
		}
		kept := number(cmp.Or(of.config[retentionKey], inList.Config[retentionKey]), defaultRetention.Milliseconds())
		retention, forever = max(retention, kept), forever || kept < 0
		maxBytes = max(maxBytes, number(cmp.Or(of.config[maxBytesKey], inList.Config[maxBytesKey]), defaultMaxBytes))
	}
	retention = max(minLetterRetention.Milliseconds(), 2*min(retention, math.MaxInt64/2))
	if forever {
		retention = -1
	}
	t = t.WithConfig(cleanupKey, "delete").WithConfig(retentionKey, strconv.FormatInt(retention, 10))
	return t.WithConfig(maxBytesKey, strconv.FormatInt(min(2*maxBytes, math.MaxInt32), 10)), warnings
}

// Resolve returns the valid list with each topic once, and dead letter topics filled in from the list alone, for those who
// have no cluster to ask: what WithDeadLetters takes from topics that the list does not declare is Kafka's default here.
func (l List) Resolve() (List, error) {
	resolved, err := l.merged()
	if err != nil {
		return nil, err
	}
	filled := resolved.byName()
	for pending := resolved; len(pending) > 0; {
		next := due(pending) // a dead letter topic may be the source of another
		for _, topic := range next {
			if topic.lettersOf != nil {
				topic, _ = topic.derive(nil, filled)
				topic.lettersOf = nil
			}
			filled[topic.Name] = topic
		}
		pending = remaining(pending, next, nil)
	}
	for i, topic := range resolved {
		resolved[i] = filled[topic.Name]
	}
	return resolved, nil
}

func (l List) byName() map[string]Topic {
	byName := make(map[string]Topic, len(l))
	for _, topic := range l {
		byName[topic.Name] = topic
	}
	return byName
}

// number reads a setting, or returns other.
func number(text string, other int64) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	return other
}

// suffices compares a derived setting with what an existing dead letter topic has.
func suffices(key, has, wanted string) bool {
	switch key {
	case retentionKey, maxBytesKey:
		has, wanted := number(has, 0), number(wanted, 0)
		return has < 0 || wanted >= 0 && has >= wanted/2 // negative: for ever
	case minISRKey:
		return true // whoever made the topic decided
	}
	return sameValue(has, wanted)
}
