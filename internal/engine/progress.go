package engine

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
)

// progress is which records above a committed offset are done. It travels in the commit's metadata, so that whoever
// consumes the partition next does not handle them again. Losing it costs redeliveries, never records.
type progress struct {
	done []offsetRange // ascending, apart from each other
	// epoch is the latest leader's who wrote one of them. A record of a later leader is another one, at the offset of a
	// record that the brokers have lost.
	epoch int32
}

// offsetRange is the offsets from first up to end, end left out.
type offsetRange struct{ first, end int64 }

const (
	// progressMark begins our metadata; other clients write what they like there. Its 1 is the format's version.
	progressMark = "done1:"
	// maxProgress bounds our metadata in bytes. Brokers take 4,096 by default (offset.metadata.max.bytes).
	maxProgress = 4096
)

// has tells whether a record is done.
func (p *progress) has(offset int64, epoch int32) bool {
	_, found := slices.BinarySearchFunc(p.done, offset, func(r offsetRange, offset int64) int {
		switch {
		case offset < r.first:
			return 1
		case offset >= r.end:
			return -1
		}
		return 0
	})
	return found && epoch <= p.epoch
}

// from returns what is done at or above offset.
func (p *progress) from(offset int64) []offsetRange {
	i, _ := slices.BinarySearchFunc(p.done, offset, func(r offsetRange, offset int64) int {
		if r.end <= offset {
			return -1
		}
		return 1
	})
	return p.done[i:]
}

// metadata is p for the commit of an offset: its mark, and in base64 that offset, the epoch and, for each range, how
// far it lies from the end of the one before it and how long it is. Ranges for which there is no room are left out. The
// offset is in it because others carry metadata along to offsets of their own: MirrorMaker does, to another cluster.
func (p *progress) metadata(committed int64) string {
	const room = (maxProgress - len(progressMark)) / 4 * 3 // base64 makes four bytes of three
	data := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(committed)), uint64(p.epoch+1))
	bare, last := len(data), committed
	for _, r := range p.done {
		if r.first < last {
			continue // the commit says as much
		}
		next := binary.AppendUvarint(binary.AppendUvarint(data, uint64(r.first-last)), uint64(r.end-r.first))
		if len(next) > room {
			break
		}
		data, last = next, r.end
	}
	if len(data) == bare {
		return ""
	}
	return progressMark + base64.RawStdEncoding.EncodeToString(data)
}

// parseProgress reads the metadata of a committed offset. ok is false for what is not ours, damaged, or of another
// offset.
func parseProgress(metadata string, committed int64) (p progress, ok bool) {
	text, ok := strings.CutPrefix(metadata, progressMark)
	if !ok || len(metadata) > maxProgress {
		return progress{}, false
	}
	data, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return progress{}, false
	}
	next := func() int64 {
		n, size := binary.Uvarint(data)
		if size <= 0 || n > 1<<62 {
			ok = false
			return 0
		}
		data = data[size:]
		return int64(n)
	}
	ok = next() == committed && ok
	epoch := next() - 1
	p.epoch = int32(epoch)
	ok = ok && int64(p.epoch) == epoch
	for last := committed; ok && len(data) > 0; {
		first := last + next()
		end := first + next()
		ok = ok && last <= first && first < end
		p.done = append(p.done, offsetRange{first, end})
		last = end
	}
	if !ok || len(p.done) == 0 {
		return progress{}, false
	}
	return p, true
}
