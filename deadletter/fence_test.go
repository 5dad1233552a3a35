package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/deadletter"
)

// hold keeps the first request of that kind on its way until release is called, as a process that is frozen does.
func (p *place) hold(key kmsg.Key) (held <-chan struct{}, release func()) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	var taken atomic.Bool
	p.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		p.cluster.KeepControl()
		if taken.CompareAndSwap(false, true) {
			close(arrived)
			p.cluster.SleepControl(func() { <-goOn })
		}
		return nil, nil, false
	})
	return arrived, func() { close(goOn) }
}

// expel removes the only member of the redrive group, as brokers do once its session is over.
func (p *place) expel() {
	p.t.Helper()
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group = deadletter.GroupOf(dlq)
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID = p.onlyMember()
	request.MemberID, request.Members = member.MemberID, append(request.Members, member)
	if _, err := request.RequestWith(p.context(), p.raw); err != nil {
		p.t.Fatal(err)
	}
}

// A run that was frozen past its session sends nothing once the next run has begun, whether its letters were already on
// their way or it was about to begin: they would be stored behind newer records.
func TestAFrozenRunIsFenced(t *testing.T) {
	t.Parallel()
	for _, at := range []kmsg.Key{kmsg.Produce, kmsg.InitProducerID, kmsg.EndTxn} {
		t.Run(at.Name(), func(t *testing.T) { t.Parallel(); freeze(t, at) })
	}
}

func freeze(t *testing.T, at kmsg.Key) {
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	held, release := p.hold(at)
	frozen := make(chan error, 1)
	go func() { // ends with its run, soon after release
		result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{})
		if result.Sent != 0 {
			t.Errorf("the frozen run says that it sent letters: %+v", result)
		}
		frozen <- err
	}()
	<-held
	p.expel()
	if result := p.redrive(deadletter.RedriveOptions{Wait: time.Minute}); result.Sent != 2 {
		t.Errorf("the next run: %+v", result)
	}
	newer := letter(0, 9)
	newer.Topic, newer.Headers = source, nil
	p.write(newer)
	release()
	if err := <-frozen; err == nil {
		t.Error("the frozen run ended without an error")
	}
	if got := p.committed(); !slices.Equal(got, []string{`"0/0"`, `"0/1"`, `"0/9"`}) {
		t.Errorf("stored %q: the frozen run's letters came after it had lost its lock", got)
	}
	if got := p.read(kgo.ReadUncommitted()); got[len(got)-1] != `"0/9"` { // most consumers read this
		t.Errorf("stored %q, want nothing behind 0/9", got)
	}
}

// committed returns the values that a reader with read_committed gets from the source topic.
func (p *place) committed() (values []string) { return p.read(kgo.ReadCommitted()) }

func (p *place) read(level kgo.IsolationLevel) (values []string) {
	p.t.Helper()
	reader := p.dial(kgo.ConsumeTopics(source), kgo.FetchIsolationLevel(level), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for {
		ctx, cancel := context.WithTimeout(p.t.Context(), 500*time.Millisecond)
		fetches := reader.PollFetches(ctx)
		cancel()
		if fetches.NumRecords() == 0 {
			return values
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
}

// A letter and its mark are one: readers of what is committed get none twice, though a mark was refused after its
// letters were stored.
func TestALetterWithoutItsMarkIsNotCommitted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	take := p.refuse(dlq, 0)
	if _, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{}); err == nil {
		t.Error("no error, though the mark was refused")
	}
	take()
	p.redrive(deadletter.RedriveOptions{})
	if got := p.committed(); !slices.Equal(got, []string{`"0/0"`, `"0/1"`}) {
		t.Errorf("committed %q", got)
	}
}

// One letter that is refused takes none of its window with it that came before, and those after it wait.
func TestARefusedLetterHoldsUpWhatIsBehindIt(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	refused := letter(1, 1)
	refused.Partition = 0
	p.write(letter(0, 0), refused, letter(0, 2))
	take := p.refuse(source, 1)
	result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{})
	if err == nil || !strings.Contains(err.Error(), dlq+"-0 offset 1 to "+source+"-1") || result.Sent != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	take()
	if got := p.list(deadletter.Filter{}); !slices.Equal(got, []string{`"1/1"`, `"0/2"`}) {
		t.Errorf("pending %q", got)
	}
	p.redrive(deadletter.RedriveOptions{})
	if got := p.committed(); !slices.Equal(slices.Sorted(slices.Values(got)), []string{`"0/0"`, `"0/2"`, `"1/1"`}) {
		t.Errorf("committed %q", got)
	}
}

// Markers of transactions, the redrive's own and others', are no pending letters: nothing is pending once a redrive has
// come to the end.
func TestTransactionMarkersAreNoLetters(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.transact("committed", new(kgo.TryCommit), letter(0, 0), letter(1, 1))
	p.transact("aborted", new(kgo.TryAbort), letter(0, 2), letter(2, 3))
	if stats, err := deadletter.ReadStats(p.context(), p.client, dlq, deadletter.Filter{}); err != nil || stats.Letters != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 2 || result.Deleted != 0 {
		t.Errorf("%+v", result)
	}
	if all, err := deadletter.Topics(p.context(), p.client); err != nil || all[0].Unsettled != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	plan, err := deadletter.PlanPurge(p.context(), p.client, dlq, deadletter.PurgeOptions{Redriven: true})
	if err != nil || plan.Letters != 2 || plan.Pending != 0 {
		t.Errorf("%+v, %v", plan, err)
	}
	p.transact("later", new(kgo.TryAbort), letter(0, 4), letter(2, 5)) // which leaves nothing but markers, behind what was committed
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 0 || result.Deleted != 0 || !result.Complete {
		t.Errorf("%+v", result)
	}
	if all, err := deadletter.Topics(p.context(), p.client); err != nil || all[0].Unsettled != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// Where the answer to a commit is lost, the next run finds out what became of it: nobody who reads what is committed
// gets a letter twice, and none is lost.
func TestACommitWithoutAnAnswerIsFoundOut(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]*kerr.Error{"not done": kerr.UnknownServerError, "done, says nobody": kerr.RequestTimedOut, "fenced": kerr.ProducerFenced} {
		p := newPlace(t)
		p.write(letter(0, 0), letter(0, 1), letter(1, 2))
		p.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: answer, Count: 1})
		result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{})
		if err == nil && result.Sent != 3 || err != nil && result.Sent == 3 {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
		rest := p.redrive(deadletter.RedriveOptions{})
		if got := p.list(deadletter.Filter{}); len(got) != 0 {
			t.Errorf("%s: pending %q after %+v, %v and %+v", name, got, result, err, rest)
		}
		if got := slices.Sorted(slices.Values(p.committed())); !slices.Equal(got, []string{`"0/0"`, `"0/1"`, `"1/2"`}) {
			t.Errorf("%s: committed %q after %+v, %v and %+v", name, got, result, err, rest)
		}
	}
}

// Brokers that can't give out a transactional id don't hold a run up for ever, and the error says what to look at.
func TestATransactionalIDThatNeverComesIsNamed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, p *place) {
		p.write(letter(0, 0))
		p.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TopLevel: true, Err: kerr.CoordinatorNotAvailable, Count: -1, TxnID: deadletter.GroupOf(dlq)})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		begun := time.Now()
		_, err := deadletter.Redrive(ctx, p.client, dlq, deadletter.RedriveOptions{})
		if !errors.Is(err, deadletter.ErrNoTransactions) || !strings.Contains(err.Error(), "transaction.state.log.replication.factor") {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if took := time.Since(begun); took > 2*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// Whatever brokers answer at whatever point of a run, runs after it bring every letter back once and in its order, as
// readers of what is committed see it.
func TestRunsThatFailAnywhereSendEachLetterOnce(t *testing.T) {
	t.Parallel()
	keys := []kmsg.Key{kmsg.Produce, kmsg.EndTxn, kmsg.AddPartitionsToTxn, kmsg.InitProducerID, kmsg.OffsetCommit}
	answers := []*kerr.Error{
		kerr.UnknownServerError, kerr.RequestTimedOut, kerr.NotLeaderForPartition, kerr.NotCoordinator, kerr.PolicyViolation,
		kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.ConcurrentTransactions, kerr.NotEnoughReplicas, kerr.OutOfOrderSequenceNumber,
	}
	for seed := range uint64(60) {
		inBubble(t, func(t *testing.T, p *place) {
			random := rand.New(rand.NewPCG(seed, 1))
			var want []string
			for i := range int64(12) {
				p.write(letter(0, i))
				want = append(want, fmt.Sprintf("%q", fmt.Sprintf("0/%d", i)))
			}
			var faults []kfake.Fault
			for range 1 + random.IntN(3) {
				skip := random.IntN(4)
				faults = append(faults, kfake.Fault{
					Keys: []kmsg.Key{keys[random.IntN(len(keys))]}, Err: answers[random.IntN(len(answers))], Count: 1 + random.IntN(2),
					TopLevel: random.IntN(2) == 0, When: func(kmsg.Request) bool { skip--; return skip < 0 },
				})
			}
			p.cluster.Fault(faults...)
			for run := range 20 { // with a limit, so that a run is several transactions
				result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{Max: 5})
				if err == nil && len(p.list(deadletter.Filter{})) == 0 {
					break
				}
				if run == 19 {
					t.Errorf("seed %d: letters are left: %+v, %v", seed, result, err)
				}
			}
			if got := p.committed(); !slices.Equal(got, want) {
				t.Errorf("seed %d: committed %v", seed, got)
			}
		})
	}
}
