package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/skeji/kafka/internal/policy/pause"
)

// This file holds attempts back: for a pause that the service asks for, and for its rate limit. heldback.go does so for
// the flood guard.

// Pause has no attempt begin, in any partition, until [Consumer.Resume]. It does not wait: attempts that run finish, and
// their records are committed or, should they fail, wait for their retry. The consumer stays in its group, keeps its
// partitions and all that it has fetched, and fetches more until MaxQueuedRecords or MaxQueuedBytes is reached. Health, the
// log, the metric messaging_kafka_consumer_paused and ConsumerHooks.PauseChanged say that it is paused, and reason. A
// paused consumer is ready. The pause ends with the process: see ConsumerConfig.PauseWhile for one that lasts.
//
// Call Pause and Resume at any time, before Start too, and as often as you like: one Resume ends all pauses of Pause and
// of StartPaused.
func (c *Consumer[T]) Pause(reason string) { c.core.pauseFor(pausedByCall, reason) }

// Resume ends what Pause or StartPaused began.
func (c *Consumer[T]) Resume() { c.core.resume(pausedByCall) }

// Who may pause a consumer.
const (
	pausedByCall  = "call"
	pausedByWatch = "PauseWhile"
)

func (c *consumer) pauseFor(who, reason string) {
	if !c.gates.paused.Close(who, reason) {
		return
	}
	c.log.LogAttrs(context.Background(), slog.LevelInfo, "consumer paused: no attempt begins", slog.String("topic", c.cfg.topicNames()),
		slog.String("group", c.cfg.Group), slog.String("reason", reason))
	c.hooks.pauseChanged(true, reason)
}

func (c *consumer) resume(who string) {
	if !c.gates.paused.Open(who) {
		return
	}
	c.log.LogAttrs(context.Background(), slog.LevelInfo, "consumer resumed", slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group))
	c.hooks.pauseChanged(false, "")
}

// paused says since when and why the consumer is paused; "" if it is not.
func (c *consumer) paused() string {
	since, reason := c.gates.paused.State()
	if since.IsZero() {
		return ""
	}
	return fmt.Sprintf("since %s: %s", since.UTC().Format(time.RFC3339), reason)
}

// askPauseWhile pauses or resumes as PauseWhile says. A panic leaves it as it is.
func (c *consumer) askPauseWhile() {
	defer func() {
		const text = "PauseWhile panics; the consumer stays as it is"
		if value := recover(); value != nil && c.quiet.Allow(text) {
			c.log.LogAttrs(context.Background(), slog.LevelError, text, slog.String("topic", c.cfg.topicNames()), slog.String("group", c.cfg.Group),
				slog.Any("panic", value))
		}
	}()
	if c.cfg.PauseWhile() {
		c.pauseFor(pausedByWatch, "PauseWhile returns true")
	} else {
		c.resume(pausedByWatch)
	}
}

// pauseWhileEvery is how often PauseWhile is called.
const pauseWhileEvery = time.Second

// watchPauseWhile runs until Start is about to return.
func (c *consumer) watchPauseWhile(ctx context.Context) {
	if c.cfg.PauseWhile == nil {
		return
	}
	for range ticks(ctx, pauseWhileEvery) {
		c.askPauseWhile()
	}
}

// gates hold all attempts of a consumer back, those of its retry topics too.
type gates struct {
	paused pause.Gate
	rate   *rate.Limiter // nil: no limit
}

func newGates(cfg ConsumerConfig) *gates {
	g := new(gates)
	if cfg.StartPaused {
		g.paused.Close(pausedByCall, "StartPaused")
	}
	if cfg.RateLimit > 0 { // a tenth of a second's attempts may come at once
		g.rate = rate.NewLimiter(rate.Limit(cfg.RateLimit), int(math.Ceil(min(cfg.RateLimit/10, math.MaxInt32))))
	}
	return g
}

// awaitResume waits while the consumer is paused. It returns false if the partition stops meanwhile.
func (p *partition) awaitResume(tasks ...*task) bool {
	if !p.c.gates.paused.Closed() {
		return true
	}
	p.tasks.keepApart(tasks...)
	p.tasks.now(tasks[0], ActivityPaused)
	defer p.tasks.now(tasks[0], ActivityHandling)
	return p.c.gates.paused.Await(p.stop)
}

// awaitRate waits until the consumer's rate limit allows an attempt at each task. It returns false if the partition stops
// meanwhile.
func (p *partition) awaitRate(tasks []*task) bool {
	if p.c.gates.rate == nil {
		return true
	}
	var delay time.Duration
	for range tasks { // one by one: more than the burst would never be allowed
		delay = p.c.gates.rate.Reserve().Delay()
	}
	if delay == 0 {
		return true
	}
	p.tasks.keepApart(tasks...)
	p.tasks.now(tasks[0], ActivityRateLimited)
	defer p.tasks.now(tasks[0], ActivityHandling)
	return wait(delay, p.stop)
}
