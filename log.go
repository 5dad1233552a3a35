package kafka

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"

	"github.com/skeji/kafka/internal/flood"
)

// clientLogger gives franz-go's own lines to log. The clients of one consumer share what is held back.
func clientLogger(log *slog.Logger, quiet *flood.Gate) kgo.Logger {
	return kslog.New(slog.New(&clientLogs{Handler: log.Handler(), quiet: quiet, repeated: map[string]repetition{}}))
}

// clientLogs takes franz-go's lines down by a level: what it calls an error it tries again, what ends the work comes out of
// our functions as an error, and what it says at Info stands in our own lines. It repeats itself at each try, so a line passes
// once in ten seconds.
//
// What brokers answer again and again is a warning all the same: franz-go tries for ever, and tells nobody but its log.
type clientLogs struct {
	slog.Handler
	quiet *flood.Gate

	mu       sync.Mutex
	repeated map[string]repetition // by the error's name and the line's text
}

// repetition is since when, and until when, brokers have been giving one of Kafka's errors.
type repetition struct{ first, latest time.Time }

const (
	repeatedLong = 30 * time.Second // until then it may pass by itself, as elections do
	repeatedGap  = 30 * time.Second // what does not come again within it is over; franz-go asks for a producer id for so long before it says so
)

func clientLevel(level slog.Level) slog.Level { return level - (slog.LevelError - slog.LevelWarn) }

// saidByUs are lines that come with one of ours, which says more.
var saidByUs = map[string]bool{
	"unable to open connection to broker": true, "unable to initialize sasl": true,
	"group manage loop errored": true, "join group failed": true, "sync group failed": true,
}

func (h *clientLogs) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, clientLevel(level)) || level >= slog.LevelInfo && h.Handler.Enabled(ctx, slog.LevelWarn)
}

func (h *clientLogs) Handle(ctx context.Context, line slog.Record) error {
	level, lasting := clientLevel(line.Level), h.lasting(line)
	if saidByUs[line.Message] {
		level = slog.LevelDebug
	} else if lasting >= repeatedLong {
		level = max(level, slog.LevelWarn)
	}
	if !h.Handler.Enabled(ctx, level) || level >= slog.LevelInfo && !h.quiet.Allow("franz-go: "+line.Message) {
		return nil
	}
	ours := slog.NewRecord(line.Time, level, line.Message, 0)
	ours.AddAttrs(slog.String("component", "franz-go"))
	line.Attrs(func(attr slog.Attr) bool {
		ours.AddAttrs(attr)
		return true
	})
	if lasting >= repeatedLong {
		ours.AddAttrs(slog.Duration("lasting", lasting))
	}
	return h.Handler.Handle(ctx, ours)
}

// lasting is for how long brokers have been giving the answer that the line tells of.
func (h *clientLogs) lasting(line slog.Record) time.Duration {
	given := answerIn(line)
	if given == "" || line.Message == "heartbeat errored" { // that is how members hear of rebalances
		return 0
	}
	given += line.Message
	h.mu.Lock()
	defer h.mu.Unlock()
	now, r := time.Now(), h.repeated[given]
	if now.Sub(r.latest) > repeatedGap {
		r.first = now
	}
	r.latest = now
	h.repeated[given] = r
	return now.Sub(r.first)
}

// answerIn returns the name of the error that a line gives as its reason, which is text where franz-go has put several into one.
func answerIn(line slog.Record) (name string) {
	line.Attrs(func(attr slog.Attr) bool {
		if attr.Key != "err" && attr.Key != "why" {
			return true
		}
		for word := range strings.FieldsFuncSeq(attr.Value.String(), func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
			if refusalNames()[word] {
				name = word
				return false
			}
		}
		return true
	})
	return name
}

// refusalNames are the names of Kafka's errors. Who has no trouble never needs them.
var refusalNames = sync.OnceValue(func() map[string]bool {
	const more = 500 // than there will be for long
	names := map[string]bool{}
	for code := int16(-1); code < more; code++ {
		if err := kerr.TypedErrorForCode(code); err != nil {
			names[err.Message] = true
		}
	}
	return names
})
