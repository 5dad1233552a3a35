package kafka_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// Brokers choose the replica by the rack in fetch requests, of all that read: consumers and requesters.
func TestFetchesSayWhichRackTheyComeFrom(t *testing.T) {
	t.Parallel()
	for _, rack := range []string{"zone-a", ""} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.seed(0, 1)
			var mu sync.Mutex
			var seen []string
			b.cluster.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
				b.cluster.KeepControl()
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, request.(*kmsg.FetchRequest).Rack)
				return nil, nil, false
			})
			fetched := func() []string {
				mu.Lock()
				defer mu.Unlock()
				all := slices.Compact(seen)
				seen = nil
				return all
			}
			cfg := b.consumer()
			cfg.Rack, cfg.CommitInterval = rack, time.Hour
			_, stop := b.start(cfg, ignore1)
			time.Sleep(time.Minute)
			if err := stop(); err != nil {
				t.Error(err)
			}
			if got := fetched(); !slices.Equal(got, []string{rack}) {
				t.Errorf("a consumer in rack %q fetches for %q", rack, got)
			}
			asking := kafka.RequesterConfig{ClientConfig: cfg.ClientConfig, Topic: "orders", ReplyTopic: "dlq-orders"}
			requester, err := kafka.NewRequester[numbered, numbered](asking)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, _ = requester.Request(ctx, kafka.Message[numbered]{}) // nobody answers
			if err := requester.Close(); err != nil {
				t.Error(err)
			}
			if got := fetched(); !slices.Equal(got, []string{rack}) {
				t.Errorf("a requester in rack %q fetches for %q", rack, got)
			}
		})
	}
}
