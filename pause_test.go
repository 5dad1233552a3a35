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

// handled are the records that a handler got, and when it began.
type handled struct {
	mu    sync.Mutex
	n     []int
	times []time.Time
}

func (h *handled) add(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n, h.times = append(h.n, n), append(h.times, time.Now())
	return len(h.n)
}

func (h *handled) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.n)
}

// The attempt that runs when a consumer is paused finishes and is committed; nothing else begins, in any partition, for
// hours. The member stays in its group, and nothing is fetched twice.
func TestPausedConsumersFinishWhatRunsAndBeginNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*kafka.ConsumerConfig){
		"OneByOne":    func(*kafka.ConsumerConfig) {},
		"Concurrency": func(cfg *kafka.ConsumerConfig) { cfg.Concurrency = 10 },
		"KIP848":      func(cfg *kafka.ConsumerConfig) { cfg.GroupProtocol = "consumer" },
		"ParkKeys":    func(cfg *kafka.ConsumerConfig) { cfg.ParkKeys = true },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 60)
				b.seed(1, 60)
				var h handled
				var consumer *kafka.Consumer[numbered]
				var told []string
				cfg := b.consumer()
				change(&cfg)
				ready := make(chan struct{})
				consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
					<-ready
					if h.add(msg.Value.N) == 30 {
						consumer.Pause("the database moves")
						consumer.Pause("and takes long")
					}
					time.Sleep(time.Second)
					return nil
				}, kafka.ConsumerHooks{PauseChanged: func(paused bool, reason string) { told = append(told, fmt.Sprint(paused, " ", reason)) }})
				close(ready)
				time.Sleep(10 * time.Minute)
				n := h.count()
				if n < 30 || n > 30+2*cfg.Concurrency {
					t.Errorf("%d attempts began, want 30 and what others had begun", n)
				}
				if got := b.committed(0) + b.committed(1); got != int64(n) {
					t.Errorf("%d records are committed, want the %d that have finished", got, n)
				}
				health := consumer.Health()
				if !health.Ready() || !health.Live() || !strings.HasPrefix(health.Paused, "since ") || !strings.HasSuffix(health.Paused, ": and takes long") {
					t.Errorf("health says %q: %+v", health.Paused, health)
				}
				for _, p := range health.Partitions {
					if p.Activity != kafka.ActivityPaused || p.Stalled || p.Stuck != "" {
						t.Errorf("partition %d: %+v", p.Partition, p)
					}
				}
				consumer.Resume()
				consumer.Resume()
				time.Sleep(10 * time.Minute)
				if got := h.count(); got != 120 || consumer.Health().Paused != "" {
					t.Errorf("%d records are handled, want each once; paused: %q", got, consumer.Health().Paused)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if b.assigned.Load() != 1 || !slices.Equal(told, []string{"true the database moves", "false "}) {
					t.Errorf("%d assignments, want one; hooks were told %q", b.assigned.Load(), told)
				}
				if n := b.log.count(slog.LevelInfo, "reason=the database moves"); n != 1 {
					t.Errorf("%d lines say that it is paused", n)
				}
			})
		})
	}
}

// A batch that runs finishes; no other begins.
func TestPausedBatchConsumersBeginNoBatch(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 100)
		cfg := b.consumer()
		cfg.MaxBatchSize = 10
		var n atomic.Int64
		consumer, err := kafka.NewBatchConsumer(cfg, func(_ context.Context, batch []kafka.Message[numbered]) error {
			n.Add(int64(len(batch)))
			time.Sleep(time.Minute)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := b.run(consumer)
		time.Sleep(90 * time.Second)
		consumer.Pause("why not")
		time.Sleep(time.Hour)
		if n.Load() != 20 || b.committed(0) != 20 {
			t.Errorf("%d messages came, %d are committed, want 20", n.Load(), b.committed(0))
		}
		consumer.Resume()
		time.Sleep(time.Hour)
		if err := stop(); err != nil || n.Load() != 100 || b.committed(0) != 100 {
			t.Errorf("%d messages came, %d are committed: %v", n.Load(), b.committed(0), err)
		}
	})
}

// A paused consumer ends at once when it is asked to, and leaves what has not begun.
func TestPausedConsumersEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 10)
		cfg := b.consumer()
		cfg.StartPaused = true
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error {
			t.Error("the handler is called")
			return nil
		})
		time.Sleep(time.Hour)
		if h := consumer.Health(); !h.Ready() || !strings.HasSuffix(h.Paused, ": StartPaused") {
			t.Errorf("%+v", h)
		}
		began := time.Now()
		if err := stop(); err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if got := b.committed(0); got > 0 {
			t.Errorf("%d is committed, and nothing was handled", got)
		}
	})
}

// What waits for its retry waits for the end of the pause too, in a retry topic as well.
func TestPausesHoldRetriesBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 1)
		cfg := b.putOff()
		cfg.MaxRetries = 1
		var h handled
		consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			h.add(msg.Attempt)
			return kafka.NewTransientError("away", nil)
		})
		time.Sleep(10 * time.Millisecond)
		for h.count() == 0 {
			time.Sleep(time.Millisecond)
		}
		consumer.Pause("")
		time.Sleep(15 * time.Minute)
		if n := h.count(); n != 1 {
			t.Errorf("%d attempts, want the one before the pause", n)
		}
		consumer.Resume()
		for h.count() < 2 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second) // it is in the retry topic
		consumer.Pause("")
		time.Sleep(15 * time.Minute)
		if n := h.count(); n != 2 {
			t.Errorf("%d attempts, want 2: the third is the retry topic's", n)
		}
		consumer.Resume()
		time.Sleep(15 * time.Minute)
		if err := stop(); err != nil || b.letters() != 1 {
			t.Errorf("%d letters: %v", b.letters(), err)
		}
	})
}

// Records of a parked key do not even follow their letter while the consumer is paused.
func TestPausesHoldParkedRecordsBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.ParkKeys = true
		consumer, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { return kafka.NewPermanentError("never", nil) })
		put := func() { b.put(&kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(`{"n":1}`)}) }
		put()
		time.Sleep(time.Minute)
		consumer.Pause("")
		put()
		time.Sleep(time.Minute)
		if n := b.letters(); n != 1 {
			t.Errorf("%d letters, want the one before the pause", n)
		}
		consumer.Resume()
		time.Sleep(time.Minute)
		if err := stop(); err != nil || b.letters() != 2 {
			t.Errorf("%d letters, want 2: %v", b.letters(), err)
		}
	})
}

// A flag that is set when the process starts holds from the first record on, adds to other pauses, and may panic.
func TestPauseWhile(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 10)
		var flag atomic.Value
		flag.Store("on")
		cfg := b.consumer()
		cfg.PauseWhile = func() bool {
			if flag.Load() == "panic" {
				panic("no flags")
			}
			return flag.Load() == "on"
		}
		var h handled
		consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
			h.add(msg.Value.N)
			time.Sleep(time.Minute)
			return nil
		})
		expect := func(what string, n int) {
			t.Helper()
			if got := h.count(); got != n {
				t.Errorf("%s: %d attempts, want %d", what, got, n)
			}
		}
		time.Sleep(time.Hour)
		expect("on", 0)
		if h := consumer.Health(); !strings.HasSuffix(h.Paused, ": PauseWhile returns true") {
			t.Errorf("%+v", h)
		}
		flag.Store("panic")
		time.Sleep(time.Hour)
		expect("it panics", 0)
		if b.log.count(slog.LevelError, "panic=no flags") == 0 {
			t.Error("no line says that it panics")
		}
		consumer.Pause("by hand")
		flag.Store("off")
		time.Sleep(time.Hour)
		expect("off, and paused by hand", 0)
		consumer.Resume()
		time.Sleep(90 * time.Second)
		expect("off", 2)
		flag.Store("on")
		consumer.Resume() // which says nothing of the flag
		time.Sleep(time.Hour)
		expect("on again", 2)
		flag.Store("off")
		time.Sleep(time.Hour)
		expect("off at last", 10)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A consumer that could not be made has nothing to pause.
func TestPauseOfAFailedConsumer(t *testing.T) {
	consumer, err := kafka.NewConsumer(kafka.ConsumerConfig{}, func(context.Context, kafka.Message[numbered]) error { return nil })
	if err == nil {
		t.Fatal("no error")
	}
	consumer.Pause("")
	consumer.Resume()
	_ = consumer.Health()
}

// Attempts come no faster than the limit says, whatever they are: retries, messages of a batch, all partitions and keys.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	const records, perSecond = 120, 20.0 // a burst of 2
	fails := func(attempt int) error {
		if attempt == 1 {
			return kafka.NewTransientError("away", errors.New("503"))
		}
		return nil
	}
	for _, test := range []struct {
		name     string
		cfg      func(*kafka.ConsumerConfig)
		attempts int
		outcome  func(attempt int) error
	}{
		{"OneByOne", func(*kafka.ConsumerConfig) {}, records, func(int) error { return nil }},
		{"Concurrency", func(cfg *kafka.ConsumerConfig) { cfg.Concurrency = 50 }, records, func(int) error { return nil }},
		{"Retries", func(cfg *kafka.ConsumerConfig) { cfg.RetryBackoff, cfg.Concurrency = time.Millisecond, 50 }, 2 * records, fails},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, records/2)
				b.seed(1, records/2)
				cfg := b.consumer()
				cfg.RateLimit = perSecond
				test.cfg(&cfg)
				var h handled
				limited := false
				consumer, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
					h.add(msg.Value.N)
					return test.outcome(msg.Attempt)
				})
				for h.count() < test.attempts {
					time.Sleep(10 * time.Millisecond)
					for _, p := range consumer.Health().Partitions {
						limited = limited || p.Activity == kafka.ActivityRateLimited
					}
				}
				took := h.times[len(h.times)-1].Sub(h.times[0]).Seconds()
				if least := float64(test.attempts-1-2) / perSecond; took < least || took > 1.2*least {
					t.Errorf("%d attempts took %.2f s, want about %.2f", test.attempts, took, least)
				}
				if !limited {
					t.Error("Health never said that the limit holds a record back")
				}
				if err := stop(); err != nil || b.committed(0)+b.committed(1) != records {
					t.Errorf("committed %d and %d: %v", b.committed(0), b.committed(1), err)
				}
			})
		})
	}
	t.Run("Batches", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.seed(0, records)
			cfg := b.consumer()
			cfg.RateLimit, cfg.MaxBatchSize = perSecond, 40
			began := time.Now()
			var n atomic.Int64
			stop := b.startBatches(cfg, func(_ context.Context, batch []kafka.Message[numbered]) error {
				n.Add(int64(len(batch)))
				return nil
			})
			time.Sleep(5800 * time.Millisecond)
			if n.Load() != 80 {
				t.Errorf("%d messages in %v, want two batches of 40", n.Load(), time.Since(began))
			}
			time.Sleep(time.Second)
			if err := stop(); err != nil || n.Load() != records {
				t.Errorf("%d messages: %v", n.Load(), err)
			}
		})
	})
}
