// Package topics is the topic list as code: a service declares the topics it needs and makes sure of them at startup.
//
//	err := topics.Ensure(ctx, client,
//		topics.Topic{Name: "orders", Partitions: 6, ReplicationFactor: 3},
//		topics.Topic{Name: "dlq-orders", Partitions: 6, ReplicationFactor: 3},
//	)
//
// It creates what is missing and leaves what exists as it is: it never deletes, grows or alters a topic.
package topics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// Topic is a topic that should exist.
type Topic struct {
	Name string
	// Partitions is how many partitions to create it with. Default: the brokers' num.partitions.
	Partitions int32
	// ReplicationFactor is on how many brokers each partition is kept. Default: the brokers' default.replication.factor.
	ReplicationFactor int16
	// Config holds the topic's own settings, by Kafka's names: {"retention.ms": "86400000"}.
	Config map[string]string
}

// Ensure creates the topics that are missing, and returns once every broker knows the leader of every partition of all
// of them, or ctx ends. It is safe to run from many processes at once. The error joins one for each topic that failed.
func Ensure(ctx context.Context, client *kafka.Client, topics ...Topic) error {
	admin := kadm.NewClient(client.KGO())
	var failures []error
	var names []string
	for _, topic := range topics {
		if err := create(ctx, admin, topic); err != nil {
			failures = append(failures, fmt.Errorf("topics: create %s: %w", topic.Name, err))
			continue
		}
		names = append(names, topic.Name)
	}
	if len(names) > 0 {
		failures = append(failures, awaitLeaders(ctx, client.KGO(), admin, names))
	}
	return errors.Join(failures...)
}

// create asks for one topic at a time, since one call gives all its topics the same settings.
func create(ctx context.Context, admin *kadm.Client, topic Topic) error {
	partitions, replicas := topic.Partitions, topic.ReplicationFactor
	if partitions == 0 {
		partitions = -1
	}
	if replicas == 0 {
		replicas = -1
	}
	config := make(map[string]*string, len(topic.Config))
	for key, value := range topic.Config {
		config[key] = &value
	}
	response, err := admin.CreateTopic(ctx, partitions, replicas, config, topic.Name)
	switch {
	case errors.Is(err, kerr.TopicAlreadyExists):
		return nil
	case err != nil && response.ErrMessage != "":
		return fmt.Errorf("%w: %s", err, response.ErrMessage)
	}
	return err
}

// awaitLeaders polls every broker: a creation is answered before all of them have heard of it.
func awaitLeaders(ctx context.Context, client *kgo.Client, admin *kadm.Client, names []string) error {
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("topics: list brokers: %w", err)
	}
	for _, broker := range brokers {
		for {
			missing, err := leaderless(ctx, client.Broker(int(broker.NodeID)), names)
			if err == nil && missing == "" {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("topics: broker %d does not know %s yet: %w", broker.NodeID, missing, errors.Join(ctx.Err(), err))
			}
		}
	}
	return nil
}

// leaderless returns the first topic that the broker does not fully know, or "".
func leaderless(ctx context.Context, broker *kgo.Broker, names []string) (string, error) {
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, broker)
	if err != nil {
		return "", err
	}
	for _, topic := range response.Topics {
		if topic.ErrorCode != 0 {
			return *topic.Topic, kerr.ErrorForCode(topic.ErrorCode)
		}
		for _, partition := range topic.Partitions {
			if partition.ErrorCode != 0 || partition.Leader < 0 {
				return *topic.Topic, kerr.ErrorForCode(partition.ErrorCode)
			}
		}
	}
	return "", nil
}
