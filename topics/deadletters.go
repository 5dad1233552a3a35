package topics

import (
	"cmp"
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

// WithDeadLetters returns the list with the dead letter topic of each consumer that has one and whose name the list does
// not declare itself. What such a topic gets follows the topics whose letters it takes, as the list declares them or as
// the cluster has them:
//
//   - as many partitions as the largest of them, since letters are placed by their record's partition, and the same
//     replication factor and declared min.insync.replicas;
//   - cleanup.policy=delete: compaction would keep one letter of each key;
//   - retention.ms of twice theirs, and at least 14 days;
//   - max.message.bytes of twice theirs: room for the letter's headers, and for a record that compresses less well alone
//     than among others.
//
// An existing one is compared with less: it must delete, not compact, and half of that retention and size will do, which
// is no less than what its sources have.
func (l List) WithDeadLetters(consumers ...kafka.ConsumerConfig) List {
	l = slices.Clone(l)
	for _, cfg := range consumers {
		if cfg.DLQTopic != "" { // merged keeps what is declared
			l = append(l, Topic{Name: cfg.DLQTopic, lettersOf: []string{cfg.Topic}})
		}
	}
	return l
}

// derive fills in a dead letter topic from its sources. found has them as they are, or as they were just made; declared
// has those of the list.
func (t Topic) derive(found map[string]found, declared map[string]Topic) Topic {
	retention, maxBytes := int64(0), int64(0)
	forever := false
	for _, source := range t.lettersOf {
		of := found[source]
		if !of.exists { // as far as the list goes
			of.partitions, of.replicas = declared[source].Partitions, declared[source].ReplicationFactor
		}
		t.Partitions = max(t.Partitions, of.partitions)
		t.ReplicationFactor = max(t.ReplicationFactor, of.replicas)
		if isr := declared[source].Config[minISRKey]; number(isr, 0) > number(t.Config[minISRKey], 0) {
			t = t.WithConfig(minISRKey, isr)
		}
		kept := number(cmp.Or(of.config[retentionKey], declared[source].Config[retentionKey]), defaultRetention.Milliseconds())
		retention, forever = max(retention, kept), forever || kept < 0
		maxBytes = max(maxBytes, number(cmp.Or(of.config[maxBytesKey], declared[source].Config[maxBytesKey]), defaultMaxBytes))
	}
	t = t.WithConfig(cleanupKey, "delete")
	t = t.WithConfig(maxBytesKey, strconv.FormatInt(min(2*maxBytes, 1<<31-1), 10)) // an int32, as Kafka has it
	if forever {
		return t.WithRetention(-1)
	}
	return t.WithRetention(max(minLetterRetention, 2*time.Duration(retention)*time.Millisecond))
}

// Resolve returns the valid list with each topic once, and dead letter topics filled in from the list alone, for those who
// have no cluster to ask: what WithDeadLetters takes from topics that the list does not declare is Kafka's default here.
func (l List) Resolve() (List, error) {
	resolved, err := l.merged()
	if err != nil {
		return nil, err
	}
	declared := resolved.byName()
	for i, topic := range resolved {
		if topic.lettersOf != nil {
			topic = topic.derive(nil, declared)
			topic.lettersOf = nil
		}
		resolved[i] = topic
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
