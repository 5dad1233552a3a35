package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// partitionCounts returns each topic's number of partitions, or an error that names every topic that can't be used. It
// asks the brokers themselves: kadm answers from a cache, and fails the whole call for one unauthorized topic.
func (c *Client) partitionCounts(ctx context.Context, names ...string) (map[string]int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, c.kgo)
	if err != nil {
		return nil, fmt.Errorf("kafka: look up topics %q: %w", names, c.explain(err))
	}
	counts := make(map[string]int32, len(names))
	var faults []error
	for _, topic := range response.Topics {
		name := *topic.Topic
		counts[name] = int32(len(topic.Partitions))
		// A partition without a leader is a fault of the moment; franz-go waits for it.
		if err := kerr.ErrorForCode(topic.ErrorCode); err != nil && !errors.Is(err, kerr.LeaderNotAvailable) {
			faults = append(faults, fmt.Errorf("kafka: topic %s: %w", name, c.explain(err)))
		}
	}
	return counts, errors.Join(faults...)
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
