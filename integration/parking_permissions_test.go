package integration

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/skeji/kafka"
)

// readDLQ is what parked keys take beside what a consumer needs anyway.
func (w *world) readDLQ() permission { return permission{topic: w.dlq, operation: kadm.OpRead} }

// parkingConfig is the user's consumer's, with parked keys.
func (w *world) parkingConfig() kafka.ConsumerConfig {
	cfg := w.consumerConfig()
	cfg.ParkKeys = true
	return cfg
}

// TestParkedKeysTakeReadOnTheDeadLetterTopic: Start says so at once, even while there is nothing to be read.
func TestParkedKeysTakeReadOnTheDeadLetterTopic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, w.consumes()...)
	handle, handled := received()
	w.publish(t, "b-1")
	err := startConsumer(t, w.parkingConfig(), handle).wait(t)
	unauthorized(t, "Start", err, "topic "+w.dlq)
	if err == nil || !strings.Contains(err.Error(), "READ") || len(handled) > 0 {
		t.Errorf("Start returned %v after %d messages; want it to name READ, and none", err, len(handled))
	}
}

// TestDeadLettersThatMayNotBeReadHoldTheirPartition: the permission is withdrawn, and then a partition changes its owner. The next one
// handles nothing until it knows which keys are parked, and says what it lacks.
func TestDeadLettersThatMayNotBeReadHoldTheirPartition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, w.consumes()...)
	w.grant(t, w.describeDLQ(), w.readDLQ())
	cfg, lines := w.parkingConfig(), &logLines{}
	cfg.Logger = slog.New(lines)
	var broken atomic.Bool
	broken.Store(true)
	pass, handled := received()
	handle := func(ctx context.Context, msg kafka.Message[booking]) error {
		if broken.Load() {
			return poison(ctx, msg)
		}
		return pass(ctx, msg)
	}
	owner, next := startMember(t, cfg, handle), startMember(t, cfg, handle)
	w.publish(t, "parked")
	eventually(t, "the letter is stored", func() bool { return w.stored(t, w.dlq) == 1 })
	eventually(t, "it is committed, and one of two members has the partition", func() bool {
		groups, err := w.admin.DescribeGroups(t.Context(), w.name)
		if err != nil || groups[w.name].State != "Stable" || len(groups[w.name].Members) != 2 || w.committed(t) != 1 {
			return false
		}
		if next.hasPartition() {
			owner, next = next, owner
		}
		return owner.hasPartition() && !next.hasPartition()
	})
	broken.Store(false)

	w.withdraw(t, w.readDLQ())
	owner.stop(t)
	w.publish(t, "other", "parked")
	eventually(t, "the log says that its partition waits", func() bool {
		return lines.about(kafka.ErrAuthorization, slog.String("topic", w.topic)) > 0
	})
	health := next.Health()
	if len(health.Partitions) != 1 || health.Partitions[0].Activity != kafka.ActivityRecalling || !health.Live() {
		t.Errorf("health says %+v", health)
	}
	t.Log(health.Problems)
	if problems := strings.Join(health.Problems, "\n"); !strings.Contains(problems, w.dlq) || !strings.Contains(problems, kafka.ErrAuthorization.Error()) {
		t.Errorf("problems are %q, want the topic and that it is a permission", problems)
	}
	if at := w.committed(t); at != 1 || len(handled) > 0 {
		t.Errorf("committed %d, %d messages handled; want 1 and none", at, len(handled))
	}

	w.grant(t, w.readDLQ())
	if id := await(t, "the other key's message is handled", handled); id != "other" {
		t.Errorf("%s is handled, want the other", id)
	}
	eventually(t, "all is committed", func() bool { return w.committed(t) == 3 })
	if n := w.stored(t, w.dlq); n != 2 || len(handled) > 0 {
		t.Errorf("%d letters and %d more messages handled, want 2 and none: the key is parked", n, len(handled))
	}
	if problems := next.Health().Problems; len(problems) > 0 {
		t.Errorf("problems are %q, and all is well", problems)
	}
	next.stop(t)
}

// groupMember is a consumer whose Start runs, and which can be asked for its health.
type groupMember[T any] struct {
	*kafka.Consumer[T]
	cancel context.CancelFunc
	result chan error
}

func startMember[T any](t *testing.T, cfg kafka.ConsumerConfig, handle kafka.Handler[T]) groupMember[T] {
	t.Helper()
	consumer, err := kafka.NewConsumer(cfg, handle)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := groupMember[T]{consumer, cancel, make(chan error, 1)}
	go func() { m.result <- consumer.Start(ctx) }() // ends with cancel
	t.Cleanup(func() {
		cancel()
		_ = consumer.Close() // waits for Start
	})
	return m
}

func (m groupMember[T]) hasPartition() bool { return len(m.Health().Partitions) > 0 }

func (m groupMember[T]) stop(t *testing.T) {
	t.Helper()
	m.cancel()
	if err := await(t, "Start returns", m.result); err != nil {
		t.Errorf("Start: %v", err)
	}
}
