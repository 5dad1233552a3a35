package kafka

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/recordheader"
)

// replyReader is the part of a requester that knows no types. It reads one partition of the reply topic, without a group, and
// hands each reply to the request that waits for it.
type replyReader struct {
	topic     string
	partition int32
	requester string // the id of this instance
	foreign   bool   // replies need the correlation id alone
	client    *kgo.Client
	access    *accessWatch
	log       *slog.Logger

	mu      sync.Mutex
	waiting map[string]*pendingReply // by correlation id, with all that is in them

	stop  context.CancelFunc
	ended chan struct{} // closed when no more replies are read
	why   error         // written before ended is closed

	replies, timeouts, late, others, rejected atomic.Uint64
}

// pendingReply is a request that waits for its reply. A reply could be somebody else's: whoever may publish a request can name any
// requester and correlation id in it, and a responder would send the answer there. So a reply has to repeat the request's token, which
// others can't guess, and name the record that it answers, which those who can read the request can't make theirs.
type pendingReply struct {
	token   string
	place   string           // of the request; "" until it is known
	early   []*kgo.Record    // replies that came before the place was known
	replied chan *kgo.Record // has room for one
}

// maxEarlyReplies is how many replies to one request are kept until its place is known. A responder sends one or, after a crash, two.
const maxEarlyReplies = 16

// placeText is where a record is, for HeaderRequestPlace.
func placeText(topic string, partition int32, offset int64) string {
	return fmt.Sprintf("%s/%d/%d", topic, partition, offset)
}

// anyPlace is the place of a request that is stored, where nobody knows where: middleware has sent another record in its place, or
// the brokers have acknowledged it without an offset.
const anyPlace = "*"

type replyVerdict int

const (
	replyAccepted replyVerdict = iota
	replyRejected
	replyEarly
)

// judge tells whether the reply is to this request.
func (p *pendingReply) judge(reply *kgo.Record, foreign bool) replyVerdict {
	token, ok := recordheader.Last(reply.Headers, HeaderReplyToken)
	if !ok && !foreign || ok && subtle.ConstantTimeCompare(token, []byte(p.token)) == 0 {
		return replyRejected
	}
	place, ok := recordheader.Last(reply.Headers, HeaderRequestPlace)
	switch {
	case !ok && foreign:
		return replyAccepted
	case !ok:
		return replyRejected
	case p.place == "":
		return replyEarly
	case p.place == anyPlace || p.place == string(place):
		return replyAccepted
	}
	return replyRejected
}

// newReplyReader returns once it knows where its partition ends. What is read begins there, whenever franz-go gets to it.
func newReplyReader(ctx context.Context, c *Client, cfg RequesterConfig) (*replyReader, error) {
	counts, err := c.partitionCounts(ctx, topicUse{topic: cfg.ReplyTopic, operation: kmsg.ACLOperationRead})
	if err != nil {
		return nil, err
	}
	count := counts[cfg.ReplyTopic]
	if count == 0 {
		return nil, fmt.Errorf("kafka: reply topic %s has no partitions yet: try again", cfg.ReplyTopic)
	}
	partition := mathrand.Int32N(count)
	if cfg.ReplyPartition != nil {
		partition = *cfg.ReplyPartition
	}
	if partition >= count {
		return nil, fmt.Errorf("kafka: ReplyPartition is %d: topic %s has %d partitions, from 0 on (KAFKA_REQUESTER_REPLY_PARTITION)", partition, cfg.ReplyTopic, count)
	}
	end, err := c.endOffset(ctx, cfg.ReplyTopic, partition)
	if err != nil {
		return nil, fmt.Errorf("kafka: find the end of %s-%d: %w", cfg.ReplyTopic, partition, c.explain(err))
	}
	opts, err := readingOptions(c.cfg, cfg.ReplyTopic, partition, end, deadLetterMaxBytes, c.logs, c.access, &c.hooks)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka: requester config: %w", err)
	}
	reading, stop := context.WithCancel(context.Background())
	r := &replyReader{
		topic: cfg.ReplyTopic, partition: partition, requester: uuid.Must(uuid.NewV7()).String(),
		client: client, access: c.access, log: c.log,
		foreign: cfg.ForeignResponders, waiting: map[string]*pendingReply{}, stop: stop, ended: make(chan struct{}),
	}
	go r.read(reading) // ends with close, or when the topic is gone
	return r, nil
}

// expect registers a request.
func (r *replyReader) expect(id string) (*pendingReply, error) {
	select {
	case <-r.ended:
		return nil, r.why
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[id] != nil {
		return nil, ErrCorrelationID
	}
	p := &pendingReply{token: rand.Text(), replied: make(chan *kgo.Record, 1)}
	r.waiting[id] = p
	return p, nil
}

// stored tells where a request is, and hands it the reply that came before that was known.
func (r *replyReader) stored(id string, p *pendingReply, request *kgo.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[id] != p {
		return
	}
	if p.place = anyPlace; request.Offset >= 0 {
		p.place = placeText(request.Topic, request.Partition, request.Offset)
	}
	early := p.early
	p.early = nil
	for _, reply := range early {
		if r.waiting[id] != p {
			r.late.Add(1) // it has its reply
		} else if !r.offer(id, p, reply) {
			r.rejected.Add(1)
		}
	}
}

// offer hands a reply to its request, or keeps it until the request's place is known. It returns false if the reply is not to this
// request. The caller holds mu.
func (r *replyReader) offer(id string, p *pendingReply, reply *kgo.Record) bool {
	switch verdict := p.judge(reply, r.foreign); {
	case verdict == replyAccepted:
		delete(r.waiting, id)
		r.replies.Add(1)
		p.replied <- reply
		return true
	case verdict == replyEarly && len(p.early) < maxEarlyReplies:
		p.early = append(p.early, reply)
		return true
	}
	return false
}

// forget lets a request's id be used again, unless it is already.
func (r *replyReader) forget(id string, p *pendingReply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[id] == p {
		delete(r.waiting, id)
	}
}

// address returns a request's headers with what the responder must know.
func (r *replyReader) address(ctx context.Context, headers []kgo.RecordHeader, id, token string) []kgo.RecordHeader {
	deadline, _ := ctx.Deadline()
	headers = slices.Clone(headers)
	for _, h := range []struct{ name, value string }{
		{HeaderCorrelationID, id},
		{HeaderReplyTopic, r.topic},
		{HeaderReplyPartition, strconv.Itoa(int(r.partition))},
		{HeaderRequesterID, r.requester},
		{HeaderReplyToken, token},
		{HeaderDeadline, deadline.UTC().Format(time.RFC3339Nano)},
	} {
		headers = setHeader(headers, h.name, []byte(h.value))
	}
	return headers
}

func (r *replyReader) read(ctx context.Context) {
	r.why = ErrClosed
	for ctx.Err() == nil {
		fetches := r.client.PollFetches(ctx)
		refused := false
		fetches.EachError(func(_ string, _ int32, err error) {
			refused = refused || isAuthorization(err)
			if fatal := r.fetchError(ctx, err); fatal != nil {
				r.log.LogAttrs(ctx, slog.LevelError, "no more replies are read; all requests fail", slog.Any("error", fatal))
				r.why = fatal
				r.stop()
			}
		})
		fetches.EachRecord(r.take)
		if refused {
			wait(refusedPause, ctx.Done()) // franz-go would ask again at once, thousands of times a second
		}
	}
	close(r.ended)
}

// take hands a reply to the request that waits for it. By the requester's id, one that comes late differs from one to somebody else;
// what others than Respond answer may not have it.
func (r *replyReader) take(reply *kgo.Record) {
	requester, addressed := recordheader.Last(reply.Headers, HeaderRequesterID)
	if addressed && string(requester) != r.requester {
		r.others.Add(1)
		return
	}
	id, _ := recordheader.Last(reply.Headers, HeaderCorrelationID)
	r.mu.Lock()
	p := r.waiting[string(id)]
	taken := p != nil && r.offer(string(id), p, reply)
	r.mu.Unlock()
	switch {
	case taken:
	case p != nil:
		r.rejected.Add(1)
		r.logRejected(reply)
	case addressed:
		r.late.Add(1)
		r.logLate(reply)
	default:
		r.others.Add(1)
	}
}

func (r *replyReader) logLate(reply *kgo.Record) {
	ctx := context.Background()
	if !r.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{slog.String("topic", r.topic), slog.Int("partition", int(r.partition)), slog.Int64("offset", reply.Offset)}
	attrs = append(attrs, recordheader.IDs(reply.Headers, HeaderCorrelationID, HeaderConversationID)...)
	r.log.LogAttrs(ctx, slog.LevelDebug, "a reply came late, or once more", attrs...)
}

// logRejected says once in a while that replies are refused, and how to take those of other responders.
func (r *replyReader) logRejected(reply *kgo.Record) {
	if !r.access.quiet.Allow("rejected reply") {
		return
	}
	attrs := []slog.Attr{slog.String("topic", r.topic), slog.Int("partition", int(r.partition)), slog.Int64("offset", reply.Offset)}
	attrs = append(attrs, recordheader.IDs(reply.Headers, HeaderCorrelationID, HeaderConversationID)...)
	r.log.LogAttrs(context.Background(), slog.LevelWarn, "a reply was refused: it does not have the token and the place of the request"+
		" that it names, and answers another one or is forged; set ForeignResponders (KAFKA_REQUESTER_FOREIGN_RESPONDERS) if the"+
		" responder is not made by Respond", attrs...)
}

// fetchError returns err if no reply will ever come.
func (r *replyReader) fetchError(ctx context.Context, err error) error {
	protocol, isProtocol := errors.AsType[*kerr.Error](err)
	switch {
	case ctx.Err() != nil || errors.Is(err, kgo.ErrClientClosed):
		return nil
	case errors.Is(err, kerr.UnknownTopicID): // franz-go says so once it has given the topic up
		return fmt.Errorf("read replies from %s: %w any more: it was deleted, and perhaps made again: make another requester once it is there: %w", r.topic, ErrTopicMissing, err)
	case isAuthorization(err):
		r.access.refused(fmt.Errorf("kafka: read replies from %s: %w: %w", r.topic, ErrAuthorization, err))
	case isType[*kgo.ErrDecompressTooLarge](err): // franz-go has stopped
		batch, _ := errors.AsType[*kgo.ErrDecompressTooLarge](err)
		r.goOn(kgo.NewOffset().At(batch.NextOffset))
		if r.access.quiet.Allow("replies above the limit") {
			r.log.LogAttrs(ctx, slog.LevelWarn, "replies were skipped", slog.String("topic", r.topic), slog.Int("partition", int(r.partition)),
				slog.Any("error", tooLargeToRead(err, deadLetterMaxBytes, "responders must send less at once, since this limit is fixed and"+
					" MaxDecompressedBatchBytes ("+decompressedVariable+") is only about consumers; reading goes on at offset")))
		}
		return nil
	case errors.Is(err, kerr.OffsetOutOfRange): // deleted before it was read; what there still is has not been read, or does no harm
		r.goOn(kgo.NewOffset().AtStart())
	case isProtocol && !protocol.Retriable && !errors.Is(err, kerr.UnknownServerError): // which may be anything
		return fmt.Errorf("read replies from %s-%d: %w", r.topic, r.partition, err)
	}
	if r.access.quiet.Allow("replies: " + err.Error()) {
		r.log.LogAttrs(ctx, slog.LevelWarn, "reading replies failed; it goes on", slog.String("topic", r.topic),
			slog.Int("partition", int(r.partition)), slog.Any("error", err))
	}
	return nil
}

// goOn reads from another offset on.
func (r *replyReader) goOn(from kgo.Offset) {
	r.client.RemoveConsumePartitions(map[string][]int32{r.topic: {r.partition}})
	r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: {r.partition: from}})
}

func (r *replyReader) stats() RequesterStats {
	r.mu.Lock()
	outstanding := len(r.waiting)
	r.mu.Unlock()
	return RequesterStats{outstanding, r.replies.Load(), r.timeouts.Load(), r.late.Load(), r.others.Load(), r.rejected.Load()}
}

// close ends what waits for a reply.
func (r *replyReader) close() {
	r.stop()
	<-r.ended
	r.client.Close()
}
