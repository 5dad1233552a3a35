package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groups are those that the cluster has. A record that is sent back for one that does not read the topic, because it has another name
// now for example, would be passed over by all.
type groups struct {
	members map[string]bool // of groups that have some: what they read, they commit soon
	reads   map[groupTopic]bool
	ask     func(groupTopic) bool
}

type groupTopic struct{ group, topic string }

// maxGroups bounds what is kept of letters' groups, which come from outside.
const maxGroups = 1000

func listGroups(ctx context.Context, client *kgo.Client) (*groups, error) {
	admin := kadm.NewClient(client)
	listed, err := admin.ListGroups(ctx)
	if err != nil && len(listed) == 0 && !errors.Is(err, kerr.ClusterAuthorizationFailed) { // else those of one broker may be missing
		return nil, fmt.Errorf("deadletter: list groups: %w", err)
	}
	g := &groups{members: map[string]bool{}, reads: map[groupTopic]bool{}}
	for name, group := range listed {
		g.members[name] = group.State != "Dead" && group.State != "Empty"
	}
	g.ask = func(of groupTopic) bool {
		var offsets kadm.OffsetResponses
		err := persist(ctx, func() (err error) {
			offsets, err = admin.FetchOffsets(ctx, of.group)
			return err
		})
		return len(offsets[of.topic]) > 0 || errors.Is(err, kerr.GroupAuthorizationFailed)
	}
	return g, nil
}

// may tells whether a group has members, or offsets of the topic, or these credentials may not know.
func (g *groups) may(group, topic string) bool {
	if g.members[group] {
		return true
	}
	of := groupTopic{group, topic}
	reads, ok := g.reads[of]
	if !ok {
		reads = g.ask(of)
		if len(g.reads) < maxGroups {
			g.reads[of] = reads
		}
	}
	return reads
}
