package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// This file ends a consumer: what has it end, how long that may take, and what Start returns.

// leaveTimeout bounds how long the group's coordinator may take to hear that this member leaves. If it does not, the group
// waits for SessionTimeout.
const leaveTimeout = 5 * time.Second

// outcome is what start returns once it has run.
func (c *consumer) outcome() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave.Stop()
	unfinished := append(c.straggling(), c.unfinished...)
	slices.Sort(unfinished)
	switch {
	case c.failure != nil:
		return c.failure
	case len(unfinished) > 0:
		return fmt.Errorf("kafka: %w of %v: left unfinished, to be redelivered: %v", ErrDrainTimeout, c.cfg.DrainTimeout, slices.Compact(unfinished))
	case c.lastCommit != nil:
		return fmt.Errorf("kafka: group %s: the last commit failed, finished records are redelivered: %w", c.cfg.Group, c.lastCommit)
	}
	return nil
}

// beginToLeave marks the end and bounds what follows: the drain, its commit, and the coordinator's answer to our leaving,
// for which franz-go would wait a minute.
func (c *consumer) beginToLeave(abandonGroup func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.leave = time.AfterFunc(c.leaveWithin(), abandonGroup)
	c.nothingLeftToDrain()
}

// leaveWithin is how long a handover and what follows may take.
func (c *consumer) leaveWithin() time.Duration {
	return c.cfg.DrainTimeout + drainGrace + commitTimeout + leaveTimeout
}

// ending reports whether start was asked to end, or ends. What a handover that is under way then leaves unfinished is part of
// what start returns. The caller holds c.mu.
func (c *consumer) ending() bool { return c.halted || c.closing }

// haltAll lets no worker start another record.
func (c *consumer) haltAll() {
	c.mu.Lock()
	c.halted = true
	c.mu.Unlock()
	for _, p := range c.assignedNow() {
		p.halt()
	}
}

// nothingLeftToDrain lets only the leaving itself take its time. The caller holds c.mu.
func (c *consumer) nothingLeftToDrain() {
	if c.closing && len(c.partitions) == 0 && c.draining == 0 {
		c.leave.Reset(leaveTimeout)
	}
}

// fail ends start with err. The first call wins.
func (c *consumer) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = cmp.Or(c.failure, withRemedy(err))
	c.stop()
}

// withRemedy adds what to do to errors that brokers give no reason for.
func withRemedy(err error) error {
	if errors.Is(err, kerr.InconsistentGroupProtocol) {
		return fmt.Errorf("%w: the members of this group assign partitions in another way; where they have Java's range assignor, put "+
			"kgo.Balancers(kgo.RangeBalancer()) into Options; where they speak KIP-848, set GroupProtocol to \"consumer\"", err)
	}
	return err
}

func (c *consumer) close() error {
	c.mu.Lock()
	c.closed = true
	started, stop := c.started, c.stop
	c.mu.Unlock()
	if started {
		stop()
		<-c.ended
	}
	c.client.abort() // no flush: a dead letter still on its way belongs to a record that is redelivered
	return nil
}
