package deadletter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// RetryTopic is a topic of [kafka.ConsumerConfig.RetryDelays], named retry-<n>-<group>-<topic>.
type RetryTopic struct {
	Name   string // of the retry topic
	Group  string // whose records wait there
	Source string // the topic that they came from
	Unread int64  // how many the group has not consumed, at most: offsets behind the committed ones
}

// maxRetryTopics is how many a group may have for a topic.
const maxRetryTopics = 10

// UnreadRetryTopics returns the retry topics with records that their group has not consumed, and that none of its
// members reads: the group was renamed, or its service is stopped. Those of a topic that does not exist are not found.
// Where a hyphen in a name makes two groups possible, it is the one with committed offsets.
//
// It lists all topics that these credentials may see. A group that they may not describe counts as one that reads its
// topics.
func UnreadRetryTopics(ctx context.Context, client *kafka.Client) ([]RetryTopic, error) {
	owners, err := retryTopics(ctx, client)
	if err != nil || len(owners) == 0 {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(owners))
	admin := kadm.NewClient(client.KGO())
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("deadletter: beginnings of retry topics: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("deadletter: ends of retry topics: %w", err)
	}
	var unread []RetryTopic
	groups := newGroups(client.KGO())
	for _, name := range names {
		if spanOf(starts[name], ends[name], nil) == 0 {
			continue
		}
		topic, err := groups.unread(ctx, owners[name], starts[name], ends[name])
		if err != nil {
			return nil, err
		}
		if topic.Unread > 0 {
			unread = append(unread, topic)
		}
	}
	return unread, nil
}

// retryTopics returns the topics that are named like retry topics, with those who may own them: the longest name of a
// source first.
func retryTopics(ctx context.Context, client *kafka.Client) (map[string][]RetryTopic, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = nil // all
	response, err := request.RequestWith(ctx, client.KGO())
	if err != nil {
		return nil, fmt.Errorf("deadletter: list topics: %w", err)
	}
	exists := map[string]bool{}
	for _, topic := range response.Topics {
		if topic.Topic != nil && topic.ErrorCode == 0 {
			exists[*topic.Topic] = true
		}
	}
	owners := map[string][]RetryTopic{}
	for name := range exists {
		rest, _ := strings.CutPrefix(name, "retry-")
		index, rest, _ := strings.Cut(rest, "-")
		if n, err := strconv.Atoi(index); err != nil || n < 1 || n > maxRetryTopics || !strings.HasPrefix(name, "retry-") {
			continue
		}
		for i := range rest {
			if group, source := rest[:i], rest[i+1:]; rest[i] == '-' && group != "" && exists[source] {
				owners[name] = append(owners[name], RetryTopic{Name: name, Group: group, Source: source})
			}
		}
	}
	return owners, nil
}

// unread returns what the topic's group has not consumed: nothing if a member of any group that may own it reads it.
func (g *groups) unread(ctx context.Context, owners []RetryTopic, starts, ends map[int32]kadm.ListedOffset) (RetryTopic, error) {
	topic := owners[0]
	topic.Unread = spanOf(starts, ends, nil)
	for _, owner := range slices.Backward(owners) {
		for _, ask := range []func(context.Context, groupTopic) (bool, error){g.classicMember, g.member} {
			reads := false
			err := persist(ctx, func() (err error) {
				reads, err = ask(ctx, groupTopic{owner.Group, owner.Name})
				return err
			})
			switch {
			case errors.Is(err, kerr.GroupAuthorizationFailed), reads:
				return RetryTopic{}, nil
			case err != nil && !errors.Is(err, kerr.GroupIDNotFound) && !errors.Is(err, kerr.UnsupportedVersion):
				return RetryTopic{}, fmt.Errorf("deadletter: look up group %s: %w", owner.Group, err)
			}
		}
		var committed kadm.OffsetResponses
		err := persist(ctx, func() (err error) {
			committed, err = g.admin.FetchOffsets(ctx, owner.Group)
			return err
		})
		switch {
		case errors.Is(err, kerr.GroupAuthorizationFailed):
			return RetryTopic{}, nil
		case err != nil && !errors.Is(err, kerr.GroupIDNotFound):
			return RetryTopic{}, fmt.Errorf("deadletter: offsets of group %s: %w", owner.Group, err)
		case len(committed[owner.Name]) > 0:
			owner.Unread = spanOf(starts, ends, committed[owner.Name])
			topic = owner
		}
	}
	return topic, nil
}

// spanOf counts offsets from the beginnings, or where a group goes on, to the ends. What is not known counts as
// nothing.
func spanOf(starts, ends map[int32]kadm.ListedOffset, committed map[int32]kadm.OffsetResponse) (n int64) {
	for partition, end := range ends {
		start, known := starts[partition]
		if !known || start.Err != nil || end.Err != nil {
			continue
		}
		from := start.Offset
		if at, ok := committed[partition]; ok && at.Err == nil && at.At <= end.Offset { // beyond: the topic was made again
			from = max(from, at.At)
		}
		n += max(0, end.Offset-from)
	}
	return n
}
