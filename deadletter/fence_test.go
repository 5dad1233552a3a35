package deadletter_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/deadletter"
)

// holdProduce keeps the first produce request on its way until release is called, as a process that is frozen does.
func (p *place) holdProduce() (held <-chan struct{}, release func()) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	var taken atomic.Bool
	p.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
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

// A run that was frozen past its session, with letters already on their way, sends nothing once the next run has begun: its letters
// would be stored behind newer records.
func TestAFrozenRunIsFenced(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	held, release := p.holdProduce()
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
	if got := p.sentValues(); !slices.Equal(got, []string{"0/0", "0/1", "0/9"}) {
		t.Errorf("stored %q: the frozen run's letters came after it had lost its lock", got)
	}
}

// committed returns the values that a reader with read_committed gets from the source topic.
func (p *place) committed() (values []string) {
	p.t.Helper()
	reader := p.dial(kgo.ConsumeTopics(source), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
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

// A letter and its mark are one: readers of what is committed get none twice, though a mark was refused after its letters were stored.
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

// Markers of transactions, the redrive's own and others', are no pending letters: nothing is pending once a redrive has come to the end.
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
