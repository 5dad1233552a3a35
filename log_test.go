package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/flood"
)

func TestFranzGosLinesComeALevelLowerAndOnce(t *testing.T) {
	for level, want := range map[slog.Level]struct {
		speaks kgo.LogLevel
		lines  int
	}{
		slog.LevelError: {kgo.LogLevelNone, 0},
		slog.LevelWarn:  {kgo.LogLevelInfo, 1}, // what lasts becomes a warning
		slog.LevelInfo:  {kgo.LogLevelInfo, 2},
		slog.LevelDebug: {kgo.LogLevelInfo, 4}, // Info, and what stands in our own lines
		-100:            {kgo.LogLevelDebug, 5},
	} {
		var out bytes.Buffer
		logs := clientLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})), flood.Quiet())
		if got := logs.Level(); got != want.speaks {
			t.Errorf("at %v franz-go is asked for %v, want %v", level, got, want.speaks)
		}
		for range 3 {
			logs.Log(kgo.LogLevelError, "an error", "broker", 1)
			logs.Log(kgo.LogLevelWarn, "a warning")
		}
		logs.Log(kgo.LogLevelInfo, "an info")
		logs.Log(kgo.LogLevelError, "group manage loop errored")
		logs.Log(kgo.LogLevelDebug, "a detail")
		if n := strings.Count(out.String(), "component=franz-go"); n != want.lines {
			t.Errorf("at %v it wrote %d lines, want %d:\n%s", level, n, want.lines, &out)
		}
		if level <= slog.LevelWarn && !strings.Contains(out.String(), `level=WARN msg="an error" component=franz-go broker=1`) {
			t.Errorf("at %v: %s", level, &out)
		}
	}
}

func TestWhatBrokersAnswerForLongIsAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logs := clientLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})), flood.Quiet())
		why := "fetch of orders-0: NOT_LEADER_FOR_PARTITION"
		for range 3 {
			logs.Log(kgo.LogLevelInfo, "metadata update triggered", "why", why) // for 20 s: an election
			logs.Log(kgo.LogLevelInfo, "nothing is wrong", "why", "client initialization")
			time.Sleep(10 * time.Second)
		}
		time.Sleep(repeatedGap)
		for range 3 {
			logs.Log(kgo.LogLevelInfo, "metadata update triggered", "why", why) // another one
			time.Sleep(10 * time.Second)
		}
		if out.Len() > 0 {
			t.Errorf("two short elections: %s", &out)
		}
		logs.Log(kgo.LogLevelInfo, "metadata update triggered", "err", fmt.Errorf("fetch: %w", kerr.NotLeaderForPartition))
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "lasting=30s") {
			t.Errorf("after half a minute: %q", got)
		}
	})
}

func TestRebalancesOfARollingDeployAreNoWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logs := clientLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})), flood.Quiet())
		for range 10 {
			logs.Log(kgo.LogLevelInfo, "heartbeat errored", "group", "g", "err", kerr.RebalanceInProgress)
			time.Sleep(25 * time.Second)
		}
		if out.Len() > 0 {
			t.Error(&out)
		}
	})
}

func TestADeadLettersLineSaysWhereItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.produce(&kgo.Record{Partition: 1, Value: []byte(`{"n":1}`), Headers: headers(HeaderCorrelationID, "c-1", HeaderConversationID, strings.Repeat("x", 1000))})
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := b.start(cfg, func(context.Context, Message[numbered]) error { return NewPermanentError("never", nil) })
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		want := "topic=orders partition=1 offset=0 group=group dlq_topic=dlq-orders dlq_partition=1 dlq_offset=0 class=permanent attempts=1 error=never correlation_id=c-1 conversation_id=" + strings.Repeat("x", 128) + "\n"
		if b.log.count(want) != 1 || b.log.count(`msg="consumer stopped" topic=orders group=group`) != 1 {
			t.Errorf("the log lacks\n%s\n%s", want, b.log.text.String())
		}
	})
}

func TestAFloodOfDeadLettersIsHeldBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1000)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		_, stop := b.start(cfg, func(context.Context, Message[numbered]) error { return NewPermanentError("never", nil) })
		time.Sleep(time.Minute)
		b.seed(0, 1)
		time.Sleep(time.Minute)
		_ = stop()
		lines := b.log.count("record sent to dead letter topic")
		if b.letters() != 1001 || lines < 100 || lines > 300 || b.log.count("lines_withheld") == 0 {
			t.Errorf("%d lines about %d letters, %d of them tell of others", lines, b.letters(), b.log.count("lines_withheld"))
		}
	})
}

func TestACommitThatFailsNamesItsPartitionOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		b.seed(1, 1)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: 1})
		_, stop := b.start(b.consumer(), ignore1)
		time.Sleep(5 * time.Second)
		if b.log.count("offset commit failed") != 1 || b.log.count(`error="orders-0: GROUP_AUTHORIZATION_FAILED`)+b.log.count(`error="orders-1: GROUP_AUTHORIZATION_FAILED`) != 1 {
			t.Errorf("the log says\n%s", b.log.text.String())
		}
		_ = stop()
	})
}

func TestAnOutageHasABeginningAndAnEnd(t *testing.T) {
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
		if g.log.count("broker can't be reached") == 0 || g.log.count(`msg="broker reached again" broker=localhost:9092 away=`) == 0 ||
			g.log.count("unable to open connection") != 0 {
			t.Errorf("the log says\n%s", g.log.text.String())
		}
		ended := g.log.count("broker can't be reached")
		_ = stop()
		if n := g.log.count("broker can't be reached"); n != ended {
			t.Errorf("the client's own end is an outage:\n%s", g.log.text.String())
		}
	})
}

func TestThatMiddlewareIsOffIsSaid(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		for _, used := range []bool{true, false} {
			cfg := b.consumer()
			cfg.CommitInterval, cfg.DisableMiddleware = time.Hour, true
			consumer, err := NewConsumer(cfg, ignore1)
			if err != nil {
				t.Fatal(err)
			}
			if used {
				consumer.Use(ConsumerHooks{})
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Minute, cancel)
			if err := consumer.Start(ctx); err != nil {
				t.Error(err)
			}
			_ = consumer.Close()
		}
		if n := b.log.count("level=WARN msg=\"middleware is off"); n != 1 {
			t.Errorf("%d lines, want one: of the consumer that used some\n%s", n, b.log.text.String())
		}
	})
}
