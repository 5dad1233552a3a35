package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/recordheader"
)

// Control headers have the library skip, attribute, route or time a record. Those about dead letters count only in the
// topic that dlqheader.WrittenTo names: a service that copies the headers of a message into another one, on another
// topic, would otherwise have the copy skipped, or its dead letter attributed to the first. Publishing never copies
// any. Where there is a control key, they count only with its seal.

// withoutControl returns the headers that a message keeps when it is published.
func withoutControl(headers []kgo.RecordHeader) []kgo.RecordHeader {
	control := func(h kgo.RecordHeader) bool { return recordheader.IsControl(h.Key) }
	if !slices.ContainsFunc(headers, control) {
		return headers
	}
	return slices.DeleteFunc(slices.Clone(headers), control)
}

// isBound reports whether the headers about dead letters were written for the topic that the record was read from.
func isBound(r *kgo.Record) bool {
	topic, ok := lastHeader(r.Headers, dlqheader.WrittenTo)
	return ok && topic == r.Topic
}

// firstPlace returns what a record's headers say of its first place, if they were written for the topic that it was
// read from, and name the topic that the record was first in, as the consumer sees it: a publisher who forges them can claim another offset of
// that topic, and no other topic. With a control key he can claim none; see leaveOutUnsealed.
func (p *partition) firstPlace(r *kgo.Record) (DeadLetter, bool) {
	if !isBound(r) {
		return DeadLetter{}, false
	}
	place, ok := parseDeadLetter(r.Headers)
	return place, ok && place.Topic == p.route.source
}
