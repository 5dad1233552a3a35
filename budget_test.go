package kafka

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A consumer with the smallest of queues still polls.
func TestEveryBudgetHasRoomAtFirst(t *testing.T) {
	for _, size := range []int{1, 2, 3, 1 << 20} {
		if room := newBudget(size, int64(size)).halved().room(); room <= 0 {
			t.Errorf("half a budget of %d has room for %d", size, room)
		}
	}
}

// queueUp starts one goroutine for each cost that acquires it, in this order. served returns the costs that have been
// acquired so far, sorted: of waiters served at once, which goroutine goes on first is the scheduler's choice.
func queueUp(t *testing.T, b *budget, costs ...int64) (served func() []int64) {
	t.Helper()
	var mu sync.Mutex
	var acquired []int64
	for _, cost := range costs {
		go func() { // ends when the budget serves it
			if err := b.acquire(context.Background(), cost); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			acquired = append(acquired, cost)
		}()
		synctest.Wait() // it stands in line
	}
	return func() []int64 {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(acquired)
		return slices.Clone(acquired)
	}
}

func wantServed(t *testing.T, served func() []int64, want ...int64) {
	t.Helper()
	if got := served(); !slices.Equal(got, want) {
		t.Fatalf("served %v, want %v", got, want)
	}
}

func TestBudgetBoundsCountAndBytes(t *testing.T) {
	b := newBudget(4, 100)
	empty := &kgo.Record{}
	for range 4 {
		if b.room() <= 0 {
			t.Fatalf("fewer than 4 empty records fill it")
		}
		b.take(b.cost(empty))
	}
	if b.room() > 0 {
		t.Errorf("4 empty records leave room for %d", b.room())
	}
	r := &kgo.Record{Key: make([]byte, 1), Value: make([]byte, 20), Headers: []kgo.RecordHeader{{Key: "abc", Value: make([]byte, 300)}, {Key: "d"}}}
	if got := b.cost(r); got != 1+20+3+300+1+2*40+25 {
		t.Errorf("a record of 325 bytes and 2 headers costs %d, want 430", got)
	}
	if got := newBudget(1000, 10).cost(empty); got != 1 {
		t.Errorf("a record costs %d at least, want 1", got)
	}
	if half := newBudget(4, 100).halved(); half.room() != 50 || half.cost(empty) != 25 {
		t.Errorf("half of it has room for %d at %d a record, want 50 at 25", half.room(), half.cost(empty))
	}
}

func TestBudgetWaitsAndServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 100)
		b.take(99)
		served := queueUp(t, b, 11) // the limit is not reached: it may be passed once
		wantServed(t, served, 11)

		served = queueUp(t, b, 30, 40, 50, 60)
		wantServed(t, served)
		b.give(10) // the limit is spent, to the last
		wantServed(t, served)
		b.give(1)
		wantServed(t, served, 30)
		b.give(99 + 30 - 11)
		wantServed(t, served, 30, 40, 50) // 50 as well: 99 of 100 were used
		b.give(40 + 50)
		wantServed(t, served, 30, 40, 50, 60)
		b.give(60 + 11)
		if b.used.Load() != 0 || len(b.waiters) != 0 {
			t.Errorf("%d are used and %d wait, want none", b.used.Load(), len(b.waiters))
		}
	})
}

func TestLargeCostsAreNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 100)
		b.take(60)
		b.take(60)
		large := queueUp(t, b, 1000)
		small := queueUp(t, b, 1, 2, 3)
		b.give(60)
		wantServed(t, large, 1000)
		wantServed(t, small)
		b.give(60)
		wantServed(t, small)
		b.give(1000)
		wantServed(t, small, 1, 2, 3)
	})
}

func TestCancelledWaitersTakeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 100)
		b.take(100)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- b.acquire(ctx, 70) }()
		synctest.Wait()
		served := queueUp(t, b, 5)
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("acquire returned %v", err)
		}
		if b.used.Load() != 100 || len(b.waiters) != 1 {
			t.Errorf("%d are used and %d wait, want 100 and 1", b.used.Load(), len(b.waiters))
		}
		wantServed(t, served)
		b.give(100)
		wantServed(t, served, 5) // who came after it is served
		if b.used.Load() != 5 {
			t.Errorf("%d are used, want 5", b.used.Load())
		}
	})
}

func TestEndedContextsTakeNothingEvenWithRoom(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := newBudget(100, 100)
	if err := b.acquire(ctx, 1); !errors.Is(err, context.Canceled) || b.used.Load() != 0 {
		t.Errorf("acquire returned %v, %d are used", err, b.used.Load())
	}
}

// What was taken for a waiter is its own even if its context ends before it looks: the cost must not leak.
func TestTurnsThatMeetACancellationCount(t *testing.T) {
	for _, cancelFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBudget(100, 100)
			b.take(100)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error, 1)
			go func() { result <- b.acquire(ctx, 7) }()
			synctest.Wait()
			b.mu.Lock()
			if cancelFirst { // acquire wakes up by this, and meets the lock
				cancel()
			}
			b.used.Add(-100)
			b.serve()
			if !cancelFirst {
				cancel()
			}
			b.mu.Unlock()
			if err := <-result; err != nil || b.used.Load() != 7 {
				t.Errorf("cancelled first: %t: acquire returned %v, %d are used; want nil and 7", cancelFirst, err, b.used.Load())
			}
		})
	}
}

func TestRaisedLimitsLetWaitersThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 100)
		b.take(100)
		served := queueUp(t, b, 10, 20, 30)
		b.raise(-50)
		b.raise(50)
		wantServed(t, served)
		b.raise(1)
		wantServed(t, served, 10)
		b.raise(100)
		wantServed(t, served, 10, 20, 30)
		b.raise(-101)
		if room := b.room(); room != -60 {
			t.Errorf("the room is %d, want -60: 160 of 100 are taken", room)
		}
		served = queueUp(t, b, 40)
		b.give(60)
		wantServed(t, served)
		b.give(1)
		wantServed(t, served, 40)
	})
}

func TestBudgetUnderStressEndsWithNothingUsed(t *testing.T) {
	const workers, rounds, limit, most = 16, 3000, 100, 60
	b := newBudget(limit, limit)
	var held, passed, cancelled atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithCancel(context.Background())
				switch rand.IntN(4) {
				case 0:
					go cancel() // while it waits, before or after
				case 1:
					b.raise(10)
					b.raise(-10)
				}
				cost := 1 + rand.Int64N(most)
				if err := b.acquire(ctx, cost); err != nil {
					cancelled.Add(1)
				} else {
					passed.Add(1)
					if now := held.Add(cost); now >= limit+most+workers*10 {
						t.Errorf("%d are held of %d", now, limit)
					}
					runtime.Gosched() // lets a line form
					held.Add(-cost)
					b.give(cost)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if b.used.Load() != 0 || len(b.waiters) != 0 || b.limit.Load() != limit {
		t.Errorf("%d are used, %d wait, the limit is %d; want 0, 0, %d", b.used.Load(), len(b.waiters), b.limit.Load(), limit)
	}
	t.Logf("passed %d, cancelled %d", passed.Load(), cancelled.Load())
}
