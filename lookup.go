package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicUse is a topic and what is going to be done with it: read or write.
type topicUse struct {
	topic     string
	operation kmsg.ACLOperation
	role      topicRole
}

// topicRole is what a topic is for; zero for the one that is consumed or published to.
type topicRole struct {
	name    string // before the word topic
	advice  string // how to create it
	without string // how to need none
}

var (
	forLetters = topicRole{
		"dead letter ", "with package topics for example (List.WithDeadLetters)", "name another one (DLQTopic, KAFKA_CONSUMER_DLQ_TOPIC), or set DisableDeadLetters to have none",
	}
	forRefused = topicRole{"dead letter ", "with package topics for example", "leave ProducerConfig.DLQTopic empty to have none"}
	forRetries = topicRole{
		"retry ", "with package topics for example (List.WithDeadLetters)", "leave its delay out of RetryDelays (KAFKA_CONSUMER_RETRY_DELAYS)",
	}
)

func (u topicUse) String() string { return u.role.name + "topic " + u.topic }

// partitionCounts returns each topic's number of partitions, or an error that names every topic that can't be used. It
// asks the brokers themselves: kadm answers from a cache, and fails the whole call for one unauthorized topic.
func (c *Client) partitionCounts(ctx context.Context, uses ...topicUse) (map[string]int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.AllowAutoTopicCreation = false
	request.IncludeTopicAuthorizedOperations = true
	useOf := make(map[string]topicUse, len(uses))
	for _, use := range uses {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(use.topic)
		request.Topics = append(request.Topics, topic)
		useOf[use.topic] = use
	}
	response, err := request.RequestWith(ctx, c.ask())
	if err != nil {
		return nil, fmt.Errorf("kafka: look up topics %v: %w", slices.Sorted(maps.Keys(useOf)), c.explain(err))
	}
	counts := make(map[string]int32, len(uses))
	var faults []error
	for _, topic := range response.Topics {
		name := *topic.Topic
		counts[name] = int32(len(topic.Partitions))
		if topic.TopicID != ([16]byte{}) {
			c.ids.LoadOrStore(name, topic.TopicID) // the first one is the one that franz-go knows
		}
		use := useOf[name]
		// A partition without a leader is a fault of the moment; franz-go waits for it.
		switch err := kerr.ErrorForCode(topic.ErrorCode); {
		case errors.Is(err, kerr.UnknownTopicOrPartition) && use.role != (topicRole{}):
			faults = append(faults, fmt.Errorf("kafka: %v: %w (%w): create it, %s, or %s",
				use, ErrTopicMissing, err, use.role.advice, use.role.without))
		case err != nil && !errors.Is(err, kerr.LeaderNotAvailable):
			faults = append(faults, fmt.Errorf("kafka: %v: %w", use, c.explain(err)))
		case topic.AuthorizedOperations > 0 && topic.AuthorizedOperations&(1<<use.operation) == 0:
			faults = append(faults, fmt.Errorf("kafka: %v: %w: the %v permission is missing", use, ErrAuthorization, use.operation))
		}
	}
	return counts, errors.Join(faults...)
}

// leaderPatience is how long franz-go may look for a partition's leader before it is asked again.
const leaderPatience = 250 * time.Millisecond

// Kafka's numbers for a partition's ends, where it asks for a time.
const (
	latestOffset   = -1
	earliestOffset = -2
)

// endOffset returns the offset that a partition's next record will have.
func (c *Client) endOffset(ctx context.Context, topic string, partition int32) (int64, error) {
	return c.offsetAt(ctx, topic, partition, latestOffset)
}

// startOffset returns the lowest offset that a partition may still hold.
func (c *Client) startOffset(ctx context.Context, topic string, partition int32) (int64, error) {
	return c.offsetAt(ctx, topic, partition, earliestOffset)
}

// offsetAt returns one of a partition's ends.
//
// franz-go asks any broker for the partition's leader, and waits long for one that does not answer: then it is asked again, for
// another one. The goroutines end with their answers or with this call.
func (c *Client) offsetAt(ctx context.Context, topic string, partition int32, end int64) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		offset int64
		err    error
	}
	answers := make(chan answer)
	ask := func() {
		offset, err := c.listOffset(ctx, topic, partition, end)
		select {
		case answers <- answer{offset, err}:
		case <-ctx.Done():
		}
	}
	again := time.NewTicker(leaderPatience)
	defer again.Stop()
	var failure error
	go ask()
	for {
		select {
		case got := <-answers:
			protocol, isProtocol := errors.AsType[*kerr.Error](got.err)
			if got.err == nil || isProtocol && !protocol.Retriable {
				return got.offset, got.err
			}
			failure = got.err // such as a leader that has just moved
		case <-again.C:
			go ask()
		case <-ctx.Done():
			return 0, cmp.Or(failure, ctx.Err())
		}
	}
}

func (c *Client) listOffset(ctx context.Context, topic string, partition int32, end int64) (int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	asked := kmsg.NewListOffsetsRequestTopicPartition()
	asked.Partition, asked.Timestamp = partition, end
	request.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{asked}}} // no other field has a default
	response, err := request.RequestWith(ctx, c.kgo)
	if err != nil {
		return 0, err
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return 0, errors.New("the brokers' answer is about something else")
	}
	got := response.Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}

// topicIDs returns the topics' ids as they are now, as far as the brokers say; zeros for a topic that they don't have.
func (c *Client) topicIDs(ctx context.Context, names ...string) map[string][16]byte {
	request := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = new(name)
		request.Topics = append(request.Topics, topic)
	}
	ids := map[string][16]byte{}
	if len(names) == 0 { // which would ask for none
		return ids
	}
	response, err := request.RequestWith(ctx, c.kgo)
	if err != nil {
		return ids
	}
	for _, topic := range response.Topics {
		if topic.Topic != nil && (topic.ErrorCode == 0 || topic.ErrorCode == kerr.UnknownTopicOrPartition.Code) {
			ids[*topic.Topic] = topic.TopicID
		}
	}
	return ids
}

// producerIDPatience is how long a broker that does not answer may hold up what is only a precaution.
const producerIDPatience = 250 * time.Millisecond

// prepareToWrite gets the id of an idempotent producer, which takes a permission of its own, while it may be had. Left to the
// first record, a refusal would be for good: franz-go keeps it, and never asks again after the permission was granted. The
// broker that answers is asked first, since franz-go may choose one that does not; what is no refusal passes, and is franz-go's
// to try again.
func (c *Client) prepareToWrite(ctx context.Context) error {
	response, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, c.ask())
	if err == nil {
		err = kerr.ErrorForCode(response.ErrorCode)
	}
	if isAuthorization(err) {
		return fmt.Errorf("kafka: producer id: %w", c.explain(err))
	}
	had := make(chan error, 1)
	go func() { // ends with the answer, or with the client
		_, _, err := c.kgo.ProducerID(context.WithoutCancel(ctx))
		had <- err
	}()
	select {
	case err = <-had:
	case <-time.After(producerIDPatience):
		return nil
	}
	if answer, ok := errors.AsType[*kerr.Error](err); ok && !answer.Retriable { // it is kept, whatever it was
		return fmt.Errorf("kafka: producer id: %w", c.explain(err))
	}
	return nil
}

// topicLimits is what a topic takes, as far as it is known; zero is not known, or no limit.
type topicLimits struct {
	maxBytes      int32         // max.message.bytes
	compacted     bool          // cleanup.policy has compact
	retention     time.Duration // retention.ms
	before, after time.Duration // how far a message's timestamp may be from now: message.timestamp.before.max.ms, …after…
}

// refuse returns the error that the brokers would answer with. They refuse whole batches: a message that they would refuse
// must not get into one with others'.
func (l topicLimits) refuse(r *kgo.Record) error {
	if l.compacted && r.Key == nil {
		return fmt.Errorf("a message to a compacted topic, which this one was when the producer was made, needs a key: %w", kerr.InvalidRecord)
	}
	if r.Timestamp.IsZero() || l.before == 0 && l.after == 0 {
		return nil
	}
	switch age := time.Since(r.Timestamp); {
	case l.before > 0 && age > l.before:
		return fmt.Errorf("its timestamp is %v old, the topic takes %v (message.timestamp.before.max.ms): %w", age, l.before, kerr.InvalidTimestamp)
	case l.after > 0 && -age > l.after:
		return fmt.Errorf("its timestamp is %v ahead, the topic takes %v (message.timestamp.after.max.ms): %w", -age, l.after, kerr.InvalidTimestamp)
	}
	return nil
}

// limitsOf returns the topics' limits, as far as these credentials may read them (DESCRIBE_CONFIGS).
func (c *Client) limitsOf(ctx context.Context, names ...string) map[string]topicLimits {
	const (
		maxBytes = "max.message.bytes"
		cleanup  = "cleanup.policy"
		kept     = "retention.ms"
		clock    = "message.timestamp.type"
		before   = "message.timestamp.before.max.ms"
		after    = "message.timestamp.after.max.ms"
	)
	request := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range names {
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType = kmsg.ConfigResourceTypeTopic
		resource.ResourceName = name
		resource.ConfigNames = []string{maxBytes, cleanup, kept, clock, before, after}
		request.Resources = append(request.Resources, resource)
	}
	all := make(map[string]topicLimits, len(names))
	response, err := request.RequestWith(ctx, c.ask())
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelDebug, "topic limits not readable", slog.Any("error", err))
		return all
	}
	for _, resource := range response.Resources {
		settings := map[string]string{}
		for _, config := range resource.Configs {
			if config.Value != nil {
				settings[config.Name] = *config.Value
			}
		}
		var limits topicLimits
		if n, err := strconv.ParseInt(settings[maxBytes], 10, 32); err == nil && n >= minMaxMessageBytes {
			limits.maxBytes = int32(n)
			c.known.Store(resource.ResourceName, limits.maxBytes)
		}
		limits.compacted = strings.Contains(settings[cleanup], "compact")
		limits.retention = milliseconds(settings[kept])
		if settings[clock] != "LogAppendTime" {
			limits.before, limits.after = milliseconds(settings[before]), milliseconds(settings[after])
		}
		all[resource.ResourceName] = limits
	}
	return all
}

// milliseconds returns 0 for what is no limit: Kafka's default is the largest int64.
func milliseconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/int64(time.Millisecond) {
		return 0
	}
	return time.Duration(n) * time.Millisecond
}

// checkSpeaks returns an error if the brokers don't know a request, where franz-go would fall back to another.
func (c *Client) checkSpeaks(ctx context.Context, key kmsg.Key, what string) error {
	request := kmsg.NewPtrApiVersionsRequest()
	request.ClientSoftwareName, request.ClientSoftwareVersion = softwareName, version // brokers insist
	response, err := request.RequestWith(ctx, c.ask())
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
