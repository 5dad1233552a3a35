package kafka_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

func TestADeadLettersLineSaysWhereItIs(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.produce(&kgo.Record{Partition: 1, Value: []byte(`{"n":1}`), Headers: headers(kafka.HeaderCorrelationID, "c-1", kafka.HeaderConversationID, strings.Repeat("x", 1000))})
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return kafka.NewPermanentError("never", nil) })
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if b.log.count(slog.LevelError, "topic=orders", "partition=1", "offset=0", "group=group", "dlq_topic=dlq-orders", "dlq_partition=1",
			"dlq_offset=0", "class=permanent", "attempts=1", "error=never", "correlation_id=c-1", "conversation_id="+strings.Repeat("x", 128)) != 1 {
			t.Errorf("the log says\n%s", &b.log)
		}
	})
}

func TestAFloodOfDeadLettersIsHeldBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1000)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return kafka.NewPermanentError("never", nil) })
		time.Sleep(time.Minute)
		b.seed(0, 1)
		time.Sleep(time.Minute)
		_ = stop()
		lines, withheld := b.log.count(slog.LevelError, "dlq_topic"), b.log.count(slog.LevelError, "dlq_topic", "lines_withheld")
		if b.letters() != 1001 || lines < 100 || lines > 300 || withheld == 0 {
			t.Errorf("%d lines about %d letters, %d of them tell of others", lines, b.letters(), withheld)
		}
	})
}

func TestACommitThatFailsNamesItsPartitionOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		b.seed(1, 1)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: 1})
		_, stop := b.start(b.consumer(), ignore1)
		time.Sleep(5 * time.Second)
		if b.log.count(slog.LevelWarn, "error=orders-0: GROUP_AUTHORIZATION_FAILED…")+b.log.count(slog.LevelWarn, "error=orders-1: GROUP_AUTHORIZATION_FAILED…") != 1 {
			t.Errorf("the log says\n%s", b.log.String())
		}
		_ = stop()
	})
}

func TestAnOutageHasABeginningAndAnEnd(t *testing.T) {
	t.Parallel()
	atGate(t, func(t *testing.T, g *gate) {
		cfg := g.consumer()
		var away atomic.Bool
		cfg.Options = []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			if away.Load() {
				return nil, errors.New("no route to host")
			}
			return g.dial(ctx, network, address)
		})}
		_, stop := g.start(cfg, ignore1)
		time.Sleep(time.Minute)
		away.Store(true)
		g.cut()
		time.Sleep(time.Minute)
		away.Store(false)
		time.Sleep(time.Minute)
		outages := func() int { return g.log.count(slog.LevelWarn, "broker", "error", "!component") }
		if outages() == 0 || g.log.count(slog.LevelInfo, "broker=localhost:9092", "away") == 0 || g.log.count(slog.LevelWarn, "component") != 0 {
			t.Errorf("the log says\n%s", g.log.String())
		}
		ended := outages()
		_ = stop()
		if n := outages(); n != ended {
			t.Errorf("the client's own end is an outage:\n%s", g.log.String())
		}
	})
}

func TestThatMiddlewareIsOffIsSaid(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		for _, used := range []bool{true, false} {
			cfg := b.consumer()
			cfg.CommitInterval, cfg.DisableMiddleware = time.Hour, true
			consumer, err := kafka.NewConsumer(cfg, ignore1)
			if err != nil {
				t.Fatal(err)
			}
			if used {
				consumer.Use(kafka.ConsumerHooks{})
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Minute, cancel)
			if err := consumer.Start(ctx); err != nil {
				t.Error(err)
			}
			_ = consumer.Close()
		}
		if n := b.log.count(slog.LevelWarn, "topic=orders", "group=group"); n != 1 {
			t.Errorf("%d lines, want one: of the consumer that used some\n%s", n, b.log.String())
		}
	})
}
