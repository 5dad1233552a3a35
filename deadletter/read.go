package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/decompress"
)

// reader reads partitions of a topic up to an end, with fetches of its own: a franz-go consumer does not tell when there is nothing
// more before an offset, because compaction has taken it for example, and would wait for it.
type reader struct {
	believed   believed
	client     *kgo.Client
	topic      string
	found      found
	decompress *decompress.Decompressor
}

const (
	fetchBytes = 4 << 20 // of one fetch; brokers return more if the first batch is larger
	// maxBatchBytes is the most bytes that a batch may be decompressed to, and its records and headers take on top. It is what a dead
	// letter may have.
	maxBatchBytes = 64 << 20
	fetchedBytes  = 32 << 20 // decompressed, for another batch of the same answer to be; it is asked for again
	// fetchPatience is how long a partition may be out of reach, its leader being away, until a read gives up.
	fetchPatience = 30 * time.Second
	fetchBackoff  = 250 * time.Millisecond
	// emptyAnswers in a row say that nothing is left before an end. One does not: a broker that has to fetch old records from elsewhere
	// first (KIP-405) answers with none when that takes it too long.
	emptyAnswers = 4
)

// open looks the topic up.
func open(ctx context.Context, client *kafka.Client, topic string) (*reader, error) {
	r := &reader{believed: believed{client: client}, client: client.KGO(), topic: topic, decompress: decompress.New(maxBatchBytes, fetchedBytes)}
	if err := r.lookUp(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *reader) lookUp(ctx context.Context) error {
	topics, err := describe(ctx, r.client, r.topic)
	if err != nil {
		return err
	}
	f := topics[r.topic]
	switch {
	case f.err != nil:
		return f.err
	case r.found.leaders != nil && f.id != r.found.id:
		return errMadeAgain
	}
	r.found = f
	return nil
}

// errMadeAgain is a topic that has other letters now, at offsets that mean nothing for it.
var errMadeAgain = fmt.Errorf("deadletter: the topic was deleted, and made again meanwhile: %w", kafka.ErrTopicMissing)

// bounds returns where each partition begins and ends, as far as transactions are committed.
func (r *reader) bounds(ctx context.Context) (starts, ends map[int32]int64, err error) {
	admin := kadm.NewClient(r.client)
	list := func(ask func(context.Context, ...string) (kadm.ListedOffsets, error)) map[int32]int64 {
		offsets := map[int32]int64{}
		err = errors.Join(err, persist(ctx, func() error {
			listed, err := ask(ctx, r.topic)
			listed.Each(func(o kadm.ListedOffset) { offsets[o.Partition] = o.Offset })
			return errors.Join(err, listed.Error())
		}))
		return offsets
	}
	ends = list(admin.ListCommittedOffsets) // first: what is deleted meanwhile moves the start beyond it at worst
	starts = list(admin.ListStartOffsets)
	if err != nil {
		return nil, nil, fmt.Errorf("deadletter: list the offsets of %s: %w", r.topic, err)
	}
	return starts, ends, nil
}

// read calls yield with each record of a partition from an offset up to an end. It returns how far it came, and goOn as false if yield
// did.
func (r *reader) read(ctx context.Context, partition int32, from, end int64, yield func(*kgo.Record) bool) (at int64, goOn bool, err error) {
	var failing time.Time // since when, while it is
	empty := 0            // answers in a row
	for from < end {
		got, next, err := r.fetch(ctx, partition, from)
		if i := slices.IndexFunc(got.Records, func(record *kgo.Record) bool { return record.Offset >= end }); i >= 0 {
			got.Records, next, err = got.Records[:i], end, nil
		}
		for _, record := range got.Records {
			if !record.Attrs.IsControl() && !yield(record) {
				return record.Offset, false, nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return from, true, context.Cause(ctx)
		case errors.Is(err, errThrottled): // slow, and no failure: franz-go waits as long as the brokers have said
			failing = time.Time{}
			continue
		case next > from:
			from, failing, empty = next, time.Time{}, 0
			if err == nil {
				continue
			}
		case err == nil && got.LastStableOffset >= end:
			if empty++; empty == emptyAnswers {
				return from, true, nil // nothing is left before the end
			}
			if !sleep(ctx, fetchBackoff) {
				return from, true, context.Cause(ctx)
			}
			continue
		case errors.Is(err, kerr.OffsetOutOfRange):
			start, err := r.startOf(ctx, partition)
			if err == nil && start > from {
				from = start // the rest was deleted meanwhile
				continue
			}
		}
		if err != nil && !passes(err) {
			return from, true, fmt.Errorf("deadletter: read %s-%d offset %d: %w", r.topic, partition, from, err)
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		if time.Since(failing) > fetchPatience {
			return from, true, fmt.Errorf("deadletter: read %s-%d offset %d: nothing in %v: %w",
				r.topic, partition, from, fetchPatience, cmp.Or(err, errBehind))
		}
		if !sleep(ctx, fetchBackoff) {
			return from, true, context.Cause(ctx)
		}
		if err := r.lookUp(ctx); errors.Is(err, errMadeAgain) { // else the leader may have moved: the next fetch tells
			return from, true, err
		}
	}
	return end, true, nil
}

// persist asks again while the answer is that leaders or coordinators are on the move.
func persist(ctx context.Context, ask func() error) error {
	for begun := time.Now(); ; {
		err := ask()
		if err == nil || !passes(err) || time.Since(begun) > fetchPatience {
			return err
		}
		if !sleep(ctx, fetchBackoff) {
			return context.Cause(ctx)
		}
	}
}

// errThrottled is a broker's whole answer to a client that is above its quota.
var errThrottled = errors.New("above the quota")

// errBehind is a leader that does not have yet what another one had.
var errBehind = errors.New("its leader does not have these records yet")

// passes tells whether another try may help: leaders move, and networks fail.
func passes(err error) bool {
	if protocol, ok := errors.AsType[*kerr.Error](err); ok {
		return protocol.Retriable
	}
	return errors.As(err, new(*fetchError))
}

// fetchError is a fetch without an answer.
type fetchError struct{ err error }

func (e *fetchError) Error() string { return e.err.Error() }
func (e *fetchError) Unwrap() error { return e.err }

// fetch returns what a partition's leader has at an offset, and the offset after that.
func (r *reader) fetch(ctx context.Context, partition int32, offset int64) (kgo.FetchPartition, int64, error) {
	const readCommitted = 1
	asked := kmsg.NewFetchRequestTopicPartition()
	asked.Partition, asked.FetchOffset, asked.PartitionMaxBytes = partition, offset, fetchBytes
	asked.CurrentLeaderEpoch = -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = r.topic, r.found.id
	topic.Partitions = append(topic.Partitions, asked)
	request := kmsg.NewPtrFetchRequest()
	request.MaxBytes, request.IsolationLevel = fetchBytes, readCommitted
	request.SessionEpoch = -1 // no session
	request.Topics = append(request.Topics, topic)

	none := kgo.FetchPartition{Partition: partition, LastStableOffset: -1}
	leader, ok := r.found.leaders[partition]
	if !ok || leader < 0 {
		return none, offset, kerr.LeaderNotAvailable
	}
	answer, err := r.client.Broker(int(leader)).Request(ctx, request) // not repeated there: the leader may have moved
	if err != nil {
		return none, offset, &fetchError{err}
	}
	response := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
		return none, offset, err
	}
	if len(response.Topics) == 0 && response.ThrottleMillis > 0 {
		return none, offset, errThrottled
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return none, offset, errors.New("the broker's answer is about something else")
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		KeepControlRecords: true, Offset: offset, IsolationLevel: kgo.ReadCommitted(), Topic: r.topic, Partition: partition,
	}, &response.Topics[0].Partitions[0], r.decompress.OneResponse(), nil)
	if got.Err == nil && next == offset && len(response.Topics[0].Partitions[0].RecordBatches) > 0 {
		got.Err = errors.New("the broker returns records that don't reach it")
	}
	if batch, ok := errors.AsType[*kgo.ErrDecompressTooLarge](got.Err); ok {
		got.Err = fmt.Errorf("the batch at offset %d takes more than %d MiB when it is decompressed, or its records and headers do: "+
			"read it with a consumer of %s that has a higher MaxDecompressedBatchBytes (KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES), "+
			"delete it with all before it (kafka-delete-records to offset %d), or read from there on: %w",
			batch.Offset, maxBatchBytes>>20, r.topic, batch.NextOffset, kgo.ErrMaxDecompress)
	}
	return got, next, got.Err
}

func (r *reader) startOf(ctx context.Context, partition int32) (int64, error) {
	listed, err := kadm.NewClient(r.client).ListStartOffsets(ctx, r.topic)
	if err != nil {
		return 0, err
	}
	start, _ := listed.Lookup(r.topic, partition)
	return start.Offset, start.Err
}

// sleep returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
