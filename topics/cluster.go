package topics

import (
	"cmp"
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
func survey(ctx context.Context, client *kgo.Client, keys map[string][]string, declared map[string]Topic) (map[string]found, error) {
	state, err := describe(ctx, client, slices.Sorted(maps.Keys(keys)))
	if err != nil {
		return nil, err
	}
	if err := describeSettings(ctx, client, keys, state); err != nil {
		return nil, err
	}
	for name, f := range state {
		if wanted := declared[name].ReplicationFactor; f.exists && wanted > 0 && f.replicas > wanted {
			f.replicas -= movingIn(ctx, client, name, f.partitions)
			state[name] = f
		}
	}
	return state, nil
}

// movingIn returns how many of a topic's replicas a reassignment is adding: for as long as it lasts, a partition has the old
// ones and the new. It needs DESCRIBE on the cluster; without, it returns 0.
func movingIn(ctx context.Context, client *kgo.Client, name string, partitions int32) (most int16) {
	var all kadm.TopicsSet
	for p := range partitions {
		all.Add(name, p)
	}
	moving, err := kadm.NewClient(client).ListPartitionReassignments(ctx, all)
	if err != nil {
		return 0
	}
	for _, partition := range moving[name] {
		most = max(most, int16(len(partition.AddingReplicas)))
	}
	return most
}

// describeSettings reads into state those settings that keys names.
func describeSettings(ctx context.Context, client kmsg.Requestor, keys map[string][]string, state map[string]found) error {
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if state[name].exists && len(keys[name]) > 0 {
			resource := kmsg.NewDescribeConfigsRequestResource()
			resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceTypeTopic, name, keys[name]
			request.Resources = append(request.Resources, resource)
		}
	}
	if len(request.Resources) == 0 {
		return nil
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("describe configs: %w", err)
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
	return nil
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
		return nil, fmt.Errorf("look up: %w", err)
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

// brokerPatience is how long one broker may take to answer before the brokers are listed again: it may have died.
const brokerPatience = 2 * time.Second

// awaitBrokers waits until every broker knows a leader for each partition of each topic, and what was set. Changes are answered
// before all brokers have heard of them, and a client may ask any of them.
func (r *run) awaitBrokers(ctx context.Context) {
	expected := map[string]Change{}
	for name, c := range r.changes {
		if c.exists || c.made != nil {
			expected[name] = c
		}
	}
	for wait := newBackoff(); len(expected) > 0; {
		missing := ignorance(ctx, r.client.KGO(), expected)
		if len(missing) == 0 {
			return
		}
		if !wait.sleep(ctx) {
			for name, what := range missing {
				c := r.changes[name]
				c.Err = alongside(c.Err, fmt.Errorf("%w: %w", context.Cause(ctx), what))
				r.changes[name] = c
			}
			return
		}
	}
}

// ignorance returns what some broker does not know yet, by topic. All brokers are asked at once.
func ignorance(ctx context.Context, client *kgo.Client, expected map[string]Change) map[string]error {
	missing := map[string]error{}
	all := func(err error) map[string]error {
		for name := range expected {
			missing[name] = cmp.Or(missing[name], err)
		}
		return missing
	}
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err != nil {
		return all(fmt.Errorf("list brokers: %w", err))
	}
	type answer struct {
		broker int32
		state  map[string]found
		err    error
	}
	answers := make(chan answer, len(brokers))
	for _, broker := range brokers {
		go func() { // ends within brokerPatience
			ctx, cancel := context.WithTimeout(ctx, brokerPatience)
			defer cancel()
			state, err := ask(ctx, client.Broker(int(broker.NodeID)), expected)
			answers <- answer{broker.NodeID, state, err}
		}()
	}
	for range brokers {
		got := <-answers
		if got.err != nil {
			all(fmt.Errorf("broker %d: %w", got.broker, got.err))
		}
		for name, f := range got.state {
			if err := expected[name].unknownIn(f); err != nil {
				missing[name] = cmp.Or(missing[name], fmt.Errorf("broker %d %w", got.broker, err))
			}
		}
	}
	return missing
}

// ask reads what one broker knows of the topics, and of what was set.
func ask(ctx context.Context, broker *kgo.Broker, expected map[string]Change) (map[string]found, error) {
	state, err := describe(ctx, broker, slices.Sorted(maps.Keys(expected)))
	if err != nil {
		return nil, err
	}
	keys := map[string][]string{}
	for name, c := range expected {
		for _, d := range c.Differences {
			if d.Verdict == VerdictChanged && d.What != partitionsWord {
				keys[name] = append(keys[name], d.What)
			}
		}
	}
	return state, describeSettings(ctx, broker, keys, state)
}

// unknownIn returns what a broker does not know of the topic.
func (c Change) unknownIn(f found) error {
	switch {
	case f.hidden: // made, but not ours to see
		return nil
	case f.partitions < max(1, c.Partitions):
		return fmt.Errorf("knows %d of %d partitions", f.partitions, max(1, c.Partitions))
	case len(f.leaderless) > 0:
		return fmt.Errorf("knows no leader of partitions %v", f.leaderless)
	case f.configErr != nil:
		return nil
	}
	for _, d := range c.Differences {
		if d.Verdict == VerdictChanged && d.What != partitionsWord && !sameValue(f.config[d.What], d.Declared) {
			return fmt.Errorf("has %s %s still", d.What, f.config[d.What])
		}
	}
	return nil
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
