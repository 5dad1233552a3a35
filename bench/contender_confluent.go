//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// confluent-kafka-go, which is librdkafka: it needs cgo, and is left out without. Its memory is C's, which the allocations
// don't count. Poll hands out one message after another, so that each partition's are passed to a goroutine of its own,
// with a long queue: a full one would stop all partitions.
var confluent = contender{
	name: "confluent", module: "github.com/confluentinc/confluent-kafka-go/v2",
	workloads: []string{"drain", "slow", "produce-async", "produce-sync", "latency"},
	lanes:     partitions,
	consuming: "Poll, a goroutine for each partition with up to 10,000 messages before it, StoreMessage; enable.auto.offset.store=false, auto.commit.interval.ms=1000, cooperative-sticky, " +
		"fetch.queue.backoff.ms=10: by default fetching rests for 1s when enough is queued",
	producing: "acks=all, enable.idempotence, snappy, murmur2_random, linger.ms=10, and 0 for produce-sync and latency; Produce, with Events or a delivery channel for each call; 50,000 messages in flight",
	consume:   consumeWithConfluent,
	newPublisher: func(p producing) (publisher, error) {
		return newConfluentPublisher(p)
	},
}

func confluentContenders() []contender { return []contender{confluent} }

func consumeWithConfluent(ctx context.Context, c consuming) error {
	consumer, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers":             strings.Join(c.brokers, ","),
		"group.id":                      c.group,
		"auto.offset.reset":             "earliest",
		"enable.auto.offset.store":      false,
		"auto.commit.interval.ms":       int(commitInterval.Milliseconds()),
		"partition.assignment.strategy": "cooperative-sticky",
		"fetch.queue.backoff.ms":        10,
	})
	if err != nil {
		return err
	}
	if err := consumer.Subscribe(c.topic, nil); err != nil {
		return errors.Join(err, consumer.Close())
	}
	var workers sync.WaitGroup
	queues := map[int32]chan *kafka.Message{} // closed below, which ends the workers
	for ctx.Err() == nil {
		switch event := consumer.Poll(100).(type) {
		case *kafka.Message:
			queue, has := queues[event.TopicPartition.Partition]
			if !has {
				queue = make(chan *kafka.Message, pollRecords)
				queues[event.TopicPartition.Partition] = queue
				workers.Go(func() {
					for message := range queue {
						if c.record(message.Value) == nil {
							if _, err := consumer.StoreMessage(message); err != nil {
								c.fail(err)
							}
						}
					}
				})
			}
			queue <- event // the worker always comes back
		case kafka.Error:
			if event.IsFatal() {
				c.fail(event)
			}
		}
	}
	for _, queue := range queues {
		close(queue)
	}
	workers.Wait()
	return consumer.Close() // commits what is stored
}

type confluentPublisher struct {
	producer *kafka.Producer
	topic    string
	blocking bool
	room     chan struct{} // its slots are taken by messages on their way
	outcomes sync.WaitGroup
	failed   firstError
}

func newConfluentPublisher(p producing) (publisher, error) {
	linger := 10
	if p.mode != throughput {
		linger = 0
	}
	producer, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers":  strings.Join(p.brokers, ","),
		"acks":               "all",
		"enable.idempotence": true,
		"compression.type":   "snappy",
		"partitioner":        "murmur2_random", // as the Java client, and kgo
		"linger.ms":          linger,
	})
	if err != nil {
		return nil, err
	}
	c := &confluentPublisher{producer: producer, topic: p.topic, blocking: p.mode == blocking, room: make(chan struct{}, inFlight)}
	c.outcomes.Go(c.readOutcomes)
	return c, nil
}

// readOutcomes ends when the producer is closed.
func (p *confluentPublisher) readOutcomes() {
	for event := range p.producer.Events() {
		switch event := event.(type) {
		case *kafka.Message:
			p.failed.note(event.TopicPartition.Error)
			<-p.room
		case kafka.Error:
			if event.IsFatal() {
				p.failed.note(event)
			}
		}
	}
}

func (p *confluentPublisher) publish(ctx context.Context, o order) error {
	value, err := json.Marshal(o)
	if err != nil {
		return err
	}
	message := &kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &p.topic, Partition: kafka.PartitionAny},
		Key:            []byte(o.Customer), Value: value,
	}
	if p.blocking {
		delivered := make(chan kafka.Event, 1)
		if err := p.producer.Produce(message, delivered); err != nil {
			return err
		}
		select {
		case event := <-delivered:
			return event.(*kafka.Message).TopicPartition.Error
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.producer.Produce(message, nil)
}

func (p *confluentPublisher) flush(ctx context.Context) error {
	if err := fillUp(ctx, p.room); err != nil {
		return err
	}
	return p.failed.get()
}

func (p *confluentPublisher) close() {
	p.producer.Close()
	p.outcomes.Wait()
}
