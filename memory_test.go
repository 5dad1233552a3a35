package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka/internal/hostile"
)

func init() { hostile.BeVictim() }

// Some KB on the wire are GB in memory, by zeros, by empty headers, or by empty records. A process that consumes them
// stays below 512 MiB, whatever reads them.
func TestHostileBatchesTakeLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("some GB are decompressed")
	}
	if hostile.PeakRSS() == 0 {
		t.Skip("this system does not say how much memory a process takes")
	}
	const size = 60_000_000
	for _, test := range []struct {
		name       string
		batch      func() []byte
		times      int
		partitions int
		reader     string
		want       string // that the process prints
	}{
		{"Zeros", func() []byte { return hostile.Zeros(size) }, 30, 1, "consumer", "handled 30 records: <nil>"},
		{"ZerosEverywhere", func() []byte { return hostile.Zeros(size) }, 2, 30, "consumer", "handled 60 records: <nil>"},
		{"Headers", func() []byte { return hostile.Headers(16_000_000) }, 1, 1, "consumer", "offset 0: the batch takes more than MaxDecompressedBatchBytes"},
		{"Records", func() []byte { return hostile.Records(1_000_000) }, 1, 1, "consumer", "offset 0: the batch takes more than MaxDecompressedBatchBytes"},
		{"HeadersWithinTheLimit", func() []byte { return hostile.Headers(1_000_000) }, 20, 1, "consumer", "settled 20 records"},
		{"Replies", func() []byte { return hostile.Zeros(size) }, 30, 1, "requester", "no reply in time"},
		{"RepliesWithHeaders", func() []byte { return hostile.Headers(16_000_000) }, 30, 1, "requester", "no reply in time"},
		{"Letters", func() []byte { return hostile.Zeros(size) }, 30, 1, "letters", "read 30 letters"},
		{"LettersWithHeaders", func() []byte { return hostile.Headers(16_000_000) }, 1, 1, "letters", "the batch at offset 0 takes more than 64 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(test.partitions), "orders", "dlq-orders"), kfake.SeedTopics(1, "requests"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.MaxVersions(kversion.V3_9_0()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			batch := test.batch()
			publish := func() {
				for i := range test.times * test.partitions {
					if err := hostile.Publish(t.Context(), client, "orders", int32(i%test.partitions), batch); err != nil {
						t.Error(err)
					}
				}
			}
			if test.reader == "requester" { // which begins at the end
				time.AfterFunc(time.Second, publish)
			} else {
				publish()
			}
			output, peak, err := hostile.Victim{Reader: test.reader, Broker: cluster.ListenAddrs()[0], Topic: "orders", Records: test.times * test.partitions}.Run(t.Context())
			t.Logf("%d times %d bytes: peak RSS %d MiB\n%s", test.times*test.partitions, len(batch), peak>>20, output)
			if err != nil || peak > hostile.MaxRSS || !strings.Contains(output, test.want) {
				t.Errorf("the process took %d bytes, want %d at most, and %q: %v", peak, hostile.MaxRSS, test.want, err)
			}
		})
	}
}
