package main

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// kgoPartitions is the baseline. It handles each partition in a goroutine of its own, as franz-go's example
// goroutine_per_partition_consuming/autocommit_marks does.
var kgoPartitions = contender{
	name: baseline, module: "github.com/twmb/franz-go",
	workloads: []string{"drain", "growth", "slow", "produce-async", "produce-sync", "latency"},
	lanes:     partitions,
	consuming: "PollRecords of 10,000, a goroutine for each partition with up to 5 polls' records before it; AutoCommitMarks every 1s, BlockRebalanceOnPoll",
	producing: "defaults: acks from all, idempotent, snappy, 50,000 records buffered, linger 10ms; linger 0 for produce-sync and latency; Produce or ProduceSync",
	consume: func(ctx context.Context, c consuming) error {
		s := &split{consuming: c, workers: map[int32]*partitionWorker{}}
		client, err := kgoConsumer(c, kgo.OnPartitionsAssigned(s.assigned), kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.lost))
		if err != nil {
			return err
		}
		defer client.CloseAllowingRebalance() // revokes what is left
		return s.run(ctx, client)
	},
	newPublisher: func(p producing) (publisher, error) { return newKgoPublisher(p) },
}

// split hands what polls bring to the partitions' goroutines. A poll and a callback exclude each other, so that workers needs
// no lock.
type split struct {
	consuming
	workers map[int32]*partitionWorker
}

// partitionWorker handles one partition until quit is closed, by split. Then it closes done.
type partitionWorker struct {
	records    chan []*kgo.Record
	quit, done chan struct{}
}

func (s *split) run(ctx context.Context, client *kgo.Client) error {
	for {
		fetches := client.PollRecords(ctx, pollRecords)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if len(p.Records) > 0 {
				s.workers[p.Partition].hand(ctx, p.Records)
			}
		})
		client.AllowRebalance()
	}
}

func (w *partitionWorker) hand(ctx context.Context, records []*kgo.Record) {
	select {
	case w.records <- records:
	case <-w.done: // it has failed
	case <-ctx.Done():
	}
}

func (s *split) assigned(_ context.Context, client *kgo.Client, assigned map[string][]int32) {
	for _, partition := range assigned[s.topic] {
		w := &partitionWorker{make(chan []*kgo.Record, 5), make(chan struct{}), make(chan struct{})}
		s.workers[partition] = w
		go w.work(client, s.consuming)
	}
}

func (s *split) revoked(ctx context.Context, client *kgo.Client, revoked map[string][]int32) {
	s.lost(ctx, client, revoked)
	if err := client.CommitMarkedOffsets(ctx); err != nil {
		s.fail(err)
	}
}

func (s *split) lost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	var ended sync.WaitGroup
	for _, partition := range lost[s.topic] {
		w := s.workers[partition]
		delete(s.workers, partition)
		close(w.quit)
		ended.Go(func() { <-w.done })
	}
	ended.Wait()
}

func (w *partitionWorker) work(client *kgo.Client, c consuming) {
	defer close(w.done)
	for {
		select {
		case <-w.quit:
			return
		case records := <-w.records:
			for _, record := range records {
				if c.record(record.Value) != nil {
					return
				}
			}
			client.MarkCommitRecords(records...)
		}
	}
}
