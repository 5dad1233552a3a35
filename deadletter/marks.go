package deadletter

import (
	"bytes"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/recordheader"
)

// A mark is a record that says which letters of its partition, all before it, were sent back. It is stored beside them, and not in the
// redrive group's offsets alone, because those are one position for each partition, and expire. Its key is the same text, so that a
// compacted topic keeps every mark.

// isMark tells whether a record of a dead letter topic is no letter: a redrive's mark, or one of a consumer that parks keys. A record
// with a value is none, whatever headers its publisher gave it.
func isMark(r *kgo.Record) bool {
	_, redriven := rangesOf(r)
	_, unparked := recordheader.Last(r.Headers, HeaderUnparked)
	return redriven || unparked && len(r.Value) == 0
}

// rangesOf returns what a redrive's mark says.
func rangesOf(r *kgo.Record) (text string, ok bool) {
	ranges, ok := recordheader.Last(r.Headers, HeaderRedriven)
	return string(ranges), ok && len(r.Value) == 0 && bytes.Equal(ranges, r.Key)
}

// newMark is the mark of these letters, offsets in ascending order.
func newMark(topic string, partition int32, offsets []int64) *kgo.Record {
	text := []byte(formatRanges(offsets))
	return &kgo.Record{
		Topic: topic, Partition: partition, Key: text, Value: []byte{},
		Headers: []kgo.RecordHeader{{Key: HeaderRedriven, Value: text}, {Key: HeaderWrittenTo, Value: []byte(topic)}},
	}
}

// formatRanges writes ascending offsets as 0-99,105.
func formatRanges(offsets []int64) string {
	var text strings.Builder
	for i := 0; i < len(offsets); {
		first := i
		for i++; i < len(offsets) && offsets[i] == offsets[i-1]+1; {
			i++
		}
		if text.Len() > 0 {
			text.WriteByte(',')
		}
		fmt.Fprint(&text, offsets[first])
		if i-first > 1 {
			fmt.Fprintf(&text, "-%d", offsets[i-1])
		}
	}
	return text.String()
}

// sentOffsets is a set of offsets from a base on, a bit for each.
type sentOffsets struct {
	base int64
	bits []uint64
}

func (s *sentOffsets) has(offset int64) bool {
	i := offset - s.base
	return i < 0 || i/64 < int64(len(s.bits)) && s.bits[i/64]&(1<<(i%64)) != 0
}

// count is how many offsets from the base on it has.
func (s *sentOffsets) count() (n int64) {
	for _, word := range s.bits {
		n += int64(bits.OnesCount64(word))
	}
	return n
}

func (s *sentOffsets) add(first, last int64) {
	for offset := max(first, s.base); offset <= last; offset++ {
		i := offset - s.base
		for int64(len(s.bits)) <= i/64 {
			s.bits = append(s.bits, 0)
		}
		s.bits[i/64] |= 1 << (i % 64)
	}
}

// learn adds what a mark says. Whoever may write to the topic may write marks; what can't be, letters behind the mark, is left out.
func (s *sentOffsets) learn(mark *kgo.Record) {
	text, ok := rangesOf(mark)
	if !ok {
		return
	}
	for span := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(span, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseInt(from, 10, 64)
		last, err2 := strconv.ParseInt(to, 10, 64)
		if err == nil && err2 == nil && first >= 0 && last < mark.Offset {
			s.add(first, last)
		}
	}
}
