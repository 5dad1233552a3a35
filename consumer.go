package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Consumer hands the messages of one topic to a handler, as a member of a group. Partitions are handled side by side,
// each one's records one after another.
type Consumer[T any] struct{ core *consumer }

// NewConsumer makes a consumer of JSON. It fails if the config is wrong or if no broker answers or takes the
// credentials; see [ConnectError]. Nothing is consumed before Start. Close it in any case.
func NewConsumer[T any](cfg ConsumerConfig, handle Handler[T]) (*Consumer[T], error) {
	return NewConsumerWithCodec(cfg, JSON[T](), handle)
}

// NewConsumerWithCodec is [NewConsumer] with another codec.
func NewConsumerWithCodec[T any](cfg ConsumerConfig, codec Codec[T], handle Handler[T]) (*Consumer[T], error) {
	if codec == nil || handle == nil {
		return nil, fmt.Errorf("kafka: consumer of %s: no codec or no handler", cfg.Topic)
	}
	core, err := newConsumer(cfg, typed(codec, handle, cfg.HandleTombstones))
	if err != nil {
		return nil, err
	}
	return &Consumer[T]{core}, nil
}

// Use adds middleware; the first is the outermost. It panics after Start.
func (c *Consumer[T]) Use(middleware ...ConsumerMiddleware) { c.core.use(middleware) }

// Start consumes until ctx ends or Close is called, and then returns nil: what was in hand is finished within
// DrainTimeout, offsets are committed, and the group is left. Handlers get a context with ctx's values that outlives it
// until then. A consumer starts once.
//
// Start returns an error at once if a topic is missing ([ErrTopicMissing]) or a permission is ([ErrAuthorization]).
// Later it returns one when a record failed for good and there is no dead letter topic ([RecordError]), when the brokers
// refuse the credentials for AuthFailureTimeout ([ErrAuthentication], [ErrAuthorization]), when franz-go reports what no
// retry mends, or when handlers outlasted DrainTimeout at the end ([ErrDrainTimeout]). No offset is passed by that.
func (c *Consumer[T]) Start(ctx context.Context) error { return c.core.start(ctx) }

// Close ends Start as the end of its context does, waits for it, and closes the connections. Further calls wait too and
// do nothing. Don't call it from a handler: it would wait for itself until DrainTimeout.
func (c *Consumer[T]) Close() error { return c.core.close() }

// drainGrace is how long handlers have to heed their cancelled context before they are given up.
const drainGrace = 500 * time.Millisecond

// commitTimeout bounds the commit of a handover. Without it, the group would wait for a dead coordinator.
const commitTimeout = 5 * time.Second

// consumer is the part of a Consumer that knows no types.
type consumer struct {
	cfg         ConsumerConfig
	log         *slog.Logger
	client      *Client // checks and dead letters; the consuming client lives inside start
	deadLetters *deadLetterTopic
	handle      HandlerFunc
	queued      *budget
	handlerCtx  context.Context

	assignedOnce atomic.Bool
	quiet        quiet // repeated log lines

	mu         sync.Mutex
	middleware []ConsumerMiddleware
	started    bool
	closed     bool
	closing    bool                    // start is draining for good
	stop       context.CancelCauseFunc // ends the poll loop; set while start runs
	ended      chan struct{}           // closed when start has returned
	partitions map[int32]*partition
	stragglers map[int32]<-chan struct{} // done of the last worker that outlasted its drain, closed or not
	unfinished []string                  // partitions in which start leaves a record unfinished, as topic-partition
}

func newConsumer(cfg ConsumerConfig, handle HandlerFunc) (*consumer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := validateGroupOptions(cfg); err != nil {
		return nil, err
	}
	// A dead letter goes to the partition that its record came from.
	ctx, cancel := context.WithTimeout(context.Background(), cfg.ConnectTimeout)
	defer cancel()
	client, err := newClient(ctx, cfg.ClientConfig, kgo.RecordPartitioner(samePartition{}))
	if err != nil {
		return nil, err
	}
	return &consumer{
		cfg: cfg, log: client.log, client: client, handle: handle,
		// Half of the memory is for the running: the rest is what partitions that stand still may hold, see relieve.
		queued:     newBudget(cfg.MaxQueuedRecords, cfg.MaxQueuedBytes).halved(),
		ended:      make(chan struct{}),
		partitions: map[int32]*partition{}, stragglers: map[int32]<-chan struct{}{},
	}, nil
}

func (c *consumer) use(middleware []ConsumerMiddleware) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started {
		panic("kafka: Consumer.Use after Start")
	}
	c.middleware = append(c.middleware, middleware...)
}

func (c *consumer) start(ctx context.Context) error {
	pollCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := c.begin(stop); err != nil {
		return err
	}
	defer close(c.ended)
	if !c.cfg.DisableMiddleware {
		c.handle = chain(c.handle, c.middleware)
	}
	c.handlerCtx = context.WithoutCancel(ctx)
	if err := c.checkTopics(pollCtx); err != nil {
		if cause := context.Cause(pollCtx); cause != nil {
			return endOf(cause)
		}
		return err
	}

	access := &accessWatch{cfg: c.cfg.ClientConfig}
	access.onRefusal = c.refused
	callbacks := groupCallbacks{assigned: c.assigned, revoked: c.revoked, lost: c.lost}
	opts, err := consumingOptions(c.cfg, callbacks, c.commitFailed, access)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...) // joins the group
	if err != nil {
		return fmt.Errorf("kafka: consumer config: %w", err)
	}
	c.poll(pollCtx, client, access)

	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	client.CloseAllowingRebalance() // drains and commits through the callbacks, then leaves the group
	if err := endOf(context.Cause(pollCtx)); err != nil {
		return err
	}
	if len(c.unfinished) > 0 {
		return fmt.Errorf("kafka: %w of %v: left unfinished, to be redelivered: %v", ErrDrainTimeout, c.cfg.DrainTimeout, c.unfinished)
	}
	return nil
}

// endOf returns nil for the causes that mean that Start was asked to end.
func endOf(cause error) error {
	if failed, ok := errors.AsType[*fatalError](cause); ok {
		return failed.error
	}
	return nil
}

// fatalError tells our own failures from the causes that a user's context may carry.
type fatalError struct{ error }

// fail ends start with err. The first call wins.
func (c *consumer) fail(err error) {
	c.mu.Lock()
	stop := c.stop
	c.mu.Unlock()
	stop(&fatalError{err})
}

func (c *consumer) begin(stop context.CancelCauseFunc) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("kafka: consumer of %s: %w", c.cfg.Topic, ErrClosed)
	}
	if c.started {
		return fmt.Errorf("kafka: consumer of %s: %w", c.cfg.Topic, ErrStarted)
	}
	c.started, c.stop = true, stop
	return nil
}

func (c *consumer) close() error {
	c.mu.Lock()
	c.closed = true
	started, stop := c.started, c.stop
	c.mu.Unlock()
	if started {
		stop(ErrClosed)
		<-c.ended
	}
	c.client.abort() // no flush: a dead letter still on its way belongs to a record that is redelivered
	return nil
}

// checkTopics finds what would otherwise show only when the first record, or the first dead letter, comes.
func (c *consumer) checkTopics(ctx context.Context) error {
	uses := []topicUse{{c.cfg.Topic, kmsg.ACLOperationRead}}
	if c.cfg.DLQTopic != "" {
		uses = append(uses, topicUse{c.cfg.DLQTopic, kmsg.ACLOperationWrite})
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	if c.cfg.GroupProtocol == "consumer" {
		if err := c.client.checkSpeaks(ctx, kmsg.ConsumerGroupHeartbeat, "GroupProtocol consumer (KIP-848, Kafka 4.0)"); err != nil {
			return err
		}
	}
	counts, err := c.client.partitionCounts(ctx, uses...)
	if err != nil || c.cfg.DLQTopic == "" {
		return err
	}
	if err := c.client.prepareToWrite(ctx); err != nil {
		return err
	}
	limits := c.client.maxMessageBytes(ctx, c.cfg.Topic, c.cfg.DLQTopic)
	source, dlq := limits[c.cfg.Topic], limits[c.cfg.DLQTopic]
	if source > 0 && dlq > 0 && dlq < source {
		return fmt.Errorf("kafka: dead letter topic %s takes records of %d bytes, fewer than the %d of %s: a large record could not be put there; raise its max.message.bytes to %d",
			c.cfg.DLQTopic, dlq, source, c.cfg.Topic, source)
	}
	c.deadLetters = newDeadLetterTopic(c.cfg.DLQTopic, counts[c.cfg.DLQTopic], c.client)
	return nil
}

// assigned starts a worker for each partition. Fetching begins after it returns, so that a record finds its worker.
func (c *consumer) assigned(_ context.Context, client *kgo.Client, added map[string][]int32) {
	c.assignedOnce.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, ids := range added {
		for _, id := range ids {
			p := newPartition(c, client, topic, id, c.stragglers[id]) // not forgotten yet: it may be lost again meanwhile
			c.partitions[id] = p
			go p.work()
		}
	}
	c.logPartitions("partitions assigned", added)
}

// revoked hands partitions over: what is in hand is finished and committed first.
func (c *consumer) revoked(_ context.Context, client *kgo.Client, removed map[string][]int32) {
	leaving := c.remove("partitions revoked", removed)
	if len(leaving) == 0 {
		return // cooperative rebalancing says so at every session's end
	}
	c.drain(leaving)
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	if err := client.CommitMarkedOffsets(ctx); err != nil {
		c.commitFailed(err)
	}
}

// lost lets go of partitions that are another member's already: nothing is finished, nothing committed.
func (c *consumer) lost(_ context.Context, _ *kgo.Client, removed map[string][]int32) {
	leaving := c.remove("partitions lost", removed)
	for _, p := range leaving {
		p.fence()
		p.halt()
		p.cancel(ErrPartitionLost)
	}
	c.abandon(awaitWorkers(leaving, drainGrace))
}

// remove takes partitions out of the map.
func (c *consumer) remove(text string, removed map[string][]int32) []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	var leaving []*partition
	for _, ids := range removed {
		for _, id := range ids {
			if p := c.partitions[id]; p != nil {
				delete(c.partitions, id)
				leaving = append(leaving, p)
			}
		}
	}
	if len(leaving) > 0 {
		c.logPartitions(text, removed)
	}
	return leaving
}

// drain waits for the records in hand, cancels those that outlast DrainTimeout, and fences.
func (c *consumer) drain(leaving []*partition) {
	for _, p := range leaving {
		p.halt()
	}
	late := awaitWorkers(leaving, c.cfg.DrainTimeout)
	for _, p := range late {
		p.cancel(ErrDrainTimeout)
		c.log.LogAttrs(p.ctx, slog.LevelWarn, "record not finished within drain timeout; it will be redelivered",
			slog.String("topic", p.topic), slog.Int("partition", int(p.id)), slog.String("group", c.cfg.Group),
			slog.Duration("drain_timeout", c.cfg.DrainTimeout))
	}
	stuck := awaitWorkers(late, drainGrace)
	for _, p := range leaving {
		p.fence()
	}
	c.abandon(stuck)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range late {
		if c.closing && (slices.Contains(stuck, p) || p.leftRecord()) {
			c.unfinished = append(c.unfinished, fmt.Sprintf("%s-%d", p.topic, p.id))
		}
	}
}

// abandon remembers workers whose handler ignores its context, for the partition's next worker to wait for.
func (c *consumer) abandon(stuck []*partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range stuck {
		c.stragglers[p.id] = p.done
	}
}

// awaitWorkers returns the partitions whose worker has not ended in time.
func awaitWorkers(partitions []*partition, timeout time.Duration) (late []*partition) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	over := false
	for _, p := range partitions {
		if !over {
			select {
			case <-p.done:
				continue
			case <-timer.C:
				over = true
			}
		}
		select {
		case <-p.done:
		default:
			late = append(late, p)
		}
	}
	return late
}
