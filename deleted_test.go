package kafka

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
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
	inBubble(t, func(t *testing.T, b *bubble) {
		good := func(context.Context, Message[numbered]) error { return nil }
		const text = "records were deleted before they were handled"
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
		if n := b.log.count(text); n != 0 {
			t.Errorf("told of %d deletions, and nobody's records were deleted", n)
		}
		b.seed(0, 20)
		b.deleteRecords(0, 50)
		consume()
		if n := b.log.count(text); n != 1 || !strings.Contains(b.log.text.String(), "from=40 to=50") {
			t.Errorf("told %d times, want once, from 40 to 50:\n%s", n, b.log.text.String())
		}
	})
}
