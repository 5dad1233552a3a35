package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// window is the letters of one partition that a run has on their way. It ends when all of them are acknowledged and marked.
type window struct {
	partition int32
	begun     time.Time
	acks      sync.WaitGroup
	letters   []*sending
}

type sending struct {
	offset int64 // of the letter
	record *kgo.Record
	err    error // written before acks is done
}

const (
	// windowAge is how long a window stays open: at a low rate, a run that is killed has not sent minutes of work in vain.
	windowAge = time.Second
	// flushTimeout bounds how long a run whose context has ended waits for what is on its way.
	flushTimeout = 10 * time.Second
)

func (w *window) full() bool { return len(w.letters) >= Window }

// send hands a record to franz-go, which repeats it until all in-sync replicas have it, or ctx ends.
func (w *window) send(ctx context.Context, client *kgo.Client, offset int64, r *kgo.Record) {
	if len(w.letters) == 0 {
		w.begun = time.Now()
	}
	s := &sending{offset: offset, record: r}
	w.letters = append(w.letters, s)
	w.acks.Add(1)
	client.Produce(ctx, r, func(_ *kgo.Record, err error) {
		s.err = err
		w.acks.Done()
	})
}

// settle waits for the acknowledgements and marks what has them. It returns what was acknowledged and marked, and the offset of the
// first letter that was not both, or -1.
func (w *window) settle(ctx context.Context, client *kgo.Client, dlq string) (sent []*sending, failed int64, err error) {
	w.acks.Wait() // ends with the context that send was given
	failed = -1
	var offsets []int64
	for _, s := range w.letters {
		switch {
		case s.err == nil:
			sent, offsets = append(sent, s), append(offsets, s.offset)
		case failed < 0:
			failed = s.offset
			err = fmt.Errorf("deadletter: send the letter %s-%d offset %d to %s-%d: %w",
				dlq, w.partition, s.offset, s.record.Topic, s.record.Partition, explain(s.err))
		}
	}
	w.letters = nil
	if len(offsets) == 0 {
		return nil, failed, err
	}
	slices.Sort(offsets)
	mark := newMark(dlq, w.partition, offsets)
	if failure := client.ProduceSync(ctx, mark).FirstErr(); failure != nil {
		err = errors.Join(err, fmt.Errorf("deadletter: mark letters of %s-%d as sent, which will be sent again: %w",
			dlq, w.partition, explain(failure)))
		if failed < 0 || offsets[0] < failed {
			failed = offsets[0]
		}
		return nil, failed, err
	}
	return sent, failed, err
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
