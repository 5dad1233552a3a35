package topics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// This file alone sends requests that change the cluster, or ask whether it would take the change.

// mostPartitions is how many partitions brokers create for one request.
const mostPartitions = 10_000

// carryOut creates and alters what was judged so, and adds to again why single topics have to be looked at again.
func (r *run) carryOut(ctx context.Context, due List, again map[string]error) {
	var create []Change
	partitions := int32(0)
	for _, topic := range due {
		if again[topic.Name] != nil {
			continue
		}
		switch c := r.changes[topic.Name]; c.Action {
		case ActionCreate:
			if partitions += max(1, c.Partitions); partitions > mostPartitions {
				r.create(ctx, create, again)
				create, partitions = nil, c.Partitions
			}
			create = append(create, c)
		case ActionAlter:
			if err := r.alter(ctx, &c); err != nil {
				again[c.Topic] = err
			}
			r.changes[c.Topic] = c
		}
	}
	r.create(ctx, create, again)
}

// create asks for all at once: kadm would give them all the same settings.
func (r *run) create(ctx context.Context, create []Change, again map[string]error) {
	if len(create) == 0 {
		return
	}
	request := kmsg.NewPtrCreateTopicsRequest()
	request.ValidateOnly = r.dry
	for _, c := range create {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic = c.Topic
		topic.NumPartitions = cmp.Or(c.Partitions, -1)
		topic.ReplicationFactor = cmp.Or(c.ReplicationFactor, -1)
		for _, key := range slices.Sorted(maps.Keys(c.Config)) {
			setting := kmsg.NewCreateTopicsRequestTopicConfig()
			setting.Name, setting.Value = key, new(c.Config[key])
			topic.Configs = append(topic.Configs, setting)
		}
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, r.client.KGO())
	if err != nil {
		for _, c := range create {
			r.changes[c.Topic] = c.failed(fmt.Errorf("create: %w", err))
		}
		return
	}
	for _, answer := range response.Topics {
		c := r.changes[answer.Topic]
		switch err := kerr.ErrorForCode(answer.ErrorCode); {
		case err == nil:
			c.noteMade(answer)
		case errors.Is(err, kerr.TopicAlreadyExists) && c.hidden:
			c.unverified(r.mode)
		case errors.Is(err, kerr.TopicAlreadyExists), kerr.IsRetriable(err):
			again[c.Topic] = err
		case isUnauthorized(err) && c.hidden:
			c = c.failed(fmt.Errorf("%w: grant DESCRIBE to see whether it exists, and CREATE to make it", kafka.ErrAuthorization))
		case isUnauthorized(err):
			c = c.failed(fmt.Errorf("%w: it does not exist: grant CREATE on it, or create it by other means", kafka.ErrAuthorization))
		default:
			c = c.failed(fmt.Errorf("create: %w", withText(err, answer.ErrorMessage)))
		}
		r.changes[c.Topic] = c
	}
}

// noteMade keeps what the brokers say they made, or would make, with their defaults filled in.
func (c *Change) noteMade(answer kmsg.CreateTopicsResponseTopic) {
	made := found{
		exists: true, partitions: answer.NumPartitions, replicas: answer.ReplicationFactor, config: maps.Clone(c.Config),
	}
	if made.partitions <= 0 { // an old broker, or one that may not tell us
		made.partitions, made.replicas = c.Partitions, c.ReplicationFactor
	}
	if made.config == nil {
		made.config = map[string]string{}
	}
	for _, setting := range answer.Configs {
		if setting.Value != nil {
			made.config[setting.Name] = *setting.Value
		}
	}
	c.made = &made
	c.Partitions, c.ReplicationFactor = made.partitions, made.replicas
	c.warn()
}

// alter sets settings and adds partitions. It returns an error if the topic is to be looked at again; any other is the
// change's.
func (r *run) alter(ctx context.Context, c *Change) (again error) {
	var settings []kadm.AlterConfig
	var set []Difference
	grow := false
	for _, d := range c.Differences {
		switch {
		case d.Verdict != VerdictChanged || slices.Contains(r.carried[c.Topic], d):
		case d.What == partitionsWord:
			grow = true
		default:
			set = append(set, d)
			settings = append(settings, kadm.AlterConfig{Op: kadm.SetConfig, Name: d.What, Value: new(d.Declared)})
		}
	}
	if len(settings) > 0 {
		alter := r.admin.AlterTopicConfigs
		if r.dry {
			alter = r.admin.ValidateAlterTopicConfigs
		}
		responses, err := alter(ctx, settings, c.Topic)
		for _, response := range responses {
			err = withText(response.Err, &response.ErrMessage)
		}
		if kerr.IsRetriable(err) {
			return err
		}
		c.refuse(err, "ALTER_CONFIGS", func(what string) bool { return what != partitionsWord })
		if err == nil && !r.dry {
			r.carried[c.Topic] = append(r.carried[c.Topic], set...)
			for _, d := range set {
				c.Config[d.What] = d.Declared
			}
		}
	}
	if grow {
		update := r.admin.UpdatePartitions
		if r.dry {
			update = r.admin.ValidateUpdatePartitions
		}
		responses, err := update(ctx, int(c.declared.Partitions), c.Topic)
		if response, ok := responses[c.Topic]; ok {
			err = withText(response.Err, &response.ErrMessage)
		}
		if kerr.IsRetriable(err) || errors.Is(err, kerr.InvalidPartitions) { // grown by another process
			return err
		}
		c.refuse(err, "ALTER", func(what string) bool { return what == partitionsWord })
		if err == nil && !r.dry {
			c.Partitions = c.declared.Partitions
		}
	}
	return nil
}

// refuse makes the brokers' refusal that of the differences which were to be changed. A broker refuses a topic's settings
// together: only the first of them tells why.
func (c *Change) refuse(err error, operation string, which func(what string) bool) {
	if err == nil {
		return
	}
	if isUnauthorized(err) {
		err = fmt.Errorf("%s is not granted: %w", operation, kafka.ErrAuthorization)
	}
	for i := range c.Differences {
		if d := &c.Differences[i]; d.Verdict == VerdictChanged && which(d.What) {
			d.Verdict, d.Why, d.err = VerdictRefused, err.Error(), err
			err = errWithTheOthers
		}
	}
	c.conclude()
}

var errWithTheOthers = errors.New("refused together with the others")
