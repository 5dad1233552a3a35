package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// database is what a handler needs. While it is down, every attempt fails.
type database struct {
	down     atomic.Bool
	attempts atomic.Int64

	mu    sync.Mutex
	saved map[int32][]int // by partition
}

func (d *database) save(_ context.Context, msg kafka.Message[numbered]) error {
	d.attempts.Add(1)
	if d.down.Load() {
		return kafka.NewTransientError("save", errors.New("connection refused"))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.saved == nil {
		d.saved = map[int32][]int{}
	}
	d.saved[msg.Partition] = append(d.saved[msg.Partition], msg.Value.N)
	return nil
}

// of returns what was saved of a partition.
func (d *database) of(partition int32) []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.saved[partition])
}

func (d *database) all() int { return len(d.of(0)) + len(d.of(1)) }

// guarded is a consumer's config that pauses when three records were given up.
func (b *bubble) guarded() kafka.ConsumerConfig {
	cfg := b.consumer()
	cfg.CommitInterval, cfg.MaxRetries = time.Hour, 1
	cfg.FloodGuard = kafka.FloodGuardConfig{Mode: kafka.FloodGuardPause, Letters: 3}
	return cfg
}

// floodStates notes what the guard says.
type floodStates struct {
	mu     sync.Mutex
	states []kafka.FloodState
	last   kafka.Flood
}

func (f *floodStates) hooks() kafka.ConsumerHooks {
	return kafka.ConsumerHooks{FloodChanged: func(flood kafka.Flood) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.states, f.last = append(f.states, flood.State), flood
	}}
}

func (f *floodStates) all() []kafka.FloodState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.states)
}

func TestAnOutageDoesNotEmptyATopicIntoItsDLQ(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 8} {
		t.Run(fmt.Sprintf("Concurrency%d", concurrency), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				const records = 500
				b.seed(0, records)
				b.seed(1, records)
				var db database
				db.down.Store(true)
				cfg := b.guarded()
				cfg.Concurrency = concurrency
				var told floodStates
				consumer, stop := b.start(cfg, db.save, told.hooks())
				time.Sleep(25 * time.Second)
				if n := b.letters(); n != 2 {
					t.Errorf("%d dead letters, want 2: the third one's is kept back", n)
				}
				before := db.attempts.Load()
				time.Sleep(4 * time.Second)
				if n := db.attempts.Load(); n != before {
					t.Errorf("%d attempts in a pause", n-before)
				}
				h := wantHealth(t, consumer, kafka.StateRunning, true, false)
				if h.Flood != kafka.FloodPaused || !strings.Contains(h.NotReady, "paused at ") || !slices.Contains(h.Problems, h.NotReady) {
					t.Errorf("health in a pause: %+v", h)
				}
				for _, p := range h.Partitions {
					asleep := concurrency > 1 && p.Activity == kafka.ActivityBackoff // before the guard closed; woken, and no worker free
					if p.Activity != kafka.ActivityHeldBack && !asleep || p.QueuedRecords+p.RecordsInHand < records-2 {
						t.Errorf("partition in a pause: %+v", p)
					}
				}
				time.Sleep(40 * time.Minute) // pauses double to ten minutes
				if n := b.letters(); n > 2+8*kafka.FloodProbes {
					t.Errorf("%d dead letters after 40 minutes, want a few for each pause", n)
				}
				wantHealth(t, consumer, kafka.StateRunning, true, false)
				if n := b.log.count(slog.LevelWarn, "running"); n > 0 {
					t.Errorf("%d attempts are said to be running, which wait", n)
				}

				db.down.Store(false)
				letters := b.letters()
				time.Sleep(11 * time.Minute)
				if n := b.letters(); n != letters {
					t.Errorf("%d dead letters more, now that all is well", n-letters)
				}
				if n := int64(db.all()); n != 2*records-letters {
					t.Errorf("%d records saved and %d dead letters, want %d in all", n, letters, 2*records)
				}
				wantHealth(t, consumer, kafka.StateRunning, true, true)
				states := told.all()
				if first := states[:3]; !slices.Equal(first, []kafka.FloodState{kafka.FloodPaused, kafka.FloodProbing, kafka.FloodPaused}) || states[len(states)-1] != kafka.FloodNone {
					t.Errorf("hooks were told %v … %v", first, states[len(states)-1])
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if at := b.committed(0) + b.committed(1); at != 2*records {
					t.Errorf("%d committed, want %d", at, 2*records)
				}
				if concurrency == 1 && !(slices.IsSorted(db.of(0)) && slices.IsSorted(db.of(1))) {
					t.Errorf("out of order: %v, %v", db.of(0), db.of(1))
				}
			})
		})
	}
}

// The record whose failure was one too many is no dead letter: it is tried again.
func TestWhatIsHeldBackIsTriedAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 10)
		var db database
		db.down.Store(true)
		_, stop := b.start(b.guarded(), db.save)
		time.Sleep(10 * time.Second)
		db.down.Store(false)
		time.Sleep(time.Minute)
		if saved, want := db.of(0), []int{2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(saved, want) || b.letters() != 2 {
			t.Errorf("%v saved, %d dead letters; want %v and 2", saved, b.letters(), want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAPauseHoldsNeitherHandoverNorShutdownUp(t *testing.T) {
	t.Parallel()
	for _, batches := range []bool{false, true} {
		inBubble(t, func(t *testing.T, b *bubble) {
			const records = 100
			b.seed(0, records)
			b.seed(1, records)
			var db database
			db.down.Store(true)
			cfg := b.guarded()
			var stop func() error
			if batches {
				consumer, err := kafka.NewBatchConsumer(cfg, db.saveAll)
				if err != nil {
					t.Fatal(err)
				}
				stop = b.run(consumer)
			} else {
				_, stop = b.start(cfg, db.save)
			}
			time.Sleep(25 * time.Second)
			letters := b.letters()

			// Another member's guard has seen nothing: it takes a partition, and pauses by itself.
			began := time.Now()
			second, stopSecond := b.start(cfg, db.save)
			for len(second.Health().Partitions) == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("batches %t: the handover took %v", batches, took)
			}
			began = time.Now()
			if err := stop(); err != nil || time.Since(began) > time.Second {
				t.Errorf("batches %t: Start returned %v after %v", batches, err, time.Since(began))
			}
			time.Sleep(time.Minute)
			db.down.Store(false)
			time.Sleep(10 * time.Minute)
			if n := int64(db.all()); n+b.letters() != 2*records {
				t.Errorf("batches %t: %d records saved and %d dead letters, want %d in all", batches, n, b.letters(), 2*records)
			}
			if n := b.letters(); n > letters+2*kafka.FloodProbes+2 {
				t.Errorf("batches %t: %d dead letters, %d of them by the first member", batches, n, letters)
			}
			if err := stopSecond(); err != nil {
				t.Error(err)
			}
			if at := b.committed(0) + b.committed(1); at != 2*records {
				t.Errorf("batches %t: %d committed, want %d", batches, at, 2*records)
			}
		})
	}
}

// saveAll saves a batch, or nothing of it.
func (d *database) saveAll(ctx context.Context, batch []kafka.Message[numbered]) error {
	for i, msg := range batch {
		if err := d.save(ctx, msg); err != nil {
			return kafka.FailedAt(batch, i, err)
		}
	}
	return nil
}

// A batch whose messages all fail is many letters at once.
func TestABatchIsOneProbe(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 1000
		b.seed(0, records)
		var handled atomic.Int64
		var broken atomic.Bool
		broken.Store(true)
		cfg := b.guarded()
		consumer, err := kafka.NewBatchConsumer(cfg, func(_ context.Context, batch []kafka.Message[numbered]) error {
			if !broken.Load() {
				handled.Add(int64(len(batch)))
				return nil
			}
			all := kafka.BatchError{}
			for i := range batch {
				all[i] = kafka.NewPermanentError("no such table", nil)
			}
			return all
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := b.run(consumer)
		time.Sleep(29 * time.Second)
		if n := b.letters(); n != 2 {
			t.Errorf("%d dead letters, want 2", n)
		}
		time.Sleep(2 * time.Second)
		if n := b.letters(); n != 2+3 {
			t.Errorf("%d dead letters after the first probes, want 3 more", n)
		}
		broken.Store(false)
		time.Sleep(5 * time.Minute)
		if n := handled.Load(); n != records-5 || b.letters() != 5 {
			t.Errorf("%d handled, %d dead letters; want %d and 5", n, b.letters(), records-5)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// With one lane, the record at its head is the only one that can be tried.
func TestARecordThatAlwaysFailsDoesNotKeepTheGuardClosed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 100)
		var failing atomic.Int64
		failing.Store(99)
		var handled atomic.Int64
		_, stop := b.start(b.guarded(), func(_ context.Context, msg kafka.Message[numbered]) error {
			if int64(msg.Value.N) <= failing.Load() {
				return kafka.NewTransientError("no", nil)
			}
			handled.Add(1)
			return nil
		})
		time.Sleep(10 * time.Second) // 0 and 1 are letters, 2 is held back
		failing.Store(3)             // of this and the next one's own accord
		time.Sleep(5 * time.Minute)
		if n := handled.Load(); n != 96 || b.letters() != 4 {
			t.Errorf("%d handled, %d dead letters; want 96 and 4", n, b.letters())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAFloodEndsThoughFewRecordsCome(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 3)
		var db database
		db.down.Store(true)
		consumer, stop := b.start(b.guarded(), db.save)
		time.Sleep(10 * time.Second)
		db.down.Store(false)
		time.Sleep(time.Minute)
		if h := wantHealth(t, consumer, kafka.StateRunning, true, false); h.Flood != kafka.FloodProbing || !slices.Equal(db.of(0), []int{2}) {
			t.Errorf("%v saved, health %+v", db.of(0), h)
		}
		time.Sleep(12 * time.Minute)
		wantHealth(t, consumer, kafka.StateRunning, true, true)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A handler that hangs is one thing, those that wait for it would be another.
func TestAProbeThatHangsDoesNotHoldTheOthersUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 100)
		b.seed(1, 100)
		var db database
		db.down.Store(true)
		release := make(chan struct{})
		cfg := b.guarded()
		_, stop := b.start(cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
			if !db.down.Load() && msg.Partition == 0 && msg.Value.N < 50 {
				<-release
			}
			return db.save(ctx, msg)
		})
		time.Sleep(20 * time.Second)
		db.down.Store(false)
		time.Sleep(5 * time.Minute)
		if n := len(db.of(1)); n < 97 {
			t.Errorf("%d records of the other partition are saved", n)
		}
		close(release)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAWarningHoldsNothingBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 100
		b.seed(0, records)
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxRetries = time.Hour, kafka.NoRetries
		var told floodStates
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return errors.New("connection refused") }, told.hooks())
		time.Sleep(time.Minute)
		h := wantHealth(t, consumer, kafka.StateRunning, true, true)
		if n := b.letters(); n != records || h.Flood != kafka.FloodWarned || len(h.Problems) != 1 {
			t.Errorf("%d dead letters, health %+v", n, h)
		}
		if n := b.log.count(slog.LevelWarn, "topic=orders", "group=group", "letters=20", "records=20"); n != 1 {
			t.Errorf("%d lines say so:\n%s", n, b.log.String())
		}
		time.Sleep(11 * time.Minute)
		if h := consumer.Health(); h.Flood != kafka.FloodNone || len(h.Problems) != 0 || b.log.count(slog.LevelInfo, "letters", "records") != 1 {
			t.Errorf("health after a while: %+v", h)
		}
		if states := told.all(); !slices.Equal(states, []kafka.FloodState{kafka.FloodWarned, kafka.FloodNone}) {
			t.Errorf("hooks were told %v", states)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Probes that are taken away have not failed, and the records they were are the next owner's.
func TestInterruptedProbesDecideNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 10)
		var db database
		db.down.Store(true)
		cfg := b.guarded()
		cfg.DrainTimeout, cfg.Concurrency = time.Second, 8
		var told floodStates
		var left atomic.Int64
		hooks := told.hooks()
		hooks.RecordSettled = func(_ context.Context, _ *kgo.Record, s kafka.Settlement) {
			if s.Outcome == kafka.OutcomeLeft {
				left.Add(1)
			}
		}
		_, stop := b.start(cfg, func(ctx context.Context, msg kafka.Message[numbered]) error {
			if !db.down.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return db.save(ctx, msg)
		}, hooks)
		time.Sleep(10 * time.Second)
		db.down.Store(false)
		time.Sleep(time.Minute)
		if err := stop(); !errors.Is(err, kafka.ErrDrainTimeout) {
			t.Errorf("Start returned %v", err)
		}
		if states := told.all(); !slices.Equal(states, []kafka.FloodState{kafka.FloodPaused, kafka.FloodProbing}) || left.Load() != 8 || b.letters() != 2 {
			t.Errorf("hooks were told %v, %d left, %d dead letters", states, left.Load(), b.letters())
		}
	})
}

// Also when what was settled meanwhile was so in a partition that has left.
func TestAFewLettersAmongManyRecordsAreNoFlood(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 200)
		b.seed(1, 200)
		cfg := b.guarded()
		cfg.MaxRetries = kafka.NoRetries
		var told floodStates
		_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Value.N%50 == 49 {
				return kafka.NewPermanentError("no", nil)
			}
			return nil
		}, told.hooks())
		time.Sleep(time.Minute)
		second, stopSecond := b.start(cfg, ignore1)
		for len(second.Health().Partitions) == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		b.seed(0, 100)
		b.seed(1, 100)
		time.Sleep(time.Minute)
		if n := b.letters(); n != 8+2 || len(told.all()) > 0 {
			t.Errorf("%d letters, want 10, and the guard says %v", n, told.all())
		}
		for _, err := range []error{stop(), stopSecond()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
}
