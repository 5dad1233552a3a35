package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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
	client    *kgo.Client
	access    *accessWatch
	log       *slog.Logger

	mu      sync.Mutex
	waiting map[string]chan *kgo.Record // by correlation id

	stop  context.CancelFunc
	ended chan struct{} // closed when no more replies are read
	why   error         // written before ended is closed

	replies, timeouts, late, others atomic.Uint64
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
	partition := rand.Int32N(count)
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
	opts, err := readingOptions(c.cfg, cfg.ReplyTopic, partition, end, c.logs, c.access, &c.hooks)
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
		waiting: map[string]chan *kgo.Record{}, stop: stop, ended: make(chan struct{}),
	}
	go r.read(reading) // ends with close, or when the topic is gone
	return r, nil
}

// expect registers a request. Its reply comes by the channel, which has room for it.
func (r *replyReader) expect(id string) (chan *kgo.Record, error) {
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
	replied := make(chan *kgo.Record, 1)
	r.waiting[id] = replied
	return replied, nil
}

// forget lets a request's id be used again, unless it is already.
func (r *replyReader) forget(id string, replied chan *kgo.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting[id] == replied {
		delete(r.waiting, id)
	}
}

// address returns a request's headers with what the responder must know.
func (r *replyReader) address(ctx context.Context, headers []kgo.RecordHeader, id string) []kgo.RecordHeader {
	deadline, _ := ctx.Deadline()
	headers = slices.Clone(headers)
	for _, h := range []struct{ name, value string }{
		{HeaderCorrelationID, id},
		{HeaderReplyTopic, r.topic},
		{HeaderReplyPartition, strconv.Itoa(int(r.partition))},
		{HeaderRequesterID, r.requester},
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
	replied := r.waiting[string(id)]
	delete(r.waiting, string(id))
	r.mu.Unlock()
	switch {
	case replied != nil:
		r.replies.Add(1)
		replied <- reply
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
	return RequesterStats{outstanding, r.replies.Load(), r.timeouts.Load(), r.late.Load(), r.others.Load()}
}

// close ends what waits for a reply.
func (r *replyReader) close() {
	r.stop()
	<-r.ended
	r.client.Close()
}
