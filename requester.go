package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Requester publishes requests, and gives each caller the reply to its own. What answers is a consumer whose handler is made by
// [Respond]; with ForeignResponders also whatever else copies the correlation id and heeds the reply address. A reply counts only if
// it repeats the request's random token and names the record that the request was stored as. It is safe for concurrent use: make one for
// each pair of topics, and share it.
type Requester[Req, Res any] struct {
	cfg      RequesterConfig
	requests *Producer[Req]
	codec    Codec[Res]
	replies  *replyReader // nil if failed
	failed   error        // the constructor's: nothing is requested
	closing  sync.Once
	closeErr error // written in closing
}

// NewRequester makes a requester of JSON. It fails as [NewProducer] does, for the reply topic too, and returns, within
// ConnectTimeout, when it knows from which offset on replies are read: none to a later request can be missed. The requester is never
// nil: beside an error it is one whose Request returns that error. The plugins are those of a first [Requester.Use].
func NewRequester[Req, Res any](cfg RequesterConfig, plugins ...ProducerPlugin) (*Requester[Req, Res], error) {
	if err := errors.Join(checkJSON[Req](), checkJSON[Res]()); err != nil {
		return newFailedRequester[Req, Res](cfg, err), err
	}
	return NewRequesterWithCodecs(cfg, JSON[Req](), JSON[Res](), plugins...)
}

// NewRequesterWithCodecs is [NewRequester] with other codecs.
func NewRequesterWithCodecs[Req, Res any](cfg RequesterConfig, requests Codec[Req], replies Codec[Res], plugins ...ProducerPlugin) (*Requester[Req, Res], error) {
	requester, err := newRequester(cfg, requests, replies)
	if err != nil {
		return newFailedRequester[Req, Res](cfg, err), err
	}
	requester.Use(plugins...)
	return requester, nil
}

func newFailedRequester[Req, Res any](cfg RequesterConfig, err error) *Requester[Req, Res] {
	producing := ProducerConfig{ClientConfig: cfg.ClientConfig, Client: cfg.Client, Topic: cfg.Topic}
	return &Requester[Req, Res]{cfg: cfg.withDefaults(), requests: newFailedProducer[Req](producing, err), failed: err}
}

func newRequester[Req, Res any](cfg RequesterConfig, requests Codec[Req], replies Codec[Res]) (*Requester[Req, Res], error) {
	if requests == nil || replies == nil {
		return nil, fmt.Errorf("kafka: requester to %s: a codec is nil", cfg.Topic)
	}
	if err := errors.Join(checkEncode(requests), checkDecode(replies)); err != nil {
		return nil, fmt.Errorf("kafka: requester to %s: %w", cfg.Topic, err)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	connection := cfg.ClientConfig
	if cfg.Client != nil {
		connection = cfg.Client.cfg
	}
	ctx, cancel := context.WithTimeout(context.Background(), connection.ConnectTimeout)
	defer cancel()
	producer, err := NewProducerWithCodec(ProducerConfig{
		ClientConfig: cfg.ClientConfig, Client: cfg.Client, Topic: cfg.Topic, DisableMiddleware: cfg.DisableMiddleware,
	}, requests)
	if err != nil {
		return nil, err
	}
	reader, err := newReplyReader(ctx, producer.core.client, cfg)
	if err != nil {
		if cfg.Client == nil {
			producer.core.client.abort()
		}
		return nil, err
	}
	return &Requester[Req, Res]{cfg: cfg, requests: producer, codec: replies, replies: reader}, nil
}

// Use adds middleware around the publishing of requests; see [Producer.Use].
func (r *Requester[Req, Res]) Use(plugins ...ProducerPlugin) { r.requests.Use(plugins...) }

// Request publishes a request and returns its reply. It waits until ctx ends or, if ctx has no deadline, for RequestTimeout; the
// request carries that time to the responder. The correlation id is msg's, or made.
//
// Its error is a [RequestError]. In it is [ErrNoReply] and [context.DeadlineExceeded] when the time is over, which says nothing of
// whether the request was handled; a [RemoteError], whose class ClassOf finds, when the responder answered with an error; a
// [PublishError] when the request could not be stored; a [DecodeError] when the reply can't be read; [ErrClosed].
func (r *Requester[Req, Res]) Request(ctx context.Context, msg Message[Req]) (Message[Res], error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.cfg.RequestTimeout)
		defer cancel()
	}
	began := time.Now()
	id := msg.GetCorrelationID()
	if id == "" {
		id = uuid.Must(uuid.NewV7()).String()
	}
	reply, err := r.exchange(ctx, id, msg)
	if err == nil {
		var answer Message[Res]
		if answer, err = r.read(reply); err == nil {
			return answer, nil
		}
	}
	return Message[Res]{}, &RequestError{Topic: r.cfg.Topic, CorrelationID: id, After: time.Since(began), Err: err}
}

// exchange returns the record that answers. The reply is expected before the request is sent: it may be faster than the brokers'
// acknowledgement.
func (r *Requester[Req, Res]) exchange(ctx context.Context, id string, msg Message[Req]) (*kgo.Record, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	pending, err := r.replies.expect(id)
	if err != nil {
		return nil, err
	}
	replied := pending.replied
	defer r.replies.forget(id, pending)
	stored := make(awaited, 1)
	request := &outgoing{to: stored}
	r.requests.publish(ctx, &msg, r.replies.address(ctx, withoutControl(msg.Headers), id, pending.token), request)
	unknown := true // whether it is stored
	for {
		select {
		case reply := <-replied:
			return reply, nil
		case err := <-stored:
			if err != nil {
				return nil, r.overdue(ctx, err)
			}
			unknown = false
			r.replies.stored(id, pending, request.seen.Record)
		case <-r.replies.ended:
			return nil, r.replies.why
		case <-ctx.Done():
			select { // a reply that is there wins over the context
			case reply := <-replied:
				return reply, nil
			default:
			}
			err := context.Cause(ctx)
			if unknown {
				err = r.requests.core.client.unknown(ctx)
			}
			return nil, r.overdue(ctx, err)
		}
	}
}

// overdue adds ErrNoReply to an error, if the time is over.
func (r *Requester[Req, Res]) overdue(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	r.replies.timeouts.Add(1)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrNoReply, err)
	}
	return fmt.Errorf("%w: %w: %w", ErrNoReply, context.DeadlineExceeded, err)
}

func (r *Requester[Req, Res]) read(reply *kgo.Record) (Message[Res], error) {
	msg := messageOf[Res](reply)
	if err := remoteError(reply.Headers); err != nil {
		return msg, err
	}
	if msg.Tombstone {
		return msg, &DecodeError{Reason: ErrTombstone.Error(), Err: ErrTombstone}
	}
	return msg, decode(r.codec, reply.Headers, reply.Value, &msg.Value)
}

// remoteError returns the error that a reply tells of, or nil. A class that there is not counts as none.
func remoteError(headers []kgo.RecordHeader) error {
	class, is := lastHeader(headers, HeaderReplyErrorClass)
	if !is {
		return nil
	}
	text, _ := lastHeader(headers, HeaderReplyErrorMessage)
	err := &RemoteError{Class: Class(class), Message: shorten(text, deadLetterMessageBytes)}
	if classRank[err.Class] == 0 {
		err.Class = ClassTransient
	}
	return err
}

// RequesterStats counts what became of a requester's requests, since it was made.
type RequesterStats struct {
	Outstanding int // requests that wait for their reply now
	// Replies are those handed to their request, errors among them.
	Replies uint64
	// Timeouts are requests whose time was over.
	Timeouts uint64
	// LateReplies came when their request had ended, or once more.
	LateReplies uint64
	// OtherReplies were not for this requester: others share its partition.
	OtherReplies uint64
	// RejectedReplies named a request that waits, and did not have its token or its place: they answer somebody else's request, or are
	// forged. A request goes on waiting for its own.
	RejectedReplies uint64
}

// Stats returns the numbers of the moment.
func (r *Requester[Req, Res]) Stats() RequesterStats {
	if r.failed != nil {
		return RequesterStats{}
	}
	return r.replies.stats()
}

// Close fails the requests that wait for their reply with [ErrClosed], and then closes as [Producer.Close] does. Further calls wait
// for the first and return what it returned.
func (r *Requester[Req, Res]) Close() error {
	r.closing.Do(func() {
		if r.failed == nil {
			r.replies.close()
		}
		r.closeErr = r.requests.Close()
	})
	return r.closeErr
}
