package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/jsonv2"
)

// This library with its defaults. It has no dead letter topic, so that a record that fails ends the run, and logs only
// warnings.
var library = contender{
	name: "library", module: "github.com/skeji/kafka",
	workloads: []string{"drain", "growth", "slow", "produce-async", "produce-sync", "latency"},
	lanes:     partitions,
	consuming: "defaults: Concurrency 1, which is a goroutine for each partition; CommitInterval 1s; no dead letters",
	producing: "defaults: acks from all, idempotent, snappy, 50,000 messages buffered; Linger 10ms for produce-async, as franz-go's default is, and none elsewhere; PublishAsync or Publish",
	consume: func(ctx context.Context, c consuming) error {
		return consumeWithLibrary(ctx, c, 1, kafka.JSON[order]())
	},
	newPublisher: func(p producing) (publisher, error) { return newLibraryPublisher(p, kafka.JSON[order]()) },
}

var libraryV2 = contender{
	name: "library-v2", module: "github.com/skeji/kafka/codec/jsonv2",
	workloads: []string{"drain", "produce-async"},
	lanes:     partitions,
	consuming: "the same with the codec of encoding/json/v2",
	producing: "the same with the codec of encoding/json/v2",
	consume: func(ctx context.Context, c consuming) error {
		return consumeWithLibrary(ctx, c, 1, jsonv2.Codec[order]())
	},
	newPublisher: func(p producing) (publisher, error) { return newLibraryPublisher(p, jsonv2.Codec[order]()) },
}

// 12 times 128 is more lanes than there are keys, and for 1,000 keys few partitions have more than 100.
const fittingConcurrency = 128

var libraryByKey = contender{
	name: "library-by-key", module: "github.com/skeji/kafka",
	workloads: []string{"growth", "slow"},
	lanes:     partitions * fittingConcurrency,
	consuming: "the same with Concurrency 128: keys of one partition are handled side by side; MaxQueuedBytes 256 MiB and MaxQueuedRecords 1,000,000",
	consume: func(ctx context.Context, c consuming) error {
		return consumeWithLibrary(ctx, c, fittingConcurrency, kafka.JSON[order]())
	},
}

var warnings = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

func consumeWithLibrary(ctx context.Context, c consuming, concurrency int, codec kafka.Codec[order]) error {
	cfg := kafka.NewConsumerConfig(c.topic, c.group, c.brokers...)
	cfg.DisableDeadLetters = true
	if cfg.Concurrency = concurrency; concurrency > 1 { // so that the next record of each of 1,000 keys is there
		cfg.MaxQueuedBytes, cfg.MaxQueuedRecords = 256<<20, 1_000_000
	}
	cfg.CommitInterval = commitInterval
	cfg.Logger = warnings
	consumer, err := kafka.NewConsumerWithCodec(cfg, codec, func(_ context.Context, msg kafka.Message[order]) error {
		c.handle(msg.Value)
		return nil
	})
	if err != nil {
		return err
	}
	defer consumer.Close()
	return consumer.Start(ctx)
}

type libraryPublisher struct {
	producer *kafka.Producer[order]
	blocking bool
	failed   firstError
}

func newLibraryPublisher(p producing, codec kafka.Codec[order]) (publisher, error) {
	cfg := kafka.NewProducerConfig(p.topic, p.brokers...)
	cfg.Logger = warnings
	if p.mode == throughput {
		cfg.Linger = 10 * time.Millisecond
	}
	producer, err := kafka.NewProducerWithCodec(cfg, codec)
	if err != nil {
		return nil, err
	}
	return &libraryPublisher{producer: producer, blocking: p.mode == blocking}, nil
}

func (p *libraryPublisher) publish(ctx context.Context, o order) error {
	msg := kafka.Message[order]{Key: o.Customer, Value: o}
	if p.blocking {
		return p.producer.Publish(ctx, msg)
	}
	p.producer.PublishAsync(ctx, msg, func(_ kafka.Message[order], err error) { p.failed.note(err) })
	return nil
}

func (p *libraryPublisher) flush(ctx context.Context) error {
	if err := p.producer.Flush(ctx); err != nil {
		return err
	}
	return p.failed.get()
}

func (p *libraryPublisher) close() { _ = p.producer.Close() }
