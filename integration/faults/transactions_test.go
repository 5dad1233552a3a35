package faults

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transaction writes n records in one and ends it.
func (s *scenario) transaction(producer *kgo.Client, n int, end kgo.TransactionEndTry) (records []*kgo.Record) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := producer.BeginTransaction(); err != nil {
		s.t.Fatal(err)
	}
	key := "committed"
	if end == kgo.TryAbort {
		key = "aborted"
	}
	records = s.recordsFor(0, key, n)
	s.put(producer, records...)
	if err := producer.EndTransaction(ctx, end); err != nil {
		s.t.Fatal(err)
	}
	return records
}

var readCommitted = kgo.FetchIsolationLevel(kgo.ReadCommitted())

// Transactions that are aborted leave records, and each transaction a control record: a gap between offsets, at the partition's
// end, too. Aborted records are delivered, as by Kafka's own default, unless committed ones alone are asked for; the gaps hold
// nothing up, and nobody gets anything again behind them.
func TestAbortedTransactions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		options []kgo.Opt
		aborted bool // are handled, too
	}{
		{"ByDefaultTheyAreDelivered", nil, true},
		{"ReadCommittedNeverHandlesThem", []kgo.Opt{readCommitted}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScenario(t, 1, nil)
			producer := s.byHand(kgo.TransactionalID(s.topic))
			for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit, kgo.TryAbort} {
				if records := s.transaction(producer, 50, end); c.aborted || end == kgo.TryCommit {
					s.stored(records...)
				}
			}
			cfg := s.config()
			cfg.Options = append(cfg.Options, c.options...)
			m := s.join(cfg, comesTo)
			s.drained()
			m.mustStop()
			next := s.join(cfg, comesTo)
			s.stored(s.transaction(producer, 50, kgo.TryCommit)...)
			s.drained()
			// The brokers write the transaction's control record after they have answered that it is committed.
			const end = 5 * (50 + 1)
			s.until("the control record at the partition's end is committed", func() bool { return s.committedAt(0) == end })
			next.mustStop()
			if at := s.committedAt(0); at != end {
				t.Errorf("committed %d, and the partition ends at %d", at, end)
			}
			s.judgeClean()
		})
	}
}

// While a transaction is open, a consumer of committed records waits for its end, with all that comes behind it in the
// partition; the other partitions go on.
func TestAnOpenTransactionIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newScenario(t, 2, nil)
	producer := s.byHand(kgo.TransactionalID(s.topic))
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	open := s.recordsFor(0, "open", 20)
	s.put(producer, open...)
	client := s.byHand()
	behind, beside := s.recordsFor(0, "behind", 20), s.recordsFor(1, "beside", 20)
	s.put(client, behind...)
	s.put(client, beside...)
	s.stored(beside...)
	cfg := s.config()
	cfg.Options = append(cfg.Options, readCommitted)
	m := s.join(cfg, comesTo)
	s.drained()
	if n := s.handled(); n != len(beside) {
		t.Errorf("%d records handled while the transaction is open, want the %d of the other partition", n, len(beside))
	}
	s.stored(open...)
	s.stored(behind...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := producer.EndTransaction(ctx, kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	s.drained()
	m.mustStop()
	s.judgeClean()
}
