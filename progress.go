package kafka

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// progress is which records above a committed offset are done. It travels in the commit's metadata, so that whoever
// consumes the partition next does not handle them again. Losing it costs redeliveries, never records.
type progress struct {
	done []offsetRange // ascending, apart from each other
	// epoch is the latest leader's who wrote one of them. A record of a later leader is another one, at the offset of a record
	// that the brokers have lost.
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

// metadata is p for the commit of an offset: its mark, and in base64 that offset, the epoch and, for each range, how far it lies
// from the end of the one before it and how long it is. Ranges for which there is no room are left out. The offset is in it
// because others carry metadata along to offsets of their own: MirrorMaker does, to another cluster.
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

// metadata says in the commit of an offset what is done beyond it; "" if nothing is.
func (p *partition) metadata(committed int64) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known()
	if len(known.done) == 0 {
		return ""
	}
	return known.metadata(committed)
}

// known is what is done beyond the first record that is not: here, and as earlier owners have told. The caller holds p.mu.
func (p *partition) known() progress {
	done, epoch := p.tracker.doneAhead()
	known := progress{done, max(epoch, p.earlier.epoch)}
	if len(p.earlier.done) > 0 {
		known.done = append(known.done, p.earlier.from(p.tracker.next())...)
	}
	return known
}

// progressBeyond tells whether records are known to be done beyond the first that is not, and where that is. What earlier owners
// have told counts.
func (p *partition) progressBeyond() (at kgo.EpochOffset, ahead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ahead = p.tracker.begun && len(p.known().done) > 0
	return kgo.EpochOffset{Epoch: p.tracker.upTo.epoch, Offset: p.tracker.position()}, ahead
}

// beforePeriodicCommit refuses a commit that was made in an earlier session or epoch and has waited for others since: franz-go
// would repeat it in the new one, when another member may have committed further in between. The marks stay for the next. client
// is nil only before there is anything to commit.
func (c *consumer) beforePeriodicCommit(client *kgo.Client, request *kmsg.OffsetCommitRequest) error {
	if client == nil || !c.membership.isMember() {
		return context.Canceled
	}
	if member, generation := client.GroupMetadata(); member != request.MemberID || generation != request.Generation {
		return context.Canceled
	}
	if !c.dropUnassigned(request) {
		return context.Canceled
	}
	c.tellProgress(request, nil)
	return nil
}

// dropUnassigned takes out of a periodic commit what is being handed over, or was: the handover's own commit tells of progress, and
// this one would say that there is none. So it does with what the member had before it was removed from the group. It returns false
// if nothing is left.
func (c *consumer) dropUnassigned(request *kmsg.OffsetCommitRequest) (left bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range request.Topics {
		topic := &request.Topics[i]
		topic.Partitions = slices.DeleteFunc(topic.Partitions, func(p kmsg.OffsetCommitRequestTopicPartition) bool {
			own := c.partitions[p.Partition]
			return own == nil || !own.isOf(request.MemberID)
		})
		left = left || len(topic.Partitions) > 0
	}
	return left
}

// tellProgress puts the progress of partitions into the request that commits their offsets. leaving are those that are not
// among the assigned ones any more.
func (c *consumer) tellProgress(request *kmsg.OffsetCommitRequest, leaving []*partition) {
	if c.untold.Load() {
		return
	}
	partitions := map[int32]*partition{}
	for _, p := range append(c.assignedNow(), leaving...) {
		partitions[p.id] = p
	}
	for i := range request.Topics {
		for j := range request.Topics[i].Partitions {
			commit := &request.Topics[i].Partitions[j]
			if p := partitions[commit.Partition]; p != nil {
				if metadata := p.metadata(commit.Offset); metadata != "" {
					commit.Metadata = &metadata
				}
			}
		}
	}
}

// learnProgress takes what earlier owners have told of newly assigned partitions, before these are fetched: where to go on, and
// what is done beyond that.
func (c *consumer) learnProgress(response *kmsg.OffsetFetchResponse) {
	for _, group := range response.Groups {
		for _, topic := range group.Topics {
			for _, committed := range topic.Partitions {
				c.mu.Lock()
				p := c.partitions[committed.Partition]
				c.mu.Unlock()
				if p != nil {
					p.goOnFrom(committed.Offset, committed.Metadata)
				}
			}
		}
	}
}

// goOnFrom takes a committed offset and its metadata; a group without one has -1 and none.
func (p *partition) goOnFrom(offset int64, metadata *string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.next < 0 {
		p.status.next = offset
	}
	if metadata != nil {
		if earlier, ok := parseProgress(*metadata, offset); ok {
			p.earlier = earlier
		}
	}
}

// parseProgress reads the metadata of a committed offset. ok is false for what is not ours, damaged, or of another offset.
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
