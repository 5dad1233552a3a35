//go:build synctests

package simulation

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// requests are those that the library's clients make.
var requests = []kmsg.Key{
	kmsg.Produce, kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat,
	kmsg.LeaveGroup, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.InitProducerID, kmsg.DescribeConfigs, kmsg.ConsumerGroupHeartbeat,
	kmsg.OffsetForLeaderEpoch, kmsg.DescribeTopicPartitions,
}

// codes are all that brokers can answer.
var codes = func() (codes []*kerr.Error) {
	for code := int16(-1); code < 200; code++ {
		if err, ok := kerr.ErrorForCode(code).(*kerr.Error); ok && (code == -1 || err != kerr.UnknownServerError) {
			codes = append(codes, err)
		}
	}
	return codes
}()

// direct does what the seed says.
func (w *world) direct() {
	w.join()
	for range w.plan.steps {
		time.Sleep(time.Duration(w.random.ExpFloat64() * float64(20*time.Second)))
		working := w.working()
		if len(working) == 0 {
			w.join()
			continue
		}
		one := working[w.random.IntN(len(working))]
		switch act := w.random.IntN(20); {
		case act < 3 && len(working) < w.plan.most:
			w.join()
		case act < 4:
			one.leave()
		case act < 5:
			w.count("crash")
			one.crash()
		case act < 6:
			w.count("member cut off")
			w.trouble(one, w.wires.cut)
		case act < 7:
			w.count("member silent")
			w.trouble(one, w.wires.silence)
		case act < 8:
			w.count("member slow")
			w.trouble(one, func(end string) { w.wires.delay(end, w.within(10*time.Second)) })
		case act < 9:
			w.count("leaders move")
			w.cluster.ShufflePartitionLeaders()
		case act < 10:
			w.count("coordinators move")
			w.cluster.RehashCoordinators()
		case act < 11:
			w.count("partition moves")
			_ = w.cluster.MoveTopicPartition(topic, w.random.Int32N(w.plan.partitions), w.random.Int32N(brokers))
		case act < 12:
			w.count("broker cut off")
			w.stopBroker(w.wires.cut)
		case act < 13:
			w.count("broker silent")
			w.stopBroker(w.wires.silence)
		case act < 14:
			w.count("broker slow")
			w.stopBroker(func(end string) { w.wires.delay(end, w.within(10*time.Second)) })
		case act < 15:
			w.count("broker removed")
			w.removeBroker()
		case act < 17 && w.plan.protocol == "classic":
			w.count("member removed")
			one.excuse()
			w.remove(func(m kfake.GroupMember) bool { return m.ClientID == one.end() })
		default:
			w.answerWrong()
		}
	}
}

// trouble is what a member has with its network for a while.
func (w *world) trouble(one *member, begin func(end string)) {
	one.excuse()
	begin(one.end())
	time.Sleep(w.within(2 * time.Minute))
	w.wires.mend(one.end())
	one.excuse()
}

// within draws a time below d.
func (w *world) within(d time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(d)))
}

func (w *world) count(kind string) { w.faults[kind]++ }

// stopBroker makes trouble with a broker for a while. What it leads and coordinates waits, or moves away and perhaps back.
func (w *world) stopBroker(begin func(end string)) {
	port := fmt.Sprint(ports[w.random.IntN(brokers)])
	begin(port)
	time.Sleep(w.within(20 * time.Second))
	for tries := 0; tries < 5 && w.random.IntN(4) > 0; tries++ {
		w.cluster.ShufflePartitionLeaders()
		w.cluster.RehashCoordinators()
		time.Sleep(w.within(20 * time.Second))
	}
	w.wires.mend(port)
}

// removeBroker takes a broker out of the cluster, and adds it again later.
func (w *world) removeBroker() {
	node := w.random.Int32N(brokers)
	port := ports[node]
	w.wires.cut(fmt.Sprint(port))
	if err := w.cluster.RemoveNode(node); err != nil {
		w.Errorf("remove broker %d: %v", node, err)
	}
	time.Sleep(w.within(time.Minute))
	if _, _, err := w.cluster.AddNode(node, port); err != nil {
		w.Errorf("add broker %d: %v", node, err)
	}
	w.wires.mend(fmt.Sprint(port))
}

// answerWrong makes brokers answer some requests with an error: some times, or for a while.
func (w *world) answerWrong() {
	w.count("errors")
	fault := kfake.Fault{Keys: []kmsg.Key{requests[w.random.IntN(len(requests))]}, Err: codes[w.random.IntN(len(codes))], Count: 1 + w.random.IntN(10)}
	if w.random.IntN(2) == 0 {
		fault.TopLevel = true
	}
	if fault.Err == kerr.DuplicateSequenceNumber {
		fault.Err = kerr.OutOfOrderSequenceNumber // a broker that says so has stored the batch before: to say so here would be a lie
	}
	lasting := time.Duration(w.random.IntN(60)) * time.Second
	if w.random.IntN(3) == 0 {
		fault.Count = -1
	}
	w.log.Info("brokers answer wrong", "request", fault.Keys[0].Name(), "error", fault.Err.Message, "count", fault.Count, "top_level", fault.TopLevel, "for", lasting)
	handle := w.cluster.Fault(fault)
	time.Sleep(lasting)
	handle.Remove()
	w.log.Info("brokers answer right again", "hits", handle.Hits())
}

// heal ends what is broken, and lets what it has done pass.
func (w *world) heal() {
	time.Sleep(5 * time.Minute)
	w.mu.Lock()
	w.healthy = true
	w.mu.Unlock()
	w.keepOneAlive()
}

func (w *world) keepOneAlive() {
	if len(w.working()) == 0 {
		w.join()
	}
}

// evict takes members out of the group that are gone, as a real coordinator does at the end of their session. The in-process
// one keeps a member for ever that went away while the group was waiting for it to join, and some groups in which members have
// joined and left at once never cease to prepare for a rebalance: then all are to join again.
func (w *world) evict() {
	info := w.cluster.GroupInfo(group)
	if info == nil || w.plan.protocol == "consumer" {
		return
	}
	alive := map[string]bool{}
	if info.State != "PreparingRebalance" {
		w.preparing = time.Now()
	}
	if time.Since(w.preparing) < 5*time.Minute { // longer than any rebalance may take
		for _, m := range w.working() {
			alive[m.end()] = true
		}
	}
	w.remove(func(m kfake.GroupMember) bool { return !alive[m.ClientID] })
}

// remove has the coordinator forget members, as it does when their sessions time out.
func (w *world) remove(which func(kfake.GroupMember) bool) {
	info := w.cluster.GroupInfo(group)
	if info == nil {
		return
	}
	client := w.client()
	defer client.Close()
	for _, m := range info.Members {
		if which(m) {
			request := kmsg.NewPtrLeaveGroupRequest()
			request.Group, request.MemberID = group, m.MemberID
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID = m.MemberID
			request.Members = append(request.Members, member)
			_, _ = request.RequestWith(w.Context(), client)
		}
	}
}

// stopAll lets all members end.
func (w *world) stopAll() {
	for _, m := range w.working() {
		m.leave()
	}
	for _, m := range w.members {
		<-m.done
	}
}
