package main

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
)

// reading is what the process had used at a moment.
type reading struct {
	at      time.Time
	cpu     time.Duration // user and system
	mallocs uint64        // of Go's heap: what C allocates is not in it
	peak    int64         // bytes of memory, at most so far
}

func read() (reading, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return reading{}, fmt.Errorf("getrusage: %w", err)
	}
	r := reading{at: time.Now(), cpu: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), peak: usage.Maxrss << 10} // Linux says kilobytes
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	r.mallocs = memory.Mallocs
	return r, nil
}

// result is one measurement. A child prints it as one line of JSON.
type result struct {
	Error string `json:",omitempty"` // why there is no result

	Seconds float64 // that the records took
	Start   float64 // seconds until the first one
	Rate    float64 // records per second
	CPU     float64 // seconds of the process
	CPUEach float64 // microseconds for each record
	Allocs  float64 // for each record
	Peak    float64 // megabytes of memory at most

	P50, P99, P999 float64 // milliseconds, in the latency workload
}

// fill sets what follows from two readings.
func (r *result) fill(before, after reading, records int) {
	n := float64(records)
	r.CPU = (after.cpu - before.cpu).Seconds()
	r.CPUEach = r.CPU / n * 1e6
	r.Allocs = float64(after.mallocs-before.mallocs) / n
	r.Peak = float64(after.peak) / 1e6
}
