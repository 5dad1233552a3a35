package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// logged keeps log lines. Tests ask for levels and attributes: the sentences may change.
type logged struct {
	mu    sync.Mutex
	lines []logLine
}

type logLine struct {
	level slog.Level
	text  string
	attrs []string // as key=value
}

func (l *logged) logger(level slog.Level) *slog.Logger { return slog.New(logHandler{l, level, nil}) }

// count returns how many lines have the level and every attribute: "key=value" is one, "key=va…" its beginning, and "key"
// one of any value. "!key" is one that the line must not have.
func (l *logged) count(level slog.Level, attrs ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if line.level == level && !slices.ContainsFunc(attrs, func(attr string) bool { return !line.has(attr) }) {
			n++
		}
	}
	return n
}

// all returns the number of lines.
func (l *logged) all() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// contains tells whether a text stands anywhere: a secret, say.
func (l *logged) contains(text string) bool { return strings.Contains(l.String(), text) }

func (l *logged) String() string { return strings.Join(l.texts(slog.Level(-100)), "") }

// texts returns the lines of a level and above, as slog prints them.
func (l *logged) texts(level slog.Level) (texts []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if line.level >= level {
			texts = append(texts, line.text)
		}
	}
	return texts
}

func (line logLine) has(attr string) bool {
	if key, not := strings.CutPrefix(attr, "!"); not {
		return !line.has(key)
	}
	prefix, begins := strings.CutSuffix(attr, "…")
	if !strings.Contains(attr, "=") {
		prefix, begins = attr+"=", true
	}
	return slices.ContainsFunc(line.attrs, func(a string) bool { return a == attr || begins && strings.HasPrefix(a, prefix) })
}

// logHandler has the attributes of its logger.
type logHandler struct {
	to    *logged
	level slog.Level
	attrs []slog.Attr
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }
func (h logHandler) WithGroup(string) slog.Handler                    { return h }

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.to, h.level, append(slices.Clip(h.attrs), attrs...)}
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	var text strings.Builder
	line := logLine{level: r.Level}
	keep := func(attr slog.Attr) bool {
		line.attrs = append(line.attrs, fmt.Sprintf("%s=%v", attr.Key, attr.Value.Resolve()))
		return true
	}
	for _, attr := range h.attrs {
		keep(attr)
	}
	r.Attrs(keep)
	r.AddAttrs(h.attrs...)
	if err := slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}).Handle(ctx, r); err != nil {
		return err
	}
	line.text = text.String()
	h.to.mu.Lock()
	defer h.to.mu.Unlock()
	h.to.lines = append(h.to.lines, line)
	return nil
}
