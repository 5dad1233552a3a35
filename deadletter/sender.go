package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// sender stores what a run sends. With transactions, letters and the mark that names them are one: readers of what is
// committed get all of them or none. The transactional id is the dead letter topic's, so that a run which begins fences
// the run before: whatever that one still has on its way, the brokers refuse.
type sender struct {
	client        *kgo.Client
	seal          func(mark *kgo.Record)
	dlq           string
	transactional bool
	limits        map[string]int32 // the most bytes that each topic takes in a batch
	compressor    *compressor
	marked        map[int32]int64 // by partition: the offset of the latest mark
}

// sending is a letter on its way.
type sending struct {
	letter Letter
	record *kgo.Record
	err    error // written by the acknowledgement
}

const (
	// transactionTimeout is Kafka's default for transaction.timeout.ms. A transaction takes as long as sending a window
	// does. After a kill -9 in the midst of one, the brokers end it after this time, or as soon as another run begins;
	// until then, readers of what is committed wait in the partitions that it has written to.
	transactionTimeout = time.Minute
	// fenceTimeout bounds how long the brokers may take to give out the transactional id.
	fenceTimeout = 30 * time.Second
)

// newSender makes a producer that puts records where they are told to go. It shares nothing with others that use the
// client.
func newSender(client *kafka.Client, dlq string, limits map[string]int32, compressor *compressor, transactional bool) (*sender, error) {
	opts := []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// A window has no more than a topic takes before compression, or one letter alone, of which the brokers are the
		// judges.
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if _, ok := limits[topic]; ok {
				return maxLetterBytes
			}
			return defaultMaxMessageBytes
		}),
		kgo.WithCompressor(compressor),
	}
	if transactional {
		opts = append(opts, kgo.TransactionalID(GroupOf(dlq)), kgo.TransactionTimeout(transactionTimeout))
	} else {
		// Or a run would wait for ever for brokers that have died before they answered. Its context ends once nothing
		// more is to be sent.
		opts = append(opts, kgo.AllowIdempotentProduceCancellation())
	}
	producer, err := derive(client.KGO(), opts...)
	if err != nil {
		return nil, fmt.Errorf("deadletter: producer for %s: %w", dlq, err)
	}
	return &sender{
		client: producer, seal: client.SealHeaders, dlq: dlq, transactional: transactional, limits: limits, compressor: compressor, marked: map[int32]int64{},
	}, nil
}

// fence takes the transactional id over. From then on the brokers refuse what an earlier run sends, and what it had not
// committed is aborted, so that the marks that are read next say all that was sent.
func (s *sender) fence(run context.Context) error {
	if !s.transactional {
		return nil
	}
	ctx, cancel := context.WithTimeout(run, fenceTimeout)
	defer cancel()
	for {
		id, _, err := s.client.ProducerID(ctx)
		switch protocol, ok := errors.AsType[*kerr.Error](err); {
		case err == nil && id >= 0:
			return nil
		case err == nil:
			return fmt.Errorf("%w: these brokers have none", ErrNoTransactions)
		case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
			return fmt.Errorf("%w: transactional id %s: %w: the WRITE permission is missing", ErrNoTransactions, GroupOf(s.dlq), explain(err))
		case ok && !protocol.Retriable:
			return fmt.Errorf("%w: transactional id %s: %w", ErrNoTransactions, GroupOf(s.dlq), err)
		case !sleep(ctx, fetchBackoff):
			if run.Err() != nil {
				return context.Cause(run)
			}
			return fmt.Errorf("%w: transactional id %s: no coordinator in %v; can the brokers create the topic __transaction_state, "+
				"with transaction.state.log.replication.factor replicas? %w", ErrNoTransactions, GroupOf(s.dlq), fenceTimeout, err)
		}
	}
}

func (s *sender) close() { s.client.Close() }

// outcome is what became of a window.
type outcome struct {
	sent     []*sending // and marked
	tooLarge []*sending // their topic refuses their size
	failed   *sending   // the first letter for which err counts; later ones were not sent or marked either
	err      error
}

// settle sends the letters of a window and the mark that names them.
func (s *sender) settle(ctx context.Context, w *window) (o outcome) {
	letters := w.letters
	w.letters = nil
	if !s.transactional {
		return s.inTurn(ctx, w.partition, letters)
	}
	refused, err := s.together(ctx, w.partition, letters)
	switch {
	case err == nil:
		return outcome{sent: letters}
	case refused == nil:
		return outcome{failed: letters[0], err: err}
	case len(letters) == 1:
		o.refuse(refused, err)
		return o
	}
	// A letter that is refused aborts all of its window, in each run again. Alone, those before it go.
	for i, one := range letters {
		refused, err := s.together(ctx, w.partition, letters[i:i+1])
		switch {
		case err == nil:
			o.sent = append(o.sent, one)
		case refused == nil:
			o.failed, o.err = one, err
		default:
			o.refuse(one, err)
		}
		if o.err != nil {
			return o
		}
	}
	return o
}

// refuse notes a letter that was refused alone.
func (o *outcome) refuse(one *sending, err error) {
	if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) {
		o.tooLarge = append(o.tooLarge, one)
		return
	}
	o.failed, o.err = one, err
}

// compressFor has a letter that is sent alone fit its topic, if any codec can do that.
func (s *sender) compressFor(letters []*sending) {
	limit := int64(0)
	if len(letters) == 1 {
		limit = int64(s.limits[letters[0].record.Topic] - batchOverhead)
	}
	s.compressor.limit.Store(limit)
}

// together stores letters and their mark in a transaction. Where brokers refuse one letter, and would take others, it
// returns that.
func (s *sender) together(ctx context.Context, partition int32, letters []*sending) (refused *sending, err error) {
	if err := s.client.BeginTransaction(); err != nil {
		return nil, s.explain(err)
	}
	mark := s.markOf(partition, letters)
	s.compressFor(letters)
	s.produce(ctx, append(slices.Clone(letters), mark))
	for _, one := range letters {
		if one.err != nil {
			s.abort(ctx)
			if !isRefusal(one.err) {
				return nil, s.errorOf(partition, one)
			}
			return one, s.errorOf(partition, one)
		}
	}
	if mark.err != nil {
		s.abort(ctx)
		return nil, fmt.Errorf("deadletter: mark letters of %s-%d as sent, which takes their sending back: %w",
			s.dlq, partition, s.explain(mark.err))
	}
	if err := s.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		s.abort(ctx)
		return nil, fmt.Errorf("deadletter: commit the transaction that sends letters of %s-%d: whether it was committed is not known, "+
			"and the next run finds out: %w", s.dlq, partition, s.explain(err))
	}
	s.marked[partition] = mark.record.Offset
	return nil, nil
}

// abort ends a transaction. Where that fails, the brokers do so after transactionTimeout, or when another run begins.
func (s *sender) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	_ = s.client.EndTransaction(ctx, kgo.TryAbort)
}

// inTurn sends letters and then, once the brokers have them, the mark of those that they have.
func (s *sender) inTurn(ctx context.Context, partition int32, letters []*sending) (o outcome) {
	s.compressFor(letters)
	s.produce(ctx, letters)
	for _, one := range letters {
		switch {
		case one.err == nil:
			o.sent = append(o.sent, one)
		case len(letters) == 1:
			o.refuse(one, s.errorOf(partition, one))
		case o.failed == nil:
			o.failed, o.err = one, s.errorOf(partition, one)
		}
	}
	if len(o.sent) == 0 {
		return o
	}
	mark := s.markOf(partition, o.sent)
	if s.produce(ctx, []*sending{mark}); mark.err != nil {
		err := fmt.Errorf("deadletter: mark letters of %s-%d as sent, which will be sent again: %w", s.dlq, partition, explain(mark.err))
		return outcome{failed: letters[0], err: errors.Join(o.err, err)}
	}
	s.marked[partition] = mark.record.Offset
	return o
}

func (s *sender) markOf(partition int32, letters []*sending) *sending {
	offsets := make([]int64, 0, len(letters))
	for _, one := range letters {
		offsets = append(offsets, one.letter.Offset)
	}
	mark := newMark(s.dlq, partition, offsets)
	s.seal(mark)
	return &sending{record: mark}
}

// produce returns once all records are stored or refused. franz-go repeats each until one of the two, or until ctx
// ends; then nothing more can be sent.
func (s *sender) produce(ctx context.Context, all []*sending) {
	var acks sync.WaitGroup
	for _, one := range all {
		acks.Add(1)
		s.client.Produce(ctx, one.record, func(_ *kgo.Record, err error) {
			one.err = err
			acks.Done()
		})
	}
	ended := s.client.Flush(ctx)
	if ended != nil {
		s.client.Close() // records of a transaction are not given up while brokers may have them
	}
	acks.Wait()
	for _, one := range all {
		if ended != nil && one.err != nil {
			one.err = fmt.Errorf("%w: %w", context.Cause(ctx), one.err)
		}
	}
}

// isRefusal tells whether brokers refuse this very record, and would take others.
func isRefusal(err error) bool {
	for _, refusal := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.PolicyViolation, kerr.CorruptMessage,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

func (s *sender) errorOf(partition int32, one *sending) error {
	return fmt.Errorf("deadletter: send the letter %s-%d offset %d to %s-%d: %w",
		s.dlq, partition, one.letter.Offset, one.record.Topic, one.record.Partition, s.explain(one.err))
}

// explain adds that the run is over, where brokers refuse the producer and not what it sends.
func (s *sender) explain(err error) error {
	if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.InvalidProducerIDMapping) {
		return fmt.Errorf("%w; or a transaction took longer than %v: %w", errLockLost, transactionTimeout, err)
	}
	return explain(err)
}

// ErrNoTransactions says that the brokers don't let this run have a transaction. See RedriveOptions.NoTransactions.
var ErrNoTransactions = errors.New("deadletter: no transactions, which keep a run that was frozen from sending old letters later")

// explain adds what callers can ask for with errors.Is.
func explain(err error) error {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed),
		errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return fmt.Errorf("%w: %w", kafka.ErrAuthorization, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w: %w", kafka.ErrTopicMissing, err)
	}
	return err
}
