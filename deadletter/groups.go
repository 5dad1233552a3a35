package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groups are those that the cluster has. A record that is sent back for one that is not there, because it has another name now for
// example, would be passed over by all.
type groups struct {
	listed map[string]bool
	ask    func(group string) bool // about one that is not listed
}

// maxGroups bounds what is kept of letters' groups, which come from outside.
const maxGroups = 1000

func listGroups(ctx context.Context, client *kgo.Client) (*groups, error) {
	admin := kadm.NewClient(client)
	listed, err := admin.ListGroups(ctx)
	if err != nil && len(listed) == 0 && !errors.Is(err, kerr.ClusterAuthorizationFailed) { // else those of one broker may be missing
		return nil, fmt.Errorf("deadletter: list groups: %w", err)
	}
	g := &groups{listed: map[string]bool{}}
	for name, group := range listed {
		g.listed[name] = group.State != "Dead"
	}
	g.ask = func(group string) bool {
		var offsets kadm.OffsetResponses
		err := persist(ctx, func() (err error) {
			offsets, err = admin.FetchOffsets(ctx, group)
			return err
		})
		return len(offsets) > 0 || errors.Is(err, kerr.GroupAuthorizationFailed)
	}
	return g, nil
}

// may tells whether there is a group of that name, or these credentials may not know.
func (g *groups) may(name string) bool {
	known, ok := g.listed[name]
	if !ok {
		known = g.ask(name)
		if len(g.listed) < maxGroups {
			g.listed[name] = known
		}
	}
	return known
}
