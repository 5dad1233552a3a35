package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Sarama as its examples use it: a consumer group, whose claims each run in a goroutine of their own, and marks that are
// committed every second.
var saramaGroup = contender{
	name: "sarama", module: "github.com/IBM/sarama",
	workloads: []string{"drain", "slow", "produce-async", "produce-sync", "latency"},
	lanes:     partitions,
	consuming: "ConsumerGroup, a goroutine for each claim, MarkMessage; AutoCommit every 1s, Offsets.Initial oldest; " +
		"MaxProcessingTime 1s, or its fetcher would unsubscribe from slow partitions",
	producing: "RequiredAcks WaitForAll, Idempotent, which needs MaxOpenRequests 1, snappy; AsyncProducer or SyncProducer; 50,000 messages in flight",
	consume:   consumeWithSarama,
	newPublisher: func(p producing) (publisher, error) {
		if p.mode == blocking {
			return newSaramaSync(p)
		}
		return newSaramaAsync(p)
	},
}

func saramaConsuming() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.Consumer.Offsets.Initial = sarama.OffsetOldest
	cfg.Consumer.Offsets.AutoCommit.Interval = commitInterval
	cfg.Consumer.MaxProcessingTime = time.Second
	return cfg
}

func saramaProducing() *sarama.Config {
	cfg := sarama.NewConfig()
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Idempotent = true
	cfg.Net.MaxOpenRequests = 1
	cfg.Producer.Compression = sarama.CompressionSnappy
	cfg.Producer.Return.Successes = true
	return cfg
}

func consumeWithSarama(ctx context.Context, c consuming) error {
	group, err := sarama.NewConsumerGroup(c.brokers, c.group, saramaConsuming())
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{c.topic}, claims{c}); err != nil {
			return errors.Join(err, group.Close())
		}
	}
	return group.Close()
}

type claims struct{ consuming }

func (claims) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (claims) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (c claims) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			if err := c.record(message.Value); err != nil {
				return err
			}
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func saramaMessage(topic string, o order) (*sarama.ProducerMessage, error) {
	value, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(o.Customer), Value: sarama.ByteEncoder(value)}, nil
}

type saramaSync struct {
	producer sarama.SyncProducer
	topic    string
}

func newSaramaSync(p producing) (publisher, error) {
	producer, err := sarama.NewSyncProducer(p.brokers, saramaProducing())
	if err != nil {
		return nil, err
	}
	return &saramaSync{producer, p.topic}, nil
}

func (p *saramaSync) publish(_ context.Context, o order) error {
	message, err := saramaMessage(p.topic, o)
	if err != nil {
		return err
	}
	_, _, err = p.producer.SendMessage(message)
	return err
}

func (p *saramaSync) flush(context.Context) error { return nil } // nothing is on its way once publish has returned
func (p *saramaSync) close()                      { _ = p.producer.Close() }

// saramaAsync has two goroutines that read the outcomes. They end when the producer is closed.
type saramaAsync struct {
	producer sarama.AsyncProducer
	topic    string
	room     chan struct{} // its slots are taken by messages on their way
	outcomes sync.WaitGroup
	failed   firstError
}

func newSaramaAsync(p producing) (publisher, error) {
	producer, err := sarama.NewAsyncProducer(p.brokers, saramaProducing())
	if err != nil {
		return nil, err
	}
	a := &saramaAsync{producer: producer, topic: p.topic, room: make(chan struct{}, inFlight)}
	a.outcomes.Go(func() {
		for range producer.Successes() {
			<-a.room
		}
	})
	a.outcomes.Go(func() {
		for failure := range producer.Errors() {
			a.failed.note(failure)
			<-a.room
		}
	})
	return a, nil
}

func (p *saramaAsync) publish(ctx context.Context, o order) error {
	message, err := saramaMessage(p.topic, o)
	if err != nil {
		return err
	}
	select {
	case p.room <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.producer.Input() <- message
	return nil
}

func (p *saramaAsync) flush(ctx context.Context) error {
	if err := fillUp(ctx, p.room); err != nil {
		return err
	}
	return p.failed.get()
}

func (p *saramaAsync) close() {
	p.producer.AsyncClose()
	p.outcomes.Wait()
}

// fillUp takes all slots, which are free when nothing is on its way, and gives them back.
func fillUp(ctx context.Context, room chan struct{}) error {
	for range cap(room) {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range cap(room) {
		<-room
	}
	return nil
}
