package kafka

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"

	"github.com/skeji/kafka/internal/flood"
)

// clientLogger gives franz-go's own lines to log. The clients of one consumer share what is held back.
func clientLogger(log *slog.Logger, quiet *flood.Gate) kgo.Logger {
	return kslog.New(slog.New(&clientLogs{log.Handler(), quiet}))
}

// clientLogs takes franz-go's lines down by a level: what it calls an error it tries again, what ends the work comes out of
// our functions as an error, and what it says at Info stands in our own lines. It repeats itself at each try, so a line passes
// once in ten seconds.
type clientLogs struct {
	slog.Handler
	quiet *flood.Gate
}

func clientLevel(level slog.Level) slog.Level { return level - (slog.LevelError - slog.LevelWarn) }

// saidByUs are lines that come with one of ours, which says more.
var saidByUs = map[string]bool{
	"unable to open connection to broker": true, "unable to initialize sasl": true,
	"group manage loop errored": true, "join group failed": true, "sync group failed": true,
}

func (h *clientLogs) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, clientLevel(level))
}

func (h *clientLogs) Handle(ctx context.Context, line slog.Record) error {
	level := clientLevel(line.Level)
	if saidByUs[line.Message] {
		level = slog.LevelDebug
		if !h.Handler.Enabled(ctx, level) {
			return nil
		}
	}
	if level >= slog.LevelInfo && !h.quiet.Allow("franz-go: "+line.Message) {
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
