package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file commits while a classic group rebalances. A member asks to join again, and the answer comes once all members
// have asked, or were removed: one that was killed is waited for until its session times out. franz-go commits nothing
// meanwhile, though work goes on, so that a crash would bring all of it again. The coordinator takes commits of the last
// generation until it begins the next one, and refuses them from then on: none can follow one of the next generation.

// heldUpAfter is how long a rebalance may take before commits count as held up.
const heldUpAfter = 2 * time.Second

// heldUpCommits are those of one rebalance. They and franz-go's are made one after another, each of what is done by then:
// else the later one to arrive could be the older one, and the offset would go back. The answer to the request to join can
// be the generation that the members have, and franz-go asks to join only once its commit is over, which it repeats for as
// long as the coordinator is away; so neither says that only one of the two can be under way.
type heldUpCommits struct {
	mu       sync.Mutex
	open     bool          // franz-go asks to join again
	direct   chan struct{} // of the one that is under way, closed at its end; nil: none is
	periodic bool          // one of franz-go's is under way

	all bool // all is committed, at the end: there is nothing left for franz-go

	said    bool
	refusal error                    // of the latest; nil: it was taken
	waiting int64                    // how many finished records that is about, as far as offsets say
	offsets map[topicPartition]int64 // that were committed
}

// begin is called when franz-go is about to ask to join again.
func (h *heldUpCommits) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = true
}

// end is called when the group has answered, and before a handover. It waits for a commit that is under way.
func (h *heldUpCommits) end(ctx context.Context) {
	h.mu.Lock()
	h.open = false
	direct := h.direct
	h.mu.Unlock()
	awaitClosed(ctx, direct)
}

// periodicBegins is called before franz-go sends a commit. It waits for one that is under way.
func (h *heldUpCommits) periodicBegins(ctx context.Context) {
	h.mu.Lock()
	h.periodic = true
	direct := h.direct
	h.mu.Unlock()
	awaitClosed(ctx, direct)
}

// periodicEnds is called when that is over, or was not sent.
func (h *heldUpCommits) periodicEnds() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.periodic = false
}

func awaitClosed(ctx context.Context, done <-chan struct{}) {
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// start reports whether a commit may be made now. If so, ended is to be called at its end.
func (h *heldUpCommits) start() (ended func(), may bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.open || h.periodic || h.direct != nil {
		return nil, false
	}
	done := make(chan struct{})
	h.direct = done
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.direct = nil
		close(done)
	}, true
}

// endForGood is called once nothing more is done, and all that was is committed.
func (h *heldUpCommits) endForGood() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = true
}

// hasAll reports whether there is nothing left to commit.
func (h *heldUpCommits) hasAll() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.all
}

// isBehind reports whether a later offset is committed.
func (h *heldUpCommits) isBehind(partition topicPartition, offset int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.offsets[partition] > offset
}

// settled is called at the end of a rebalance.
func (h *heldUpCommits) settled() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said, h.refusal = false, nil
}

// forget is called for a partition that was just assigned, or whose records are fetched again.
func (h *heldUpCommits) forget(partition topicPartition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.offsets, partition)
}

// has reports whether an offset is committed, or a later one.
func (h *heldUpCommits) has(partition topicPartition, offset int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.offsets[partition]
	return ok && at >= offset
}

// note keeps what became of a commit. committed is what franz-go knows to be committed. It reports whether that is to be logged: once for a rebalance that takes long, and when
// it is the first refusal.
func (h *heldUpCommits) note(request *kmsg.OffsetCommitRequest, committed map[string]map[int32]kgo.EpochOffset, refusal error, long bool) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	news = !h.said && long || refusal != nil && h.refusal == nil
	h.said, h.refusal, h.waiting = h.said || news, refusal, 0
	if refusal != nil {
		h.waiting = h.beyond(request, committed)
		return news
	}
	if h.offsets == nil {
		h.offsets = map[topicPartition]int64{}
	}
	for _, topic := range request.Topics {
		for _, p := range topic.Partitions {
			h.offsets[topicPartition{topic.Topic, p.Partition}] = p.Offset
		}
	}
	return news
}

// beyond returns how many records a commit is about beyond what is committed. The caller holds h.mu.
func (h *heldUpCommits) beyond(request *kmsg.OffsetCommitRequest, committed map[string]map[int32]kgo.EpochOffset) (n int64) {
	for _, topic := range request.Topics {
		for _, p := range topic.Partitions {
			n += max(0, p.Offset-max(committed[topic.Topic][p.Partition].Offset, h.offsets[topicPartition{topic.Topic, p.Partition}]))
		}
	}
	return n
}

// joinsAgain is called when what a rebalance takes is handed over.
func (c *consumer) joinsAgain() {
	c.directly.begin()
	c.membership.joinsAgain()
}

// heldUp says since when commits are held up, and the coordinator's refusal to take them meanwhile, if there is one, and of how
// many records.
func (c *consumer) heldUp() (since time.Time, waiting int64, refusal error) {
	since = c.membership.joiningSince()
	if since.IsZero() || c.cfg.GroupProtocol == ProtocolConsumer || time.Since(since) < heldUpAfter {
		return time.Time{}, 0, nil
	}
	c.directly.mu.Lock()
	defer c.directly.mu.Unlock()
	return since, c.directly.waiting, c.directly.refusal
}

// heldUpProblem is for Health; "" if there is none.
func (c *consumer) heldUpProblem() (since time.Time, problem string) {
	since, waiting, refusal := c.heldUp()
	if refusal == nil {
		return time.Time{}, ""
	}
	return since, fmt.Sprintf("group %s has been rebalancing since %s, and takes no commits meanwhile: a crash would bring %d finished records again: %v",
		c.cfg.Group, since.UTC().Format(time.RFC3339), waiting, refusal)
}

// watchHeldUpCommits runs until Start is about to return.
func (c *consumer) watchHeldUpCommits(ctx context.Context, client *kgo.Client) {
	for range ticks(ctx, heldUpAfter/2) {
		_ = c.commitDirectly(ctx, client, nil)
	}
}

// commitDirectly commits what is done, if commits are held up. It returns nil if all of that is committed. leaving are those
// partitions whose progress is to be told though their offset has not moved.
func (c *consumer) commitDirectly(ctx context.Context, client *kgo.Client, leaving []*partition) error {
	since, _, _ := c.heldUp()
	if since.IsZero() || !c.membership.isMember() {
		return errNotHeldUp
	}
	coordinator, ids, err := c.whereToCommit(ctx, client)
	if err != nil {
		return err
	}
	ended, may := c.directly.start()
	if !may {
		return errNotHeldUp
	}
	defer ended()
	request := c.directCommit(client, ids, leaving)
	if request == nil {
		return nil
	}
	// Once, and with no time limit: what is cancelled, or sent again, may overtake or follow franz-go's next commit.
	answer, err := coordinator.Request(ctx, request)
	response, _ := answer.(*kmsg.OffsetCommitResponse)
	if err = cmp.Or(err, c.refusedCommit(response)); err == nil {
		c.hooks.committed(nil)
	}
	if err != nil && (errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) || ctx.Err() != nil) {
		return err // the rebalance is over, as franz-go is about to hear
	}
	if c.directly.note(request, client.CommittedOffsets(), err, time.Since(since) >= joinPatience) {
		c.logHeldUp()
	}
	return err
}

// whereToCommit returns the group's coordinator and the ids of the topics that partitions are assigned of. Offsets of a topic
// that was made again since the start are not the new one's.
func (c *consumer) whereToCommit(ctx context.Context, client *kgo.Client) (coordinator *kgo.Broker, ids map[string][16]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	request := kmsg.NewPtrFindCoordinatorRequest()
	request.CoordinatorKey, request.CoordinatorKeys = c.cfg.Group, []string{c.cfg.Group} // for old brokers, and for others
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, nil, err
	}
	node, code := response.NodeID, response.ErrorCode
	if len(response.Coordinators) > 0 {
		node, code = response.Coordinators[0].NodeID, response.Coordinators[0].ErrorCode
	}
	if err := kerr.ErrorForCode(code); err != nil {
		return nil, nil, err
	}
	ids = map[string][16]byte{}
	for _, p := range c.assignedNow() {
		known, _ := c.client.ids.Load(p.topic)
		ids[p.topic], _ = known.([16]byte)
	}
	now := c.client.topicIDs(ctx, slices.Collect(maps.Keys(ids))...)
	for topic, id := range ids {
		if now[topic] != id {
			return nil, nil, fmt.Errorf("topic %s was deleted, and perhaps made again: %w", topic, kerr.UnknownTopicID)
		}
	}
	return client.Broker(int(node)), ids, nil
}

var errNotHeldUp = errors.New("commits are not held up, or one is under way")

func (c *consumer) logHeldUp() {
	since, waiting, refusal := c.heldUp()
	if since.IsZero() { // it has just ended
		return
	}
	level, text := slog.LevelInfo, "group waits for a member, one that was killed most likely; finished records are committed meanwhile"
	attrs := []slog.Attr{slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group), slog.Duration("rebalancing", time.Since(since)),
		slog.Duration("session_timeout", c.cfg.SessionTimeout)}
	if refusal != nil {
		level, text = slog.LevelWarn, "group rebalances, and takes no commits meanwhile; a crash would bring finished records again"
		attrs = append(attrs, slog.Int64("uncommitted", waiting), slog.String("remedy", "it ends when the session of a member that was"+
			" killed does: lower SessionTimeout, or set GroupProtocol to \"consumer\", whose members don't wait for each other"), slog.Any("error", refusal))
	}
	c.log.LogAttrs(context.Background(), level, text, attrs...)
}

// directCommit returns a request with what is done and not committed; nil if there is nothing.
func (c *consumer) directCommit(client *kgo.Client, ids map[string][16]byte, leaving []*partition) *kmsg.OffsetCommitRequest {
	for _, p := range c.assignedNow() {
		p.offsets.Mark()
	}
	offsets := client.MarkedOffsets()
	if len(leaving) > 0 {
		member, _ := client.GroupMetadata()
		offsets = c.toCommit(client, slices.DeleteFunc(leaving, func(p *partition) bool { return !p.isOf(member) }))
	}
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = c.cfg.Group
	request.MemberID, request.Generation = client.GroupMetadata()
	if c.cfg.InstanceID != "" {
		request.InstanceID = &c.cfg.InstanceID
	}
	for name, marked := range offsets {
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.TopicID = name, ids[name]
		for id, at := range marked {
			partition := kmsg.NewOffsetCommitRequestTopicPartition()
			partition.Partition, partition.Offset, partition.LeaderEpoch = id, at.Offset, at.Epoch
			topic.Partitions = append(topic.Partitions, partition)
		}
		request.Topics = append(request.Topics, topic)
	}
	if len(request.Topics) == 0 || len(leaving) == 0 && !c.dropUnassigned(request) {
		return nil
	}
	c.tellProgress(request, nil)
	return request
}

// awaitRebalance returns when the member may leave, once a rebalance that is under way has ended. One that takes long is
// not waited for when all that the member has finished is committed: franz-go, which would wait for the answer to its
// request to join, is to be abandoned then, and leave is to be called once it is closed.
func (c *consumer) awaitRebalance(ctx context.Context, client *kgo.Client) (leave func()) {
	for !c.membership.awaitStable(ctx, heldUpAfter/4) && ctx.Err() == nil {
		if c.allDone() && c.commitDirectly(ctx, client, c.assignedNow()) == nil {
			c.directly.endForGood()
			request := c.leaveRequest(client)
			return func() { c.leaveFor(request) }
		}
	}
	return nil
}

// leaveFor takes the member of a client that is closed out of the group. While the client runs, Kafka's answer to its
// request to join, which comes with that to leaving, has it ask again, as a new member that the group waits for.
func (c *consumer) leaveFor(request *kmsg.LeaveGroupRequest) {
	if c.cfg.InstanceID != "" { // the group waits for a static member to come back
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	_, _ = request.RequestWith(ctx, c.client.kgo)
}

// allDone reports whether no worker has a record in flight or will begin one.
func (c *consumer) allDone() bool {
	for _, p := range c.assignedNow() {
		select {
		case <-p.done:
		default:
			return false
		}
	}
	return true
}

// uncommitted reports whether something of these partitions is done and not committed.
func (c *consumer) uncommitted(client *kgo.Client, partitions []*partition) bool {
	return len(c.toCommit(client, partitions)) > 0 ||
		slices.ContainsFunc(partitions, func(p *partition) bool { return p.offsets.Unmarked() })
}
