package kafka

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"
)

// quiet lets one of many equal log lines through every ten seconds.
type quiet struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (q *quiet) allow(line string) bool {
	const every, most = 10 * time.Second, 100 // lines remembered
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if last, ok := q.last[line]; ok && now.Sub(last) < every {
		return false
	}
	if q.last == nil || len(q.last) >= most {
		q.last = map[string]time.Time{}
	}
	q.last[line] = now
	return true
}

// clientLogger gives franz-go's own lines to log.
func clientLogger(log *slog.Logger) kgo.Logger {
	return kslog.New(slog.New(&clientLogs{log.Handler(), &quiet{}}))
}

// clientLogs takes franz-go's lines down by a level: what it calls an error it tries again, what ends the work comes out of
// our functions as an error, and what it says at Info stands in our own lines. It repeats itself at each try, so a line passes
// once in ten seconds.
type clientLogs struct {
	slog.Handler
	quiet *quiet
}

func clientLevel(level slog.Level) slog.Level { return level - (slog.LevelError - slog.LevelWarn) }

func (h *clientLogs) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, clientLevel(level))
}

func (h *clientLogs) Handle(ctx context.Context, line slog.Record) error {
	level := clientLevel(line.Level)
	if level >= slog.LevelInfo && !h.quiet.allow(line.Message) {
		return nil
	}
	ours := slog.NewRecord(line.Time, level, line.Message, 0)
	ours.AddAttrs(slog.String("component", "franz-go"))
	line.Attrs(func(attr slog.Attr) bool {
		ours.AddAttrs(attr)
		return true
	})
	return h.Handler.Handle(ctx, ours)
}
