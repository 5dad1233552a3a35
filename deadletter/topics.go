package deadletter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// Topic is a dead letter topic at a glance, without reading it.
type Topic struct {
	Name       string    // of the dead letter topic
	Partitions int       // how many it has
	Records    int64     // an upper bound: offsets between beginning and end, letters that were sent back and marks among them
	Unsettled  int64     // of them, those from the first pending letter on; all of them if there was no redrive
	Newest     time.Time // when the latest was written; zero if there is none
	Running    bool      // a redrive is running
	Err        error     // why nothing more is known of it
}

// Topics returns the topics of these names or, without names, all that are named like dead letter topics: dlq-*, dlq.*, *-dlq, *.dlq,
// *-dlt, *.DLT.
func Topics(ctx context.Context, client *kafka.Client, names ...string) ([]Topic, error) {
	if len(names) == 0 {
		var err error
		if names, err = lettersTopics(ctx, client); err != nil {
			return nil, err
		}
	}
	var all []Topic
	for _, name := range names {
		t := Topic{Name: name}
		t.Err = t.glance(ctx, client)
		all = append(all, t)
	}
	return all, nil
}

func lettersTopics(ctx context.Context, client *kafka.Client) (names []string, err error) {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = nil // all
	response, err := request.RequestWith(ctx, client.KGO())
	if err != nil {
		return nil, fmt.Errorf("deadletter: list topics: %w", err)
	}
	for _, topic := range response.Topics {
		if topic.Topic != nil && sourceOf(*topic.Topic) != "" && topic.ErrorCode == 0 {
			names = append(names, *topic.Topic)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (t *Topic) glance(ctx context.Context, client *kafka.Client) error {
	r, err := open(ctx, client, t.Name)
	if err != nil {
		return err
	}
	t.Partitions = int(r.found.partitions())
	starts, ends, err := r.bounds(ctx)
	if err != nil {
		return err
	}
	settled, err := r.positions(ctx)
	if err != nil {
		return err
	}
	for partition, end := range ends {
		base := starts[partition]
		t.Records += end - base
		if at, ok := settled[partition]; ok && at.offset <= end {
			base = max(base, at.offset)
		}
		t.Unsettled += end - base
	}
	latest, err := kadm.NewClient(client.KGO()).ListMaxTimestampOffsets(ctx, t.Name)
	if err == nil { // brokers before 3.0 don't say
		latest.Each(func(o kadm.ListedOffset) {
			if o.Err == nil && o.Timestamp > 0 {
				t.Newest = later(t.Newest, time.UnixMilli(o.Timestamp).UTC())
			}
		})
	}
	t.Running = r.running(ctx)
	return nil
}
