package deadletter

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/recordheader"
)

// destinations are the topics that a run may send to.
type destinations struct {
	to     string           // if it is for all
	group  string           // if it is for all
	groups *groups          // that letters may name
	counts map[string]int32 // partitions
	limits map[string]int32 // bytes
	shrink *compressor
}

// allowed returns the names of the topics that letters may go to.
func (o RedriveOptions) allowed(dlq string) ([]string, error) {
	names := o.Destinations
	switch {
	case o.To != "":
		names = []string{o.To}
	case len(names) == 0:
		source := sourceOf(dlq)
		if source == "" {
			return nil, fmt.Errorf("%w: the name of %s does not say which topic its letters come from", ErrDestination, dlq)
		}
		names = []string{source}
	}
	if slices.Contains(names, dlq) {
		return nil, fmt.Errorf("%w: %s is the dead letter topic itself", ErrDestination, dlq)
	}
	return names, nil
}

// sourceOf returns the topic that a dead letter topic is named for, or "".
func sourceOf(dlq string) string {
	for _, prefix := range []string{"dlq-", "dlq."} { // this library's, and KIP-1191's
		if source, ok := strings.CutPrefix(dlq, prefix); ok {
			return source
		}
	}
	for _, suffix := range []string{"-dlq", ".dlq", "-dlt", ".DLT"} { // the last two are Spring's
		if source, ok := strings.CutSuffix(dlq, suffix); ok {
			return source
		}
	}
	return ""
}

// The record's headers that brokers and franz-go add to its own bytes in a batch, at most.
const (
	batchOverhead  = 61 // of a batch's header
	recordOverhead = 32 // of lengths and deltas
	headerOverhead = 10 // of two lengths
)

// batchBytes is the size of a batch that has this record alone, before compression, at most.
func batchBytes(r *kgo.Record) int {
	n := batchOverhead + recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + headerOverhead
	}
	return n
}

// checkGroup returns [ErrGroup] if the group that letters are to be sent for reads none of the topics.
func (d destinations) checkGroup(ctx context.Context, topics []string) error {
	for _, topic := range topics {
		if reads, err := d.groups.mayRead(ctx, d.group, topic); reads || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %q has neither members that read %s nor offsets there", ErrGroup, d.group, strings.Join(topics, " or "))
}

// record returns what to send for a letter, or why nothing.
func (d destinations) record(ctx context.Context, letter Letter) (*kgo.Record, Reason, error) {
	topic := d.to
	switch {
	case letter.Pointer:
		return nil, LeftPointer, nil
	case topic != "":
	case letter.Err != nil:
		return nil, LeftUnreadable, nil
	default:
		topic = letter.Origin.Topic
	}
	count, ok := d.counts[topic]
	if !ok {
		return nil, LeftDestination, nil
	}
	group := d.group
	if group == "" && topic == letter.Origin.Topic { // another topic has other groups
		group = letter.Origin.Group
	}
	if group != "" {
		if reads, err := d.groups.mayRead(ctx, group, topic); err != nil {
			return nil, "", err
		} else if !reads {
			return nil, LeftGroup, nil
		}
	}
	key := letter.Key
	if _, absent := recordheader.Last(letter.Headers, HeaderKeyAbsent); absent {
		key = nil
	}
	r := &kgo.Record{Topic: topic, Key: key, Value: letter.Value, Headers: redrivenHeaders(letter, topic, group)}
	if p := letter.Origin.Partition; letter.Err == nil && topic == letter.Origin.Topic && p >= 0 && p < count {
		r.Partition = p
	} else {
		r.Partition = partitionOf(letter, count)
	}
	return r, "", nil
}

// partitionOf is where Java clients and this library's put the letter's key. Without one, letters of one partition stay together.
func partitionOf(letter Letter, count int32) int32 {
	if letter.Key == nil {
		return letter.Partition % count
	}
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic(letter.Topic).Partition(letter.Record, int(count)))
}

// redrivenHeaders are those of the record that failed, and what a record that is sent back to a topic says of itself.
func redrivenHeaders(letter Letter, topic, group string) []kgo.RecordHeader {
	headers := slices.Clone(letter.Headers)
	headers = slices.DeleteFunc(headers, func(h kgo.RecordHeader) bool { return dialectOfHeader(h.Key) != "" })
	add := func(name, value string) {
		headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	if origin := letter.Origin; letter.Err == nil { // the first place, so that a letter which comes back still has it
		add(HeaderTopic, origin.Topic)
		if origin.Partition >= 0 && origin.Offset >= 0 {
			add(HeaderPartition, strconv.Itoa(int(origin.Partition)))
			add(HeaderOffset, strconv.FormatInt(origin.Offset, 10))
		}
		if !origin.Timestamp.IsZero() {
			add(HeaderTimestamp, origin.Timestamp.UTC().Format(kafkaTime))
		}
		if cut, ok := recordheader.Last(letter.Headers, HeaderHeadersCut); ok {
			add(HeaderHeadersCut, string(cut))
		}
	}
	add(HeaderRedriveCount, strconv.Itoa(letter.Origin.Redrives+1))
	add(HeaderWrittenTo, topic)
	if group != "" {
		add(HeaderRedriveGroup, group)
	}
	add(HeaderLetterPartition, strconv.Itoa(int(letter.Partition)))
	add(HeaderLetterOffset, strconv.FormatInt(letter.Offset, 10))
	return headers
}

const kafkaTime = "2006-01-02T15:04:05.000Z07:00" // as package kafka writes its headers' times

// mayWrite returns an error unless the credentials may do what a run does, as far as the brokers tell.
func mayWrite(name string, f found) error {
	if f.err != nil {
		return f.err
	}
	if !f.may(kmsg.ACLOperationWrite) {
		return fmt.Errorf("deadletter: topic %s: %w: the WRITE permission is missing", name, kafka.ErrAuthorization)
	}
	return nil
}
