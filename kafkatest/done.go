package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// AwaitDone returns when the group has committed all that the topic holds at the moment of the call: each message is handled,
// rejected, or stored as a dead letter. It waits as [AwaitPublished] does. With RetryDelays a message may also be stored in a
// retry topic, and has an attempt to come: await each of [kafka.ConsumerConfig.RetryTopics] after it, in their order.
//
// What a transaction has aborted counts, since consumers get it by default. One that reads only what is committed may never commit an
// offset beyond it, when it comes last.
func AwaitDone(t testing.TB, b *Broker, topic, group string) {
	t.Helper()
	ctx, cancel := b.within(t)
	defer cancel()
	b.awaitTopic(t, ctx, topic)
	r, err := b.newReader(ctx, topic, false)
	if err != nil {
		t.Fatalf("kafkatest: read %s: %v", topic, err)
	}
	defer r.close()
	r.mustReadAll(t, ctx)
	// Not where the partitions end: the markers of transactions stand there, of which consumers know nothing.
	done := map[int32]int64{}
	for _, record := range r.records {
		done[record.Partition] = max(done[record.Partition], record.Offset+1)
	}
	begun, missing := time.Now(), "no answer"
	for {
		now, err := b.uncommitted(ctx, topic, group, done)
		switch {
		case err == nil && now == "":
			return
		case ctx.Err() != nil: // there was no time for an answer
		case err != nil:
			missing = err.Error()
		default:
			missing = now
		}
		if t.Failed() {
			t.Fatalf("kafkatest: group %s is not done with %s, and the test has failed already: %s", group, topic, missing)
		}
		if !b.pause(ctx) {
			t.Fatalf("kafkatest: group %s is not done with %s in %v: %s", group, topic, time.Since(begun).Round(time.Millisecond), missing)
		}
	}
}

// uncommitted says what the group has not committed; "" if nothing is missing.
func (b *Broker) uncommitted(ctx context.Context, topic, group string, done map[int32]int64) (string, error) {
	offsets, err := kadm.NewClient(b.client.KGO()).FetchOffsetsForTopics(ctx, group, topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return "", err
	}
	var missing []string
	for _, partition := range slices.Sorted(maps.Keys(done)) {
		committed, has := offsets.Lookup(topic, partition)
		switch {
		case committed.Err != nil:
			return "", fmt.Errorf("%s-%d: %w", topic, partition, committed.Err)
		case !has || committed.At < 0:
			missing = append(missing, fmt.Sprintf("%s-%d: nothing of %d committed", topic, partition, done[partition]))
		case committed.At < done[partition]:
			missing = append(missing, fmt.Sprintf("%s-%d: %d of %d committed", topic, partition, committed.At, done[partition]))
		}
	}
	return strings.Join(missing, "; "), nil
}
