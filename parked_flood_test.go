package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// guarded is the lot's config with a flood guard that pauses when three records were given up.
func (l *parkingLot) guarded() kafka.ConsumerConfig {
	cfg := l.bubble.guarded()
	cfg.ParkKeys = true
	return cfg
}

// numbers returns the records of a key from first up to, and without, end.
func numbers(key string, first, end int) (records []string) {
	for n := first; n < end; n++ {
		records = append(records, fmt.Sprint(key, " ", n))
	}
	return records
}

// However many records a key has behind its letter: nobody has tried them, so that they say nothing of what may be broken. Nor does a
// pause keep them back.
func TestAParkedKeyIsNoFlood(t *testing.T) {
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		var told floodStates
		l.refuse("a 0")
		l.publish(numbers("a", 0, 300)...)
		consumer, stop := l.start(l.guarded(), l.handle, told.hooks())
		time.Sleep(time.Minute)
		if states := told.all(); len(states) > 0 || l.letters() != 300 {
			t.Fatalf("one record failed, with 299 behind it: the guard said %v, and there are %d letters", states, l.letters())
		}

		// Others fail in the other partition, by an error that lasts.
		l.refuse("b 0", "c 0", "d 0", "e 0", "f 0")
		for n := range 5 {
			l.produce(&kgo.Record{Topic: "orders", Partition: 1, Key: []byte{"bcdef"[n]}, Value: []byte(`{"n":0}`)})
		}
		for len(told.all()) == 0 {
			time.Sleep(time.Millisecond)
		}
		before := l.letters()
		l.publish(numbers("a", 300, 600)...)
		time.Sleep(20 * time.Second)
		if flood := consumer.Health().Flood; flood != kafka.FloodPaused {
			t.Fatalf("the test proves nothing: the guard is %q", flood)
		}
		if n := l.letters() - before; n != 300 {
			t.Errorf("%d letters of 300 parked records in a pause", n)
		}
		l.wantHandled()
		l.stopsAtOnce(stop)
		if at := l.committed(0); at != 600 {
			t.Errorf("committed %d, want 600", at)
		}
	})
}

// Most records of an outage may be parked ones, behind the first of their keys. The guard counts the first ones.
func TestParkedKeysHideNoOutage(t *testing.T) {
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		const keys, each = 10, 20
		for key := range keys {
			l.publish(numbers(fmt.Sprint("k", key), 0, each)...)
		}
		var (
			db    database
			told  floodStates
			mu    sync.Mutex
			saved []string
		)
		db.down.Store(true)
		_, stop := l.start(l.guarded(), func(ctx context.Context, msg kafka.Message[numbered]) error {
			err := db.save(ctx, msg)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				saved = append(saved, fmt.Sprint(msg.Key, " ", msg.Value.N))
			}
			return err
		}, told.hooks())
		time.Sleep(20 * time.Second)
		if states := told.all(); !slices.Equal(states, []kafka.FloodState{kafka.FloodPaused}) || l.letters() != 2*each {
			t.Errorf("three keys' first records failed: the guard said %v, and there are %d letters; want a pause, and %d letters of two keys",
				states, l.letters(), 2*each)
		}
		db.down.Store(false)
		time.Sleep(time.Hour)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		var want []string
		for key := 2; key < keys; key++ {
			want = append(want, numbers(fmt.Sprint("k", key), 0, each)...)
		}
		if !slices.Equal(saved, want) {
			t.Errorf("saved %q, want %q", saved, want)
		}
	})
}
