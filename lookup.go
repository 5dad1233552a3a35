package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicUse is a topic and what is going to be done with it: read or write.
type topicUse struct {
	topic     string
	operation kmsg.ACLOperation
}

// partitionCounts returns each topic's number of partitions, or an error that names every topic that can't be used. It
// asks the brokers themselves: kadm answers from a cache, and fails the whole call for one unauthorized topic.
func (c *Client) partitionCounts(ctx context.Context, uses ...topicUse) (map[string]int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false
	request.IncludeTopicAuthorizedOperations = true
	operations := make(map[string]kmsg.ACLOperation, len(uses))
	for _, use := range uses {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(use.topic)
		request.Topics = append(request.Topics, topic)
		operations[use.topic] = use.operation
	}
	response, err := request.RequestWith(ctx, c.kgo)
	if err != nil {
		return nil, fmt.Errorf("kafka: look up topics %v: %w", slices.Sorted(maps.Keys(operations)), c.explain(err))
	}
	counts := make(map[string]int32, len(uses))
	var faults []error
	for _, topic := range response.Topics {
		name := *topic.Topic
		counts[name] = int32(len(topic.Partitions))
		// A partition without a leader is a fault of the moment; franz-go waits for it.
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil && !errors.Is(err, kerr.LeaderNotAvailable) {
			faults = append(faults, fmt.Errorf("kafka: topic %s: %w", name, c.explain(err)))
		} else if op := operations[name]; topic.AuthorizedOperations > 0 && topic.AuthorizedOperations&(1<<op) == 0 {
			faults = append(faults, fmt.Errorf("kafka: topic %s: %w: the %v permission is missing", name, ErrAuthorization, op))
		}
	}
	return counts, errors.Join(faults...)
}

// prepareToWrite gets the id of an idempotent producer, while it may be had. Left to the first record, a refusal would be for
// good: franz-go keeps it, and never asks again after the permission was granted. Any other error it forgets.
func (c *Client) prepareToWrite(ctx context.Context) error {
	if _, _, err := c.kgo.ProducerID(ctx); isAuthorization(err) {
		return fmt.Errorf("kafka: producer id: %w", c.explain(err))
	}
	return nil
}

// maxMessageBytes returns the topics' max.message.bytes, as far as these credentials may read them.
func (c *Client) maxMessageBytes(ctx context.Context, names ...string) map[string]int32 {
	const key = "max.message.bytes"
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range names {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType = kmsg.ConfigResourceTypeTopic
		resource.ResourceName = name
		resource.ConfigNames = []string{key}
		request.Resources = append(request.Resources, resource)
	}
	limits := make(map[string]int32, len(names))
	response, err := request.RequestWith(ctx, c.kgo)
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "topic limits not readable", slog.Any("error", err))
		return limits
	}
	for _, resource := range response.Resources {
		for _, config := range resource.Configs {
			if config.Name != key || config.Value == nil {
				continue
			}
			if limit, err := strconv.ParseInt(*config.Value, 10, 32); err == nil && limit >= 512 { // franz-go's least
				limits[resource.ResourceName] = int32(limit)
			}
		}
	}
	return limits
}

// checkSpeaks returns an error if the brokers don't know a request, where franz-go would fall back to another.
func (c *Client) checkSpeaks(ctx context.Context, key kmsg.Key, what string) error {
	response, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c.kgo)
	if err != nil {
		return fmt.Errorf("kafka: ask the brokers for %s: %w", what, c.explain(err))
	}
	for _, api := range response.ApiKeys {
		if api.ApiKey == int16(key) {
			return nil
		}
	}
	return fmt.Errorf("kafka: the brokers don't speak %s", what)
}
