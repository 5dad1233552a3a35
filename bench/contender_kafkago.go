package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// kafka-go with one Reader in the group. Reader hands out one message after another, so that each partition's are passed to a
// goroutine of its own; that one alone commits them, in order. The queues are long: a full one would stop all partitions.
var kafkaGo = contender{
	name: "kafka-go", module: "github.com/segmentio/kafka-go",
	workloads: []string{"drain", "slow", "produce-async", "produce-sync", "latency"},
	lanes:     partitions,
	consuming: "one Reader, FetchMessage, a goroutine for each partition with up to 10,000 messages before it, CommitMessages with CommitInterval 1s; MaxBytes 10 MB, QueueCapacity 1,000, MaxWait 500ms",
	producing: "RequireAll, snappy, Murmur2Balancer, BatchSize 1,000, BatchTimeout 10ms, and 1ms for produce-sync and latency; Async with Completion, 50,000 messages in flight, or blocking; it has no idempotence",
	consume:   consumeWithKafkaGo,
	newPublisher: func(p producing) (publisher, error) {
		return newKafkaGoPublisher(p), nil
	},
}

func consumeWithKafkaGo(ctx context.Context, c consuming) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.brokers, GroupID: c.group, Topic: c.topic,
		StartOffset:    kafka.FirstOffset,
		CommitInterval: commitInterval,
		MinBytes:       1,
		MaxBytes:       10e6,                   // as in its README
		QueueCapacity:  1000,                   // 100 by default
		MaxWait:        500 * time.Millisecond, // as the others
	})
	var workers sync.WaitGroup
	queues := map[int]chan kafka.Message{} // closed below, which ends the workers
	for {
		message, err := reader.FetchMessage(ctx)
		if err != nil {
			for _, queue := range queues {
				close(queue)
			}
			workers.Wait()
			if ctx.Err() != nil {
				err = nil
			}
			return errors.Join(err, reader.Close()) // Close commits what is left
		}
		queue, has := queues[message.Partition]
		if !has {
			queue = make(chan kafka.Message, pollRecords)
			queues[message.Partition] = queue
			workers.Go(func() {
				for message := range queue {
					if c.record(message.Value) == nil {
						if err := reader.CommitMessages(context.Background(), message); err != nil {
							c.fail(err)
						}
					}
				}
			})
		}
		queue <- message // the worker always comes back
	}
}

type kafkaGoPublisher struct {
	writer *kafka.Writer
	room   chan struct{} // its slots are taken by messages on their way, without which an async Writer takes any number
	failed firstError
}

func newKafkaGoPublisher(p producing) *kafkaGoPublisher {
	k := &kafkaGoPublisher{room: make(chan struct{}, inFlight)}
	k.writer = &kafka.Writer{
		Addr: kafka.TCP(p.brokers...), Topic: p.topic,
		Balancer:     kafka.Murmur2Balancer{}, // as the Java client, and kgo
		RequiredAcks: kafka.RequireAll,
		Compression:  kafka.Snappy,
		BatchSize:    1000,
		BatchTimeout: 10 * time.Millisecond,
	}
	if p.mode != throughput {
		k.writer.BatchTimeout = time.Millisecond
	}
	if p.mode != blocking {
		k.writer.Async = true
		k.writer.Completion = func(messages []kafka.Message, err error) {
			k.failed.note(err)
			for range messages {
				<-k.room
			}
		}
	}
	return k
}

func (p *kafkaGoPublisher) publish(ctx context.Context, o order) error {
	value, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if p.writer.Async {
		select {
		case p.room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.writer.WriteMessages(ctx, kafka.Message{Key: []byte(o.Customer), Value: value})
}

func (p *kafkaGoPublisher) flush(ctx context.Context) error {
	if err := fillUp(ctx, p.room); err != nil {
		return err
	}
	return p.failed.get()
}

func (p *kafkaGoPublisher) close() { _ = p.writer.Close() }
