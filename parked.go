package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// This file is what a partition knows of parked keys, if ConsumerConfig.ParkKeys is set. A key is parked while a letter of it is in
// the dead letter topic that was not sent back and handled since. Its records have an order, that of the offsets at which they were
// first: one is handled only if no letter of its key comes before it. Anything else follows them into the dead letter topic.
//
// The dead letter topic is where this is kept: its letters say that they park their key (deadletter.HeaderParked), and a mark follows when
// one of them was handled after all (deadletter.HeaderUnparked). Whoever is assigned the partition reads both before all else; see recall.go.

// ErrParked is of a record that was not handled because a letter of its key, in the dead letter topic, comes before it.
var ErrParked = errors.New("its key is parked")

// parkedError says which letter a record waits behind.
type parkedError struct {
	dlqTopic  string
	partition int32
	offset    int64
}

func (e *parkedError) Error() string {
	return fmt.Sprintf("%v behind the dead letter at %s-%d offset %d", ErrParked, e.dlqTopic, e.partition, e.offset)
}
func (e *parkedError) Unwrap() error { return ErrParked }
func (e *parkedError) class() Class  { return ClassParked }

// parkedPlace says whose letter it is: where its record was first, as the group that parks it sees it. The letter's other headers
// can't: their place may be another topic's, and a letter without room for headers has lost them.
type parkedPlace struct {
	topic     string
	partition int32
	origin    int64 // the record's first offset in it
	group     string
}

// String puts the group last: it may hold anything, and the others no slash.
func (p parkedPlace) String() string {
	return fmt.Sprintf("%s/%d/%d/%s", p.topic, p.partition, p.origin, p.group)
}

func parseParkedPlace(text string) (p parkedPlace, ok bool) {
	parts := strings.SplitN(text, "/", 4)
	if len(parts) != 4 {
		return parkedPlace{}, false
	}
	partition, err := strconv.ParseInt(parts[1], 10, 32)
	origin, err2 := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || err2 != nil || partition < 0 || origin < 0 {
		return parkedPlace{}, false
	}
	return parkedPlace{parts[0], int32(partition), origin, parts[3]}, true
}

// parkedKeys are those of one partition.
type parkedKeys struct {
	most int // letters

	mu      sync.Mutex                // after partition.mu, if that is held
	letters map[uint64][]parkedLetter // for each lane with any: by origin, in ascending order
	count   int                       // of letters
	asked   time.Time                 // when the brokers were last asked which are deleted
}

// parkedLetter is a letter that was not sent back and handled since.
type parkedLetter struct {
	origin int64 // the offset at which its record was first
	offset int64 // the letter's, in its partition of the dead letter topic
}

func newParkedKeys(most int) *parkedKeys {
	return &parkedKeys{most: most, letters: map[uint64][]parkedLetter{}, asked: time.Now()}
}

// first returns the letter of a lane that is to be handled before the others.
func (k *parkedKeys) first(lane uint64) (letter parkedLetter, parked bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if letters := k.letters[lane]; len(letters) > 0 {
		return letters[0], true
	}
	return parkedLetter{}, false
}

// has tells whether the letter of the record that was at origin is among them.
func (k *parkedKeys) has(lane uint64, origin int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, found := find(k.letters[lane], origin)
	return found
}

func find(letters []parkedLetter, origin int64) (int, bool) {
	return slices.BinarySearchFunc(letters, origin, func(l parkedLetter, origin int64) int { return cmp.Compare(l.origin, origin) })
}

// originAt returns where the record was first whose letter is at that offset.
func (k *parkedKeys) originAt(lane uint64, offset int64) (origin int64, found bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.letters[lane], func(l parkedLetter) bool { return l.offset == offset })
	if i < 0 {
		return 0, false
	}
	return k.letters[lane][i].origin, true
}

// add takes a letter, or the later one of a record that has one already. It returns false if these are more than there is room for.
func (k *parkedKeys) add(lane uint64, letter parkedLetter) (fits bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	letters := k.letters[lane]
	if i, found := find(letters, letter.origin); found {
		letters[i] = letter
	} else {
		k.letters[lane] = slices.Insert(letters, i, letter)
		k.count++
	}
	return k.count <= k.most
}

func (k *parkedKeys) remove(lane uint64, origin int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i, found := find(k.letters[lane], origin)
	if !found {
		return
	}
	k.count--
	switch letters := k.letters[lane]; {
	case len(letters) == 1:
		delete(k.letters, lane)
	case i == 0:
		k.letters[lane] = letters[1:] // nearly always: moving the others each time would take forever where they are many
	default:
		k.letters[lane] = slices.Delete(letters, i, i+1)
	}
}

// removeAnywhere is remove for a mark that does not name its key.
func (k *parkedKeys) removeAnywhere(origin int64) {
	for lane := range k.letters {
		k.remove(lane, origin)
	}
}

// forgetBelow gives up letters that the dead letter topic, which begins at start, holds no more.
func (k *parkedKeys) forgetBelow(start int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for lane, letters := range k.letters {
		left := slices.DeleteFunc(letters, func(l parkedLetter) bool { return l.offset < start })
		k.count -= len(letters) - len(left)
		k.letters[lane] = left
		if len(left) == 0 {
			delete(k.letters, lane)
		}
	}
}

// keys returns how many are parked.
func (k *parkedKeys) keys() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.letters)
}

// due tells whether interval has passed since it last said so.
func (k *parkedKeys) due(interval time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.asked) < interval {
		return false
	}
	k.asked = time.Now()
	return true
}
