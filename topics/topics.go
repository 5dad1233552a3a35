// Package topics is the topic list as code: a service declares the topics it needs and makes sure of them at startup.
//
//	list := topics.List{
//		topics.New("orders", 6).WithReplicationFactor(3).WithRetention(7 * 24 * time.Hour),
//		topics.Compacted("customers", 6).WithReplicationFactor(3),
//	}.WithDeadLetters(consumerCfg) // and the dead letter topic of each consumer
//
//	err := topics.Ensure(ctx, client, list...)
//
// A [Mode] says how far it may go. By default, what is missing is created and what exists stays as it is. Nothing is ever
// deleted: there is no call for it.
//
// [List.Plan] says what would change and why, from the code that changes it; [List.Apply] does it. Both are safe to run
// from many processes at once: what one finds done by another is read again and judged again.
//
// # What is compared
//
// Of an existing topic: the declared number of partitions, the declared replication factor, and the declared settings.
// What is not declared belongs to somebody else and is neither compared nor touched. Values are compared as the broker
// means them: "0.50" is 0.5.
//
//	                                      check   create   reconcile
//	topic missing                         error   created  created
//	setting differs                       error   kept     set
//	fewer partitions than declared        error   kept     added with AllowGrow, else error
//	more partitions than declared         error   kept     error
//	other replication factor              error   kept     error
//	not to be compared, for permissions   error   told     error
//
// "Kept" differences are in the plan and are logged, and so is what can't be compared. More partitions move keys to other partitions, which breaks the
// order of a key at that moment: that is why they need AllowGrow.
//
// # Permissions
//
// CREATE on the topics, or on the cluster, suffices to create. With DESCRIBE, existing topics are compared, with
// DESCRIBE_CONFIGS their settings too; ALTER_CONFIGS is needed to set them, ALTER to add partitions. A topic that exists
// and can't be seen is reported as "exists, not verified". What one topic lacks does not keep the others from being made.
//
// # Files
//
// Package manifest, in a folder of this one, reads and writes lists as YAML, Strimzi's KafkaTopic resources among them. The
// command ktopics validates, plans and applies such files. Where Strimzi or another operator manages the topics, run
// services in mode check: an operator reverts what others change.
package topics

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/skeji/kafka"
)

// Topic is a topic that should exist. A zero field is left to the brokers.
type Topic struct {
	// Name is the topic's, of 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'. Use either '.' or '_': they collide in metrics.
	Name string `json:"name"`
	// Partitions is the number of partitions. Default: the brokers' num.partitions, and any number is right.
	Partitions int32 `json:"partitions,omitempty"`
	// ReplicationFactor is on how many brokers each partition is kept. Default: the brokers' default.replication.factor, and
	// any number is right.
	ReplicationFactor int16 `json:"replicationFactor,omitempty"`
	// Config holds the topic's own settings, by Kafka's names: {"retention.ms": "86400000"}. Settings that are not in it
	// are left alone.
	Config map[string]string `json:"config,omitempty"`
	// AllowGrow lets mode [Reconcile] add partitions, which moves keys to other partitions.
	AllowGrow bool `json:"allowGrow,omitempty"`

	// lettersOf names the topics whose dead letters this one takes, if it was derived; see derive.
	lettersOf []string
}

// New is a topic that keeps its records for a time, by default for the brokers' log.retention.ms.
func New(name string, partitions int32) Topic { return Topic{Name: name, Partitions: partitions} }

// Compacted is a topic that keeps the last record of each key (cleanup.policy=compact).
func Compacted(name string, partitions int32) Topic {
	return New(name, partitions).WithConfig("cleanup.policy", "compact")
}

// WithReplicationFactor returns the topic with another replication factor.
func (t Topic) WithReplicationFactor(brokers int16) Topic {
	t.ReplicationFactor = brokers
	return t
}

// WithRetention returns the topic with another retention.ms. A negative duration keeps records for ever, and 0 none at all.
func (t Topic) WithRetention(d time.Duration) Topic {
	if d < 0 {
		return t.WithConfig("retention.ms", "-1")
	}
	return t.WithConfig("retention.ms", strconv.FormatInt(d.Milliseconds(), 10))
}

// WithConfig returns the topic with one more setting, by Kafka's name for it. The topic it is called on does not change.
func (t Topic) WithConfig(key, value string) Topic {
	config := make(map[string]string, len(t.Config)+1)
	maps.Copy(config, t.Config)
	config[key] = value
	t.Config = config
	return t
}

// WithAllowGrow returns the topic with [Topic.AllowGrow] set.
func (t Topic) WithAllowGrow() Topic {
	t.AllowGrow = true
	return t
}

// List is a topic list. It is a value: append to it, keep it in a variable, share it between services.
type List []Topic

// Ensure makes sure of the topics in the mode that KAFKA_TOPICS_MODE names, by default [Create]. It is [List.Apply] for
// those who need no plan: call it in main, before consumers and producers.
func Ensure(ctx context.Context, client *kafka.Client, topics ...Topic) error {
	mode, err := ModeFromEnv()
	if err != nil {
		return err
	}
	_, err = List(topics).Apply(ctx, client, mode)
	return err
}
