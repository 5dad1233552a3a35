//go:build synctests

package kafka_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/engine"
)

// Handovers amid periodic commits. The build tag is franz-go's: its locks don't stop virtual time then.

// A partition that drains longer than another one has commits without what earlier owners had told of it. The handover's says it.
func TestAHandoverTellsWhatEarlierOwnersTold(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const partitions, records = 4, 100
		for id := range int32(partitions) {
			b.seed(id, records)
			told := progressMetadata(20, 21, records)
			b.commit(id, 20, &told) // all is done, but for one record
		}
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DrainTimeout = 200*time.Millisecond, 20*time.Second
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			time.Sleep([]time.Duration{9, 9, 6, 9}[msg.Partition] * time.Second) // from then on each of them drains
			return nil
		})
		time.Sleep(2 * time.Second)
		var again atomic.Int32
		_, stopOther := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			again.Add(1)
			return nil
		})
		time.Sleep(time.Minute)
		if n := again.Load(); n > 0 {
			t.Errorf("%d records were handled again:\n%s", n, b.log.String())
		}
		_, _ = stopOther(), stop()
	}, kfake.SeedTopics(4, "orders", "dlq-orders"))
}

// progressMetadata is the metadata of a commit of offset committed when the records from first up to end, end left out, are done.
func progressMetadata(committed, first, end int64) string {
	o := engine.NewOffsets(func(kgo.EpochOffset) {})
	o.Begin(committed, 0)
	for offset := first; offset < end; offset++ {
		place, _ := o.Begin(offset, 0)
		o.Done(place)
	}
	return o.Metadata(committed)
}

// A coordinator that stands still for longer than commitTimeout, with a periodic commit on its way.
func TestAHandoverCommitsAfterAPeriodicCommitThatTookLong(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 10000)
		b.seed(1, 10000)
		var slow atomic.Bool
		b.cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if b.revoked.Load() > 0 && slow.CompareAndSwap(false, true) {
				b.cluster.SleepControl(func() { time.Sleep(kafka.CommitTimeout + 3*time.Second) })
			}
			return nil, nil, false
		})
		cfg := b.consumer()
		cfg.CommitInterval = 300 * time.Millisecond
		var done [2]atomic.Int64
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			time.Sleep([]time.Duration{10 * time.Millisecond, 1900 * time.Millisecond}[msg.Partition])
			done[msg.Partition].Store(msg.Offset + 1)
			return nil
		})
		time.Sleep(5 * time.Second)
		var mu sync.Mutex
		began := map[int32]int64{}
		_, stopOther := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			time.Sleep(10 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			if _, ok := began[msg.Partition]; !ok {
				began[msg.Partition] = msg.Offset
				if at := done[msg.Partition].Load(); at != msg.Offset {
					t.Errorf("orders-%d is done to %d, the other member began at %d", msg.Partition, at, msg.Offset)
				}
			}
			return nil
		})
		time.Sleep(20 * time.Second)
		mu.Lock()
		if !slow.Load() || len(began) == 0 {
			t.Error("no handover, or no slow commit: the test proves nothing")
		}
		mu.Unlock()
		_, _ = stopOther(), stop()
	})
}

// While a handover's commit is refused and tried again, the member's other partitions go on, and their offsets never go back.
func TestAHandoverTakesNoOffsetBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 20000)
		b.seed(1, 20000)
		var mu sync.Mutex
		highest := map[int32]int64{}
		member, commits := "", 0
		b.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			request := r.(*kmsg.OffsetCommitRequest)
			if member == "" {
				member = request.MemberID
			}
			if member != request.MemberID {
				return nil, nil, false
			}
			if b.revoked.Load() > 0 && commits < 20 {
				if commits++; commits%2 == 1 { // a periodic one may come between two tries
					return refuseCommit(request, kerr.NotEnoughReplicas), nil, true
				}
			}
			for _, topic := range request.Topics {
				for _, p := range topic.Partitions {
					if p.Offset < highest[p.Partition] {
						t.Errorf("partition %d was committed at %d, and then at %d", p.Partition, highest[p.Partition], p.Offset)
					}
					highest[p.Partition] = p.Offset
				}
			}
			return nil, nil, false
		})
		cfg := b.consumer()
		cfg.CommitInterval = 130 * time.Millisecond
		handle := func(context.Context, kafka.Message[numbered]) error {
			time.Sleep(10 * time.Millisecond)
			return nil
		}
		_, stop := b.start(cfg, handle)
		time.Sleep(3 * time.Second)
		other := b.consumer()
		other.CommitInterval = time.Hour
		_, stopOther := b.start(other, handle)
		time.Sleep(15 * time.Second)
		mu.Lock()
		if commits < 20 {
			t.Errorf("%d commits since the handover began: the test proves nothing", commits)
		}
		mu.Unlock()
		_, _ = stopOther(), stop()
	})
}

// A member that is thrown out joins again in the same epoch, with a commit of the time before still on its way. What that commit
// says is not handled again.
func TestASessionBeginsAfterTheCommitsOfTheOneBefore(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 100
		b.seed(0, records)
		var slow, thrownOut atomic.Bool
		b.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if r.(*kmsg.OffsetCommitRequest).Topics[0].Partitions[0].Offset == records && slow.CompareAndSwap(false, true) {
				b.cluster.SleepControl(func() { time.Sleep(20 * time.Second) })
			}
			return nil, nil, false
		})
		b.cluster.ControlKey(int16(kmsg.ConsumerGroupHeartbeat), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if slow.Load() && thrownOut.CompareAndSwap(false, true) {
				response := r.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
				response.ErrorCode = kerr.FencedMemberEpoch.Code
				return response, nil, true
			}
			return nil, nil, false
		})
		cfg := b.consumer()
		cfg.GroupProtocol, cfg.CommitInterval = "consumer", time.Second
		var mu sync.Mutex
		handled := map[int64]int{}
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			mu.Lock()
			defer mu.Unlock()
			handled[msg.Offset]++
			return nil
		})
		time.Sleep(30 * time.Second)
		_ = stop()
		if !thrownOut.Load() || b.assigned.Load() != 2 {
			t.Errorf("the test proves nothing:\n%s", b.log.String())
		}
		for offset, times := range handled {
			if times > 1 {
				t.Errorf("offset %d was handled %d times", offset, times)
			}
		}
		if at := b.committed(0); at != records {
			t.Errorf("committed at %d", at)
		}
	})
}

// A periodic commit that comes between a handover's and its end says nothing of the partition any more: it would say that nothing is
// done beyond the offset.
func TestNoPeriodicCommitFollowsAHandovers(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 100
		for id := range int32(2) {
			b.seed(id, records)
			b.commit(id, 10, nil)
		}
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DrainTimeout, cfg.Concurrency = 300*time.Millisecond, time.Second, 2
		var done atomic.Int32
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Offset == 10 {
				time.Sleep(30 * time.Second)
			}
			done.Add(1)
			return nil
		}, kafka.ConsumerHooks{OffsetsCommitted: func(error) {
			time.Sleep(time.Second) // as a process may that has to wait for a processor
		}})
		time.Sleep(5 * time.Second)
		if n := done.Load(); n != 2*(records-11) {
			t.Errorf("%d records are done: the test proves nothing", n)
		}
		var again atomic.Int32
		_, stopOther := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			again.Add(1)
			return nil
		})
		time.Sleep(40 * time.Second)
		if n := again.Load(); n != 1 {
			t.Errorf("%d records were handled by the next owner, want the one that hangs", n)
		}
		_, _ = stopOther(), stop()
	})
}

// A handler that ignores its context ends long after its partition was handed over. Its member goes on committing others.
func TestAHandoverFencesWhatFinishesAfterIt(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 1000
		b.seed(0, records)
		b.seed(1, records)
		var mu sync.Mutex
		highest := map[int32]int64{}
		b.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			mu.Lock()
			defer mu.Unlock()
			for _, topic := range r.(*kmsg.OffsetCommitRequest).Topics {
				for _, p := range topic.Partitions {
					if p.Offset < highest[p.Partition] {
						t.Errorf("partition %d was committed at %d, and then at %d", p.Partition, highest[p.Partition], p.Offset)
					}
					highest[p.Partition] = p.Offset
				}
			}
			return nil, nil, false
		})
		cfg := b.consumer()
		cfg.CommitInterval, cfg.DrainTimeout = 300*time.Millisecond, time.Second
		var ended atomic.Int32
		consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Offset == 0 {
				time.Sleep(30 * time.Second)
				ended.Add(1)
			}
			return nil
		})
		time.Sleep(5 * time.Second)
		core := kafka.CoreOf(consumer)
		before := []interface{ Fenced() bool }{core.Assigned(0), core.Assigned(1)}
		_, stopOther := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(20 * time.Second)
		mu.Lock()
		if len(highest) != 1 || ended.Load() != 0 {
			t.Errorf("committed %v, %d of the handlers that hang ended: the test proves nothing", highest, ended.Load())
		}
		mu.Unlock()
		time.Sleep(20 * time.Second)
		if b.committed(0) != records || b.committed(1) != records || ended.Load() != 2 {
			t.Errorf("committed %d and %d, want %d; %d handlers that hang ended", b.committed(0), b.committed(1), records, ended.Load())
		}
		for id, p := range before { // a mark may come late, too
			if p.Fenced() == (p == core.Assigned(int32(id))) {
				t.Errorf("partition %d: fenced %v", id, p.Fenced())
			}
		}
		_, _ = stopOther(), stop()
	})
}

// refuseCommit answers a commit.
func refuseCommit(request *kmsg.OffsetCommitRequest, code *kerr.Error) kmsg.Response {
	response := request.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, topic := range request.Topics {
		answer := kmsg.NewOffsetCommitResponseTopic()
		answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
		for _, p := range topic.Partitions {
			part := kmsg.NewOffsetCommitResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, code.Code
			answer.Partitions = append(answer.Partitions, part)
		}
		response.Topics = append(response.Topics, answer)
	}
	return response
}

// A member that leaves while the group rebalances, as the group's leader, commits what it has finished. The group's other member consumes
// another topic, so that the leader asks the brokers about that before it divides the partitions, and leaving cancels what it asks.
func TestALeaderThatLeavesDuringARebalanceCommits(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 10
		b.seed(0, records)
		b.seed(1, records)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		cfg.Options = append(cfg.Options, kgo.HeartbeatInterval(time.Second))
		var handled atomic.Int32
		_, stopLeader := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			handled.Add(1)
			return nil
		})
		time.Sleep(10 * time.Second)
		other := b.consumer()
		other.Topic, other.DLQTopic = "payments", "dlq-orders"
		other.Options = append(other.Options, kgo.HeartbeatInterval(25*time.Second))
		_, stopOther := b.start(other, func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(10 * time.Second)
		third := b.consumer()
		third.Topic, third.DLQTopic = "refunds", "dlq-orders"
		_, stopThird := b.start(third, func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(5 * time.Second) // the leader has heard of it, and waits for the other to hear of it
		if n := handled.Load(); n != 2*records {
			t.Fatalf("%d handled, want %d", n, 2*records)
		}
		if err := stopLeader(); err != nil {
			t.Errorf("Start: %v", err)
		}
		if at := b.committed(0) + b.committed(1); at != 2*records || b.lost.Load() > 0 {
			t.Errorf("%d committed, want %d; partitions were lost %d times:\n%s", at, 2*records, b.lost.Load(), b.log.String())
		}
		_, _ = stopThird(), stopOther()
	}, kfake.SeedTopics(2, "orders", "dlq-orders", "payments", "refunds"))
}
