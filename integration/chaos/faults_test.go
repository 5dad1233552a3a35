package chaos

import (
	"context"
	"time"
)

// change lets a member come or go in peace.
func (r *run) change() {
	working := r.crew.working()
	switch n := len(working); {
	case n < 2 || n < 4 && r.random.IntN(2) == 0:
		r.join()
	default:
		r.leave(working[r.random.IntN(n)])
	}
}

func (r *run) join() {
	r.crew.join()
	r.joined++
}

func (r *run) leave(m *member) {
	m.mayFail = r.brokenUntil != time.Time{} || time.Since(m.thawedAt) < 2*sessionTimeout // it may not have heard yet
	m.leave()
	r.left++
}

// disturb lets a member come, go or die.
func (r *run) disturb() {
	if working := r.crew.working(); len(working) > 1 && r.random.IntN(3) == 0 {
		working[r.random.IntN(len(working))].kill()
		r.killed++
		r.join() // in its place
		return
	}
	r.change()
}

// freezeMember stops a member for longer than its session lasts, while other things go on.
func (r *run) freezeMember() {
	r.thaw(true)
	if len(r.crew.working()) < 2 {
		r.join() // somebody has to take over
	}
	working := r.crew.working()
	r.frozen, r.frozenUntil = working[r.random.IntN(len(working))], time.Now().Add(sessionTimeout*3/2)
	r.frozen.freeze()
	r.stopped++
}

// thaw lets the frozen member go on when its time has come.
func (r *run) thaw(wait bool) {
	if r.frozen == nil || !wait && time.Now().Before(r.frozenUntil) {
		return
	}
	time.Sleep(time.Until(r.frozenUntil))
	r.frozen.thaw()
	r.frozen = nil
}

// breakBroker kills or freezes one, while other things go on: any, the group's coordinator, the controller, or a partition's
// leader. There is one at a time.
func (r *run) breakBroker() {
	r.mend(true)
	r.cluster.AwaitInSync(r.T)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	broker, which := r.random.IntN(len(r.cluster.Brokers)), "any"
	found := -1
	switch r.random.IntN(4) {
	case 0:
		found, which = r.cluster.Coordinator(ctx, r.topic), "the coordinator"
		r.coordinators++
	case 1:
		found, which = r.cluster.Controller(ctx), "the controller"
		r.controllers++
	case 2:
		found, which = r.cluster.Leader(ctx, r.topic, int32(r.random.IntN(partitions))), "a leader"
	}
	if found >= 0 {
		broker = found
	} else if which != "any" {
		r.Fatalf("nobody knows the broker that is %s", which)
	}
	kill, outage := r.random.IntN(2) == 0, 2*time.Second+time.Duration(r.random.Int64N(int64(4*time.Second)))
	if !kill && r.random.IntN(3) == 0 {
		outage = sessionTimeout * 3 / 2
	}
	r.Logf("broker %d (%s): killed %v, for %v", broker, which, kill, outage.Round(time.Millisecond))
	r.brokenUntil = time.Now().Add(outage)
	for _, m := range r.crew.members {
		m.mayFail = m.mayFail || m.dead && !m.hasEnded()
	}
	if kill {
		r.cluster.Kill(r.T, broker)
		r.brokersKilled++
	} else {
		r.cluster.Freeze(r.T, broker)
		r.brokersFrozen++
	}
}

// mend mends what is broken when its time has come.
func (r *run) mend(wait bool) {
	if r.brokenUntil.IsZero() || !wait && time.Now().Before(r.brokenUntil) {
		return
	}
	time.Sleep(time.Until(r.brokenUntil))
	r.cluster.Restore(r.T)
	r.brokenUntil = time.Time{}
}
