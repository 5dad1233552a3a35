package kafka_test

import (
	"context"
	"sync"
	"testing"

	"github.com/skeji/kafka"
)

// BenchmarkRequest measures round trips, which take two publishes each: one after another, and a thousand at once.
func BenchmarkRequest(b *testing.B) {
	brokers := benchBrokers(b)
	requests, replyTopic := benchTopic(b, brokers), benchTopic(b, brokers)
	producerCfg := kafka.NewProducerConfig(replyTopic, brokers...)
	replies, err := kafka.NewProducer[order](producerCfg)
	if err != nil {
		b.Fatal(err)
	}
	defer replies.Close()
	cfg := kafka.NewConsumerConfig(requests, "responders-of-"+requests, brokers...)
	cfg.DisableDeadLetters, cfg.Concurrency, cfg.Logger = true, 1000, quiet
	consumer, err := kafka.NewConsumer(cfg, kafka.Respond(replies, func(_ context.Context, msg kafka.Message[order]) (order, error) {
		return msg.Value, nil
	}))
	if err != nil {
		b.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := consumer.Start(context.Background()); err != nil {
			b.Error(err)
		}
	})
	defer running.Wait()
	defer consumer.Close()
	requester, err := kafka.NewRequester[order, order](kafka.NewRequesterConfig(requests, replyTopic, brokers...))
	if err != nil {
		b.Fatal(err)
	}
	defer requester.Close()
	ask := func() {
		if _, err := requester.Request(context.Background(), kafka.NewMessage[order]().WithValue(newOrder(1)).Build()); err != nil {
			b.Error(err)
		}
	}
	ask() // the group is joined

	b.Run("one after another", func(b *testing.B) {
		const n = 500
		measure(b, n, func() {
			for range n {
				ask()
			}
		})
	})
	b.Run("a thousand at once", func(b *testing.B) {
		const callers, each = 1000, 20
		measure(b, callers*each, func() {
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for range each {
						ask()
					}
				})
			}
			all.Wait()
		})
	})
}
