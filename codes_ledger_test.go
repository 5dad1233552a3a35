//go:build synctests

package kafka_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// codesLedger knows what became of each record of orders, and says what must not have been.
type codesLedger struct {
	t0 time.Time

	mu       sync.Mutex
	done     map[int32]map[int64]int // how often each record was done, by partition and offset
	begun    map[int32]int64         // the latest record begun
	inHand   map[int32]int
	letters  int // said to be stored
	lost     int // partitions
	commits  int // that failed, as was told
	rewinds  int // as was told
	failures int // members that ended with an error
	breaches []string
}

func newCodesLedger() *codesLedger {
	return &codesLedger{
		t0: time.Now(), done: map[int32]map[int64]int{0: {}, 1: {}}, begun: map[int32]int64{0: -1, 1: -1}, inHand: map[int32]int{},
	}
}

func (l *codesLedger) breach(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.breachLocked(format, args...)
}

func (l *codesLedger) breachLocked(format string, args ...any) {
	l.breaches = append(l.breaches, fmt.Sprintf("after %v: ", time.Since(l.t0).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// begin is called by handlers. A partition's records come one by one, and none is passed over.
func (l *codesLedger) begin(partition int32, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset > l.begun[partition]+1 {
		l.breachLocked("orders-%d: record %d came after %d: passed over", partition, offset, l.begun[partition])
	}
	if at := l.contiguous(partition); offset > at {
		l.breachLocked("orders-%d: record %d was begun before %d was done", partition, offset, at)
	}
	l.begun[partition] = max(l.begun[partition], offset)
	if l.inHand[partition]++; l.inHand[partition] > 1 && l.lost == 0 {
		l.breachLocked("orders-%d: record %d is handled beside another one", partition, offset)
	}
}

func (l *codesLedger) end(partition int32, offset int64, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inHand[partition]--
	if done {
		l.done[partition][offset]++
	}
}

// stored is a letter that the library takes for stored.
func (l *codesLedger) stored(partition int32, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.letters++
	l.done[partition][offset]++
}

func (l *codesLedger) fail() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures++
}

func (l *codesLedger) failed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failures
}

// hooks tell the ledger what a handler does not see.
func (l *codesLedger) hooks() kafka.ConsumerHooks {
	return kafka.ConsumerHooks{
		PartitionsLost: func(_ string, partitions []int32) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.lost += len(partitions)
		},
		FetchingRewound: func(string, int32, int64, int64) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.rewinds++
		},
		OffsetsCommitted: func(err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil {
				l.commits++
			}
		},
		DeadLetters: func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				letter, _ := parseDeadLetter(r.Headers)
				next(ctx, r, func(err error) {
					if err == nil {
						l.stored(letter.Partition, letter.Offset)
					}
					done(err)
				})
			}
		},
	}
}

// contiguous is the first offset that is not done. The caller holds l.mu.
func (l *codesLedger) contiguous(partition int32) int64 {
	at := int64(0)
	for l.done[partition][at] > 0 {
		at++
	}
	return at
}

func (l *codesLedger) upTo(partition int32) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contiguous(partition)
}

// doneOf is how many records are done, and how often more than once.
func (l *codesLedger) doneOf() (records, again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, offsets := range l.done {
		for _, times := range offsets {
			records++
			again += times - 1
		}
	}
	return records, again
}

// total counts each time that a record was done.
func (l *codesLedger) total() int {
	records, again := l.doneOf()
	return records + again
}

// commit sees each request to commit before its broker does.
func (l *codesLedger) commit(request kmsg.Request) (kmsg.Response, error, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, topic := range request.(*kmsg.OffsetCommitRequest).Topics {
		for _, partition := range topic.Partitions {
			if at := l.contiguous(partition.Partition); partition.Offset > at {
				l.breachLocked("orders-%d: offset %d is committed, records are done up to %d", partition.Partition, partition.Offset, at)
			}
		}
	}
	return nil, nil, false
}
