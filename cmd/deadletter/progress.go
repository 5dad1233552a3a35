package main

import (
	"fmt"
	"strings"
	"time"
)

const (
	barWidth = 20
	// How often progress is told: a person wants to see it move, a log file to hold little of it.
	redrawEvery = 200 * time.Millisecond
	lineEvery   = 10 * time.Second
)

// progress tells how far long work is, how fast it goes and when it will be done.
type progress struct {
	console *console
	verb    string
	total   int64 // at most, since a topic's offsets have gaps
	started time.Time
	told    time.Time
}

func newProgress(console *console, verb string, total int64) *progress {
	now := time.Now()
	return &progress{console: console, verb: verb, total: total, started: now, told: now}
}

// tell shows the progress, unless it has just done so.
func (p *progress) tell(done int64) {
	every := lineEvery
	if p.console.terminal {
		every = redrawEvery
	}
	if now := time.Now(); now.Sub(p.told) >= every {
		p.told = now
		p.console.show(p.line(done, now.Sub(p.started)))
	}
}

func (p *progress) line(done int64, elapsed time.Duration) string {
	share := 1.0
	if p.total > 0 {
		share = min(1, float64(done)/float64(p.total))
	}
	filled := int(share * barWidth)
	bar := strings.Repeat("#", filled) + strings.Repeat("-", barWidth-filled)
	rate, eta := float64(done)/max(elapsed.Seconds(), 0.001), "?"
	if done > 0 {
		left := float64(max(0, p.total-done)) / rate
		eta = (time.Duration(left) * time.Second).String()
	}
	return fmt.Sprintf("%s [%s] %3.0f%%  %s of %s  %s/s  ETA %s", p.verb, bar, 100*share, grouped(done), grouped(p.total), grouped(int64(rate)), eta)
}

// letters is a number of them.
func letters(n int64) string {
	if n == 1 {
		return "1 letter"
	}
	return grouped(n) + " letters"
}

// grouped is a number as people read it: 1,234,567.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
