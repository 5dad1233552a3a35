package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// waitingGroup is a group whose rebalance waits for a member that was killed, until its session of 45 s times out. It
// returns the member that goes on, which takes a second for each record. killed is called when the other one is.
func waitingGroup(t *testing.T, b *bubble, handled *atomic.Int64, log *logged, killed ...func()) (member *kafka.Consumer[numbered], stop func() error) {
	t.Helper()
	b.seed(0, 1000)
	b.seed(1, 1000)
	cfg := b.consumer()
	cfg.CommitInterval = time.Hour // franz-go's periodic commit would wait on a lock, which stops the bubble's clock
	cfg.Logger = log.logger(slog.LevelDebug)
	member, stop = b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
		time.Sleep(time.Second)
		handled.Add(1)
		return nil
	})
	time.Sleep(30 * time.Second)
	var dead hush
	cfg = b.consumer()
	cfg.CommitInterval = time.Hour
	cfg.Options = append(cfg.Options, dead.dial(b))
	b.start(cfg, func(ctx context.Context, _ kafka.Message[numbered]) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	for len(member.Health().Partitions) != 1 {
		time.Sleep(time.Second)
	}
	time.Sleep(10 * time.Second)
	dead.on.Store(true)
	for _, f := range killed {
		f()
	}
	cfg = b.consumer() // its join begins the rebalance
	cfg.CommitInterval = time.Hour
	b.start(cfg, func(ctx context.Context, _ kafka.Message[numbered]) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	time.Sleep(10 * time.Second) // the member has heard of it
	return member, stop
}

// committedIn is what the group has committed in all partitions.
func (b *bubble) committedIn() int64 { return max(0, b.committed(0)) + max(0, b.committed(1)) }

// While a rebalance waits for a member that was killed, work goes on, and is committed.
func TestFinishedRecordsAreCommittedWhileARebalanceWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var handled atomic.Int64
		var log logged
		member, stop := waitingGroup(t, b, &handled, &log)
		before := b.committedIn()
		assigned := b.assigned.Load()
		time.Sleep(10 * time.Second)
		if n := b.committedIn() - before; n < 8 || b.assigned.Load() != assigned {
			t.Errorf("%d records are committed in 10 s, want about as many as were handled; %d handled in all", n, handled.Load())
		}
		if n := log.count(slog.LevelInfo, "rebalancing", "session_timeout=45s"); n != 1 {
			t.Errorf("%d lines say that the group waits", n)
		}
		if problems := member.Health().Problems; len(problems) > 0 {
			t.Errorf("problems are %q: commits are taken", problems)
		}
		time.Sleep(5 * time.Minute)
		n := handled.Load()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if at := b.committedIn(); at < n {
			t.Errorf("%d handled, %d committed", n, at)
		}
	})
}

// A member that is asked to end while its group waits for another one does not wait as well.
func TestAMemberLeavesWhileARebalanceWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var handled atomic.Int64
		var log logged
		_, stop := waitingGroup(t, b, &handled, &log)
		began := time.Now()
		err := stop()
		if took := time.Since(began); err != nil || took > 5*time.Second {
			t.Errorf("Start returned %v after %v:\n%s", err, took, log.String())
		}
		if n := handled.Load(); b.committedIn() != n {
			t.Errorf("%d handled, %d committed", n, b.committedIn())
		}
	})
}

// So does one that has records done beyond one that is not: nothing of that is handled again.
func TestAMemberThatLeavesTellsItsProgressWhileARebalanceWaits(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const keys, perKey = 10, 200
		var mu sync.Mutex
		handled := map[string]int{}
		handle := func(_ context.Context, msg kafka.Message[numbered]) error {
			if time.Sleep(time.Second); msg.Key == "stuck" {
				return errAway
			}
			mu.Lock()
			defer mu.Unlock()
			handled[fmt.Sprint(msg.Partition, "/", msg.Offset)]++
			return nil
		}
		for partition := range int32(2) {
			b.put(&kgo.Record{Topic: "orders", Partition: partition, Key: []byte("stuck"), Value: []byte(`{"n":1}`)})
			for n := range keys * perKey {
				b.put(&kgo.Record{Topic: "orders", Partition: partition, Key: fmt.Append(nil, n%keys), Value: []byte(`{"n":1}`)})
			}
		}
		config := func() kafka.ConsumerConfig {
			cfg := b.consumer()
			cfg.CommitInterval, cfg.Concurrency, cfg.MaxRetries, cfg.RetryBackoff, cfg.RetryBackoffMax = time.Hour, 4, 1000, time.Hour, time.Hour
			return cfg
		}
		member, stop := b.start(config(), handle)
		time.Sleep(30 * time.Second)
		var dead hush
		cfg := config()
		cfg.Options = append(cfg.Options, dead.dial(b))
		b.start(cfg, handle)
		for len(member.Health().Partitions) != 1 {
			time.Sleep(time.Second)
		}
		own := member.Health().Partitions[0].Partition
		time.Sleep(10 * time.Second)
		dead.on.Store(true)
		_, stopLast := b.start(config(), handle) // its join begins the rebalance
		time.Sleep(10 * time.Second)
		began := time.Now()
		err := stop()
		if took := time.Since(began); err != nil || took > 5*time.Second {
			t.Errorf("Start returned %v after %v:\n%s", err, took, b.log.String())
		}
		time.Sleep(10 * time.Minute) // the last one goes on with all
		if err := stopLast(); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for place, n := range handled {
			if strings.HasPrefix(place, fmt.Sprint(own, "/")) && n != 1 {
				t.Errorf("%s is handled %d times", place, n)
			}
		}
	})
}

// Kafka answers a request to join when its member leaves, and franz-go would ask to join again, as a new member that the
// group then waits for, though nobody is there.
func TestAMemberThatLeavesDoesNotJoinAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var handled atomic.Int64
		var log logged
		var member atomic.Value // its id
		var waits, left atomic.Bool
		var again atomic.Int32
		leaves := make(chan struct{})
		b.cluster.ControlKey(int16(kmsg.JoinGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			request := r.(*kmsg.JoinGroupRequest)
			if request.MemberID != "" {
				member.CompareAndSwap(nil, request.MemberID)
			}
			if left.Load() {
				again.Add(1)
			}
			if !waits.Load() || request.MemberID != member.Load() {
				return nil, nil, false
			}
			b.cluster.SleepControl(func() { <-leaves })
			response := request.ResponseKind().(*kmsg.JoinGroupResponse)
			response.ErrorCode = kerr.UnknownMemberID.Code
			return response, nil, true
		})
		b.cluster.ControlKey(int16(kmsg.LeaveGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if r.(*kmsg.LeaveGroupRequest).Members[0].MemberID == member.Load() && left.CompareAndSwap(false, true) {
				close(leaves)
				b.cluster.SleepControl(func() { time.Sleep(time.Second) }) // the answer to the join is the first
			}
			return nil, nil, false
		})
		_, stop := waitingGroup(t, b, &handled, &log, func() { waits.Store(true) })
		if err := stop(); err != nil || !left.Load() {
			t.Errorf("Start returned %v; it left: %t", err, left.Load())
		}
		time.Sleep(5 * time.Second)
		if n := again.Load(); n > 0 {
			t.Errorf("it asked %d times to join again", n)
		}
	})
}

// A coordinator that takes no commits while its group rebalances is named.
func TestCommitsThatAreHeldUpAreAProblem(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		var handled atomic.Int64
		var log logged
		var refuses atomic.Bool
		b.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if !refuses.Load() {
				return nil, nil, false
			}
			request := r.(*kmsg.OffsetCommitRequest)
			response := request.ResponseKind().(*kmsg.OffsetCommitResponse)
			for _, topic := range request.Topics {
				answer := kmsg.NewOffsetCommitResponseTopic()
				answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
				for _, p := range topic.Partitions {
					answer.Partitions = append(answer.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: kerr.RebalanceInProgress.Code})
				}
				response.Topics = append(response.Topics, answer)
			}
			return response, nil, true
		})
		member, stop := waitingGroup(t, b, &handled, &log)
		lines := func() int {
			return log.count(slog.LevelWarn, "rebalancing", "error=orders-…", "uncommitted", "!uncommitted=0", "remedy")
		}
		before := lines() // an earlier rebalance may have had one, between the answers to join and sync
		refuses.Store(true)
		time.Sleep(10 * time.Second)
		if n := lines() - before; n != 1 {
			t.Errorf("%d lines say that commits are refused", n)
		}
		h := member.Health()
		problems := strings.Join(h.Problems, "\n")
		if !strings.Contains(problems, "group group has been rebalancing since") || !strings.Contains(problems, "REBALANCE_IN_PROGRESS") {
			t.Errorf("problems are %q", problems)
		}
		if !strings.Contains(problems, " 10 finished records") && !strings.Contains(problems, " 9 finished records") {
			t.Errorf("problems are %q, want how many records have been finished in these ten seconds", problems)
		}
		if h.CommitsHeldUpSince.IsZero() || !h.Live() || !h.Ready() {
			t.Errorf("commits are held up since %v; live %t, ready %t", h.CommitsHeldUpSince, h.Live(), h.Ready())
		}
		refuses.Store(false)
		time.Sleep(5 * time.Minute)
		if problems := member.Health().Problems; len(problems) > 0 {
			t.Errorf("it is over, and problems are %q", problems)
		}
		if since := member.Health().CommitsHeldUpSince; !since.IsZero() {
			t.Errorf("it is over, and commits are held up since %v", since)
		}
		_ = stop()
	})
}
