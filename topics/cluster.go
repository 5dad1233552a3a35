package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// This file asks the cluster and changes nothing. It sends requests of its own where kadm fails a whole call for one
// topic, or answers from a cache.

// survey reads the topics' state, and of each those settings that keys names.
func survey(ctx context.Context, client *kgo.Client, keys map[string][]string) (map[string]found, error) {
	state, err := describe(ctx, client, slices.Sorted(maps.Keys(keys)))
	if err != nil {
		return nil, err
	}
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if state[name].exists && len(keys[name]) > 0 {
			resource := kmsg.NewDescribeConfigsRequestResource()
			resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceTypeTopic, name, keys[name]
			request.Resources = append(request.Resources, resource)
		}
	}
	if len(request.Resources) == 0 {
		return state, nil
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("topics: describe configs: %w", err)
	}
	for _, resource := range response.Resources {
		f := state[resource.ResourceName]
		switch err := kerr.ErrorForCode(resource.ErrorCode); {
		case err == nil:
			f.config = make(map[string]string, len(resource.Configs))
			for _, setting := range resource.Configs {
				if setting.Value != nil {
					f.config[setting.Name] = *setting.Value
				}
			}
		case isUnauthorized(err):
			f.configErr = fmt.Errorf("DESCRIBE_CONFIGS is not granted: %w", kafka.ErrAuthorization)
		default:
			f.err = fmt.Errorf("describe configs: %w", withText(err, resource.ErrorMessage))
		}
		state[resource.ResourceName] = f
	}
	return state, nil
}

// describe reads which topics exist, and with how many partitions and replicas.
func describe(ctx context.Context, client kmsg.Requestor, names []string) (map[string]found, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("topics: look up topics: %w", err)
	}
	state := make(map[string]found, len(names))
	for _, topic := range response.Topics {
		var f found
		switch err := kerr.ErrorForCode(topic.ErrorCode); {
		case err == nil, errors.Is(err, kerr.LeaderNotAvailable):
			f.exists, f.partitions = true, int32(len(topic.Partitions))
			for i, partition := range topic.Partitions {
				// While replicas move, a partition has more of them for a time.
				if n := int16(len(partition.Replicas)); i == 0 || n < f.replicas {
					f.replicas = n
				}
				if partition.Leader < 0 || partition.ErrorCode != 0 && partition.ErrorCode != kerr.ReplicaNotAvailable.Code {
					f.leaderless = append(f.leaderless, partition.Partition)
				}
			}
		case errors.Is(err, kerr.UnknownTopicOrPartition):
		case isUnauthorized(err):
			f.hidden = true
		default:
			f.err = fmt.Errorf("look up: %w", err)
		}
		state[*topic.Topic] = f
	}
	return state, nil
}

// awaitLeaders waits until every broker knows a leader for each of so many partitions of each topic. A creation is
// answered before all brokers have heard of it, and a client may ask any of them.
func awaitLeaders(ctx context.Context, client *kgo.Client, partitions map[string]int32) error {
	names := slices.Sorted(maps.Keys(partitions))
	for wait := newBackoff(); len(names) > 0; {
		ignorant, err := ignorance(ctx, client, names, partitions)
		if err == nil && ignorant == nil {
			return nil
		}
		if !wait.sleep(ctx) {
			return errors.Join(ignorant, err, context.Cause(ctx))
		}
	}
	return nil
}

// ignorance returns what some broker does not know yet, or nil.
func ignorance(ctx context.Context, client *kgo.Client, names []string, partitions map[string]int32) (missing, err error) {
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err != nil {
		return nil, fmt.Errorf("topics: list brokers: %w", err)
	}
	for _, broker := range brokers {
		state, err := describe(ctx, client.Broker(int(broker.NodeID)), names)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			switch f := state[name]; {
			case f.hidden: // made, but not ours to see
			case f.partitions < max(1, partitions[name]):
				missing = errors.Join(missing, fmt.Errorf("topics: %s: broker %d knows %d of %d partitions", name, broker.NodeID, f.partitions, partitions[name]))
			case len(f.leaderless) > 0:
				missing = errors.Join(missing, fmt.Errorf("topics: %s: partitions %v have no leader, says broker %d", name, f.leaderless, broker.NodeID))
			}
		}
	}
	return missing, nil
}

func isUnauthorized(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// withText adds what the broker says about its error.
func withText(err error, text *string) error {
	if text == nil || *text == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, *text)
}

// backoff is the pause between two looks at what other processes or brokers are about to finish.
type backoff time.Duration

func newBackoff() *backoff { return new(backoff(50 * time.Millisecond)) }

// sleep returns false if ctx ended.
func (b *backoff) sleep(ctx context.Context) bool {
	const longest = time.Second
	select {
	case <-time.After(time.Duration(*b)):
	case <-ctx.Done():
		return false
	}
	*b = min(*b*2, backoff(longest))
	return true
}
