package main

import (
	"fmt"
	"strconv"
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
	total   int64     // at most, since a topic's offsets have gaps
	first   int64     // how much was done when begun was
	begun   time.Time // after the waiting for brokers and others, which is not to count
	told    time.Time
}

// tell shows the progress, unless it has just done so. Of what is done, sent was letters that went back.
func (p *progress) tell(done, total, sent int64) {
	now := time.Now()
	if p.begun.IsZero() {
		p.begun, p.told, p.first = now, now, done
	}
	every := lineEvery
	if p.console.terminal {
		every = redrawEvery
	}
	if now.Sub(p.told) >= every {
		p.told, p.total = now, total
		p.console.show(p.line(done, sent, now.Sub(p.begun)))
	}
}

func (p *progress) line(done, sent int64, elapsed time.Duration) string {
	share := 1.0
	if p.total > 0 {
		share = min(1, float64(done)/float64(p.total))
	}
	filled := int(share * barWidth)
	bar := strings.Repeat("#", filled) + strings.Repeat("-", barWidth-filled)
	seconds := max(elapsed.Seconds(), 0.001)
	rate, eta := float64(done-p.first)/seconds, "?"
	if rate > 0 {
		left := float64(max(0, p.total-done)) / rate
		eta = (time.Duration(left) * time.Second).String()
	}
	return fmt.Sprintf("%s [%s] %3.0f%%  %s  %s/s  ETA %s", p.verb, bar, 100*share, letters(sent), perSecond(float64(sent)/seconds), eta)
}

// perSecond is a rate; a slow one with a digit after the point.
func perSecond(rate float64) string {
	if rate < 10 {
		return strconv.FormatFloat(rate, 'f', 1, 64)
	}
	return grouped(int64(rate))
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
