package main

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	watermillkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

// Watermill's router on its Kafka subscriber, which is Sarama's consumer group: each partition's next message comes once the
// one before is acked. It logs nothing. Its publisher blocks and sends what it is given one by one, so that publishing in the
// background takes goroutines.
var watermillRouter = contender{
	name: "watermill", module: "github.com/ThreeDotsLabs/watermill-kafka/v3",
	workloads: []string{"drain", "slow", "produce-async", "produce-sync", "latency"},
	lanes:     partitions,
	consuming: "message.Router with AddConsumerHandler, no middleware; Sarama's settings as above",
	producing: "Publisher with a partitioning marshaler; Sarama's settings as above; in the background, 1,000 goroutines that each publish the messages of some keys",
	consume:   consumeWithWatermill,
	newPublisher: func(p producing) (publisher, error) {
		return newWatermillPublisher(p)
	},
}

func consumeWithWatermill(ctx context.Context, c consuming) error {
	subscriber, err := watermillkafka.NewSubscriber(watermillkafka.SubscriberConfig{
		Brokers: c.brokers, ConsumerGroup: c.group,
		Unmarshaler:           watermillkafka.DefaultMarshaler{},
		OverwriteSaramaConfig: watermillConsuming(),
	}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	router.AddConsumerHandler("orders", c.topic, subscriber, func(msg *message.Message) error {
		return c.record(msg.Payload)
	})
	return router.Run(ctx)
}

// watermillConsuming reads errors, as Watermill's own settings do: its subscriber takes them from Sarama's channel.
func watermillConsuming() *sarama.Config {
	cfg := saramaConsuming()
	cfg.Consumer.Return.Errors = true
	return cfg
}

const keyMetadata = "key"

// watermillPublisher has senders in the background, but when it is to block. They end when their queues are closed.
type watermillPublisher struct {
	publisher *watermillkafka.Publisher
	topic     string
	queues    []chan order // by customer, so that a key's messages stay in order
	senders   sync.WaitGroup
	room      chan struct{} // its slots are taken by messages on their way
	failed    firstError
}

func newWatermillPublisher(p producing) (publisher, error) {
	inner, err := watermillkafka.NewPublisher(watermillkafka.PublisherConfig{
		Brokers: p.brokers,
		Marshaler: watermillkafka.NewWithPartitioningMarshaler(func(_ string, msg *message.Message) (string, error) {
			return msg.Metadata.Get(keyMetadata), nil
		}),
		OverwriteSaramaConfig: saramaProducing(),
	}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	w := &watermillPublisher{publisher: inner, topic: p.topic, room: make(chan struct{}, inFlight)}
	if p.mode == blocking {
		return w, nil
	}
	for range customers {
		queue := make(chan order, inFlight/customers)
		w.queues = append(w.queues, queue)
		w.senders.Go(func() {
			for o := range queue {
				w.failed.note(w.send(o))
				<-w.room
			}
		})
	}
	return w, nil
}

func (p *watermillPublisher) publish(ctx context.Context, o order) error {
	if len(p.queues) == 0 {
		return p.send(o)
	}
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.queues[customerNumber(o)] <- o
	return nil
}

func (p *watermillPublisher) send(o order) error {
	value, err := json.Marshal(o)
	if err != nil {
		return err
	}
	msg := message.NewMessage(watermill.NewUUID(), value)
	msg.Metadata.Set(keyMetadata, o.Customer)
	return p.publisher.Publish(p.topic, msg)
}

func (p *watermillPublisher) flush(ctx context.Context) error {
	if err := fillUp(ctx, p.room); err != nil {
		return err
	}
	return p.failed.get()
}

func (p *watermillPublisher) close() {
	for _, queue := range p.queues {
		close(queue)
	}
	p.senders.Wait()
	_ = p.publisher.Close()
}
