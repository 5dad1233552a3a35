package main

import (
	"testing"
	"time"
)

func TestMoments(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"90m":                  now.Add(-90 * time.Minute),
		"2026-11-25T10:00:00Z": now.Add(-2 * time.Hour),
		"2026-11-25T10:00":     time.Date(2026, 11, 25, 10, 0, 0, 0, time.Local),
		"2026-11-25T10:00:07":  time.Date(2026, 11, 25, 10, 0, 7, 0, time.Local),
		"2026-11-25 10:00":     time.Date(2026, 11, 25, 10, 0, 0, 0, time.Local),
		local(now):             now.Truncate(time.Second), // what the tables show can be typed
		"2026-11-24":           time.Date(2026, 11, 24, 0, 0, 0, 0, time.Local),
	} {
		if got, err := moment(now, text); err != nil || !got.Equal(want) {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
	if _, err := moment(now, "yesterday"); err == nil {
		t.Error("yesterday is a time")
	}
}
