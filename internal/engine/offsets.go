// Package engine consumes the partitions of a consumer group: what is done, what is committed, which record comes next.
// It knows neither the types of messages nor how they are encoded, configured and observed.
package engine

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Offsets knows which of a partition's records are done, and so how far the partition's offset may be committed: to the
// first record that is not. Records that are done beyond that are told to the partition's next owner in the commit's
// metadata.
type Offsets struct {
	mark func(kgo.EpochOffset) // hands an offset to the client, for its next commit

	// marking is held while mark runs, which may wait for the client's own locks: after Seal and Fence no mark is under
	// way. It is locked before mu.
	marking sync.Mutex

	mu       sync.Mutex // guards what follows
	tracker  tracker
	earlier  progress // what earlier owners have done of what is still to be fetched
	next     int64    // the next offset to fetch; -1: nothing fetched yet, and nothing committed
	position int64    // the first record that is not done; -1: not known
	guessed  bool     // position is where the group is said to be: nothing was fetched yet
	unmarked bool     // more is done than is marked
	fenced   bool     // nothing more is committed: the partition may be another member's
}

// NewOffsets returns the offsets of a partition that was just assigned. mark hands an offset to the client, to be
// committed.
func NewOffsets(mark func(kgo.EpochOffset)) *Offsets {
	return &Offsets{mark: mark, next: -1, position: -1}
}

// Resume takes the group's committed offset and its metadata, before records are fetched; a group without one has -1
// and none.
func (o *Offsets) Resume(committed int64, metadata *string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next < 0 {
		o.next = committed
	}
	if metadata != nil {
		if earlier, ok := parseProgress(*metadata, committed); ok {
			o.earlier = earlier
		}
	}
}

// Fetched notes that the records from first to last, both included, have come. It returns the offset that should have
// come first: below first where there is a gap, above it if fetching went back, -1 if that was not known.
func (o *Offsets) Fetched(first, last int64) (expected int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.position < 0 || o.guessed || first < o.next {
		o.position, o.guessed = first, false
	}
	expected = o.next
	o.next = last + 1
	return expected
}

// Begin notes that work on a record begins, and returns its place, which Done takes. done means that an earlier owner
// of the partition has finished the record.
func (o *Offsets) Begin(offset int64, epoch int32) (place int64, done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tracker.add(offset, epoch), o.doneEarlier(offset, epoch)
}

func (o *Offsets) doneEarlier(offset int64, epoch int32) bool {
	done := o.earlier.done
	if len(done) == 0 {
		return false
	}
	// Passed, or gone: a later leader's record below them proves that the brokers have lost them.
	if offset >= done[len(done)-1].end || epoch > o.earlier.epoch {
		o.earlier = progress{}
		return false
	}
	return o.earlier.has(offset, epoch)
}

// Begun returns how many records have begun since the first that is not done.
func (o *Offsets) Begun() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.tracker.held)
}

// Done notes that the record at a place is done.
func (o *Offsets) Done(place int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tracker.finish(place) {
		o.position, o.guessed = o.tracker.position(), false
		o.unmarked = true
	}
}

// Next returns the offset to be fetched next; -1: not known.
func (o *Offsets) Next() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next
}

// Position returns the offset of the first record that is not done, as far as known; -1: not known.
func (o *Offsets) Position() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.position
}

// Guess takes the offset at which a member that has fetched nothing yet begins, as the brokers say.
func (o *Offsets) Guess(begin int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.position < 0 || o.guessed { // the group's offsets may have come since the last guess
		o.position, o.guessed = begin, true
	}
}

// Mark lets the client's next commit have all that is done.
func (o *Offsets) Mark() {
	o.marking.Lock()
	defer o.marking.Unlock()
	o.handOver(false)
}

// Seal marks what is done, for the last commit by this owner, and makes what is done later count for nothing.
func (o *Offsets) Seal() {
	o.marking.Lock()
	defer o.marking.Unlock()
	o.handOver(true)
}

// handOver marks what is done. The caller holds o.marking. Workers don't wait while the client takes the mark: it may
// wait for the brokers.
func (o *Offsets) handOver(last bool) {
	o.mu.Lock()
	marks := o.unmarked && !o.fenced
	if marks {
		o.unmarked = false
	}
	at := kgo.EpochOffset{Epoch: o.tracker.upTo.epoch, Offset: o.tracker.upTo.offset + 1}
	o.fenced = o.fenced || last
	o.mu.Unlock()
	if marks {
		o.mark(at)
	}
}

// Fence makes all that is not marked count for nothing. A mark after it would take the commits of the partition's next
// owner back.
func (o *Offsets) Fence() {
	o.marking.Lock()
	defer o.marking.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fenced = true
}

// Fenced reports whether nothing more is committed.
func (o *Offsets) Fenced() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fenced
}

// Unmarked reports whether more is done than is marked.
func (o *Offsets) Unmarked() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unmarked
}

// Metadata returns what the commit of an offset says of the records beyond it that are done; "" if none is.
func (o *Offsets) Metadata(committed int64) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.known()
	if len(known.done) == 0 {
		return ""
	}
	return known.metadata(committed)
}

// Beyond returns the offset of the first record that is not done, and whether records beyond it are known to be done,
// by this owner or by earlier ones.
func (o *Offsets) Beyond() (at kgo.EpochOffset, ahead bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ahead = o.tracker.begun && len(o.known().done) > 0
	return kgo.EpochOffset{Epoch: o.tracker.upTo.epoch, Offset: o.tracker.position()}, ahead
}

// known is what is done beyond the first record that is not. The caller holds o.mu.
func (o *Offsets) known() progress {
	done, epoch := o.tracker.doneAhead()
	known := progress{done, max(epoch, o.earlier.epoch)}
	if len(o.earlier.done) > 0 {
		known.done = append(known.done, o.earlier.from(o.tracker.next())...)
	}
	return known
}
