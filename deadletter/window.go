package deadletter

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// window is the letters of one partition that a run sends together. They wait here until it is full or old, and none of them is on its
// way before: a transaction takes no longer than sending does.
type window struct {
	partition int32
	begun     time.Time
	letters   []*sending
	bytes     int                 // of all
	batches   map[destination]int // bytes
}

// destination is a partition that letters go to.
type destination struct {
	topic     string
	partition int32
}

const (
	// windowAge is how long a window stays open: at a low rate, the run after a kill has few letters to look at again.
	windowAge = time.Second
	// windowBytes bounds the memory of a window, before compression. One letter may be larger.
	windowBytes = 8 << 20
	// flushTimeout bounds how long a run whose context has ended waits for what it has taken on.
	flushTimeout = 10 * time.Second
)

func (w *window) add(letter Letter, r *kgo.Record) {
	if len(w.letters) == 0 {
		w.begun, w.bytes, w.batches = time.Now(), 0, map[destination]int{}
	}
	w.letters = append(w.letters, &sending{letter: letter, record: r})
	w.bytes += batchBytes(r)
	w.batches[destination{r.Topic, r.Partition}] += batchBytes(r)
}

// fits tells whether the record can be in one batch with those of the window that go to its partition, whatever compression makes of it.
// One that is larger than its topic takes is sent alone, so that the brokers' answer is about that one.
func (w *window) fits(r *kgo.Record, limit int) bool {
	return len(w.letters) == 0 || batchBytes(r) <= limit && w.batches[destination{r.Topic, r.Partition}]+batchBytes(r) <= limit
}

// due tells whether the window is full, or will be old after that time.
func (w *window) due(in time.Duration) bool {
	return len(w.letters) > 0 && (len(w.letters) >= Window || w.bytes >= windowBytes || time.Since(w.begun)+in > windowAge)
}

// pace spreads letters evenly over time.
type pace struct {
	gap  time.Duration // between two letters; 0: no limit
	next time.Time     // when the next may be sent
}

// maxGap keeps the slowest of rates from being none.
const maxGap = 365 * 24 * time.Hour

func newPace(rate float64) *pace {
	if rate <= 0 {
		return &pace{}
	}
	return &pace{gap: time.Duration(min(float64(time.Second)/rate, float64(maxGap)))}
}

// wait is how long to wait before the next letter.
func (p *pace) wait(now time.Time) time.Duration { return max(0, p.next.Sub(now)) }

// taken says that a letter is sent now.
func (p *pace) taken(now time.Time) {
	if p.gap > 0 {
		p.next = later(p.next, now).Add(p.gap) // what was not used before is not made up for
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
