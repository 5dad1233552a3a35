package deadletter

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// This file asks the cluster and changes nothing. Its requests are its own where kadm answers from a cache, or fails a whole call for
// one topic.

// derive makes a client that connects as another one does. Of its options, franz-go writes into the list of compressions, which would
// be the other client's.
func derive(client *kgo.Client, opts ...kgo.Opt) (*kgo.Client, error) {
	all := slices.Clone(client.Opts())
	if codecs, ok := client.OptValue(kgo.ProducerBatchCompression).([]kgo.CompressionCodec); ok {
		all = append(all, kgo.ProducerBatchCompression(slices.Clone(codecs)...))
	}
	return kgo.NewClient(append(all, opts...)...)
}

// found is what the brokers say of a topic.
type found struct {
	id         [16]byte
	leaders    map[int32]int32 // by partition
	operations int32           // what these credentials may do, a bit for each; negative if the brokers don't say
	err        error
}

// idText is the topic's id as Kafka's tools print it. Brokers before 2.8 have none, which is text, too.
func (f found) idText() string { return base64.RawURLEncoding.EncodeToString(f.id[:]) }

func (f found) partitions() int32 { return int32(len(f.leaders)) }

// may tells whether these credentials may do it, or the brokers don't say.
func (f found) may(operation kmsg.ACLOperation) bool {
	return f.operations <= 0 || f.operations&(1<<operation) != 0
}

// describe looks topics up.
func describe(ctx context.Context, client *kgo.Client, names ...string) (map[string]found, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, fmt.Errorf("deadletter: look up %v: %w", names, err)
	}
	topics := make(map[string]found, len(names))
	for _, topic := range response.Topics {
		f := found{id: topic.TopicID, leaders: map[int32]int32{}, operations: topic.AuthorizedOperations}
		switch err := kerr.ErrorForCode(topic.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			f.err = fmt.Errorf("deadletter: topic %s: %w (%w)", *topic.Topic, kafka.ErrTopicMissing, err)
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			f.err = fmt.Errorf("deadletter: topic %s: %w (%w)", *topic.Topic, kafka.ErrAuthorization, err)
		case err != nil && !errors.Is(err, kerr.LeaderNotAvailable):
			f.err = fmt.Errorf("deadletter: topic %s: %w", *topic.Topic, err)
		}
		for _, partition := range topic.Partitions {
			f.leaders[partition.Partition] = partition.Leader
		}
		topics[*topic.Topic] = f
	}
	for _, name := range names {
		if _, ok := topics[name]; !ok {
			return nil, fmt.Errorf("deadletter: look up %s: the brokers' answer is about something else", name)
		}
	}
	return topics, nil
}

// defaultMaxMessageBytes is Kafka's for max.message.bytes, taken for a topic whose settings can't be read.
const defaultMaxMessageBytes = 1048588

// maxMessageBytes returns the most bytes that each topic takes in a batch.
func maxMessageBytes(ctx context.Context, client *kgo.Client, names []string) map[string]int32 {
	const key = "max.message.bytes"
	request := kmsg.NewPtrDescribeConfigsRequest()
	limits := make(map[string]int32, len(names))
	for _, name := range names {
		limits[name] = defaultMaxMessageBytes
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName, resource.ConfigNames = kmsg.ConfigResourceTypeTopic, name, []string{key}
		request.Resources = append(request.Resources, resource)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return limits
	}
	for _, resource := range response.Resources {
		for _, setting := range resource.Configs {
			if setting.Name != key || setting.Value == nil {
				continue
			}
			if n, err := strconv.ParseInt(*setting.Value, 10, 32); err == nil && n > 0 {
				limits[resource.ResourceName] = int32(n)
			}
		}
	}
	return limits
}

func sortedKeys[V any](m map[int32]V) []int32 { return slices.Sorted(maps.Keys(m)) }
