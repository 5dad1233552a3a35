package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressTellsShareRateAndETA(t *testing.T) {
	for _, test := range []struct {
		first, done, sent int64
		elapsed           time.Duration
		want              string
	}{
		{0, 0, 0, 0, "redrive [--------------------]   0%  0 letters  0.0/s  ETA ?"},
		{0, 45_000, 45_000, 22_500 * time.Millisecond, "redrive [#########-----------]  45%  45,000 letters  2,000/s  ETA 27s"},
		{0, 45_000, 90, time.Minute, "redrive [#########-----------]  45%  90 letters  1.5/s  ETA 1m13s"}, // the filter means few
		{60_000, 100_000, 40_000, time.Minute, "redrive [####################] 100%  40,000 letters  666/s  ETA 0s"},
	} {
		p := &progress{verb: "redrive", total: 100_000, first: test.first}
		if got := p.line(test.done, test.sent, test.elapsed); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		} else if len(got) > 79 {
			t.Errorf("%q is wider than a terminal", got)
		}
	}
}

// A terminal is redrawn some times a second, a log file gets a line now and then.
func TestProgressIsToldSeldom(t *testing.T) {
	for _, test := range []struct {
		terminal bool
		want     int
	}{{true, 150}, {false, 3}} {
		synctest.Test(t, func(t *testing.T) {
			var screen bytes.Buffer
			p := &progress{console: &console{w: &screen, terminal: test.terminal}, verb: "redrive"}
			p.tell(0, 3000, 0)
			for i := range int64(3000) {
				time.Sleep(10 * time.Millisecond)
				p.tell(i+1, 3000, i)
			}
			if got := strings.Count(screen.String(), "ETA"); got != test.want {
				t.Errorf("terminal %v: told %d times in 30 s, want %d", test.terminal, got, test.want)
			}
		})
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
