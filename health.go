package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// State is where a consumer is in its life.
type State string

const (
	StateNew     State = "new"     // Start was not called
	StateJoining State = "joining" // not a member of its group yet, or not any more: it joins again
	StateRunning State = "running" // a member of its group
	StateEnding  State = "ending"  // finishing what is in hand
	StateEnded   State = "ended"   // Start has returned
)

// Health is a consumer's state at one moment. Take it as often as you like: it makes no request.
type Health struct {
	Topic string `json:"topic"` // what is consumed; several topics have a comma between them
	Group string `json:"group"` // by which group
	State State  `json:"state"` // where the consumer is in its life
	// NotLive says why the process should be restarted: the poll loop stands still, Start has returned an error or, with
	// ConsumerConfig.FailLivenessAfter, a handler does not return. It is "" while a restart would not help: brokers that are away, a rebalance, handlers that fail, a
	// dead letter topic that refuses.
	NotLive string `json:"not_live,omitempty"`
	// NotReady says why the consumer does no work: it has not joined its group, or is ending, or the flood guard has paused it
	// (ConsumerConfig.FloodGuard). A member without partitions is ready: others have them all.
	NotReady string `json:"not_ready,omitempty"`
	// Paused says since when and why no attempt begins; "" while the consumer is not paused. See [Consumer.Pause]. A paused
	// consumer is live and ready.
	Paused string `json:"paused,omitempty"`
	// Flood is what the flood guard makes of the latest dead letters; see ConsumerConfig.FloodGuard.
	Flood FloodState `json:"flood,omitempty"`
	// CommitsHeldUpSince is since when a rebalance of the group has lasted that does not let finished records be committed: they
	// are handled again if the process is killed. It is zero while there is none.
	CommitsHeldUpSince time.Time `json:"commits_held_up_since,omitzero"`
	// Problems are what holds the work up, ready or not: a dead letter topic that refuses, brokers that do, stalled handlers.
	Problems   []string          `json:"problems,omitempty"`
	Partitions []PartitionHealth `json:"partitions"` // those assigned, of retry topics too, by topic and number
}

// Live tells whether the process may go on; see NotLive.
func (h Health) Live() bool { return h.NotLive == "" }

// Ready tells whether the consumer is a member of its group that works; see NotReady.
func (h Health) Ready() bool { return h.NotReady == "" }

// Activity is what is done with a record in hand, or in a partition that has none.
type Activity string

const (
	ActivityIdle       Activity = "idle"        // nothing to do
	ActivityHandling   Activity = "handling"    // the handler is running
	ActivityBackoff    Activity = "backoff"     // waiting for the next attempt
	ActivityDeadLetter Activity = "dead_letter" // storing a dead letter, or waiting to try that again
	// ActivityBlocked is a worker that waits for a handler which ran in this partition before and ignores its context.
	ActivityBlocked Activity = "blocked"
	// ActivityHeldBack is a record whose next attempt waits for the flood guard.
	ActivityHeldBack Activity = "held_back"
	// ActivityPaused is a record whose next attempt waits for [Consumer.Resume], or for ConsumerConfig.PauseWhile.
	ActivityPaused Activity = "paused"
	// ActivityRateLimited is a record whose next attempt waits for ConsumerConfig.RateLimit.
	ActivityRateLimited Activity = "rate_limited"
	// ActivityRecalling is a partition that was just assigned and reads which keys are parked; see ConsumerConfig.ParkKeys.
	ActivityRecalling Activity = "recalling"
)

// PartitionHealth is the state of one assigned partition.
type PartitionHealth struct {
	Topic     string `json:"topic"`     // one that is consumed, or a retry topic
	Partition int32  `json:"partition"` // its number
	// Lag is how many offsets lie between the next record to settle and the partition's end, as far as known: from the latest
	// fetch or, where nothing is fetched, from a question to the brokers, asked every few seconds as long as somebody looks.
	// -1: not known yet. While brokers don't answer it stays what it was. Compacted
	// records count, as they do in Kafka's own tools.
	Lag           int64     `json:"lag"`
	QueuedRecords int       `json:"queued_records"`    // fetched, waiting for a worker or for their key
	QueuedBytes   int64     `json:"queued_bytes"`      // and those in hand, as MaxQueuedBytes counts
	Paused        bool      `json:"paused"`            // fetching waits until the queue is shorter
	RecordsInHand int       `json:"records_in_hand"`   // begun and not settled, those in backoff too
	Activity      Activity  `json:"activity"`          // what is done with the record in hand that has stalled, or else that holds the commit up
	Since         time.Time `json:"since"`             // when the activity began
	Stalled       bool      `json:"stalled,omitempty"` // a handler has been running for longer than StallTimeout
	Offset        int64     `json:"offset"`            // of that record; -1 for none
	Attempt       int       `json:"attempt,omitempty"` // at it
	LastProgress  time.Time `json:"last_progress"`     // when a record was last settled, or the partition assigned
	// Stuck says since when and why nothing more of the partition is handled or fetched, and what to do: a batch that can't
	// be read, for example. It is "" while the partition goes on. Other partitions are not held up by it.
	Stuck string `json:"stuck,omitempty"`
	// ParkedKeys is how many keys have letters that were not sent back and handled since; see ConsumerConfig.ParkKeys.
	ParkedKeys int `json:"parked_keys,omitempty"`
}

// Health returns the consumer's state of the moment. It makes no request.
func (c *Consumer[T]) Health() Health { return c.core.health() }

// stallsUntilDead is how many StallTimeouts the poll loop may stand still before a restart is the better bet.
const stallsUntilDead = 5

func (c *consumer) health() Health {
	c.healthAsked.Store(int64(time.Since(c.made)))
	h, access := c.snapshot()
	if access != nil {
		if trouble := access.trouble(); trouble != nil {
			h.Problems = append(h.Problems, trouble.Error())
		}
	}
	return h
}

// snapshot returns what the consumer itself knows, and who knows of the brokers.
func (c *consumer) snapshot() (Health, *accessWatch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := Health{Topic: c.cfg.topicNames(), Group: c.cfg.Group, State: c.state(), Paused: c.paused(), Partitions: make([]PartitionHealth, 0, len(c.partitions))}
	for _, p := range c.partitions {
		state, problems := p.health()
		h.Partitions = append(h.Partitions, state)
		h.Problems = append(h.Problems, problems...)
	}
	for _, name := range c.straggling() {
		h.Problems = append(h.Problems, name+": a handler still runs that outlasted the handover of its partition; it ignores its context")
	}
	slices.SortFunc(h.Partitions, func(a, b PartitionHealth) int {
		return cmp.Or(c.routes[a.Topic].index-c.routes[b.Topic].index, strings.Compare(a.Topic, b.Topic), int(a.Partition-b.Partition))
	})
	flood, problem := c.guard.health()
	if problem != "" {
		h.Flood, h.Problems = flood, append(h.Problems, problem)
	}
	if since, problem := c.heldUpProblem(); problem != "" {
		h.CommitsHeldUpSince, h.Problems = since, append(h.Problems, problem)
	}
	slices.Sort(h.Problems)
	h.NotLive = c.notLive(h)
	switch h.State {
	case StateNew:
		h.NotReady = "not started"
	case StateJoining:
		h.NotReady = "waiting to join group " + c.cfg.Group
	case StateRunning:
		if flood == FloodPaused || flood == FloodProbing {
			h.NotReady = problem
		}
	case StateEnding, StateEnded:
		h.NotReady = string(h.State)
	}
	return h, c.access
}

// state is called with c.mu held.
func (c *consumer) state() State {
	select {
	case <-c.ended:
		return StateEnded
	default:
	}
	switch {
	case !c.started && c.closed:
		return StateEnded
	case !c.started:
		return StateNew
	case c.halted, c.closing:
		return StateEnding
	case !c.membership.isMember():
		return StateJoining
	}
	return StateRunning
}

// mayLast returns how long a partition may do what it does before the consumer is not live; 0: for ever. limit is for what takes no time.
func (c *consumer) mayLast(p PartitionHealth, limit time.Duration) time.Duration {
	switch {
	case p.Activity == ActivityHandling, p.Activity == ActivityBlocked: // by a handler
		return c.cfg.FailLivenessAfter
	case p.Activity == ActivityIdle && p.QueuedRecords > 0: // a batch may wait to fill
		return limit + c.cfg.MaxBatchWait
	}
	return 0
}

// notLive is called with c.mu held.
func (c *consumer) notLive(h Health) string {
	limit := max(stallsUntilDead*c.cfg.StallTimeout, 2*c.leaveWithin()) // a handover may keep the loop from polling
	switch h.State {
	case StateEnded:
		if failed, ok := errors.AsType[*RecordError](c.result); ok { // whose text is the handler's
			return fmt.Sprintf("ended: a record failed for good, and there is no dead letter topic: %s-%d offset %d; Start's error says why",
				failed.Topic, failed.Partition, failed.Offset)
		}
		if c.result != nil {
			return "ended: " + textOf(c.result)
		}
		return ""
	case StateNew, StateEnding: // whose length is bounded
		return ""
	}
	var reasons []string
	if at := time.Duration(c.polledAt.Load()); at != 0 && time.Since(c.made)-at > limit {
		reasons = append(reasons, fmt.Sprintf("the poll loop has stood still since %s", c.made.Add(at).UTC().Format(time.RFC3339)))
	}
	for _, p := range h.Partitions {
		if allowed := c.mayLast(p, limit); allowed > 0 && time.Since(p.Since) > allowed {
			reasons = append(reasons, fmt.Sprintf("%s-%d: %s since %s, offset %d, %d records behind it",
				p.Topic, p.Partition, p.Activity, p.Since.UTC().Format(time.RFC3339), p.Offset, p.QueuedRecords))
		}
	}
	return strings.Join(reasons, "; ")
}
