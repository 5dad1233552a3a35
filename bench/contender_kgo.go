package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Raw franz-go, in two forms: what this library costs shows in the difference to them. Both commit marks, which they set after
// handling. kgoPoll handles what a poll brings before the next poll, in one goroutine.
var kgoPoll = contender{
	name: "kgo-poll", module: "github.com/twmb/franz-go",
	workloads: []string{"drain", "slow"}, // it publishes as kgoPartitions does
	lanes:     1,
	consuming: "PollRecords of 10,000, handled in the polling goroutine; AutoCommitMarks every 1s, BlockRebalanceOnPoll",
	consume:   consumeInPoll,
}

func kgoConsumer(c consuming, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.brokers...),
		kgo.ConsumeTopics(c.topic),
		kgo.ConsumerGroup(c.group),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(commitInterval),
		kgo.BlockRebalanceOnPoll(),
	}, more...)...)
}

const pollRecords = 10_000 // in one poll; the others who hand records on hold about as many

func consumeInPoll(ctx context.Context, c consuming) error {
	client, err := kgoConsumer(c)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for {
		fetches := client.PollRecords(ctx, pollRecords)
		if ctx.Err() != nil {
			return commitMarks(client)
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		for record := range fetches.RecordsAll() {
			if err := c.record(record.Value); err != nil {
				return err
			}
		}
		client.MarkCommitRecords(fetches.Records()...)
		client.AllowRebalance()
	}
}

func commitMarks(client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return client.CommitMarkedOffsets(ctx)
}

// kgoHeaders sends what this library sends: a message id and the content type are a fifth of the bytes, and the id can't be compressed.
var kgoHeaders = contender{
	name: "kgo-headers", module: "github.com/twmb/franz-go",
	workloads: []string{"produce-async", "produce-sync"},
	producing: "as kgo-partitions, with the headers that this library writes: a UUID version 7 for each message, and the content type",
	newPublisher: func(p producing) (publisher, error) {
		publisher, err := newKgoPublisher(p)
		if err == nil {
			publisher.headers = func() []kgo.RecordHeader {
				id, _ := uuid.Must(uuid.NewV7()).MarshalText() // which never fails
				return []kgo.RecordHeader{{Key: "message-id", Value: id}, {Key: "content-type", Value: []byte("application/json")}}
			}
		}
		return publisher, err
	},
}

type kgoPublisher struct {
	client   *kgo.Client
	topic    string
	blocking bool
	headers  func() []kgo.RecordHeader // nil: none
	failed   firstError
}

func newKgoPublisher(p producing) (*kgoPublisher, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(p.brokers...), kgo.MaxBufferedRecords(inFlight)}
	if p.mode != throughput { // where each message's own time counts, kgo's default of 10 ms does harm
		opts = append(opts, kgo.ProducerLinger(0))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	return &kgoPublisher{client: client, topic: p.topic, blocking: p.mode == blocking}, nil
}

func (p *kgoPublisher) publish(ctx context.Context, o order) error {
	value, err := json.Marshal(o)
	if err != nil {
		return err
	}
	record := &kgo.Record{Topic: p.topic, Key: []byte(o.Customer), Value: value}
	if p.headers != nil {
		record.Headers = p.headers()
	}
	if p.blocking {
		return p.client.ProduceSync(ctx, record).FirstErr()
	}
	p.client.Produce(ctx, record, func(_ *kgo.Record, err error) { p.failed.note(err) })
	return nil
}

func (p *kgoPublisher) flush(ctx context.Context) error {
	return errors.Join(p.client.Flush(ctx), p.failed.get())
}

func (p *kgoPublisher) close() { p.client.Close() }
