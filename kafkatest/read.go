package kafkatest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// pollAtMost is how long a poll waits for records: whoever waits looks then whether the test goes on.
const pollAtMost = 250 * time.Millisecond

// reader reads a topic from its beginning, without a group.
type reader struct {
	topic     string
	client    *kgo.Client
	committed bool            // leave out what transactions have not committed
	next      map[int32]int64 // by partition, the offset to be read next
	records   []*kgo.Record   // in the order of arrival
	failure   error           // of the latest fetch

	undecodable map[*kgo.Record]error // of those that somebody tried to decode
}

// newReader has a client of its own: one that was asked for the topic before may still answer that there is none.
func (b *Broker) newReader(ctx context.Context, topic string, committed bool) (*reader, error) {
	opts := append(slices.Clone(b.client.KGO().Opts()),
		kgo.KeepControlRecords(),     // else nothing tells that a transaction's marker, at the end, is read
		kgo.FetchMaxWait(pollAtMost)) // a partition that joins the fetches later waits for the one that is under way
	if committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	r := &reader{topic: topic, client: client, committed: committed, next: map[int32]int64{}, undecodable: map[*kgo.Record]error{}}
	if err := r.begin(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return r, nil
}

// begin begins where the topic does.
func (r *reader) begin(ctx context.Context) error {
	starts, err := kadm.NewClient(r.client).ListStartOffsets(ctx, r.topic)
	if err == nil {
		err = starts.Error()
	}
	from := map[int32]kgo.Offset{}
	starts.Each(func(o kadm.ListedOffset) {
		r.next[o.Partition] = o.Offset
		from[o.Partition] = kgo.NewOffset().At(o.Offset)
	})
	r.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: from})
	return err
}

// mustRead is a reader of what is committed.
func (b *Broker) mustRead(t testing.TB, ctx context.Context, topic string) *reader {
	t.Helper()
	r, err := b.newReader(ctx, topic, true)
	if err != nil {
		t.Fatalf("kafkatest: read %s: %v", topic, err)
	}
	return r
}

// ends returns where the topic ends now.
func (r *reader) ends(ctx context.Context) (map[int32]int64, error) {
	admin := kadm.NewClient(r.client)
	list := admin.ListEndOffsets
	if r.committed {
		list = admin.ListCommittedOffsets
	}
	offsets, err := list(ctx, r.topic)
	if err == nil {
		err = offsets.Error()
	}
	ends := map[int32]int64{}
	offsets.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, err
}

// readAll reads all that there is now.
func (r *reader) readAll(ctx context.Context) error {
	ends, err := r.ends(ctx)
	if err != nil {
		return err
	}
	for r.isBefore(ends) {
		if !r.poll(ctx) {
			return ctx.Err()
		}
	}
	return nil
}

func (r *reader) isBefore(ends map[int32]int64) bool {
	for partition, end := range ends {
		if r.next[partition] < end {
			return true
		}
	}
	return false
}

// poll waits for records, but not for long: something else may have happened. It returns false once ctx has ended.
func (r *reader) poll(ctx context.Context) bool {
	short, cancel := context.WithTimeout(ctx, pollAtMost)
	defer cancel()
	fetches := r.client.PollFetches(short)
	if short.Err() == nil { // which is an error of the fetches, too
		r.failure = fetches.Err()
	}
	fetches.EachRecord(func(record *kgo.Record) {
		r.next[record.Partition] = record.Offset + 1
		if !record.Attrs.IsControl() {
			r.records = append(r.records, record)
		}
	})
	return ctx.Err() == nil
}

func (r *reader) mustReadAll(t testing.TB, ctx context.Context) {
	t.Helper()
	if err := r.readAll(ctx); err != nil {
		t.Fatalf("kafkatest: read %s: %v%s", r.topic, err, r.tell())
	}
}

// await reads until that is enough. The test fails if it never is.
func (r *reader) await(t testing.TB, ctx context.Context, want string, enough func() bool) {
	t.Helper()
	begun := time.Now()
	for r.mustReadAll(t, ctx); !enough(); {
		if t.Failed() {
			t.Fatalf("kafkatest: %s has not got %s, and the test has failed already%s", r.topic, want, r.tell())
		}
		if !r.poll(ctx) {
			t.Fatalf("kafkatest: %s has not got %s in %v%s", r.topic, want, time.Since(begun).Round(time.Millisecond), r.tell())
		}
	}
}

// inOrder returns what was read, one partition after another.
func (r *reader) inOrder() []*kgo.Record {
	return slices.SortedStableFunc(slices.Values(r.records), func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
}

func (r *reader) close() { r.client.Close() }
