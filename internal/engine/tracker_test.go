package engine

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "try all that there is, where a part is enough for every day")

// Every order in which up to 8 records can be done, with every pattern of gaps between their offsets, revoked at every step:
// what may be committed is the offset of the first that is not done, and the next owner handles what is not done and nothing
// else. Without -long it is up to 7 records.
func TestTrackerInEveryOrder(t *testing.T) {
	most, want := 7, 5_040<<7
	if *long {
		most, want = 8, 40_320<<8
	}
	histories, steps, handovers := 0, 0, 0
	for n := range most + 1 {
		for gaps := range 1 << n { // bit i: there is a gap before record i
			offsets := make([]int64, n)
			next := int64(100)
			for i := range offsets {
				next += int64(gaps>>i&1) * 3
				offsets[i] = next
				next++
			}
			handedOver := make([]bool, 1<<n) // by the set of what is done, in which order does not matter then
			permutations(n, func(order []int) {
				histories++
				var tr tracker
				for i, offset := range offsets {
					if place := tr.add(offset, 7); place != int64(i) {
						t.Fatalf("record %d has place %d", i, place)
					}
				}
				done, first := 0, 0
				for _, i := range order {
					steps++
					more := tr.finish(int64(i))
					done |= 1 << i
					before := first
					for first < n && done>>first&1 == 1 {
						first++
					}
					if more != (first > before) || more && tr.upTo.offset != offsets[first-1] || len(tr.held) != n-first ||
						first < n && tr.position() != offsets[first] || first == n && tr.position() != offsets[n-1]+1 {
						t.Fatalf("offsets %v, done in order %v: after %d more is %v, up to %d, position %d", offsets, order, i, more, tr.upTo.offset, tr.position())
					}
					if !handedOver[done] {
						handedOver[done] = true
						handovers++
						handOver(t, &tr, offsets, done)
					}
				}
			})
		}
	}
	t.Logf("%d histories, %d steps, %d handovers", histories, steps, handovers)
	if histories < want {
		t.Errorf("%d histories: not all", histories)
	}
}

// permutations calls with each order of 0 to n-1.
func permutations(n int, with func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var permute func(int)
	permute = func(k int) {
		if k == n {
			with(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			permute(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	permute(0)
}

// handOver fails if the next owner, who knows the commit and its metadata, would not handle exactly what is not done.
func handOver(t *testing.T, tr *tracker, offsets []int64, done int) {
	t.Helper()
	committed := tr.position()
	ranges, epoch := tr.doneAhead()
	known, _ := parseProgress((&progress{ranges, epoch}).metadata(committed), committed)
	for i, offset := range offsets {
		handled := offset >= committed && !known.has(offset, 7)
		if handled == (done>>i&1 == 1) {
			t.Fatalf("offsets %v, done %b, committed %d, known %v: is offset %d handled again? %v", offsets, done, committed, known.done, offset, handled)
		}
		if offset >= committed && known.has(offset, 8) {
			t.Fatalf("offset %d is another record when a later leader has written it", offset)
		}
	}
}

// FuzzTracker does to a partition what the data says: records come with gaps, some are done, it is handed over with its
// progress, or lost. Each record that comes is handled until it is done, and after a clean handover never again.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, 1, 2, 3, 0, 2, 0, 3})
	f.Add([]byte{0, 4, 8, 12, 2, 2, 3, 0, 0, 0, 6, 2, 3, 1})
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		program := make([]byte, 200)
		for i := range program {
			program[i] = byte(random.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		var log []int64 // the offsets there are
		done := map[int64]bool{}
		var tr tracker
		var earlier progress
		committed, fetched, next := int64(0), 0, int64(0) // fetched: how many of log
		inHand := map[int64]int64{}                       // place by offset
		for _, b := range program {
			argument := int(b >> 2)
			switch b & 3 {
			case 0, 1: // a record is written and fetched
				next += int64(argument % 5)
				log = append(log, next)
				next++
				for ; fetched < len(log); fetched++ {
					offset := log[fetched]
					place := tr.add(offset, 1)
					if earlier.has(offset, 1) {
						if !done[offset] {
							t.Fatalf("offset %d is passed over and was never done", offset)
						}
						tr.finish(place)
						continue
					}
					if done[offset] {
						t.Fatalf("offset %d is handled again", offset)
					}
					inHand[offset] = place
				}
			case 2: // one in hand is done
				if len(inHand) == 0 {
					continue
				}
				offsets := make([]int64, 0, len(inHand))
				for offset := range inHand {
					offsets = append(offsets, offset)
				}
				slices.Sort(offsets)
				offset := offsets[argument%len(offsets)]
				tr.finish(inHand[offset])
				delete(inHand, offset)
				done[offset] = true
			case 3: // handed over
				if !tr.begun {
					continue
				}
				at := tr.position()
				for _, offset := range log[:fetched] {
					if offset < at && !done[offset] {
						t.Fatalf("committed %d, and offset %d is not done", at, offset)
					}
				}
				if at < committed {
					t.Fatalf("committed %d after %d", at, committed)
				}
				ranges, epoch := tr.doneAhead()
				known := progress{append(ranges, earlier.from(tr.next())...), max(epoch, earlier.epoch)}
				metadata := known.metadata(at)
				if len(metadata) > maxProgress {
					t.Fatalf("metadata of %d bytes", len(metadata))
				}
				earlier, _ = parseProgress(metadata, at)
				committed, tr, inHand = at, tracker{}, map[int64]int64{}
				fetched, _ = slices.BinarySearch(log, committed)
				if len(known.done) > 0 && len(metadata) > maxProgress-50 {
					return // it did not fit: what was left out is handled again
				}
			}
		}
	})
}

// What is not ours, or damaged, is as if there were nothing.
func FuzzProgress(f *testing.F) {
	f.Add("", int64(0))
	f.Add("consumer-1-5e2f", int64(7))
	f.Add((&progress{[]offsetRange{{10, 12}, {20, 21}}, 3}).metadata(9), int64(9))
	f.Add(progressMark+"////////////////////////", int64(math.MaxInt64-3))
	f.Fuzz(func(t *testing.T, metadata string, committed int64) {
		p, ok := parseProgress(metadata, committed)
		if !ok {
			if len(p.done) > 0 {
				t.Error("ranges of what is not ours")
			}
			return
		}
		last := committed
		for _, r := range p.done {
			if r.first < last || r.end <= r.first {
				t.Fatalf("ranges %v after offset %d", p.done, committed)
			}
			last = r.end
		}
		if again, _ := parseProgress(p.metadata(committed), committed); !slices.Equal(again.done, p.done) || again.epoch != p.epoch {
			t.Errorf("%v became %v", p, again)
		}
	})
}

// However much is done beyond a record that is not, its metadata fits, and says the nearest of it.
func TestProgressThatDoesNotFitIsCut(t *testing.T) {
	var tr tracker
	for i := range int64(50_000) {
		place := tr.add(1000+i, 1)
		if i%2 == 1 {
			tr.finish(place)
		}
	}
	ranges, epoch := tr.doneAhead()
	metadata := (&progress{ranges, epoch}).metadata(1000)
	known, ok := parseProgress(metadata, 1000)
	if !ok || len(metadata) > 4096 || len(known.done) < 1000 || !slices.Equal(known.done, ranges[:len(known.done)]) {
		t.Errorf("%d of %d ranges in %d bytes", len(known.done), len(ranges), len(metadata))
	}
	if !strings.HasPrefix(metadata, progressMark) {
		t.Errorf("metadata %.20q", metadata)
	}
}

// When fetching goes back, what is done of the records that come again is not told: nobody may pass over them.
func TestProgressEndsWhereFetchingWentBack(t *testing.T) {
	var tr tracker
	for _, offset := range []int64{10, 11, 12, 11, 13} {
		if place := tr.add(offset, 1); place > 0 {
			tr.finish(place)
		}
	}
	if ranges, _ := tr.doneAhead(); fmt.Sprint(ranges) != "[{11 13}]" {
		t.Errorf("told: %v", ranges)
	}
}

// A record costs the same whatever is done before and behind it.
func BenchmarkTracker(b *testing.B) {
	for _, held := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(held), func(b *testing.B) {
			b.ReportAllocs()
			var tr tracker
			places := make([]int64, held)
			for i := range places {
				places[i] = tr.add(int64(i), 1)
			}
			began := time.Now()
			for i := range b.N {
				tr.finish(places[i%held])
				places[i%held] = tr.add(int64(held+i), 1)
			}
			b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "records/s")
		})
	}
}
