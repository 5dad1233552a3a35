package kafka_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
)

// commit commits an offset for the group, as a tool does while no member is there.
func (b *bubble) commit(partition int32, offset int64, metadata *string) {
	b.t.Helper()
	b.commitOf("orders", partition, offset, metadata)
}

func (b *bubble) commitOf(name string, partition int32, offset int64, metadata *string) {
	b.t.Helper()
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.Generation = "group", -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = name
	commit := kmsg.NewOffsetCommitRequestTopicPartition()
	commit.Partition, commit.Offset, commit.LeaderEpoch, commit.Metadata = partition, offset, 0, metadata
	topic.Partitions = append(topic.Partitions, commit)
	request.Topics = append(request.Topics, topic)
	client := b.raw(kgo.MaxVersions(kversion.V3_4_0())) // later ones name topics by their ids
	defer client.Close()
	response, err := request.RequestWith(b.t.Context(), client)
	if err != nil || response.Topics[0].Partitions[0].ErrorCode != 0 {
		b.t.Fatal(err, response)
	}
}

// What is carried along to another offset, as MirrorMaker does with metadata, is not believed there.
func TestProgressIsOfItsOffsetAlone(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records, keys, stuck = 100, 10, 20
		b.seedKeys(records, keys)
		cfg := b.consumer()
		cfg.Concurrency, cfg.CommitInterval = 4, time.Hour
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Offset == stuck || msg.Offset >= 2*stuck {
				return kafka.NewTransientError("busy", nil).WithRetryAfter(time.Hour)
			}
			return nil
		})
		time.Sleep(time.Minute)
		if err := stop(); err != nil || b.committed(0) != stuck {
			t.Fatalf("Start returned %v, committed %d", err, b.committed(0))
		}
		told := b.cluster.GroupInfo("group").Commits["orders"][0].Metadata
		if told == "" {
			t.Fatal("no progress was told: the test proves nothing")
		}
		b.commit(0, 50, &told) // nothing from 40 on was ever done
		var mu sync.Mutex
		seen := map[int64]bool{}
		_, stop = b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			mu.Lock()
			defer mu.Unlock()
			seen[msg.Offset] = true
			return nil
		})
		time.Sleep(time.Minute)
		if err := stop(); err != nil || len(seen) != 50 || b.committed(0) != records {
			t.Errorf("Start returned %v; %d of 50 records were handled, committed %d", err, len(seen), b.committed(0))
		}
	})
}
