package kafka

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/recordheader"
)

// Respond makes a handler of a function that answers requests. Its result is published with replies, to the topic and partition that
// the request names, with the request's key, correlation id and conversation id; the record is done once the brokers have stored the
// reply. Only the topics of replies and of others are written to: a request that names another is a permanent error,
// [ErrReplyAddress], and is not handled; so is one that names a partition which its topic does not have. A request that names no
// topic is answered in the topic of replies; if it has no correlation id either, nobody could use a reply, and none is sent.
//
//	replies, err := kafka.NewProducer[Booked](kafka.NewProducerConfig("bookings-replies", broker))
//	consumer, err := kafka.NewConsumer(cfg, kafka.Respond(replies, func(ctx context.Context, msg kafka.Message[Booking]) (Booked, error) {
//		return book(ctx, msg.Value)
//	}))
//
// The function's context ends at the request's deadline. A request that is not handled by then is a business error, [ErrExpired],
// since nobody waits any more; so is one whose transient error comes later than that. The deadline is the requester's clock's:
// where the responder's is ahead, requests have that much less time. One more than a day ahead is not believed.
//
// An error of the function is its class's affair, as any handler's, and is told to the requester as a [RemoteError] when no attempt
// follows: a business or permanent error at once, a transient one at the last attempt. Its text, up to 1 KiB, leaves this process.
// Only those who name a reply topic are told; and a request that can't be decoded never gets here: it is dead-lettered without a
// reply. A reply that can't be stored is a transient error, so that the function is called again; one that the brokers will never
// take, or that can't be encoded, is a permanent error, and told.
//
// A producer whose constructor returned an error can store no reply: each request is then a transient error, and is not handled.
//
// It panics if an argument is nil, if two producers have the same topic, and if a producer's client has a kgo.RecordPartitioner
// among its Options, since replies could not be placed then.
func Respond[Req, Res any](replies *Producer[Res], handle func(ctx context.Context, msg Message[Req]) (Res, error), others ...*Producer[Res]) Handler[Req] {
	if replies == nil || handle == nil || slices.Contains(others, nil) {
		panic("kafka: Respond: a producer or the function is nil")
	}
	to := replyTopics{fallback: replies.core, all: map[string]*publisher{}}
	for _, producer := range append([]*Producer[Res]{replies}, others...) {
		to.add(producer.core)
	}
	return func(ctx context.Context, msg Message[Req]) error {
		if to.failed != nil {
			return NewTransientError("publish replies", to.failed)
		}
		request, err := to.request(msg.Key, msg.Headers, placeOf(msg.Topic, msg.Partition, msg.Offset, msg.Headers), msg.LastAttempt)
		if err != nil {
			return NewPermanentError("", err)
		}
		if request.expired() {
			return NewBusinessError("", ErrExpired)
		}
		if err := request.checkPartition(ctx); err != nil {
			return err
		}
		waited, cancel := request.whileWaited(ctx)
		defer cancel()
		var result Res
		err = contained(waited, msg, func(ctx context.Context, msg Message[Req]) (err error) {
			result, err = handle(ctx, msg)
			return err
		})
		if err != nil {
			return request.failed(ctx, err)
		}
		value, err := replies.codec.Encode(result)
		if err != nil {
			return request.failed(ctx, NewPermanentError("encode the reply", err))
		}
		return request.answer(ctx, value, replies.contentType)
	}
}

// maxRequestTime is how far ahead a deadline is believed. Nobody waits for so long.
const maxRequestTime = 24 * time.Hour

// replyTopics are the topics that replies may be written to.
type replyTopics struct {
	fallback *publisher
	all      map[string]*publisher
	failed   error // the constructor's of one of their producers; nil: none
}

func (t *replyTopics) add(p *publisher) {
	if t.all[p.cfg.Topic] != nil {
		panic(fmt.Sprintf("kafka: Respond: two producers have the topic %s", p.cfg.Topic))
	}
	t.all[p.cfg.Topic] = p
	if p.failed != nil {
		t.failed = cmp.Or(t.failed, p.failed)
		return
	}
	if _, ours := p.client.kgo.OptValue(kgo.RecordPartitioner).(replyPartitioner); !ours {
		panic(fmt.Sprintf("kafka: Respond: the producer to %s has a kgo.RecordPartitioner among its Options: make another producer for replies", p.cfg.Topic))
	}
}

// pendingRequest is a request that a responder has in hand.
type pendingRequest struct {
	key      string
	headers  []kgo.RecordHeader
	at       string     // its own place
	last     bool       // no other attempt follows
	replies  *publisher // nil: no reply is wanted
	named    bool       // the request says where
	place    int32      // the partition; -1: by key
	deadline time.Time  // zero for none
}

func (t *replyTopics) request(key string, headers []kgo.RecordHeader, at string, last bool) (*pendingRequest, error) {
	r := &pendingRequest{key: key, headers: headers, at: at, last: last, place: -1}
	topic, named := lastHeader(headers, HeaderReplyTopic)
	correlation, _ := lastHeader(headers, HeaderCorrelationID)
	switch r.named = named; {
	case named && t.all[topic] == nil:
		return nil, fmt.Errorf("%w: topic %q is not one that Respond has a producer for", ErrReplyAddress, shorten(topic, maxShownEventType))
	case named:
		r.replies = t.all[topic]
	case correlation != "":
		r.replies = t.fallback
	}
	if text, ok := lastHeader(headers, HeaderReplyPartition); ok && named {
		partition, err := strconv.ParseInt(text, 10, 32)
		if err != nil || partition < 0 {
			return nil, fmt.Errorf("%w: partition %q", ErrReplyAddress, shorten(text, maxShownEventType))
		}
		r.place = int32(partition)
	}
	if text, ok := lastHeader(headers, HeaderDeadline); ok {
		r.deadline, _ = time.Parse(time.RFC3339Nano, text) // none, if it is none
		if time.Until(r.deadline) > maxRequestTime {
			r.deadline = time.Time{}
		}
	}
	return r, nil
}

// placeOf is where the requester has put the request. A record of a retry topic says in its headers where it was first. Those of any
// other record are its publisher's, who could claim the place of somebody else's request there.
func placeOf(topic string, partition int32, offset int64, headers []kgo.RecordHeader) string {
	written, _ := lastHeader(headers, dlqheader.WrittenTo)
	if first, ok := parseDeadLetter(headers); ok && written == topic && isRetryTopicOf(topic, first.Topic) {
		return placeText(first.Topic, first.Partition, first.Offset)
	}
	return placeText(topic, partition, offset)
}

// isRetryTopicOf tells by its name whether a topic is one of ConsumerConfig.RetryDelays for source. Who may write there is trusted.
func isRetryTopicOf(topic, source string) bool {
	rest, is := strings.CutSuffix(topic, "-"+source)
	rest, retries := strings.CutPrefix(rest, "retry-") // <n>-<group>
	index, group, _ := strings.Cut(rest, "-")
	n, err := strconv.Atoi(index)
	return is && retries && group != "" && err == nil && n >= 1 && n <= maxRetryDelays
}

// checkPartition refuses a request that names a partition which the reply topic does not have. The brokers are asked, since it may
// have been added.
func (r *pendingRequest) checkPartition(ctx context.Context) error {
	if r.replies == nil || r.place < r.replies.partitions.Load() {
		return nil
	}
	topic := r.replies.cfg.Topic
	ctx, cancel := context.WithTimeout(ctx, r.replies.client.cfg.ConnectTimeout)
	defer cancel()
	counts, err := r.replies.client.partitionCounts(ctx, topicUse{topic: topic, operation: kmsg.ACLOperationWrite})
	if err != nil {
		return NewTransientError("look up the reply topic", err)
	}
	if r.place >= counts[topic] {
		return NewPermanentError("", fmt.Errorf("%w: partition %d: topic %s has %d partitions, from 0 on", ErrReplyAddress, r.place, topic, counts[topic]))
	}
	r.replies.partitions.Store(counts[topic])
	r.replies.client.kgo.ForceMetadataRefresh() // until then the reply fails, and is tried again
	return nil
}

func (r *pendingRequest) expired() bool {
	return !r.deadline.IsZero() && !time.Now().Before(r.deadline)
}

// whileWaited is ctx until the deadline.
func (r *pendingRequest) whileWaited(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, r.deadline)
}

// answer publishes a result.
func (r *pendingRequest) answer(ctx context.Context, value, contentType []byte) error {
	if r.replies == nil {
		return nil
	}
	err := r.send(ctx, value, kgo.RecordHeader{Key: HeaderContentType, Value: contentType})
	if isRefusal(err) {
		return r.failed(ctx, NewPermanentError("publish the reply", err))
	}
	if err != nil {
		return NewTransientError("publish the reply", err)
	}
	return nil
}

// failed returns what becomes of the request after err. It tells the requester if that is the end.
func (r *pendingRequest) failed(ctx context.Context, err error) error {
	class := ClassOf(err)
	switch {
	case ctx.Err() != nil: // whatever the function made of that is no verdict
		return err
	case class == ClassTransient && r.expired():
		return NewBusinessError("", fmt.Errorf("%w: %w", ErrExpired, err))
	case class == ClassTransient && !r.last, !r.named:
		return err
	}
	told := r.send(ctx, nil,
		kgo.RecordHeader{Key: HeaderReplyErrorClass, Value: []byte(class)},
		kgo.RecordHeader{Key: HeaderReplyErrorMessage, Value: []byte(shorten(textOf(err), deadLetterMessageBytes))})
	if told != nil {
		return NewTransientError("publish the reply", fmt.Errorf("%w; it was to say: %w", told, err))
	}
	return err
}

// send publishes a reply and waits until it is stored. It has no deadline but the producer's: by another clock, somebody may still
// wait.
func (r *pendingRequest) send(ctx context.Context, value []byte, headers ...kgo.RecordHeader) error {
	for _, name := range []string{HeaderCorrelationID, HeaderConversationID, HeaderRequesterID, HeaderReplyToken} {
		if value, ok := recordheader.Last(r.headers, name); ok {
			headers = append(headers, kgo.RecordHeader{Key: name, Value: value})
		}
	}
	headers = append(headers, kgo.RecordHeader{Key: HeaderRequestPlace, Value: []byte(r.at)})
	out := &outgoing{core: r.replies, sent: kgo.Record{Topic: r.replies.cfg.Topic, Value: value, Headers: withMessageID(headers)}}
	if r.key != "" {
		out.sent.Key = []byte(r.key)
	}
	if r.place >= 0 {
		inPartition(&out.sent, r.place)
	}
	stored := make(awaited, 1)
	out.to = stored
	r.replies.publish(ctx, out, nil)
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return publishError(&out.sent, r.replies.client.unknown(ctx))
	}
}
