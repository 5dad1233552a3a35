package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/flood"
	"github.com/skeji/kafka/internal/seal"
)

// What the brokers get to know as the client's software.
const (
	softwareName = "skeji-kafka"
	version      = "0.1.0"
)

// Client is a connection to a cluster that many producers, and package topics, can share: each gives it as
// ProducerConfig.Client. It is safe for concurrent use.
type Client struct {
	cfg        ClientConfig
	seals      *seal.Keys // nil: ControlKey has none
	kgo        *kgo.Client
	log        *slog.Logger
	logs       kgo.Logger // franz-go's own lines
	access     *accessWatch
	hooks      clientHooks
	delivery   deadlines
	buffered   *budget
	letters    *budget  // dead letters on their way; its limit of 1 makes acquire wait for none
	ids        sync.Map // topic name to the id of the topic that is published to, a [16]byte
	forgetting sync.Map // the names of topics that are being looked up, or forgotten
	limits     sync.Map // topic name to the most bytes a batch to it may have, an int32
	known      sync.Map // topic name to its max.message.bytes, an int32, where it could be read
	closing    sync.Once
	closeErr   error // written in closing
	closed     atomic.Bool
	door       atomic.Pointer[kgo.Broker] // the latest broker that answered a ping
	failed     *failedClient              // nil: NewClient returned no error
}

// NewClient checks the config and that a broker answers and takes the credentials. It fails at once if all refuse, and after
// ConnectTimeout if one says nothing. The error says which broker and what is likely wrong; see [ConnectError]. The client is never nil: beside an error it is one whose methods, and
// the requests of its KGO, return that error.
func NewClient(cfg ClientConfig) (*Client, error) {
	client, err := connectClient(cfg)
	if err != nil {
		return newFailedClient(cfg, err), err
	}
	return client, nil
}

func connectClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithTimeout(context.Background(), cfg.ConnectTimeout)
	defer cancel()
	return newClient(ctx, cfg)
}

// newClient connects until ctx ends. The config is valid and complete.
func newClient(ctx context.Context, cfg ClientConfig, extra ...kgo.Opt) (*Client, error) {
	log := cfg.logger()
	logUnknown(log, cfg.unknown)
	quiet := flood.Quiet()
	c := &Client{
		cfg: cfg, log: log, logs: clientLogger(log, quiet), access: &accessWatch{cfg: cfg, log: log, quiet: quiet}, delivery: deadlines{timeout: cfg.DeliveryTimeout},
		buffered: newBudget(cfg.MaxBufferedRecords, cfg.MaxBufferedBytes), letters: newBudget(1, 1),
	}
	var err error
	if c.seals, err = cfg.controlKeys(); err != nil {
		return nil, err
	}
	opts, err := producingOptions(cfg, c.batchLimit, c.logs, c.access, &c.hooks)
	if err != nil {
		return nil, err
	}
	if c.kgo, err = kgo.NewClient(append(opts, extra...)...); err != nil {
		return nil, fmt.Errorf("kafka: client config: %w", err)
	}
	if err := refusedOptions(c.kgo, cfg); err != nil {
		c.kgo.Close()
		return nil, err
	}
	if err := c.reach(ctx); err != nil {
		c.kgo.Close()
		return nil, err
	}
	return c, nil
}

// Ping returns nil once a broker answers and takes the credentials. Its error names each broker that was tried; see
// [ConnectError].
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.ping(ctx)
	return err
}

func (c *Client) ping(ctx context.Context) (answer, error) {
	if c.failed != nil {
		return answer{}, c.failed.why
	}
	if c.closed.Load() {
		return answer{}, fmt.Errorf("kafka: ping: %w", ErrClosed)
	}
	first, err := ping(ctx, c.kgo, c.access.config())
	if err == nil {
		c.door.Store(first.broker)
	}
	return first, err
}

// reach is a ping, and a look at where the brokers send their clients.
func (c *Client) reach(ctx context.Context) error {
	first, err := c.ping(ctx)
	if err != nil {
		return err
	}
	return reachAdvertised(ctx, c.kgo, c.access.config(), first)
}

// ask is the way to the broker that has just answered a ping.
func (c *Client) ask() *kgo.Broker { return c.door.Load() }

// Flush waits until everything published through this client is acknowledged or failed, or ctx ends.
func (c *Client) Flush(ctx context.Context) error {
	if c.failed != nil {
		return c.failed.why
	}
	err := c.kgo.Flush(ctx)
	if err == nil {
		err = c.letters.acquire(ctx, 0)
	}
	if err != nil {
		return fmt.Errorf("kafka: flush: %d messages still unacknowledged: %w", c.kgo.BufferedProduceRecords(), err)
	}
	return nil
}

// Close flushes for up to DeliveryTimeout, then closes the connections. What is not acknowledged by then fails with
// [ErrClosed], and Close says how much. Further calls wait for the first and return what it returned.
func (c *Client) Close() error {
	c.closed.Store(true)
	c.closing.Do(func() {
		if c.failed != nil {
			c.failed.close()
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), c.cfg.DeliveryTimeout)
		defer cancel()
		c.closeErr = c.Flush(ctx)
		c.kgo.Close()
	})
	return c.closeErr
}

// abort closes the connections without flushing.
func (c *Client) abort() {
	c.closed.Store(true)
	c.closing.Do(func() {
		if c.failed != nil {
			c.failed.close()
			return
		}
		c.kgo.Close()
	})
}

// KGO returns the franz-go client, for what this package has no word for (administration, transactions of topics).
// Don't close it.
func (c *Client) KGO() *kgo.Client {
	if c.failed != nil {
		return c.failed.franz(c.closed.Load())
	}
	return c.kgo
}

// Logger returns what the client logs with: ClientConfig.Logger, by default [slog.Default].
func (c *Client) Logger() *slog.Logger { return c.log }

// produce sends a record and calls done exactly once, from another goroutine or, when the record was not taken, from
// this one. ctx bounds the wait for room in the buffer. After that the record is on its way, and only its deadline counts:
// franz-go asks the first record of a batch alone for its context, and would fail the other callers' with it.
func (c *Client) produce(ctx context.Context, r *kgo.Record, done func(error)) {
	cost := c.buffered.cost(r)
	if err := c.buffered.acquire(ctx, cost); err != nil {
		done(err)
		return
	}
	c.send(ctx, r, cost, done)
}

// produceLetter sends a dead letter from an acknowledgement's callback, where nothing may wait for the client: it goes
// over the buffer's bound if need be, and from a goroutine that ends once franz-go has the record.
func (c *Client) produceLetter(r *kgo.Record, done func(error)) {
	cost := c.buffered.cost(r)
	c.buffered.take(cost)
	c.letters.take(1)
	go c.send(context.Background(), r, cost, func(err error) {
		done(err)
		c.letters.give(1)
	})
}

func (c *Client) send(ctx context.Context, r *kgo.Record, cost int64, done func(error)) {
	c.kgo.Produce(c.delivery.bound(ctx), r, func(_ *kgo.Record, err error) {
		c.buffered.give(cost)
		if errors.Is(err, kerr.UnknownTopicID) {
			c.forget(r.Topic)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = kgo.ErrRecordTimeout
		}
		done(c.explainSize(r, c.explain(err)))
	})
}

// forgetPatience bounds the look-up of a topic that the brokers no longer know by its id.
const forgetPatience = 5 * time.Second

// forget lets a topic that was made again be looked up again: franz-go holds on to the id of the one that is gone. It makes
// sure that there is another one, since forgetting begins to count from 0: the brokers would take the next messages to the
// same topic for those that they have, acknowledge them, and store none. The goroutine ends with the look-up; there is one
// for each topic at most.
func (c *Client) forget(topic string) {
	if _, busy := c.forgetting.LoadOrStore(topic, nil); busy {
		return
	}
	go func() { // this is an acknowledgement, which may not wait for the client
		defer c.forgetting.Delete(topic)
		ctx, cancel := context.WithTimeout(context.Background(), forgetPatience)
		defer cancel()
		known, _ := c.ids.Load(topic)
		if id := c.topicIDs(ctx, topic)[topic]; known != nil && id != ([16]byte{}) && id != known {
			c.ids.Store(topic, id)
			c.kgo.PurgeTopicsFromProducing(topic)
		}
	}()
}

// batchLimit is asked by franz-go when it first sees a topic, so limits are set before a topic's first use.
func (c *Client) batchLimit(topic string) int32 {
	if limit, ok := c.limits.Load(topic); ok {
		return limit.(int32)
	}
	return cmp.Or(c.cfg.MaxMessageBytes, defaultMaxMessageBytes)
}

// unknown is the outcome of a message that its caller no longer waits for, with the refusal that it likely waited for.
func (c *Client) unknown(ctx context.Context) error {
	err := fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx))
	if trouble := c.access.trouble(); trouble != nil {
		err = fmt.Errorf("%w; %w", err, trouble)
	}
	return err
}

// explainSize adds to the error of a record that is too large how large it is, where the limit is, and what to do.
func (c *Client) explainSize(r *kgo.Record, err error) error {
	if !errors.Is(err, kerr.MessageTooLarge) && !errors.Is(err, kerr.RecordListTooLarge) {
		return err
	}
	size := recordBytes(r)
	topics, _ := c.known.Load(r.Topic)
	takes, _ := topics.(int32) // 0: not known
	limit := fmt.Sprintf("topic %s takes less (its max.message.bytes)", r.Topic)
	switch own := c.batchLimit(r.Topic); {
	case takes > 0 && takes <= own:
		limit = fmt.Sprintf("topic %s takes %d (its max.message.bytes)", r.Topic, takes)
	case size > int(own) && c.cfg.MaxMessageBytes > 0:
		limit = fmt.Sprintf("MaxMessageBytes is %d", own)
	case size > int(own):
		limit = fmt.Sprintf("%d are sent to topic %s, whose max.message.bytes can't be read, unless MaxMessageBytes says otherwise", own, r.Topic)
	}
	return fmt.Errorf("%w: key, value and headers have %d bytes, and %s: raise the limit, or make the message smaller", err, size, limit)
}

// recordBytes is the size of what a record holds, without what its batch adds.
func recordBytes(r *kgo.Record) int {
	return len(r.Key) + len(r.Value) + headerBytes(r.Headers)
}

// explain adds to an error what this package's callers can ask for with errors.Is.
func (c *Client) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kgo.ErrClientClosed):
		return ErrClosed
	case errors.Is(err, kerr.UnknownTopicID):
		return fmt.Errorf("%w any more (%w): if it was made again, that is noticed within half a minute", ErrTopicMissing, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w (%w): create it, with package topics for example", ErrTopicMissing, err)
	case isAuthorization(err):
		return fmt.Errorf("%w: %w", ErrAuthorization, err)
	}
	if errors.Is(err, kgo.ErrRecordTimeout) {
		err = fmt.Errorf("not stored within the delivery timeout of %v: %w", c.cfg.DeliveryTimeout, err)
		if trouble := c.access.trouble(); trouble != nil { // which is likely why
			err = fmt.Errorf("%w; %w", err, trouble)
		}
	}
	return err
}
