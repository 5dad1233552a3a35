package deadletter_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/kafkatest"
)

// What is sent back is the record that failed, where it was, with what it takes to come back as the same letter.
func TestRedriveSendsTheRecordThatFailed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(2, 7, header(deadletter.HeaderHeadersCut, "3")), set(letter(1, 0), deadletter.HeaderGroup, ""))
	result := p.redrive(deadletter.RedriveOptions{})
	if result.Sent != 2 || !result.Complete || result.Sources[source] != 2 || result.Repeated != 0 {
		t.Errorf("%+v", result)
	}
	sent := p.sent()
	got := sent[1]
	if got.Partition != 2 || got.Key != "key-2/7" || got.Value != "2/7" {
		t.Errorf("sent %+v", got)
	}
	want := []kgo.RecordHeader{
		header("trace", "t-2/7"), header("trace", "again"),
		header(deadletter.HeaderTopic, source), header(deadletter.HeaderPartition, "2"), header(deadletter.HeaderOffset, "7"),
		header(deadletter.HeaderTimestamp, "2026-01-02T03:04:05.000Z"), header(deadletter.HeaderHeadersCut, "3"),
		header(deadletter.HeaderRedriveCount, "1"), header(deadletter.HeaderWrittenTo, source), header(deadletter.HeaderRedriveGroup, group),
		header(deadletter.HeaderLetterPartition, "2"), header(deadletter.HeaderLetterOffset, "0"),
	}
	if fmt.Sprint(got.Headers) != fmt.Sprint(want) {
		t.Errorf("headers %q\nwant    %q", got.Headers, want)
	}
	if _, ok := sent[0].Header(deadletter.HeaderRedriveGroup); ok {
		t.Error("a letter without a group was stamped with one")
	}
	if again := p.redrive(deadletter.RedriveOptions{}); again.Sent != 0 {
		t.Errorf("the next run sent %d again", again.Sent)
	}
}

// Whatever is left by a filter is found by the next run, and what was sent is not sent again, even once the group's offsets are gone.
func TestWhatAFilterLeavesIsPending(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const n = 40
	for i := range int64(n) {
		l := letter(int32(i%3), i)
		if i%4 == 0 {
			set(l, deadletter.HeaderClass, "permanent")
		}
		p.write(l)
	}
	permanent := deadletter.Filter{Classes: []string{"permanent"}}
	result := p.redrive(deadletter.RedriveOptions{Filter: permanent})
	if result.Sent != n/4 || result.Filtered != n-n/4 {
		t.Fatalf("%+v", result)
	}
	if got := len(p.list(deadletter.Filter{})); got != n-n/4 {
		t.Errorf("%d letters pending, want %d", got, n-n/4)
	}
	if got := len(p.list(permanent)); got != 0 {
		t.Errorf("%d permanent letters pending", got)
	}
	if _, err := kadm.NewClient(p.raw).DeleteGroup(p.context(), deadletter.GroupOf(dlq)); err != nil {
		t.Fatal(err)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != n-n/4 || result.Deleted != 0 {
		t.Errorf("%+v", result)
	}
	values := p.sentValues()
	slices.Sort(values)
	if got := len(slices.Compact(values)); len(values) != n || got != n {
		t.Errorf("%d sent, %d different, want %d", len(values), got, n)
	}
	if got := p.list(deadletter.Filter{State: deadletter.Redriven}); len(got) != n {
		t.Errorf("%d redriven letters listed, want %d", len(got), n)
	}
}

// Offsets that somebody has set for the group don't make pending letters disappear.
func TestForeignOffsetsOfTheGroupAreNotBelieved(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	offsets := kadm.Offsets{}
	offsets.AddOffset(dlq, 0, 2, -1)
	if err := kadm.NewClient(p.raw).CommitAllOffsets(p.context(), deadletter.GroupOf(dlq), offsets); err != nil {
		t.Fatal(err)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 2 {
		t.Errorf("%+v", result)
	}
}

func TestLettersThatCannotBeSentAreLeft(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	large := letter(0, 4)
	large.Value = make([]byte, 1<<20)
	_, _ = rand.Read(large.Value) // nothing compresses that
	p.takeLarge(dlq)
	lost := letter(0, 3)
	lost.Headers = nil
	p.write(
		letter(0, 0),
		letter(0, 1, header(deadletter.HeaderRedriveCount, "3")),
		set(letter(0, 2), deadletter.HeaderTopic, "payments"),
		lost, letter(0, 5))
	if err := p.dial(kgo.ProducerBatchMaxBytes(4<<20)).ProduceSync(p.context(), large).FirstErr(); err != nil {
		t.Fatal(err)
	}
	left := map[int64]deadletter.Reason{}
	opts := deadletter.RedriveOptions{
		OnLeft: func(l deadletter.Letter, why deadletter.Reason) { left[l.Offset] = why },
		Transform: func(l deadletter.Letter, r *kgo.Record) error {
			if l.Origin.Offset == 5 {
				return fmt.Errorf("not this one: %w", deadletter.ErrLeave)
			}
			r.Value = []byte(`"mended"`)
			return nil
		},
	}
	opts.DryRun = true
	dry := p.redrive(opts)
	if got := p.sentValues(); len(got) != 0 {
		t.Errorf("a dry run sent %q", got)
	}
	opts.DryRun = false
	opts.Transform = func(l deadletter.Letter, r *kgo.Record) error {
		if l.Origin.Offset == 5 {
			return deadletter.ErrLeave
		}
		if l.Origin.Offset == 0 {
			r.Value = []byte(`"mended"`)
		}
		return nil
	}
	result := p.redrive(opts)
	want := map[int64]deadletter.Reason{
		1: deadletter.LeftHopLimit, 2: deadletter.LeftDestination, 3: deadletter.LeftUnreadable, 4: deadletter.LeftTransform, 5: deadletter.LeftTooLarge,
	}
	if fmt.Sprint(left) != fmt.Sprint(want) {
		t.Errorf("left %v, want %v", left, want)
	}
	if dry.Sent != 2 || result.Sent != 1 || len(result.Left) != 5 {
		t.Errorf("dry run %+v, run %+v", dry, result)
	}
	if got := p.sentValues(); !slices.Equal(got, []string{"mended"}) {
		t.Errorf("sent %q", got)
	}
	if got := p.list(deadletter.Filter{}); len(got) != 5 {
		t.Errorf("%d pending, want 5", len(got))
	}
	// To is for those that don't say where they came from.
	if result := p.redrive(deadletter.RedriveOptions{To: source, MaxRedrives: -1}); result.Sent != 4 || result.Left[deadletter.LeftTooLarge] != 1 {
		t.Errorf("%+v", result)
	}
}

// A group that is not there any more would leave its records to nobody: all others pass over them.
func TestLettersOfGroupsThatAreGoneAreLeft(t *testing.T) {
	t.Parallel()
	p := newPlace(t, source, "repairs")
	p.write(set(letter(0, 0), deadletter.HeaderGroup, "before-the-rename"))
	if result := p.redrive(deadletter.RedriveOptions{DryRun: true}); result.Sent != 0 || result.Left[deadletter.LeftGroup] != 1 {
		t.Errorf("%+v", result)
	}
	if result := p.redrive(deadletter.RedriveOptions{To: "repairs", DryRun: true}); result.Sent != 1 {
		t.Errorf("to another topic, and so for everybody: %+v", result)
	}
	if result := p.redrive(deadletter.RedriveOptions{Group: group}); result.Sent != 1 {
		t.Errorf("%+v", result)
	}
	if got, _ := p.sent()[0].Header(deadletter.HeaderRedriveGroup); got != group {
		t.Errorf("sent for %q", got)
	}
}

// A group that reads other topics does not get these letters, and neither does one that is only a typing error.
func TestAGroupThatDoesNotReadTheTopicGetsNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t, source, "repairs")
	offsets := kadm.Offsets{}
	offsets.AddOffset("repairs", 0, 0, -1)
	if err := kadm.NewClient(p.raw).CommitAllOffsets(p.context(), "repairs-service", offsets); err != nil {
		t.Fatal(err)
	}
	p.write(letter(0, 0), set(letter(0, 1), deadletter.HeaderGroup, "repairs-service"))
	result := p.redrive(deadletter.RedriveOptions{DryRun: true})
	if result.Sent != 1 || result.Groups[group] != 1 || result.Left[deadletter.LeftGroup] != 1 {
		t.Errorf("%+v", result)
	}
	for _, name := range []string{"repairs-service", "order-service"} {
		_, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{Group: name})
		if !errors.Is(err, deadletter.ErrGroup) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), source) {
			t.Errorf("for %s: %v", name, err)
		}
	}
	if result := p.redrive(deadletter.RedriveOptions{Group: "repairs-service", To: "repairs"}); result.Sent != 2 || result.Groups["repairs-service"] != 2 {
		t.Errorf("%+v", result)
	}
}

// Members count for what they read, with either protocol, also before they have committed anything.
func TestMembersTellWhatAGroupReads(t *testing.T) {
	t.Parallel()
	p := newPlace(t, source, "repairs")
	p.write(letter(0, 0))
	for _, protocol := range []string{"classic", "consumer"} {
		idle := "repairs-" + protocol // and has nothing to commit: the topic is empty
		cfg := p.broker.ConsumerConfig("repairs", idle)
		cfg.GroupProtocol = kafka.GroupProtocol(protocol)
		consumer, err := kafka.NewConsumer(cfg, (&seen{}).handle)
		if err != nil {
			t.Fatal(err)
		}
		joined := make(chan struct{})
		consumer.Use(kafka.ConsumerHooks{PartitionsAssigned: func(string, []int32) { close(joined) }})
		kafkatest.Run(t, consumer)
		<-joined
		if _, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{Group: idle}); !errors.Is(err, deadletter.ErrGroup) {
			t.Errorf("%s: %v", idle, err)
		}
		opts := deadletter.RedriveOptions{Group: idle, To: "repairs", DryRun: true}
		if result := p.redrive(opts); result.Sent != 1 || result.Groups[idle] != 1 {
			t.Errorf("%s: %+v", idle, result)
		}
		opts = deadletter.RedriveOptions{Group: idle, Destinations: []string{source, "repairs"}, DryRun: true}
		if result := p.redrive(opts); result.Sent != 0 || result.Left[deadletter.LeftGroup] != 1 {
			t.Errorf("%s reads one of two topics, and not the letter's: %+v", idle, result)
		}
	}
}

// A slip of the name neither writes notes into a topic that services read, nor deletes what is in it.
func TestATopicWithoutLettersIsLeftAlone(t *testing.T) {
	t.Parallel()
	p := newPlace(t, source, "payments")
	p.write(letter(0, 0))
	p.redrive(deadletter.RedriveOptions{}) // what went back has headers of a letter, and is none
	purge := func(topic string, anyTopic bool) error {
		_, err := deadletter.PlanPurge(p.context(), p.client, topic, deadletter.PurgeOptions{AnyTopic: anyTopic})
		return err
	}
	if err := purge(source, false); !errors.Is(err, deadletter.ErrNotDeadLetters) || !strings.Contains(err.Error(), source) {
		t.Errorf("purge: %v", err)
	}
	opts := deadletter.RedriveOptions{To: "payments"}
	if _, err := deadletter.Redrive(p.context(), p.client, source, opts); !errors.Is(err, deadletter.ErrNotDeadLetters) {
		t.Errorf("redrive: %v", err)
	}
	if got := len(p.sent()); got != 1 {
		t.Errorf("%d records in the topic, want the 1 that was there", got)
	}
	opts.AnyTopic = true
	if result, err := deadletter.Redrive(p.context(), p.client, source, opts); err != nil || result.Sent != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	if err := purge(source, true); err != nil {
		t.Error(err)
	}
	failed := letter(0, 1)
	failed.Topic = "payments" // which has a letter now, whatever its name
	p.write(failed, &kgo.Record{Topic: "dlq-payments"})
	for _, topic := range []string{"payments", "dlq-payments"} {
		if err := purge(topic, false); err != nil {
			t.Errorf("%s: %v", topic, err)
		}
	}
}

// What retention takes from under a run is not held for sent.
func TestLettersThatAreDeletedMeanwhileAreCounted(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(1, 0), letter(1, 1), letter(1, 2))
	result := p.redrive(deadletter.RedriveOptions{Transform: func(l deadletter.Letter, _ *kgo.Record) error {
		if l.Partition == 0 {
			if _, err := kadm.NewClient(p.raw).DeleteRecords(p.context(), deleteUpTo(1, 2)); err != nil {
				t.Error(err)
			}
		}
		return nil
	}})
	if result.Sent != 2 || result.Deleted != 2 || !result.Complete {
		t.Errorf("%+v", result)
	}
	p.write(letter(1, 3))
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 1 || result.Deleted != 0 {
		t.Errorf("%+v", result)
	}
}

// A topic without a pending letter has none at a glance: the marks behind the last one are no letters.
func TestNothingSeemsPendingOnceEverythingIsSent(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1), letter(1, 0))
	p.redrive(deadletter.RedriveOptions{})
	all, err := deadletter.Topics(p.context(), p.client)
	if err != nil || len(all) != 1 || all[0].Unsettled != 0 || all[0].Records == 0 {
		t.Errorf("%+v, %v", all, err)
	}
	p.write(letter(0, 2))
	if all, err = deadletter.Topics(p.context(), p.client); err != nil || all[0].Unsettled != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 1 {
		t.Errorf("%+v", result)
	}
}

func TestAnErrorOfTransformEndsTheRunBeforeTheLetter(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1), letter(0, 2))
	broken := errors.New("broken")
	opts := deadletter.RedriveOptions{Transform: func(l deadletter.Letter, _ *kgo.Record) error {
		if l.Origin.Offset == 1 {
			return broken
		}
		return nil
	}}
	result, err := deadletter.Redrive(p.context(), p.client, dlq, opts)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), dlq+"-0 offset 1") || result.Sent != 1 || result.Complete {
		t.Errorf("%+v, %v", result, err)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 2 || result.Repeated != 0 {
		t.Errorf("%+v", result)
	}
	if got := p.sentValues(); !slices.Equal(got, []string{"0/0", "0/1", "0/2"}) {
		t.Errorf("sent %q", got)
	}
}

// A partition's letters go back in their order, across windows, Max and runs.
func TestOrderAndMax(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const n = 2*deadletter.Window + 100
	var want []string
	for i := range int64(n) {
		want = append(want, fmt.Sprintf("0/%d", i))
		p.raw.Produce(p.context(), letter(0, i), nil)
	}
	if err := p.raw.Flush(p.context()); err != nil {
		t.Fatal(err)
	}
	var told deadletter.Progress
	opts := deadletter.RedriveOptions{Max: deadletter.Window + 7, OnProgress: func(p deadletter.Progress) { told = p }}
	result := p.redrive(opts)
	if result.Sent != opts.Max || result.Complete || told.Sent != opts.Max || told.Read != opts.Max || told.Total != n {
		t.Errorf("%+v, told %+v", result, told)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != n-opts.Max || !result.Complete {
		t.Errorf("%+v", result)
	}
	if got := p.sentValues(); !slices.Equal(got, want) {
		t.Errorf("%d sent, not in order or not once", len(got))
	}
}

// Leaders that move while a run reads and sends cost nothing but time.
func TestRunsOutliveTheirPartitionsLeaders(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for i := range int64(30) {
		p.write(letter(int32(i%3), i))
	}
	n := 0
	move := func(deadletter.Letter, *kgo.Record) error {
		if n++; n%5 == 1 {
			for partition := range int32(3) {
				for _, topic := range []string{source, dlq} {
					if err := p.cluster.MoveTopicPartition(topic, partition, int32(n/5+int(partition))%3); err != nil {
						t.Error(err)
					}
				}
			}
		}
		return nil
	}
	if result := p.redrive(deadletter.RedriveOptions{Transform: move}); result.Sent != 30 || !result.Complete {
		t.Errorf("%+v", result)
	}
	values := p.sentValues()
	slices.Sort(values)
	if got := len(slices.Compact(values)); got != 30 || len(values) != 30 {
		t.Errorf("%d sent, %d different", len(values), got)
	}
}

// Who waits for a few letters among many sees that the run goes on.
func TestProgressIsToldWhereNothingIsSent(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for i := range int64(20) {
		p.write(letter(0, i))
	}
	var told []deadletter.Progress
	result := p.redrive(deadletter.RedriveOptions{
		Filter: deadletter.Filter{Key: "another"}, OnProgress: func(p deadletter.Progress) { told = append(told, p) },
	})
	if result.Filtered != 20 || len(told) < 2 || told[0].Read != 1 || told[len(told)-1].Read != 20 {
		t.Errorf("%+v, told %+v", result, told)
	}
}

func TestProgressEndsAtItsTotal(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(1, 1), letter(2, 2), letter(2, 3))
	var last deadletter.Progress
	p.redrive(deadletter.RedriveOptions{OnProgress: func(p deadletter.Progress) { last = p }})
	if last.Read != 4 || last.Total != 4 || last.Sent != 4 {
		t.Errorf("%+v", last)
	}
}

// Who names a partition twice means it once: both readings would see the same letters pending.
func TestAPartitionThatIsNamedTwiceIsReadOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	if result := p.redrive(deadletter.RedriveOptions{Filter: deadletter.Filter{Partitions: []int32{0, 0}}}); result.Sent != 2 {
		t.Errorf("%+v", result)
	}
	if got := p.sentValues(); !slices.Equal(got, []string{"0/0", "0/1"}) {
		t.Errorf("sent %q", got)
	}
}

// A letter that comes back while the run goes on is not sent in circles.
func TestARunEndsWhereTheTopicDidAtItsStart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	n := int64(10)
	result := p.redrive(deadletter.RedriveOptions{Transform: func(deadletter.Letter, *kgo.Record) error {
		n++
		p.write(letter(0, n))
		return nil
	}})
	if result.Sent != 2 {
		t.Errorf("%+v", result)
	}
	if got := p.list(deadletter.Filter{}); !slices.Equal(got, []string{`"0/11"`, `"0/12"`}) {
		t.Errorf("pending %q", got)
	}
}

func TestOneRunAtATime(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	inHand, release := make(chan struct{}), make(chan struct{})
	first := make(chan deadletter.Result, 1)
	go func() { // ends with release
		result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{
			Transform: func(l deadletter.Letter, _ *kgo.Record) error {
				if l.Origin.Offset == 1 {
					close(inHand)
					<-release
				}
				return nil
			},
		})
		if err != nil {
			t.Error(err)
		}
		first <- result
	}()
	<-inHand
	_, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{})
	if !errors.Is(err, deadletter.ErrRunning) || !strings.Contains(err.Error(), deadletter.GroupOf(dlq)) {
		t.Errorf("the second run: %v", err)
	}
	all, err := deadletter.Topics(p.context(), p.client)
	if err != nil || len(all) != 1 || all[0].Name != dlq || !all[0].Running {
		t.Errorf("topics %+v, %v", all, err)
	}
	if dry := p.redrive(deadletter.RedriveOptions{DryRun: true}); dry.Repeated != 0 {
		t.Errorf("a dry run takes the one that runs for one that was killed: %+v", dry)
	}
	plan, err := deadletter.PlanPurge(p.context(), p.client, dlq, deadletter.PurgeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Do(p.context(), p.client); !errors.Is(err, deadletter.ErrRunning) || len(p.list(deadletter.Filter{})) != 2 {
		t.Errorf("a purge deletes what is being sent: %v", err)
	}
	owner := p.onlyMember()
	waits := make(chan deadletter.Result, 1)
	go func() { // ends after the first
		result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{Wait: time.Minute})
		if err != nil {
			t.Error(err)
		}
		waits <- result
	}()
	p.awaitMembers(2, owner)
	close(release)
	if got := <-first; got.Sent != 2 {
		t.Errorf("the first: %+v", got)
	}
	if got := <-waits; got.Sent != 0 || !got.Complete {
		t.Errorf("the one that waited: %+v", got)
	}
	if got := p.sentValues(); len(got) != 2 {
		t.Errorf("sent %q", got)
	}
}

// onlyMember returns who runs.
func (p *place) onlyMember() string {
	p.t.Helper()
	groups, err := kadm.NewClient(p.raw).DescribeGroups(p.context(), deadletter.GroupOf(dlq))
	if err != nil || len(groups[deadletter.GroupOf(dlq)].Members) != 1 {
		p.t.Fatalf("%+v, %v", groups, err)
	}
	return groups[deadletter.GroupOf(dlq)].Members[0].MemberID
}

// awaitMembers waits until the group has so many members, and wants the owner to be still the same.
func (p *place) awaitMembers(n int, owner string) {
	p.t.Helper()
	for ctx := p.context(); ; {
		groups, err := kadm.NewClient(p.raw).DescribeGroups(ctx, deadletter.GroupOf(dlq))
		if err != nil {
			p.t.Fatal(err)
		}
		group := groups[deadletter.GroupOf(dlq)]
		if group.State == "Stable" && len(group.Members) == n {
			if owners := slices.DeleteFunc(group.Members, func(m kadm.DescribedGroupMember) bool {
				assigned, ok := m.Assigned.AsConsumer()
				return !ok || len(assigned.Topics) == 0
			}); len(owners) != 1 || owners[0].MemberID != owner {
				p.t.Errorf("%+v have partitions, want %s", owners, owner)
			}
			return
		}
	}
}

// Two that begin at the same moment: one runs.
func TestTwoRunsThatBeginTogether(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for i := range int64(100) {
		p.write(letter(int32(i%3), i))
	}
	type outcome struct {
		result deadletter.Result
		err    error
	}
	outcomes := make(chan outcome, 4)
	for range cap(outcomes) {
		go func() { // ends with its run
			result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{})
			outcomes <- outcome{result, err}
		}()
	}
	sent := int64(0)
	for range cap(outcomes) {
		o := <-outcomes
		if sent += o.result.Sent; o.err != nil && !errors.Is(o.err, deadletter.ErrRunning) {
			t.Error(o.err)
		}
	}
	if got := p.sentValues(); sent != 100 || len(got) != 100 {
		t.Errorf("%d counted, %d sent, want 100", sent, len(got))
	}
}

// A run that is asked to end marks what it has sent, and the next goes on.
func TestACancelledRunGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const n = 30
	for i := range int64(n) {
		p.write(letter(0, i))
	}
	ctx, cancel := context.WithCancel(p.context())
	result, err := deadletter.Redrive(ctx, p.client, dlq, deadletter.RedriveOptions{Transform: func(l deadletter.Letter, _ *kgo.Record) error {
		if l.Origin.Offset == 10 {
			cancel()
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) || result.Sent == 0 || result.Sent == n {
		t.Errorf("%+v, %v", result, err)
	}
	if rest := p.redrive(deadletter.RedriveOptions{}); rest.Sent != n-result.Sent || rest.Repeated != 0 {
		t.Errorf("%+v after %+v", rest, result)
	}
	if got := p.sentValues(); len(got) != n {
		t.Errorf("%d sent, want %d", len(got), n)
	}
}

// refuse has the broker refuse what is written to a partition, until take is called.
func (p *place) refuse(topic string, partition int32) (take func()) {
	p.t.Helper()
	return p.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{partition}, Err: kerr.PolicyViolation, Count: -1,
	}).Remove
}

// What the brokers refuse ends the run and stays pending; what they took before is marked.
func TestALetterThatIsRefusedStaysPending(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(1, 1), letter(2, 2))
	take := p.refuse(source, 1)
	result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{})
	if !errors.Is(err, kerr.PolicyViolation) || !strings.Contains(err.Error(), dlq+"-1 offset 0 to "+source+"-1") || result.Sent != 1 || result.Complete {
		t.Errorf("%+v, %v", result, err)
	}
	take()
	if got := p.list(deadletter.Filter{}); !slices.Equal(got, []string{`"1/1"`, `"2/2"`}) {
		t.Errorf("pending %q", got)
	}
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 2 {
		t.Errorf("%+v", result)
	}
	if got := p.sentValues(); !slices.Equal(got, []string{"0/0", "1/1", "2/2"}) {
		t.Errorf("sent %q", got)
	}
}

// Letters that were sent and could not be marked are sent again, and counted. Without transactions everybody has them twice.
func TestWhatIsNotMarkedIsSentAgainAndCounted(t *testing.T) {
	t.Parallel()
	for _, without := range []bool{false, true} {
		p := newPlace(t)
		p.write(letter(0, 0), letter(0, 1))
		take := p.refuse(dlq, 0)
		result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{NoTransactions: without})
		if !errors.Is(err, kerr.PolicyViolation) || result.Sent != 0 {
			t.Errorf("%+v, %v", result, err)
		}
		take()
		if result := p.redrive(deadletter.RedriveOptions{NoTransactions: without}); result.Sent != 2 || result.Repeated != 2 {
			t.Errorf("%+v", result)
		}
		want := []string{`"0/0"`, `"0/1"`}
		if without {
			want = append(want, want...)
		}
		if got := p.committed(); !slices.Equal(got, want) {
			t.Errorf("without transactions %v: committed %q", without, got)
		}
	}
}

func TestDestinationsAreAllowed(t *testing.T) {
	t.Parallel()
	p := newPlace(t, source, "events")
	for _, opts := range []deadletter.RedriveOptions{{Destinations: []string{dlq}}, {To: dlq}} {
		if _, err := deadletter.Redrive(p.context(), p.client, dlq, opts); !errors.Is(err, deadletter.ErrDestination) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
	if _, err := deadletter.Redrive(p.context(), p.client, "events", deadletter.RedriveOptions{}); !errors.Is(err, deadletter.ErrDestination) {
		t.Errorf("a name that says nothing: %v", err)
	}
	if _, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{To: "nowhere"}); !errors.Is(err, kafka.ErrTopicMissing) {
		t.Errorf("a topic that is not there: %v", err)
	}
	if _, err := deadletter.Redrive(p.context(), p.client, "dlq-nowhere", deadletter.RedriveOptions{}); !errors.Is(err, kafka.ErrTopicMissing) {
		t.Errorf("no dead letter topic: %v", err)
	}
}
