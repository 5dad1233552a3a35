package kafka

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeji/kafka/internal/flood"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
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
