package kafka

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ConsumerPlugin is what [Consumer.Use] takes: a [ConsumerMiddleware], a [BatchMiddleware], [ConsumerHooks], or what needs several of
// them, such as metrics.
//
// A plugin for handlers of both kinds returns a ConsumerMiddleware, and a BatchMiddleware in ConsumerHooks.Batches. A Consumer uses the
// first. A [BatchConsumer] puts the second around its batches, and the first around each attempt at a record that gets no further,
// since it can't be decoded or has too many headers. One that has only what the consumer has no use for is refused: the
// constructor, or Start, returns an error.
type ConsumerPlugin interface {
	// ForConsumer is called by Use, once for the consumer's topic and once for each of its retry topics. It returns what goes around the handler (nil: nothing) and what is told of the rest.
	ForConsumer(c ConsumerInfo) (ConsumerMiddleware, ConsumerHooks)
}

// ConsumerInfo tells a plugin which consumer it is used by.
type ConsumerInfo struct {
	ClientID string       // ClientConfig.ClientID, or its default
	Topic    string       // what it consumes; several topics have a comma between them
	Topics   []string     // all that it reads, its retry topics too, by name
	Group    string       // as a member of which group
	DLQTopic string       // "" for none; several have a comma between them
	Logger   *slog.Logger // ClientConfig.Logger, or its default
	// DisableMiddleware is ConsumerConfig.DisableMiddleware. A plugin that only logs, measures or traces returns nothing then.
	DisableMiddleware bool
	// Health returns the consumer's state of the moment. It makes no request and may be called at any time.
	Health func() Health
}

// ForConsumer makes a middleware a plugin.
func (m ConsumerMiddleware) ForConsumer(ConsumerInfo) (ConsumerMiddleware, ConsumerHooks) {
	return m, ConsumerHooks{}
}

// ForConsumer makes a middleware of batches a plugin.
func (m BatchMiddleware) ForConsumer(ConsumerInfo) (ConsumerMiddleware, ConsumerHooks) {
	return nil, ConsumerHooks{Batches: m}
}

// ForConsumer makes hooks a plugin.
func (h ConsumerHooks) ForConsumer(ConsumerInfo) (ConsumerMiddleware, ConsumerHooks) { return nil, h }

// ConsumerHooks are told what a consumer does besides calling its handler. Each may be nil. They are called from the
// goroutines that do the work: they must return at once, must not panic, must not change the records they see, and must not
// call Close. Those about records are called one after another for each partition or, with a Concurrency above 1, for each key; the
// others come when they come.
//
//	consumer.Use(kafka.ConsumerHooks{Stalled: func(s kafka.Stall) { page(s) }})
type ConsumerHooks struct {
	// RecordBegun is called before a record's first attempt. The context that it returns, which must be made of ctx, is that
	// of the record's attempts and of the next two hooks; its dead letter has its values. In a batch it is its Record's Context.
	RecordBegun func(ctx context.Context, r *kgo.Record) context.Context
	// RetryScheduled is called when an attempt has failed and another one will follow.
	RetryScheduled func(ctx context.Context, r *kgo.Record, retry Retry)
	// RecordSettled is called when the record's last attempt, and its dead letter, are over, and its offset may be committed.
	RecordSettled func(ctx context.Context, r *kgo.Record, s Settlement)
	// RecordSkipped is called for a record that is done without being handled, by which the other hooks are not called.
	// Headers of the record say so, which its writer can forge unless there is a ControlKey; see
	// ConsumerConfig.SkipNothing.
	RecordSkipped func(r *kgo.Record, reason SkipReason)
	// DeadLetters goes around each try to store a dead letter, or a record in a retry topic. The Record's Group and Attempt are those of the failure. A header
	// that it adds should begin with __dlq.errors. for then it is left out when the letter has no room for it, and replaced
	// when the letter is sent back and fails again.
	DeadLetters ProducerMiddleware
	// Batches goes around each call of a BatchConsumer's handler. See [ConsumerPlugin].
	Batches BatchMiddleware

	// PartitionsAssigned, PartitionsRevoked and PartitionsLost are called for each topic that the rebalance is about. With none
	// assigned, other members have them all. Those revoked are drained after that, the workers of those lost are cancelled.
	PartitionsAssigned, PartitionsRevoked, PartitionsLost func(topic string, partitions []int32)
	// OffsetsCommitted is called after each commit, periodic or of a handover, with its error.
	OffsetsCommitted func(err error)
	// FetchingPaused and FetchingResumed tell of partitions that hold so much that the others would wait. The two may overtake
	// each other: what is so at a moment, Health says.
	FetchingPaused, FetchingResumed func(topic string, partition int32)
	// FetchingRewound is called when records that were fetched before are fetched again within one assignment: the brokers
	// lost what came after them, or the offset was out of range and has been reset.
	FetchingRewound func(topic string, partition int32, from, to int64)
	// PartitionStuck is called when nothing more of a partition is handled or fetched for a reason that lasts, which
	// PartitionHealth.Stuck says too, when the reason changes, and when the partition goes on.
	PartitionStuck func(p StuckPartition)
	// FloodChanged is called when the flood guard notices a flood of dead letters, pauses the consumer, tries a few records, and when
	// the flood is over; see ConsumerConfig.FloodGuard.
	FloodChanged func(f Flood)
	// PauseChanged is called when the consumer is paused, with the reason, and when it is resumed; see [Consumer.Pause]. A consumer
	// that starts paused was so before it had hooks: Health says so.
	PauseChanged func(paused bool, reason string)
	// Stalled is called when an attempt has lasted for ConsumerConfig.StallTimeout, and again each time that has doubled.
	Stalled func(s Stall)

	// Client is called for each franz-go client of the consumer, now or when it is made, and returns hooks for it, or nil.
	// They are told of connections, requests, batches, and errors of the group, not of records and polls.
	Client func(client *kgo.Client) kgo.Hook
}

// Retry is an attempt that is to follow one that failed.
type Retry struct {
	Attempt int           // the one that failed, from 1
	Wait    time.Duration // how long to wait before the next
	Err     error         // of the one that failed
}

// Outcome is what became of a record.
type Outcome string

const (
	OutcomeHandled      Outcome = "handled"       // an attempt returned nil
	OutcomeRejected     Outcome = "rejected"      // by a business rule: done
	OutcomeDeadLettered Outcome = "dead_lettered" // and stored
	OutcomePutOff       Outcome = "put_off"       // to a retry topic, and stored there; see ConsumerConfig.RetryDelays
	// OutcomeLeft is a record that is not done, to be redelivered: its partition was taken away, or it failed and there is no
	// dead letter topic.
	OutcomeLeft Outcome = "left"
)

// Settlement is the end of a record's stay in this consumer.
type Settlement struct {
	Outcome  Outcome // what became of it
	Class    Class   // of the last attempt's error; "" if there was none
	Attempts int     // how often the handler was called
	Err      error   // of the last attempt
}

// Stall is an attempt that has been running for long.
type Stall struct {
	Topic     string        // where the record is
	Partition int32         // where the record is
	Offset    int64         // where the record is
	Attempt   int           // from 1
	For       time.Duration // since the attempt began
}

// ProducerPlugin is what [Producer.Use] takes: a [ProducerMiddleware], [ProducerHooks], or what brings both.
type ProducerPlugin interface {
	// ForProducer is called once, by Use. It returns what goes around each publish (nil: nothing) and hooks.
	ForProducer(p ProducerInfo) (ProducerMiddleware, ProducerHooks)
}

// ProducerInfo tells a plugin which producer it is used by.
type ProducerInfo struct {
	ClientID string       // ClientConfig.ClientID, or its default
	Topic    string       // where it publishes to
	Logger   *slog.Logger // ClientConfig.Logger, or its default
	// DisableMiddleware is ProducerConfig.DisableMiddleware. A plugin that only logs, measures or traces returns nothing then.
	DisableMiddleware bool
}

// ForProducer makes a middleware a plugin.
func (m ProducerMiddleware) ForProducer(ProducerInfo) (ProducerMiddleware, ProducerHooks) {
	return m, ProducerHooks{}
}

// ProducerHooks are told what a producer does. Each may be nil. They must return at once, must not panic, and must not change
// the records they see.
type ProducerHooks struct {
	// Publishing is called with each message, before the middleware.
	Publishing func(r *Record)
	// Published is called exactly once for each, with the outcome and how long it took.
	Published func(r *Record, took time.Duration, err error)
	// Client is called with the producer's franz-go client, which other producers may share, and returns hooks for it, or nil.
	Client func(client *kgo.Client) kgo.Hook
}

// ForProducer makes hooks a plugin.
func (h ProducerHooks) ForProducer(ProducerInfo) (ProducerMiddleware, ProducerHooks) { return nil, h }

// producerHooks calls those of all plugins, in the order of Use.
type producerHooks []ProducerHooks

func (hooks producerHooks) publishing(r *Record) {
	for i := range hooks {
		if hook := hooks[i].Publishing; hook != nil {
			hook(r)
		}
	}
}

func (hooks producerHooks) published(r *Record, took time.Duration, err error) {
	for i := range hooks {
		if hook := hooks[i].Published; hook != nil {
			hook(r, took, err)
		}
	}
}

// consumerHooks calls those of all plugins, in the order of Use.
type consumerHooks []ConsumerHooks

func (hooks consumerHooks) begun(ctx context.Context, r *kgo.Record) context.Context {
	for i := range hooks {
		if hook := hooks[i].RecordBegun; hook != nil {
			ctx = cmp.Or(hook(ctx, r), ctx)
		}
	}
	return ctx
}

func (hooks consumerHooks) retryScheduled(ctx context.Context, r *kgo.Record, retry Retry) {
	for i := range hooks {
		if hook := hooks[i].RetryScheduled; hook != nil {
			hook(ctx, r, retry)
		}
	}
}

func (hooks consumerHooks) settled(ctx context.Context, r *kgo.Record, s Settlement) {
	for i := range hooks {
		if hook := hooks[i].RecordSettled; hook != nil {
			hook(ctx, r, s)
		}
	}
}

func (hooks consumerHooks) skipped(r *kgo.Record, reason SkipReason) {
	for i := range hooks {
		if hook := hooks[i].RecordSkipped; hook != nil {
			hook(r, reason)
		}
	}
}

func (hooks consumerHooks) rewound(topic string, partition int32, from, to int64) {
	for i := range hooks {
		if hook := hooks[i].FetchingRewound; hook != nil {
			hook(topic, partition, from, to)
		}
	}
}

// tellEach calls one hook of each plugin.
func tellEach[A any](hooks consumerHooks, which func(*ConsumerHooks) func(A), about A) {
	for i := range hooks {
		if hook := which(&hooks[i]); hook != nil {
			hook(about)
		}
	}
}

// tellOf is tellEach about a topic's partitions, or one of them.
func tellOf[A any](hooks consumerHooks, which func(*ConsumerHooks) func(string, A), topic string, about A) {
	for i := range hooks {
		if hook := which(&hooks[i]); hook != nil {
			hook(topic, about)
		}
	}
}

func (hooks consumerHooks) assigned(topic string, partitions []int32) {
	tellOf(hooks, func(h *ConsumerHooks) func(string, []int32) { return h.PartitionsAssigned }, topic, partitions)
}

func (hooks consumerHooks) revoked(topic string, partitions []int32) {
	tellOf(hooks, func(h *ConsumerHooks) func(string, []int32) { return h.PartitionsRevoked }, topic, partitions)
}

func (hooks consumerHooks) lost(topic string, partitions []int32) {
	tellOf(hooks, func(h *ConsumerHooks) func(string, []int32) { return h.PartitionsLost }, topic, partitions)
}

func (hooks consumerHooks) committed(err error) {
	tellEach(hooks, func(h *ConsumerHooks) func(error) { return h.OffsetsCommitted }, err)
}

func (hooks consumerHooks) paused(topic string, partition int32) {
	tellOf(hooks, func(h *ConsumerHooks) func(string, int32) { return h.FetchingPaused }, topic, partition)
}

func (hooks consumerHooks) resumed(topic string, partition int32) {
	tellOf(hooks, func(h *ConsumerHooks) func(string, int32) { return h.FetchingResumed }, topic, partition)
}

func (hooks consumerHooks) stuck(p StuckPartition) {
	tellEach(hooks, func(h *ConsumerHooks) func(StuckPartition) { return h.PartitionStuck }, p)
}

func (hooks consumerHooks) flood(f Flood) {
	tellEach(hooks, func(h *ConsumerHooks) func(Flood) { return h.FloodChanged }, f)
}

func (hooks consumerHooks) pauseChanged(paused bool, reason string) {
	for i := range hooks {
		if hook := hooks[i].PauseChanged; hook != nil {
			hook(paused, reason)
		}
	}
}

func (hooks consumerHooks) stalled(s Stall) {
	tellEach(hooks, func(h *ConsumerHooks) func(Stall) { return h.Stalled }, s)
}
