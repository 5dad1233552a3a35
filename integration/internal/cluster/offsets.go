package cluster

import (
	"context"
	"math"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/ledger"
)

// offsetsTopic is where coordinators keep what is committed: every commit, in order, and with the time at which it came. Samples
// miss what is put right between two of them, and a broker that was frozen may answer with what was once true.
const offsetsTopic = "__consumer_offsets"

// Commits reads every commit of a group to a topic that is still in the brokers' log.
func Commits(t *testing.T, brokers []string, group, topic string) (all []ledger.Commit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	asking, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer asking.Close()
	ends, err := kadm.NewClient(asking).ListEndOffsets(ctx, offsetsTopic)
	if err != nil {
		t.Fatal(err)
	}
	partition := offsetsPartition(group, int32(len(ends[offsetsTopic])))
	end, _ := ends.Lookup(offsetsTopic, partition)
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		offsetsTopic: {partition: kgo.NewOffset().AtStart()},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for next := int64(0); next < end.Offset; { // the latest record is never compacted away
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("read %s-%d: %v", offsetsTopic, partition, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if commit, ok := parseCommit(r, group, topic); ok {
				all = append(all, commit)
			}
		})
	}
	return all
}

// parseCommit reads a record of the offsets topic, which holds more than commits.
func parseCommit(r *kgo.Record, group, topic string) (ledger.Commit, bool) {
	var key kmsg.OffsetCommitKey
	var value kmsg.OffsetCommitValue
	if len(r.Key) < 2 || r.Key[0] != 0 || r.Key[1] > 1 || r.Value == nil { // of other kinds, or a tombstone
		return ledger.Commit{}, false
	}
	if key.ReadFrom(r.Key) != nil || key.Group != group || key.Topic != topic || value.ReadFrom(r.Value) != nil {
		return ledger.Commit{}, false
	}
	// Milliseconds are cut off: what was done within this one may have been done before.
	at := time.UnixMilli(value.CommitTimestamp + 1).Add(-1)
	return ledger.Commit{At: at.UnixNano(), Partition: key.Partition, Offset: value.Offset}, true
}

// offsetsPartition is the partition that holds a group's commits: by the hash of Java's strings.
func offsetsPartition(group string, partitions int32) int32 {
	hash := int32(0)
	for _, unit := range utf16.Encode([]rune(group)) {
		hash = 31*hash + int32(unit)
	}
	if hash == math.MinInt32 {
		return 0
	}
	return max(hash, -hash) % partitions
}
