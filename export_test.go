package kafka

import (
	"context"
	"flag"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/dlqheader"
)

var long = flag.Bool("long", false, "try all that there is, where a part is enough for every day")

// Long tells whether the tests are to try all that there is.
func Long() bool { return *long }

// Tests of behaviour are in package kafka_test. This file is all that they see of the inside: the constants by which they
// wait, and what has no public name, such as a late mark or a memory leak.
const (
	CommitTimeout             = commitTimeout
	DefaultAuthFailureTimeout = defaultAuthFailureTimeout
	DefaultDeliveryTimeout    = defaultDeliveryTimeout
	DefaultDrainTimeout       = defaultDrainTimeout
	DefaultMaxHeaders         = defaultMaxHeaders
	DefaultMaxMessageBytes    = defaultMaxMessageBytes
	DLQPrefix                 = dlqheader.Prefix
	DrainGrace                = drainGrace
	FetchMaxWait              = fetchMaxWait
	FloodProbes               = floodProbes
	LeaveTimeout              = leaveTimeout
	LetterHeaderCount         = letterHeaderCount
	MaxAhead                  = maxAhead
	RefusalGap                = refusalGap
	RefusalPatience           = refusalPatience
	TokenTimeout              = tokenTimeout
)

func (c ClientConfig) WithDefaults() ClientConfig       { return c.withDefaults() }
func (c ConsumerConfig) WithDefaults() ConsumerConfig   { return c.withDefaults() }
func (c RequesterConfig) WithDefaults() RequesterConfig { return c.withDefaults() }

// CheckHeaders returns why the headers are too many or too large.
func (c ConsumerConfig) CheckHeaders(headers []kgo.RecordHeader) error {
	return c.headerLimits().check(headers)
}

// EnvironmentFields is the struct whose tags name the variables.
func EnvironmentFields() any { return &environment{} }

// Helpers that tests of both packages use.
var (
	Headers    = headers
	LastHeader = lastHeader
	Wait       = wait
)

func SplitList(text string) []string { return splitList(text) }

func DecodeJSON(data []byte, value any, unmarshal func([]byte, any) error) error {
	return decodeJSON(data, value, unmarshal)
}

// Typed returns what a consumer calls for each record.
func Typed[T any](codec Codec[T], handle Handler[T], tombstones bool) HandlerFunc {
	return typed(codec, handle, tombstones)
}

// ClientOf returns the client that a producer publishes with.
func ClientOf[T any](p *Producer[T]) *Client { return p.core.client }

// Abort ends the client at once.
func (c *Client) Abort()                        { c.abort() }
func (c *Client) BatchLimit(topic string) int32 { return c.batchLimit(topic) }

// Trouble returns what the client blames for messages that are not stored.
func (c *Client) Trouble() error { return c.access.trouble() }

// Missed tells the client that it did not reach a broker.
func (c *Client) Missed(broker string, err error) {
	c.access.missed(explainConnect(ClientConfig{}, broker, err))
}

func (r *Requester[Q, A]) ID() string            { return r.replies.requester }
func (r *Requester[Q, A]) ReplyPartition() int32 { return r.replies.partition }

// Proof returns the token and the place of a request that waits, "" where it is not known.
func (r *Requester[Q, A]) Proof(id string) (token, place string) {
	r.replies.mu.Lock()
	defer r.replies.mu.Unlock()
	if p := r.replies.waiting[id]; p != nil {
		return p.token, p.place
	}
	return "", ""
}

// Abort ends the requester at once.
func (r *Requester[Q, A]) Abort() {
	r.replies.close()
	r.requests.core.client.abort()
}

// CoreOf returns the untyped part of a consumer.
func CoreOf[T any](c *Consumer[T]) *consumer { return c.core }

// Held is what the queues' budget has given out, Room what is left of it, and Limit its size.
func (c *consumer) Held() int64      { return c.queued.used.Load() }
func (c *consumer) Room() int64      { return c.queued.room() }
func (c *consumer) Limit() int64     { return c.queued.limit.Load() }
func (c *consumer) PerRecord() int64 { return c.queued.perRecord }

func (c *consumer) CheckTopics(ctx context.Context) error { return c.checkTopics(ctx) }

// ProgressRefused reports whether the group has refused the progress that was committed.
func (c *consumer) ProgressRefused() bool { return c.untold.Load() }

// DropUnassigned tells whether a periodic commit goes out.
func (c *consumer) DropUnassigned(request *kmsg.OffsetCommitRequest) bool {
	return c.dropUnassigned(request)
}

// EvictAll lets all partitions go, as a member does that was evicted from its group.
func (c *consumer) EvictAll() { c.disown(c.assignedNow()) }

// Assigned returns a partition that is assigned; nil if it is not.
func (c *consumer) Assigned(id int32) *partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partitions[topicPartition{c.cfg.Topic, id}]
}

// Client is the one that consumes the partition.
func (p *partition) Client() *kgo.Client { return p.client }

// Mark marks what is done, whoever owns the partition by now.
func (p *partition) Mark() { p.offsets.Mark() }

func (p *partition) Fenced() bool { return p.offsets.Fenced() }

// HoldsMost tells whether a partition is paused and holds more than 60 % of what it held then.
func (p *partition) HoldsMost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flow.paused != 0 && p.flow.held > p.flow.full*6/10
}

// NewProducerTo returns a producer that hands its records to send, which stores them.
func NewProducerTo[T any](send func(*Record)) *Producer[T] {
	core := &publisher{cfg: ProducerConfig{Topic: "orders"}, send: func(_ context.Context, r *Record, done func(error)) {
		send(r)
		done(nil)
	}}
	core.started.Do(func() {})
	return &Producer[T]{codec: JSON[T](), contentType: []byte("application/json"), core: core}
}

// SetHeaders replaces the headers of the message that is being built, which may then have the same name twice.
func SetHeaders[T any](b *MessageBuilder[T], headers []kgo.RecordHeader) { b.msg.Headers = headers }

// WithoutRaw returns a message that does not know the bytes that it was decoded from.
func WithoutRaw[T any](msg Message[T]) Message[T] {
	msg.raw = nil
	return msg
}

// ClientWith returns a client that has a config and no connection.
func ClientWith(cfg ClientConfig) *Client { return &Client{cfg: cfg, access: &accessWatch{cfg: cfg}} }

// HoldersOf returns one of everything that keeps a config.
func HoldersOf(client ClientConfig, producing ProducerConfig, consuming ConsumerConfig) map[string]any {
	return map[string]any{
		"*Requester":        &Requester[int, int]{cfg: RequesterConfig{ClientConfig: client}, replies: &replyReader{access: &accessWatch{cfg: client}}},
		"*Client":           ClientWith(client),
		"*Producer":         &Producer[int]{core: &publisher{cfg: producing}},
		"*Consumer":         &Consumer[int]{core: &consumer{cfg: consuming}},
		"a publisher":       &publisher{cfg: producing},
		"a consumer's core": &consumer{cfg: consuming},
	}
}
