package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lock is a run's membership of its group. Of several members one has all partitions, and runs; the others wait. A member that was
// killed is one until its session times out.
type lock struct {
	client  *kgo.Client
	reader  *reader
	granted chan struct{} // closed with the first partitions
	refused chan struct{} // closed with an assignment that has none
	ctx     context.Context
	lose    context.CancelCauseFunc // ends ctx
}

const (
	sessionTimeout    = 10 * time.Second // ErrRunning's text and RedriveOptions.Wait name it
	heartbeatInterval = 3 * time.Second
	leaveTimeout      = 5 * time.Second // for the coordinator to hear that the run is over; if it doesn't, the session times out
)

// errLockLost is the end of a run whose membership is gone: another run may have begun.
var errLockLost = errors.New("deadletter: the group has removed this run, and another one may have begun")

// acquire joins the group, and waits until the lock is granted. The lock's context ends with ctx, and when the lock is lost.
func acquire(ctx context.Context, r *reader, wait time.Duration) (*lock, error) {
	if wait <= 0 { // joining would disturb the one that runs
		if who, _ := members(ctx, r); len(who) > 0 { // if that can't be told, joining does
			return nil, errorRunning(r, who)
		}
	}
	l := &lock{reader: r, granted: make(chan struct{}), refused: make(chan struct{})}
	l.ctx, l.lose = context.WithCancelCause(ctx)
	lost := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		if len(partitions) > 0 {
			l.lose(errLockLost)
		}
	}
	client, err := derive(r.client,
		kgo.ConsumerGroup(GroupOf(r.topic)), kgo.ConsumeTopics(r.topic), kgo.DisableAutoCommit(),
		kgo.Balancers(leaderTakesAll{kgo.CooperativeStickyBalancer()}),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatInterval), kgo.RebalanceTimeout(sessionTimeout),
		kgo.OnPartitionsAssigned(l.assigned), kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost),
	)
	if err != nil {
		return nil, fmt.Errorf("deadletter: join group %s: %w", GroupOf(r.topic), err)
	}
	l.client = client
	client.PauseFetchTopics(r.topic) // it is read otherwise
	if err := l.await(wait); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// assigned is called with each assignment, one that has nothing new, too.
func (l *lock) assigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	to := l.refused
	if len(partitions) > 0 {
		to = l.granted
	}
	select {
	case <-to:
	default:
		close(to)
	}
}

// joinTimeout bounds how long the coordinator may take to answer a join: brokers wait some seconds for others to join, and for members
// that were killed.
const joinTimeout = 30 * time.Second

func (l *lock) await(wait time.Duration) error {
	forOthers := cmp.Or(max(wait, 0), joinTimeout)
	forAnswer := max(0, joinTimeout-forOthers) // after that, where there are no others
	patience := time.NewTimer(forOthers)
	defer patience.Stop()
	failures := make(chan error, 1)
	go func() { // ends with the client, or with what no other try mends
		for {
			err := l.client.PollFetches(l.ctx).Err0()
			protocol, ok := errors.AsType[*kerr.Error](err)
			if ok && !protocol.Retriable || l.ctx.Err() != nil || errors.Is(err, kgo.ErrClientClosed) {
				failures <- err
				return
			}
		}
	}()
	refused := l.refused
	if wait > 0 {
		refused = nil
	}
	for {
		select {
		case <-l.granted:
			return nil
		case <-refused:
			return errorRunning(l.reader, l.others())
		case err := <-failures:
			if l.ctx.Err() != nil {
				return context.Cause(l.ctx)
			}
			return fmt.Errorf("deadletter: join group %s: %w", GroupOf(l.reader.topic), explain(err))
		case <-patience.C:
			if others := l.others(); len(others) > 0 {
				return errorRunning(l.reader, others)
			}
			if forAnswer == 0 {
				return fmt.Errorf("deadletter: join group %s: no answer in %v", GroupOf(l.reader.topic), max(forOthers, joinTimeout))
			}
			patience.Reset(forAnswer)
			forAnswer = 0
		}
	}
}

// others are the members but this one.
func (l *lock) others() []string {
	me, _ := l.client.GroupMetadata()
	all, _ := members(l.ctx, l.reader)
	return slices.DeleteFunc(all, func(member string) bool { return strings.HasPrefix(member, me+" ") })
}

// members are the redrive group's.
func members(ctx context.Context, r *reader) (all []string, err error) {
	err = persist(ctx, func() error {
		all = nil
		described, err := kadm.NewClient(r.client).DescribeGroups(ctx, GroupOf(r.topic))
		group := described[GroupOf(r.topic)]
		for _, m := range group.Members {
			all = append(all, fmt.Sprintf("%s (client %s at %s)", m.MemberID, m.ClientID, strings.TrimPrefix(m.ClientHost, "/")))
		}
		return errors.Join(err, group.Err)
	})
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil // there was no redrive yet
	}
	return all, err
}

// running tells whether a redrive is running, as far as these credentials may know.
func (r *reader) running(ctx context.Context) bool {
	who, _ := members(ctx, r)
	return len(who) > 0
}

func errorRunning(r *reader, who []string) error {
	return fmt.Errorf("%w: group %s has the member %s; one that was killed is a member for %v more",
		ErrRunning, GroupOf(r.topic), strings.Join(who, ", "), sessionTimeout)
}

// commit commits positions as the member that has the lock. Brokers refuse one that has lost it.
func (l *lock) commit(ctx context.Context, positions map[int32]int64, state string) error {
	for attempt := 0; ; attempt++ {
		err := l.tryCommit(ctx, positions, state)
		protocol, _ := errors.AsType[*kerr.Error](err)
		// Another run has come to wait, or the coordinator moves.
		passing := errors.Is(err, kerr.RebalanceInProgress) || protocol != nil && protocol.Retriable
		switch {
		case passing && attempt < commitAttempts:
			if !sleep(ctx, fetchBackoff) {
				return context.Cause(ctx)
			}
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.FencedInstanceID):
			l.lose(errLockLost)
			return errors.Join(errLockLost, err)
		case err != nil:
			return fmt.Errorf("deadletter: commit for group %s: %w", GroupOf(l.reader.topic), explain(err))
		default:
			return nil
		}
	}
}

// commitAttempts are enough for a rebalance to end, ten seconds.
const commitAttempts = 40

func (l *lock) tryCommit(ctx context.Context, positions map[int32]int64, state string) error {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = GroupOf(l.reader.topic)
	request.MemberID, request.Generation = l.client.GroupMetadata()
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = l.reader.topic, l.reader.found.id
	for _, partition := range sortedKeys(positions) {
		committed := kmsg.NewOffsetCommitRequestTopicPartition()
		committed.Partition, committed.Offset, committed.Metadata = partition, positions[partition], new(l.reader.commitMark()+state)
		topic.Partitions = append(topic.Partitions, committed)
	}
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, l.client)
	if err != nil {
		return err
	}
	for _, topic := range response.Topics {
		for _, partition := range topic.Partitions {
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// release leaves the group.
func (l *lock) release() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	_ = l.client.LeaveGroupContext(ctx)
	l.client.Close()
	l.lose(context.Canceled)
}

// leaderTakesAll gives all partitions to the group's leader. The coordinator keeps the leader for as long as it is a member, so that
// who comes later takes nothing from it.
type leaderTakesAll struct{ kgo.GroupBalancer }

// ProtocolName keeps clients with other balancers out of the group.
func (leaderTakesAll) ProtocolName() string { return "redrive" }

func (b leaderTakesAll) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	balancer, err := kgo.NewConsumerBalancer(b, members)
	return balancer, balancer.MemberTopics(), err
}

// Balance is the decision.
func (leaderTakesAll) Balance(b *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	plan := b.NewPlan()
	b.EachMember(func(member *kmsg.JoinGroupResponseMember, _ *kmsg.ConsumerMemberMetadata) {
		if member.MemberID != b.Info().LeaderID {
			return
		}
		for topic, partitions := range topics {
			for partition := range partitions {
				plan.AddPartition(member, topic, partition)
			}
		}
	})
	return plan
}
