package kafka_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// deleteRecords deletes records of a partition of orders below an offset, as retention would.
func (b *bubble) deleteRecords(partition int32, below int64) {
	b.t.Helper()
	b.deleteRecordsOf("orders", partition, below)
}

func (b *bubble) deleteRecordsOf(name string, partition int32, below int64) {
	b.t.Helper()
	client := b.raw()
	defer client.Close()
	request := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = name
	at := kmsg.NewDeleteRecordsRequestTopicPartition()
	at.Partition, at.Offset = partition, below
	topic.Partitions = append(topic.Partitions, at)
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(b.t.Context(), client)
	if err != nil || response.Topics[0].Partitions[0].ErrorCode != 0 {
		b.t.Fatal(err, response)
	}
}

// Promise 3. Records that retention deletes before anybody has handled them are gone, but not without a word. Those that were
// handled, or were there before the group was, are nobody's loss.
func TestDeletedRecordsAreTold(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		good := func(context.Context, kafka.Message[numbered]) error { return nil }
		consume := func() {
			t.Helper()
			_, stop := b.start(b.consumer(), good)
			time.Sleep(time.Minute)
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		b.seed(0, 20)
		b.deleteRecords(0, 5)
		consume()
		b.deleteRecords(0, 20)
		b.seed(0, 20)
		consume()
		if n := b.log.count(slog.LevelError, "from", "to"); n != 0 {
			t.Errorf("told of %d deletions, and nobody's records were deleted", n)
		}
		b.seed(0, 20)
		b.deleteRecords(0, 50)
		consume()
		if n := b.log.count(slog.LevelError, "partition=0", "from=40", "to=50"); n != 1 || b.log.count(slog.LevelError, "from") != 1 {
			t.Errorf("told %d times, want once, from 40 to 50:\n%s", n, b.log.String())
		}
	})
}
