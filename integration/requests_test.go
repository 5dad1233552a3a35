package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// Two requesters share a partition of the reply topic; each request gets its own reply, or its error.
func TestRequestsGetTheirReplies(t *testing.T) {
	t.Parallel()
	seeds := brokers(t)
	name := "requests-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:8]
	cfg := kafka.NewConsumerConfig(name, name+"-group", seeds...)
	cfg.ConnectTimeout = accessPatience
	client, err := kafka.NewClient(cfg.ClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	list := topics.List{topics.New(name, 2), topics.New(name+"-replies", 3)}.WithDeadLetters(cfg)
	deleteAfter(t, client, list)
	if err := topics.Ensure(t.Context(), client, list...); err != nil {
		t.Fatal(err)
	}
	producerCfg := kafka.NewProducerConfig(name+"-replies", seeds...)
	producerCfg.Client = client
	replies, err := kafka.NewProducer[int](producerCfg)
	if err != nil {
		t.Fatal(err)
	}
	defer replies.Close()
	consumer, err := kafka.NewConsumer(cfg, kafka.Respond(replies, func(ctx context.Context, msg kafka.Message[int]) (int, error) {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("the request has no deadline")
		}
		if msg.Value < 0 {
			return 0, kafka.NewBusinessError("below zero", nil)
		}
		return 2 * msg.Value, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := consumer.Start(context.Background()); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer consumer.Close()

	const requests = 500
	var callers sync.WaitGroup
	for i := range 2 {
		cfg := kafka.NewRequesterConfig(name, name+"-replies", seeds...)
		cfg.ConnectTimeout, cfg.RequestTimeout = accessPatience, accessPatience
		cfg.ReplyPartition = new(int32(1))
		requester, err := kafka.NewRequester[int, int](cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer requester.Close()
		for n := range requests {
			callers.Go(func() {
				value := i*requests + n
				msg := kafka.NewMessage[int]().WithKey(fmt.Sprint(n)).WithValue(value).WithCorrelationID(fmt.Sprint(n)).Build()
				reply, err := requester.Request(t.Context(), msg)
				if err != nil || reply.Value != 2*value || reply.Partition != 1 {
					t.Errorf("request %d got %d from partition %d, %v", value, reply.Value, reply.Partition, err)
				}
			})
		}
		callers.Go(func() {
			_, err := requester.Request(t.Context(), kafka.NewMessage[int]().WithValue(-1).Build())
			if remote, ok := errors.AsType[*kafka.RemoteError](err); !ok || remote.Class != kafka.ClassBusiness || remote.Message != "below zero" {
				t.Errorf("the error is %v", err)
			}
		})
	}
	callers.Wait()
}
