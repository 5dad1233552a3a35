//go:build synctests

package kafka_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// A member that the coordinator has removed may hear of it otherwise than by a heartbeat. Its partitions are lost then: it begins no
// record more, commits nothing of them when it has joined again, and goes on from what is committed.
func TestARemovedMemberLetsGo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		commits  time.Duration // CommitInterval
		another  bool          // member takes the partitions over, and handles all that is there
		rejoins  bool          // the member joins again for another reason
		instance string
	}{
		"hears by a commit":                      {commits: 8 * time.Second, another: true},
		"hears by a commit, and nobody else is":  {commits: 8 * time.Second},
		"hears by a join":                        {commits: 2 * time.Minute, another: true, rejoins: true},
		"hears by a join, and nobody else is":    {commits: 2 * time.Minute, rejoins: true},
		"static, hears by a commit, nobody else": {commits: 8 * time.Second, instance: "one"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				const records = 20000
				b.seed(0, records)
				b.seed(1, records)
				highest := b.watchCommits()
				cfg := b.consumer()
				cfg.CommitInterval, cfg.InstanceID, cfg.ClientID = c.commits, c.instance, "first"
				cfg.Options = append(cfg.Options, kgo.HeartbeatInterval(20*time.Second), kgo.MetadataMaxAge(2*time.Second))
				var heard, late, again atomic.Int64
				consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
					switch {
					case b.lost.Load() > 0:
						again.Add(1)
					case heard.Load() > 0 && time.Now().UnixNano() > heard.Load():
						late.Add(1)
					}
					time.Sleep(10 * time.Millisecond)
					return nil
				}, kafka.ConsumerHooks{OffsetsCommitted: func(err error) {
					if err != nil {
						heard.CompareAndSwap(0, time.Now().UnixNano())
					}
				}})
				time.Sleep(5 * time.Second)
				if n := len(consumer.Health().Partitions); n != 2 {
					t.Fatalf("%d partitions assigned, want 2", n)
				}
				if c.another {
					other := b.consumer()
					other.CommitInterval = 100 * time.Millisecond
					other.Options = append(other.Options, kgo.HeartbeatInterval(time.Second))
					_, stopOther := b.start(other, func(context.Context, kafka.Message[numbered]) error { return nil })
					defer func() { _ = stopOther() }()
					time.Sleep(20 * time.Second) // the first hears of it at its heartbeat
				}
				b.remove("first", c.instance)
				if c.rejoins {
					time.Sleep(2 * time.Second) // until the other one has them
					b.addPartition()
					heard.Store(time.Now().Add(8 * time.Second).UnixNano())
				}
				time.Sleep(40 * time.Second)
				if b.lost.Load() == 0 || again.Load() == 0 && !c.another {
					t.Errorf("nothing was lost, or not begun anew: %d;\n%s", again.Load(), b.log.String())
				}
				if n := late.Load(); n > 0 {
					t.Errorf("%d records were begun after the member had heard", n)
				}
				time.Sleep(10 * time.Minute)
				if b.committed(0) != records || b.committed(1) != records {
					t.Errorf("committed %d and %d, want %d;\n%s", b.committed(0), b.committed(1), records, b.log.String())
				}
				highest()
				_ = stop()
			})
		})
	}
}

// franz-go keeps the marks of before, and may commit them as the member that it goes on as before anybody has been told of that one.
func TestPeriodicCommitsLeaveOutWhatAnEarlierMemberHad(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		consumer, stop := b.start(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return nil })
		time.Sleep(time.Second)
		commits := func(member string) bool {
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic, topic.Partitions = "orders", []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 7}}
			return kafka.CoreOf(consumer).DropUnassigned(&kmsg.OffsetCommitRequest{MemberID: member, Topics: []kmsg.OffsetCommitRequestTopic{topic}})
		}
		own := b.cluster.GroupInfo("group").Members[0].MemberID
		if !commits(own) || commits("another") {
			t.Errorf("its own: %v; an earlier member's: %v", commits(own), commits("another"))
		}
		kafka.CoreOf(consumer).EvictAll()
		if commits(own) {
			t.Error("what is disowned is committed")
		}
		_ = stop()
	})
}

// watchCommits reports offsets that the coordinator takes and that are below an earlier one.
func (b *bubble) watchCommits() (check func()) {
	var mu sync.Mutex
	highest, taken := map[int32]int64{}, 0
	b.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		request := r.(*kmsg.OffsetCommitRequest)
		for _, m := range b.cluster.GroupInfo("group").Members {
			if m.MemberID != request.MemberID {
				continue
			}
			for _, p := range request.Topics[0].Partitions {
				if taken++; p.Offset < highest[p.Partition] {
					b.t.Errorf("partition %d was committed at %d, and then at %d", p.Partition, highest[p.Partition], p.Offset)
				}
				highest[p.Partition] = p.Offset
			}
		}
		return nil, nil, false
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if taken == 0 {
			b.t.Error("no commit was seen")
		}
	}
}

// remove has the coordinator forget a client's member, as it does when a session times out.
func (b *bubble) remove(client, instance string) {
	b.t.Helper()
	member := kmsg.NewLeaveGroupRequestMember()
	for _, m := range b.cluster.GroupInfo("group").Members {
		if m.ClientID == client {
			member.MemberID = m.MemberID
		}
	}
	if instance != "" {
		member.InstanceID = &instance
	}
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group, request.MemberID, request.Members = "group", member.MemberID, []kmsg.LeaveGroupRequestMember{member}
	by := b.raw()
	defer by.Close()
	if _, err := request.RequestWith(b.t.Context(), by); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bubble) addPartition() {
	b.t.Helper()
	client := b.raw()
	defer client.Close()
	if _, err := kadm.NewClient(client).CreatePartitions(b.t.Context(), 1, "orders"); err != nil {
		b.t.Fatal(err)
	}
}
