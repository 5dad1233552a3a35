package kafka

import (
	"context"
	"errors"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file is about a member that the coordinator has removed from a classic group: it stood still for longer than its session.
// franz-go tells of the loss if a heartbeat is the first to hear. If a commit or a join is, it joins again under another id and takes
// what it had for its own still, at the offset where it was; meanwhile another member may have gone further.

// removedFromGroup tells whether a commit's answer says so. With KIP-848 the next heartbeat says it, too, and franz-go acts on that.
func (c *consumer) removedFromGroup(err error) bool {
	return c.cfg.GroupProtocol != ProtocolConsumer && (errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.IllegalGeneration))
}

// disown stops work on all partitions, and nothing more of them is committed. The callbacks take them away later.
func (c *consumer) disown(partitions []*partition) {
	for _, p := range partitions {
		p.offsets.Fence()
		p.halt()
		p.cancel(ErrPartitionLost)
	}
}

// isOf tells whether the partition was assigned to the member of this id, and is its own still.
func (p *partition) isOf(member string) bool {
	return p.member == member && !p.offsets.Fenced()
}

// ofOthers returns those of the partitions that the member had before it was removed from the group.
func (c *consumer) ofOthers(client *kgo.Client, partitions []*partition) (others []*partition) {
	if c.cfg.GroupProtocol == ProtocolConsumer {
		return nil
	}
	member, _ := client.GroupMetadata()
	for _, p := range partitions {
		if !p.isOf(member) {
			others = append(others, p)
		}
	}
	return others
}

// leaveToJoinAgain leaves the group as the member that franz-go goes on as, so that the next heartbeat tells it that all is lost.
func (c *consumer) leaveToJoinAgain(ctx context.Context, client *kgo.Client) {
	c.log.LogAttrs(ctx, slog.LevelWarn, "the group has removed this member, which goes on as another one; it joins again",
		slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group))
	request := c.leaveRequest(client)
	for {
		response, err := request.RequestWith(ctx, client)
		if err == nil {
			err = kerr.ErrorForCode(response.ErrorCode)
		}
		if err == nil || errors.Is(err, kerr.UnknownMemberID) || !wait(refusedPause, ctx.Done()) {
			return
		}
	}
}

// leaveRequest is what franz-go sends at its end.
func (c *consumer) leaveRequest(client *kgo.Client) *kmsg.LeaveGroupRequest {
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID, _ = client.GroupMetadata()
	if c.cfg.InstanceID != "" {
		member.InstanceID = &c.cfg.InstanceID
	}
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group, request.MemberID, request.Members = c.cfg.Group, member.MemberID, append(request.Members, member)
	return request
}
