package kafka

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/flood"
)

// Consumer hands the messages of one topic to a handler, as a member of a group. Partitions are handled side by side,
// each one's records one after another or, with a Concurrency above 1, those of each key.
type Consumer[T any] struct{ core *consumer }

// NewConsumer makes a consumer of JSON. It fails if the config is wrong or if no broker answers or takes the
// credentials; see [ConnectError]. Nothing is consumed before Start. Close it in any case. The consumer is never nil: beside an error
// it is one whose Start returns that error, and whose Health is not live. The plugins are those of a first [Consumer.Use].
func NewConsumer[T any](cfg ConsumerConfig, handle Handler[T], plugins ...ConsumerPlugin) (*Consumer[T], error) {
	if err := checkJSON[T](); err != nil {
		return &Consumer[T]{newFailedConsumer(cfg, err)}, err
	}
	return NewConsumerWithCodec(cfg, JSON[T](), handle, plugins...)
}

// NewConsumerWithCodec is [NewConsumer] with another codec.
func NewConsumerWithCodec[T any](cfg ConsumerConfig, codec Codec[T], handle Handler[T], plugins ...ConsumerPlugin) (*Consumer[T], error) {
	core, err := newTypedConsumer(cfg, codec, handle)
	if err != nil {
		core = newFailedConsumer(cfg, err)
	}
	return &Consumer[T]{core}, cmp.Or(err, core.use(plugins))
}

func newTypedConsumer[T any](cfg ConsumerConfig, codec Codec[T], handle Handler[T]) (*consumer, error) {
	if handle == nil {
		return nil, fmt.Errorf("kafka: consumer of %s: the handler is nil", cfg.topicNames())
	}
	if err := checkCodec(cfg, codec); err != nil {
		return nil, err
	}
	return newConsumer(cfg, NewHandlerFunc(cfg, codec, handle))
}

func checkCodec[T any](cfg ConsumerConfig, codec Codec[T]) error {
	if codec == nil {
		return fmt.Errorf("kafka: consumer of %s: the codec is nil", cfg.topicNames())
	}
	if err := checkDecode(codec); err != nil {
		return fmt.Errorf("kafka: consumer of %s: %w", cfg.topicNames(), err)
	}
	return nil
}

// Use adds middleware, hooks, or plugins that bring both; the first middleware is the outermost. It panics after Start. If the consumer
// can't use one of them, Start returns an error; see [ConsumerPlugin].
func (c *Consumer[T]) Use(plugins ...ConsumerPlugin) { _ = c.core.use(plugins) }

// Start consumes until ctx ends or Close is called, and then returns nil: what was in hand is finished within
// DrainTimeout and committed, and the group is left, which a static member (InstanceID) does not do. Handlers get a context
// with ctx's values that outlives it until then. A consumer starts once. With RetryDelays it consumes the retry topics, too, and
// all that is said here holds for each of them.
//
// Start returns an error at once if a topic is missing ([ErrTopicMissing]), a permission is ([ErrAuthorization]) or no
// broker answers any more ([ErrUnreachable]). Later it returns one when a record failed for good and there is no dead letter
// topic ([RecordError]), when the topic is deleted ([ErrTopicMissing]), when the brokers refuse the credentials for
// AuthFailureTimeout ([ErrAuthentication], [ErrAuthorization]), or when franz-go reports what no retry mends. At the end it
// returns one when handlers outlasted DrainTimeout ([ErrDrainTimeout]), then or in an earlier handover if they still run, or when
// the last commit failed: then finished records are redelivered. No offset is passed by any of that. Each error that Start returns is logged as well.
//
// Brokers that don't answer hold the end up for some seconds beyond DrainTimeout, and for a second DrainTimeout if partitions
// were being handed over at that moment.
func (c *Consumer[T]) Start(ctx context.Context) error { return c.core.startLogged(ctx) }

// Close ends Start as the end of its context does, waits for it, and closes the connections. Further calls wait too and
// do nothing. Don't call it from a handler: it would wait for itself until DrainTimeout.
func (c *Consumer[T]) Close() error { return c.core.close() }

// joinPatience is how long no partition is no news. A member that was killed holds its partitions for SessionTimeout.
const joinPatience = 10 * time.Second

// consumer is the part of a Consumer that knows no types.
type consumer struct {
	cfg         ConsumerConfig
	log         *slog.Logger
	client      *Client // checks and dead letters; the consuming client lives inside start
	compressor  *letterCompressor
	routes      map[string]*route            // by topic; what is in the map stays
	handle      HandlerFunc                  // of a batch consumer: for what gets into no batch
	handleAlone HandlerFunc                  // one record, of a batch consumer as a batch
	newMessages func(size int) batchMessages // an empty batch; nil unless the handler gets batches
	handleBatch BatchFunc                    // what that comes to, with its middleware
	queued      *budget
	recalling   chan struct{} // has a place for each partition that may read which keys are parked
	handlerCtx  context.Context
	hooks       consumerHooks
	consuming   clientHooks // those for the consuming client
	floods      *flood.Gate // log lines about single records
	disabled    bool        // plugins are used, and those that only observe are inactive
	failed      error       // the constructor's or Use's: start returns it
	untold      atomic.Bool // the brokers refuse commits that tell of progress

	made           time.Time
	polledAt       atomic.Int64 // when the poll loop last showed that it is alive, in nanoseconds since made; 0: never
	healthAsked    atomic.Int64 // when somebody last asked for the health, likewise
	membership     *membership
	directly       *heldUpCommits
	refusedOffsets time.Time   // since when committed offsets are refused; the group's session alone touches it
	quiet          *flood.Gate // repeated log lines
	guard          *floodGuard // nil: none
	gates          *gates

	mu              sync.Mutex
	middleware      []ConsumerMiddleware
	batchMiddleware []BatchMiddleware
	access          *accessWatch // of the consuming client; nil until start has one
	started         bool
	halted          bool // start is to end
	closed          bool
	stop            context.CancelFunc // ends the poll loop; set once start runs
	failure         error              // why start ends, if it was not asked to
	ended           chan struct{}      // closed when start has returned
	result          error              // what start returned
	closing         bool               // start is draining for good
	draining        int                // handovers under way
	leave           *time.Timer        // gives the group's coordinator up; set while closing
	lastCommit      error              // of the handover at the end
	partitions      map[topicPartition]*partition
	settled         int64                              // records, in partitions that have left
	stragglers      map[topicPartition]<-chan struct{} // done of the last worker that outlasted its drain, closed or not
	unfinished      []string                           // partitions in which start leaves a record unfinished, as topic-partition
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
	compressor := newLetterCompressor()
	producing := cfg.ClientConfig
	producing.Options = append(letterOptions(cfg, compressor), producing.Options...)
	client, err := newClient(ctx, producing, kgo.RecordPartitioner(samePartition{}))
	if err != nil {
		return nil, err
	}
	compressor.compressAs(client.kgo)
	c := &consumer{
		cfg: cfg, log: client.log, client: client, compressor: compressor, handle: handle,
		// Half of the memory is for the running: the rest is what partitions that stand still may hold, see relieve.
		queued:     newBudget(cfg.MaxQueuedRecords, cfg.MaxQueuedBytes).halved(),
		guard:      newFloodGuard(cfg.FloodGuard, strings.Join(cfg.deadLetterTopics(), ",")),
		gates:      newGates(cfg),
		recalling:  make(chan struct{}, maxRecalling),
		membership: newMembership(),
		directly:   new(heldUpCommits),
		made:       time.Now(), ended: make(chan struct{}), floods: flood.New(), quiet: flood.Quiet(),
		partitions: map[topicPartition]*partition{}, stragglers: map[topicPartition]<-chan struct{}{},
	}
	c.routes = c.newRoutes()
	return c, nil
}

// use returns an error, as start does then, if one of the plugins is for consumers of the other kind.
func (c *consumer) use(plugins []ConsumerPlugin) error {
	info := ConsumerInfo{
		ClientID: c.cfg.ClientID, Topic: c.cfg.topicNames(), Topics: slices.Sorted(maps.Keys(c.routes)), Group: c.cfg.Group, DLQTopic: strings.Join(c.cfg.deadLetterTopics(), ","), Logger: c.log,
		DisableMiddleware: c.cfg.DisableMiddleware, Health: c.health,
	}
	if !c.accepts(len(plugins)) {
		return nil
	}
	for _, plugin := range plugins {
		middleware, hooks := plugin.ForConsumer(info) // which may ask for the health: under no lock
		if err := c.add(middleware, hooks); err != nil {
			return err
		}
		c.client.hooks.add(hooks.Client)
		c.consuming.add(hooks.Client)
	}
	return nil
}

// accepts tells whether plugins are to be asked.
func (c *consumer) accepts(plugins int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started {
		panic("kafka: Consumer.Use after Start: call it before")
	}
	c.disabled = c.disabled || c.cfg.DisableMiddleware && plugins > 0
	return !c.closed && c.failed == nil
}

func (c *consumer) add(middleware ConsumerMiddleware, hooks ConsumerHooks) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.newMessages != nil && middleware != nil && hooks.Batches == nil:
		c.failed = fmt.Errorf("kafka: batch consumer of %s: a plugin has a ConsumerMiddleware, which goes around single records, and no "+
			"BatchMiddleware: use a BatchMiddleware, or return one in ConsumerHooks.Batches as well", c.cfg.topicNames())
	case c.newMessages == nil && middleware == nil && hooks.Batches != nil:
		c.failed = fmt.Errorf("kafka: consumer of %s: a plugin has a BatchMiddleware, which goes around batches, and no ConsumerMiddleware: "+
			"use a ConsumerMiddleware, or return one as well", c.cfg.topicNames())
	}
	if middleware != nil {
		c.middleware = append(c.middleware, middleware)
	}
	if c.newMessages != nil && hooks.Batches != nil {
		c.batchMiddleware = append(c.batchMiddleware, hooks.Batches)
	}
	c.hooks = append(c.hooks, hooks)
	if c.failed != nil { // as newFailedConsumer: it is not live
		c.result = c.failed
		close(c.ended)
	}
	return c.failed
}

// startLogged is start for whoever does not read its error.
func (c *consumer) startLogged(ctx context.Context) error {
	err := c.start(ctx)
	if err != nil {
		c.log.LogAttrs(ctx, slog.LevelError, "consumer failed; Start returns this error",
			slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group), slog.Any("error", err))
	}
	return err
}

func (c *consumer) start(ctx context.Context) error {
	pollCtx, stop := context.WithCancel(ctx)
	defer stop()
	if err := c.begin(stop); err != nil {
		return err
	}
	defer close(c.ended)
	if c.disabled {
		c.log.LogAttrs(ctx, slog.LevelWarn, "middleware disabled by configuration: logging, metrics and tracing are inactive",
			slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group))
	}
	if c.cfg.PauseWhile != nil {
		c.askPauseWhile()
	}
	err := c.run(ctx, pollCtx)
	if err == nil {
		c.log.LogAttrs(ctx, slog.LevelInfo, "consumer stopped", slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result = err
	return err
}

// run is start once it may.
func (c *consumer) run(ctx, pollCtx context.Context) error {
	c.handle, c.handleBatch = chain(c.handle, c.middleware), chain(BatchFunc(callBatch), c.batchMiddleware)
	c.handleAlone = c.handle
	if c.newMessages != nil {
		c.handleAlone = c.batchesOfOne(c.handle)
	}
	c.handlerCtx = context.WithoutCancel(ctx)
	if err := c.checkTopics(pollCtx); err != nil {
		if pollCtx.Err() != nil {
			return nil // asked to end
		}
		return err
	}

	access := &accessWatch{cfg: c.cfg.ClientConfig, log: c.log, quiet: c.client.access.quiet}
	access.onRefusal = c.refused
	c.mu.Lock()
	c.access = access
	c.mu.Unlock()
	clientCtx, abandonGroup := context.WithCancel(context.Background())
	defer abandonGroup()
	callbacks := groupCallbacks{
		assigned: c.assigned, revoked: c.revoked, lost: c.lost, fetched: c.offsetsFetched, begin: c.startOfRetryTopics,
		committed: c.periodicCommitted,
	}
	read := new(batchesRead)
	opts, err := consumingOptions(c.cfg, slices.Sorted(maps.Keys(c.routes)), callbacks, c.client.logs, access, &c.consuming, read)
	if err != nil {
		return err
	}
	// Not Start's context: the last commit comes after its end.
	var consuming atomic.Pointer[kgo.Client]
	periodic := kgo.PreCommitFnContext(clientCtx, func(request *kmsg.OffsetCommitRequest) error {
		return c.beforePeriodicCommit(clientCtx, consuming.Load(), request)
	})
	client, err := kgo.NewClient(append(opts, kgo.WithContext(periodic))...) // joins the group
	if err != nil {
		return fmt.Errorf("kafka: consumer config: %w", err)
	}
	consuming.Store(client)
	c.log.LogAttrs(ctx, slog.LevelInfo, "joining group", slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group))
	patience := time.AfterFunc(joinPatience, c.noPartitionsYet)
	defer patience.Stop()
	context.AfterFunc(pollCtx, c.haltAll) // at once: a handover that is under way may keep us from the drain for long
	watching, stopWatching := context.WithCancel(context.Background())
	var watchers sync.WaitGroup
	watchers.Go(func() { c.markRegularly(watching) })
	watchers.Go(func() { c.watchStalls(watching) })
	watchers.Go(func() { c.watchLag(watching, client) })
	watchers.Go(func() { c.watchHeldUpCommits(watching, client) })
	watchers.Go(func() { c.watchFetching(watching, client, read) })
	watchers.Go(func() { c.watchFlood(watching) })
	watchers.Go(func() { c.watchLanes(watching) })
	watchers.Go(func() { c.watchPauseWhile(watching) })
	watchers.Go(func() { c.watchTopics(watching, client) })
	defer watchers.Wait()
	defer stopWatching()
	c.poll(pollCtx, client, access)

	c.beginToLeave(abandonGroup)
	leave := c.awaitRebalance(clientCtx, client)
	if leave != nil {
		abandonGroup()
	}
	client.CloseAllowingRebalance() // drains and commits through the callbacks, then leaves the group
	if leave != nil {
		leave()
	}
	return c.outcome()
}

// noPartitionsYet says why nothing happens.
func (c *consumer) noPartitionsYet() {
	if !c.membership.everAssigned() {
		c.log.LogAttrs(context.Background(), slog.LevelWarn, "still waiting to join the group; a member that was killed is waited for until its session times out",
			slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group), slog.Duration("session_timeout", c.cfg.SessionTimeout))
	}
}

func (c *consumer) begin(stop context.CancelFunc) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	if c.closed {
		return fmt.Errorf("kafka: consumer of %s: %w", c.cfg.topicNames(), ErrClosed)
	}
	if c.started {
		return fmt.Errorf("kafka: consumer of %s: %w", c.cfg.topicNames(), ErrStarted)
	}
	c.started, c.stop = true, stop
	return nil
}
