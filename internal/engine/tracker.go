package engine

// tracker knows which of a partition's records are done, and so how far its offset may be committed: to the first that is
// not. It goes by places, in the order of fetching, since offsets have gaps: compaction and transaction markers leave them.
type tracker struct {
	held  []tracked // from the first that is not done to the latest
	first int64     // the place of held[0]
	room  []tracked // what held is the end of, to be used again
	upTo  tracked   // the last of those that are done without a gap
	begun bool      // there was a record
}

type tracked struct {
	offset int64
	epoch  int32 // the leader's who wrote it
	done   bool
}

// add returns the record's place, to be given to finish.
func (t *tracker) add(offset int64, epoch int32) (place int64) {
	if !t.begun {
		t.begun = true
		t.upTo = tracked{offset: offset - 1, epoch: -1}
	}
	if len(t.held) == cap(t.held) {
		if cap(t.room) < 2*len(t.held)+1 {
			t.room = make([]tracked, 0, 4*len(t.held)+16)
		}
		t.held = append(t.room[:0], t.held...) // half of the room at least lay before it
	}
	t.held = append(t.held, tracked{offset: offset, epoch: epoch})
	return t.first + int64(len(t.held)) - 1
}

// finish notes that the record at place is done, and tells whether more may be committed than before: up to and including
// t.upTo.
func (t *tracker) finish(place int64) (more bool) {
	t.held[place-t.first].done = true
	for len(t.held) > 0 && t.held[0].done {
		t.upTo = t.held[0]
		t.held = t.held[1:]
		t.first++
		more = true
	}
	return more
}

// position is the offset of the first record that is not done, as far as records are known; -1: none is.
func (t *tracker) position() int64 {
	switch {
	case len(t.held) > 0:
		return t.held[0].offset
	case t.begun:
		return t.upTo.offset + 1
	}
	return -1
}

// next is the offset after the latest record; 0: there is none.
func (t *tracker) next() int64 {
	switch {
	case len(t.held) > 0:
		return t.held[len(t.held)-1].offset + 1
	case t.begun:
		return t.upTo.offset + 1
	}
	return 0
}

// doneAhead returns what is done beyond the first record that is not, as ranges of offsets in ascending order.
func (t *tracker) doneAhead() (ranges []offsetRange, epoch int32) {
	open := false // the latest range goes on
	epoch = -1
	var latest int64 = -1
	for _, r := range t.held {
		if r.offset <= latest {
			break // fetching went back: what follows is known already, or not worth knowing
		}
		latest = r.offset
		switch {
		case !r.done:
			open = false
			continue
		case open:
			ranges[len(ranges)-1].end = r.offset + 1
		default:
			ranges = append(ranges, offsetRange{r.offset, r.offset + 1})
			open = true
		}
		epoch = max(epoch, r.epoch)
	}
	return ranges, epoch
}
