package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groups knows which groups read which topics. A record that is sent back for one that does not read its topic, because it has another
// name now for example, would be passed over by all.
type groups struct {
	admin *kadm.Client
	reads map[groupTopic]bool
}

type groupTopic struct{ group, topic string }

// maxGroups bounds what is kept of letters' groups, which come from outside.
const maxGroups = 1000

func newGroups(client *kgo.Client) *groups {
	return &groups{admin: kadm.NewClient(client), reads: map[groupTopic]bool{}}
}

// mayRead tells whether a group has committed offsets of the topic, or has members that read it, a share group (KIP-932) too. It is true as well where these
// credentials may not know.
func (g *groups) mayRead(ctx context.Context, group, topic string) (bool, error) {
	of := groupTopic{group, topic}
	if reads, ok := g.reads[of]; ok {
		return reads, nil
	}
	reads, err := g.ask(ctx, of)
	if err == nil && len(g.reads) < maxGroups {
		g.reads[of] = reads
	}
	return reads, err
}

func (g *groups) ask(ctx context.Context, of groupTopic) (reads bool, err error) {
	for _, ask := range []func(context.Context, groupTopic) (bool, error){
		g.committed, g.classicMember, g.member, g.shareMember, g.shareState,
	} {
		err := persist(ctx, func() (err error) {
			reads, err = ask(ctx, of)
			return err
		})
		switch {
		case errors.Is(err, kerr.GroupAuthorizationFailed), reads:
			return true, nil
		case err != nil && !errors.Is(err, kerr.GroupIDNotFound) && !errors.Is(err, kerr.UnsupportedVersion):
			return false, fmt.Errorf("deadletter: look up group %s: %w", of.group, err)
		}
	}
	return false, nil
}

func (g *groups) committed(ctx context.Context, of groupTopic) (bool, error) {
	offsets, err := g.admin.FetchOffsets(ctx, of.group)
	return len(offsets[of.topic]) > 0, err
}

// classicMember is true as well while the group rebalances: brokers don't say then what its members read.
func (g *groups) classicMember(ctx context.Context, of groupTopic) (bool, error) {
	described, err := g.admin.DescribeGroups(ctx, of.group)
	group := described[of.group]
	reads := len(group.AssignedPartitions()[of.topic]) > 0 || slices.ContainsFunc(group.Members, func(m kadm.DescribedGroupMember) bool {
		asked, consumes := m.Join.AsConsumer() // a worker of Connect for example does not: its connectors have other groups
		return consumes && (len(asked.Topics) == 0 || slices.Contains(asked.Topics, of.topic))
	})
	return reads, errors.Join(err, group.Err)
}

// member is of groups with the protocol of KIP-848, which brokers have from 3.7 on. It is true as well where members ask for a pattern.
func (g *groups) member(ctx context.Context, of groupTopic) (bool, error) {
	described, err := g.admin.DescribeConsumerGroups(ctx, of.group)
	if unasked(ctx, err) {
		return false, nil
	}
	group := described[of.group]
	reads := len(group.AssignedPartitions()[of.topic]) > 0 || slices.ContainsFunc(group.Members, func(m kadm.ConsumerGroupMember) bool {
		pattern := m.SubscribedTopicRegex
		return pattern != nil && *pattern != "" || slices.Contains(m.SubscribedTopics, of.topic)
	})
	return reads, errors.Join(err, group.Err)
}

// shareMember is of share groups, which brokers have from 4.0 on.
func (g *groups) shareMember(ctx context.Context, of groupTopic) (bool, error) {
	described, err := g.admin.DescribeShareGroups(ctx, of.group)
	if unasked(ctx, err) {
		return false, nil
	}
	group := described[of.group]
	return slices.Contains(group.SubscribedTopics(), of.topic), errors.Join(err, group.Err)
}

// shareState is what a share group leaves that has no members now: where it is in the topics that it has read.
func (g *groups) shareState(ctx context.Context, of groupTopic) (bool, error) {
	described, err := g.admin.DescribeShareGroupOffsets(ctx, of.group)
	if unasked(ctx, err) {
		return false, nil
	}
	group := described[of.group]
	return len(group.Offsets[of.topic]) > 0, errors.Join(err, group.Err)
}

// unasked tells whether brokers that are too old have not been asked.
func unasked(ctx context.Context, err error) bool {
	_, answered := errors.AsType[*kerr.Error](err)
	return err != nil && !answered && ctx.Err() == nil
}
