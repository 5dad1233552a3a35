package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/seal"
)

// Producer publishes messages of one type to one topic. It is idempotent, waits for all in-sync replicas, and places
// keys as Java clients do. It is safe for concurrent use.
type Producer[T any] struct {
	codec         Codec[T]
	contentType   []byte
	passesThrough bool // the codec knows nothing of the value: a content type that is there says more
	replaces      string
	core          *publisher
}

// NewProducer makes a producer of JSON. It fails if the config is wrong, if no broker answers or takes the credentials,
// or if a topic is missing; see [ConnectError] and [ErrTopicMissing]. The producer is never nil: beside an error it is one whose
// Publish methods and Flush return that error. The plugins are those of a first [Producer.Use].
func NewProducer[T any](cfg ProducerConfig, plugins ...ProducerPlugin) (*Producer[T], error) {
	if err := checkJSON[T](); err != nil {
		return newFailedProducer[T](cfg, err), err
	}
	return NewProducerWithCodec(cfg, JSON[T](), plugins...)
}

// NewProducerWithCodec is [NewProducer] with another codec.
func NewProducerWithCodec[T any](cfg ProducerConfig, codec Codec[T], plugins ...ProducerPlugin) (*Producer[T], error) {
	if codec == nil {
		err := fmt.Errorf("kafka: producer to %s: the codec is nil", cfg.Topic)
		return newFailedProducer[T](cfg, err), err
	}
	if err := checkEncode(codec); err != nil {
		err = fmt.Errorf("kafka: producer to %s: %w", cfg.Topic, err)
		return newFailedProducer[T](cfg, err), err
	}
	core, err := newPublisher(cfg)
	if err != nil {
		return newFailedProducer[T](cfg, err), err
	}
	core.use(plugins)
	_, passesThrough := any(codec).(bytesCodec)
	return &Producer[T]{codec, []byte(codec.ContentType()), passesThrough, replacedHeader(codec), core}, nil
}

func newFailedProducer[T any](cfg ProducerConfig, err error) *Producer[T] {
	return &Producer[T]{codec: failedCodec[T]{err}, core: newFailedPublisher(cfg, err)}
}

// Use adds middleware, or plugins that bring it; the first middleware is the outermost. It panics after the first Publish.
func (p *Producer[T]) Use(plugins ...ProducerPlugin) { p.core.use(plugins) }

// Publish returns nil once the brokers have stored the message. Its error is a [PublishError]. When ctx ends while the
// message is on its way, Publish returns at once with [ErrOutcomeUnknown]; when it ends before that, with ctx's error
// alone, and nothing was sent. Everything that may go away is retried for up to DeliveryTimeout.
func (p *Producer[T]) Publish(ctx context.Context, msg Message[T]) error {
	result := make(awaited, 1)
	out := &outgoing{to: result}
	p.publish(ctx, &msg, withoutControl(msg.Headers), out)
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	select { // a verdict that is there wins over the context
	case err := <-result:
		return err
	default:
		return publishError(&out.sent, p.core.client.unknown(ctx))
	}
}

// PublishAsync returns once the message is buffered, and calls done exactly once with the message, its partition and
// offset filled in, and the outcome. It waits for room in the buffer; ctx bounds that wait and nothing after it.
// Messages of one key are stored in the order of the calls. done may be nil. It runs on the client's goroutine and must
// not block; it may be called before PublishAsync returns.
func (p *Producer[T]) PublishAsync(ctx context.Context, msg Message[T], done func(msg Message[T], err error)) {
	pending := &unattended[T]{msg: msg, told: done}
	pending.to = pending
	p.publish(ctx, &pending.msg, withoutControl(pending.msg.Headers), &pending.outgoing)
}

// unattended is a message for which nobody waits.
type unattended[T any] struct {
	outgoing
	msg  Message[T]
	told func(Message[T], error) // may be nil
}

func (u *unattended[T]) tell(err error) {
	if u.told == nil {
		return
	}
	msg, r := &u.msg, &u.sent
	msg.Topic, msg.Partition, msg.Offset = r.Topic, r.Partition, r.Offset
	msg.Headers, msg.Timestamp = r.Headers, r.Timestamp
	u.told(*msg, err)
}

// PublishBatch publishes messages in order and returns nil once all are stored. Otherwise the error joins one
// [PublishError] for each message that was not; the others were.
func (p *Producer[T]) PublishBatch(ctx context.Context, msgs ...Message[T]) error {
	results := make([]awaited, len(msgs))
	sent := make([]outgoing, len(msgs))
	for i := range msgs {
		results[i] = make(awaited, 1)
		sent[i].to = results[i]
		p.publish(ctx, &msgs[i], withoutControl(msgs[i].Headers), &sent[i])
	}
	var failures []error
	for i, result := range results {
		select {
		case err := <-result:
			failures = append(failures, err)
			continue
		default:
		}
		select {
		case err := <-result:
			failures = append(failures, err)
		case <-ctx.Done():
			failures = append(failures, publishError(&sent[i].sent, p.core.client.unknown(ctx)))
		}
	}
	return errors.Join(failures...)
}

// Flush waits until everything published so far is stored or failed, or ctx ends. On a shared client, that is what all its
// producers published.
func (p *Producer[T]) Flush(ctx context.Context) error { return p.core.client.Flush(ctx) }

// Close flushes, as Flush does, for up to DeliveryTimeout and, unless the client is shared, closes the connections. Messages
// published after it fail with [ErrClosed]. Further calls wait for the first and return what it returned.
func (p *Producer[T]) Close() error { return p.core.close() }

// publish encodes the message and sends it through the middleware, with these headers in place of its own. out.to is told exactly once.
func (p *Producer[T]) publish(ctx context.Context, msg *Message[T], headers []kgo.RecordHeader, out *outgoing) {
	const ours = 2 // the message id and the content type
	headers = append(make([]kgo.RecordHeader, 0, len(headers)+ours), headers...)
	if p.replaces != "" {
		headers = slices.DeleteFunc(headers, func(h kgo.RecordHeader) bool { return h.Key == p.replaces })
	}
	out.core = p.core
	out.sent = kgo.Record{Topic: p.core.cfg.Topic, Headers: withMessageID(headers), Timestamp: msg.Timestamp, Offset: -1} // until it is stored
	r := &out.sent
	if msg.Key != "" || msg.EmptyKey {
		r.Key = []byte(msg.Key)
	}
	value, err := p.encode(msg)
	if err == nil && !msg.Tombstone {
		r.Value = value
		if _, has := lastHeader(r.Headers, HeaderContentType); !has || !p.passesThrough {
			r.Headers = setHeader(r.Headers, HeaderContentType, p.contentType)
		}
	}
	p.core.publish(ctx, out, err)
}

func (p *Producer[T]) encode(msg *Message[T]) ([]byte, error) {
	if !msg.Tombstone {
		return p.codec.Encode(msg.Value)
	}
	if msg.Key == "" && !msg.EmptyKey {
		return nil, errors.New("a tombstone needs a key")
	}
	return nil, nil
}

func publishError(r *kgo.Record, err error) *PublishError {
	id, _ := lastHeader(r.Headers, HeaderMessageID)
	return &PublishError{Topic: r.Topic, MessageID: id, Err: err}
}

// publisher is the part of a producer that knows no types.
type publisher struct {
	cfg        ProducerConfig
	client     *Client
	shared     bool
	limits     topicLimits
	partitions atomic.Int32 // of the topic, when it was last looked up
	failed     error        // the constructor's: nothing is published

	closing    sync.Once
	closeErr   error // written in closing
	closed     atomic.Bool
	mu         sync.Mutex // until started, guards middleware and hooks
	middleware []ProducerMiddleware
	hooks      producerHooks
	ends       []func() // of what hooks have added to a shared client
	started    sync.Once
	send       PublishFunc // written once, in started
}

func newPublisher(cfg ProducerConfig) (*publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &publisher{cfg: cfg, client: cfg.Client, shared: cfg.Client != nil}
	connection := cfg.ClientConfig.withDefaults()
	if p.shared {
		connection = p.client.cfg
	}
	ctx, cancel := context.WithTimeout(context.Background(), connection.ConnectTimeout)
	defer cancel()
	if !p.shared {
		client, err := newClient(ctx, connection)
		if err != nil {
			return nil, err
		}
		p.client = client
	}
	if err := p.checkTopics(ctx); err != nil {
		if !p.shared {
			p.client.abort()
		}
		return nil, err
	}
	return p, nil
}

func (p *publisher) checkTopics(ctx context.Context) error {
	if p.shared {
		if err := p.client.reach(ctx); err != nil { // it may be old, or closed
			return err
		}
	}
	uses := []topicUse{{topic: p.cfg.Topic, operation: kmsg.ACLOperationWrite}}
	if p.cfg.DLQTopic != "" {
		uses = append(uses, topicUse{topic: p.cfg.DLQTopic, operation: kmsg.ACLOperationWrite, role: forRefused})
		// Not over the limit of a producer that has the topic for its own.
		p.client.limits.LoadOrStore(p.cfg.DLQTopic, int32(deadLetterMaxBytes))
	}
	counts, err := p.client.partitionCounts(ctx, uses...)
	if err != nil {
		return err
	}
	p.partitions.Store(counts[p.cfg.Topic])
	if err := p.client.prepareToWrite(ctx); err != nil {
		return err
	}
	p.limits = p.client.limitsOf(ctx, p.cfg.Topic)[p.cfg.Topic]
	// A batch above the topic's limit would be refused whole, the good messages in it too.
	if p.client.cfg.MaxMessageBytes == 0 && p.limits.maxBytes > 0 {
		p.client.limits.Store(p.cfg.Topic, p.limits.maxBytes)
	}
	return nil
}

func (p *publisher) use(plugins []ProducerPlugin) {
	if !p.accepts() {
		return
	}
	for _, plugin := range plugins {
		middleware, hooks := plugin.ForProducer(ProducerInfo{
			ClientID: p.client.cfg.ClientID, Topic: p.cfg.Topic, Logger: p.client.log, DisableMiddleware: p.cfg.DisableMiddleware,
		})
		p.add(middleware, hooks)
		p.ends = append(p.ends, p.client.hooks.add(hooks.Client))
	}
}

// accepts tells whether plugins are to be asked.
func (p *publisher) accepts() bool {
	if p.failed != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.send != nil {
		panic("kafka: Producer.Use after the first Publish: call it before")
	}
	return !p.closed.Load()
}

func (p *publisher) add(middleware ProducerMiddleware, hooks ProducerHooks) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if middleware != nil {
		p.middleware = append(p.middleware, middleware)
	}
	p.hooks = append(p.hooks, hooks)
}

// publish sends the record through the middleware. What could not be encoded passes it, too, for the logs' sake, and goes no
// further.
func (p *publisher) publish(ctx context.Context, out *outgoing, fault error) {
	p.started.Do(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.send = chain(p.deliver, p.middleware)
	})
	fault = cmp.Or(p.failed, fault)
	out.seen.Record = &out.sent
	if len(p.hooks) > 0 { // nobody else asks how long it took
		out.began = time.Now()
	}
	p.hooks.publishing(&out.seen)
	if fault == nil {
		p.send(ctx, &out.seen, out.finish)
		return
	}
	chain(func(_ context.Context, _ *Record, done func(error)) { done(fault) }, p.middleware)(ctx, &out.seen, out.finish)
}

// outgoing is one message on its way.
type outgoing struct {
	seen  Record // by middleware
	sent  kgo.Record
	core  *publisher
	began time.Time
	told  atomic.Bool
	to    teller
}

// teller is who hears what became of a message: somebody who waits for it, or an unattended message.
type teller interface{ tell(err error) }

// awaited is for one outcome.
type awaited chan error

func (a awaited) tell(err error) { a <- err }

// finish tells the outcome, the first time: middleware may say done twice, which it should not.
func (o *outgoing) finish(err error) {
	if !o.told.CompareAndSwap(false, true) {
		return
	}
	if len(o.core.hooks) > 0 {
		o.core.hooks.published(&o.seen, time.Since(o.began), err)
	}
	if err != nil {
		err = publishError(&o.sent, err)
	}
	o.to.tell(err)
}

// deliver is the innermost PublishFunc.
func (p *publisher) deliver(ctx context.Context, r *Record, done func(error)) {
	if p.closed.Load() {
		done(ErrClosed)
		return
	}
	if r.Topic == p.cfg.Topic { // middleware may send it elsewhere
		if err := p.limits.refuse(r.Record); err != nil {
			p.settle(r, err, done, func(letter *kgo.Record, done func(error)) { p.client.produce(ctx, letter, done) })
			return
		}
	}
	settled := done
	if p.cfg.DLQTopic != "" {
		settled = func(err error) { p.settle(r, err, done, p.client.produceLetter) }
	}
	p.client.produce(ctx, r.Record, settled)
}

// settle tells the outcome. What the brokers refuse for what it is goes to the dead letter topic first.
func (p *publisher) settle(r *Record, err error, done func(error), produce func(letter *kgo.Record, done func(error))) {
	if p.cfg.DLQTopic == "" || !isRefusal(err) {
		done(err)
		return
	}
	letter := newDeadLetter(p.cfg.DLQTopic, r.Record, DeadLetter{
		Topic: r.Topic, Partition: -1, Offset: -1, // it has no place: it was never stored
		Attempts: 1, Class: ClassPermanent, Message: fmt.Sprint(err), FailedAt: time.Now(),
	}, allHeaders)
	letter.Partition = 0 // the one that a reply asks for is one of its own topic
	letter.Headers = p.client.seals.Seal(letter, seal.ToTopic)
	produce(letter, func(letterErr error) {
		if letterErr != nil {
			err = fmt.Errorf("%w; and dead letter topic %s: %w", err, p.cfg.DLQTopic, letterErr)
		}
		done(err)
	})
}

// isRefusal tells errors by which brokers refuse a message for what it is: sent again, it would be refused again.
func isRefusal(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) ||
		errors.Is(err, kerr.InvalidRecord) || errors.Is(err, kerr.InvalidTimestamp)
}

func (p *publisher) close() error {
	p.closed.Store(true)
	p.closing.Do(func() {
		if !p.shared {
			p.closeErr = p.client.Close()
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), p.client.cfg.DeliveryTimeout)
		defer cancel()
		p.closeErr = p.client.Flush(ctx)
		p.mu.Lock()
		ends := p.ends
		p.mu.Unlock()
		for _, end := range ends {
			end()
		}
	})
	return p.closeErr
}
