package engine

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Brokers that lost the end of a log write other records at the same offsets. What was done of the old ones is
// forgotten with the first record of a later leader.
func TestProgressOfLostRecordsIsNotToldAgain(t *testing.T) {
	o := NewOffsets(func(kgo.EpochOffset) {})
	o.earlier = progress{[]offsetRange{{100, 200}}, 3}
	for offset := int64(50); offset < 60; offset++ {
		epoch := int32(3)
		if offset >= 52 {
			epoch = 5
		}
		place, done := o.Begin(offset, epoch)
		if done {
			t.Errorf("%d is taken for done", offset)
		}
		if offset > 52 {
			o.Done(place)
		}
	}
	if told, ok := parseProgress(o.Metadata(50), 50); !ok || !told.has(53, 5) || told.has(150, 5) {
		t.Errorf("it tells %v, want 53 to 59 alone", told)
	}
}

// A mark never names a record that is not done, and none comes after the fence, whatever happens at the same time.
func TestMarksAreOfWhatIsDone(t *testing.T) {
	const records, workers = 2000, 4
	for range 20 {
		done := make([]atomic.Bool, records)
		var fenced atomic.Bool
		marked := int64(-1)
		o := NewOffsets(func(at kgo.EpochOffset) { // one at a time
			if fenced.Load() {
				t.Error("a mark after the fence")
			}
			if at.Offset <= marked {
				t.Errorf("marked %d after %d", at.Offset, marked)
			}
			marked = at.Offset
			for i := range at.Offset {
				if !done[i].Load() {
					t.Errorf("marked %d, and %d is not done", at.Offset, i)
				}
			}
		})
		o.Fetched(0, records-1)
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for range records / workers {
					place := mustBegin(o)
					if rand.IntN(3) == 0 {
						o.Mark()
					}
					done[place].Store(true)
					o.Done(place)
				}
			})
		}
		all.Go(func() {
			for range 100 {
				o.Mark()
			}
			o.Fence()
			fenced.Store(true)
			o.Mark()
			o.Seal()
		})
		all.Wait()
		if at := o.Position(); at != records {
			t.Errorf("position %d after %d records", at, records)
		}
	}
}

// mustBegin begins the next record of a partition whose offsets are its places.
func mustBegin(o *Offsets) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tracker.add(o.tracker.first+int64(len(o.tracker.held)), 1)
}

// Seal marks what is done, once, and nothing after it.
func TestSealIsTheLastMark(t *testing.T) {
	var marks []kgo.EpochOffset
	o := NewOffsets(func(at kgo.EpochOffset) { marks = append(marks, at) })
	first, _ := o.Begin(10, 2)
	second, _ := o.Begin(13, 2)
	if o.Done(first); !o.Unmarked() {
		t.Error("done, and nothing to mark")
	}
	o.Seal()
	o.Done(second)
	o.Mark()
	o.Seal()
	if want := []kgo.EpochOffset{{Epoch: 2, Offset: 11}}; !slices.Equal(marks, want) || !o.Fenced() {
		t.Errorf("marks %v, want %v; fenced: %t", marks, want, o.Fenced())
	}
}

// The position is where the group stands until something is fetched, then the first record that is not done.
func TestPosition(t *testing.T) {
	o := NewOffsets(func(kgo.EpochOffset) {})
	check := func(what string, want int64) {
		t.Helper()
		if at := o.Position(); at != want {
			t.Errorf("%s: position %d, want %d", what, at, want)
		}
	}
	check("at first", -1)
	o.Guess(5)
	check("a guess", 5)
	o.Guess(7)
	check("a better guess", 7)
	if expected := o.Fetched(9, 12); expected != -1 {
		t.Errorf("expected %d without a committed offset", expected)
	}
	check("fetched", 9)
	o.Guess(3)
	check("a guess that comes late", 9)
	place, _ := o.Begin(9, 1)
	o.Done(place)
	check("one is done", 10)
	if expected := o.Fetched(11, 12); expected != 13 {
		t.Errorf("expected %d, want 13", expected)
	}
	check("fetching went back", 11)
}

// The first fetch is measured against the committed offset.
func TestResume(t *testing.T) {
	o := NewOffsets(func(kgo.EpochOffset) {})
	metadata := (&progress{[]offsetRange{{22, 24}}, 1}).metadata(20)
	o.Resume(20, &metadata)
	if expected := o.Fetched(20, 30); expected != 20 {
		t.Errorf("expected %d, want 20", expected)
	}
	for offset := int64(20); offset < 26; offset++ {
		if _, done := o.Begin(offset, 1); done != (offset == 22 || offset == 23) {
			t.Errorf("offset %d: done by an earlier owner: %t", offset, done)
		}
	}
	if n := o.Begun(); n != 6 {
		t.Errorf("%d begun, want 6", n)
	}
}
