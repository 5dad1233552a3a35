package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/topics"
)

const (
	parkingTopic = "KAFKA_TEST_PARKING_TOPIC"
	parkingMends = "KAFKA_TEST_PARKING_MENDS" // a file: while it is not there, some messages fail
	parkingHurry = "KAFKA_TEST_PARKING_HURRY" // a file: while it is not there, messages take long, so that there is work when the member is killed
)

type numbered struct{ N int }

// TestParkingMember is the process that TestParkedKeysSurviveKills kills. It prints each message that it has handled.
func TestParkingMember(t *testing.T) {
	topic := os.Getenv(parkingTopic)
	if topic == "" {
		t.Skip("runs as a child of TestParkedKeysSurviveKills")
	}
	cfg := kafka.NewConsumerConfig(topic, topic, brokers(t)...)
	cfg.ParkKeys, cfg.MaxRetries, cfg.Concurrency = true, kafka.NoRetries, 4
	cfg.InstanceID = "member" // its partitions wait for it, and for no timeout
	cfg.CommitInterval = 100 * time.Millisecond
	cfg.Logger = discard()
	consumer, err := kafka.NewConsumer(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
		if _, err := os.Stat(os.Getenv(parkingHurry)); err != nil {
			time.Sleep(20 * time.Millisecond)
		}
		if _, err := os.Stat(os.Getenv(parkingMends)); err != nil && len(msg.Key)%3 == 0 && msg.Value.N%20 == 0 {
			return errors.New("not mended yet")
		}
		fmt.Printf("handled %s %d\n", msg.Key, msg.Value.N)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := consumer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// parkingMembers are one member after another, each killed.
type parkingMembers struct {
	t       *testing.T
	topic   string
	mends   string
	hurry   string
	process *exec.Cmd
	ended   chan struct{}

	mu      sync.Mutex
	next    map[string]int // of each key, the number after the highest that was handled
	handled int
}

func (m *parkingMembers) start() {
	m.t.Helper()
	m.process = exec.Command(os.Args[0], "-test.run", "^TestParkingMember$")
	m.process.Env = append(os.Environ(), parkingTopic+"="+m.topic, parkingMends+"="+m.mends, parkingHurry+"="+m.hurry, "KAFKA_TEST_CONTAINERS=off", "KAFKA_BROKERS="+strings.Join(brokers(m.t), ","))
	output, err := m.process.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.process.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.ended = make(chan struct{})
	go m.read(m.process, bufio.NewScanner(output), m.ended) // ends with the process
}

func (m *parkingMembers) read(process *exec.Cmd, lines *bufio.Scanner, ended chan struct{}) {
	defer close(ended)
	for lines.Scan() {
		var key string
		var n int
		if read, _ := fmt.Sscanf(lines.Text(), "handled %s %d", &key, &n); read != 2 {
			continue
		}
		m.mu.Lock()
		if n > m.next[key] {
			m.t.Errorf("%s %d is handled before %d", key, n, m.next[key])
		}
		m.next[key] = max(m.next[key], n+1)
		m.handled++
		m.mu.Unlock()
	}
	_ = process.Wait()
}

func (m *parkingMembers) kill() {
	_ = m.process.Process.Kill()
	<-m.ended
}

func (m *parkingMembers) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handled
}

// A process that is killed while it dead-letters, parks, and handles what is sent back leaves enough behind for the next one: nothing is
// lost, and nothing of a key is handled before what comes before it.
func TestParkedKeysSurviveKills(t *testing.T) {
	notShort(t)
	t.Parallel()
	const keys, perKey, partitions = 60, 200, 3
	kills := rounds(2, 4)
	topic := "parking-" + uuid.NewString()
	connection := kafka.ClientConfig{Brokers: brokers(t), Logger: discard(), ConnectTimeout: 30 * time.Second}
	client, err := kafka.NewClient(connection)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := topics.Ensure(t.Context(), client, topics.List{topics.New(topic, partitions), topics.New("dlq-"+topic, partitions)}...); err != nil {
		t.Fatal(err)
	}
	raw, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	admin := kadm.NewClient(raw)
	t.Cleanup(func() { _, _ = admin.DeleteTopics(context.Background(), topic, "dlq-"+topic) })
	publish := func(records []*kgo.Record) {
		t.Helper()
		if err := raw.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var seeds []*kgo.Record
	for n := range perKey {
		for key := range keys {
			seeds = append(seeds, &kgo.Record{Topic: topic, Partition: int32(key % partitions), Key: []byte(strings.Repeat("k", 1+key)), Value: fmt.Appendf(nil, `{"N":%d}`, n)})
		}
	}
	publish(seeds)
	// What the group has committed, and what there is.
	committed, ends := int64(0), int64(0)
	look := func() {
		t.Helper()
		all, err := admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		at, err := admin.FetchOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		committed, ends = 0, 0
		all.Each(func(end kadm.ListedOffset) {
			ends += end.Offset
			if own, ok := at.Lookup(topic, end.Partition); ok {
				committed += own.At
			}
		})
	}
	settled := func() {
		t.Helper()
		eventually(t, "all is settled", func() bool { look(); return committed == ends })
	}

	folder := t.TempDir()
	m := &parkingMembers{t: t, topic: topic, mends: filepath.Join(folder, "mended"), hurry: filepath.Join(folder, "hurry"), next: map[string]int{}}
	create := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.start()
	t.Cleanup(func() { m.kill() })
	killAmidWork := func() {
		t.Helper()
		look()
		before, handled := committed, m.count()
		eventually(t, "the member works, and commits", func() bool { look(); return committed > before && m.count() > handled+20 })
		if committed == ends {
			t.Fatal("there is no work left: the kill proves nothing")
		}
		time.Sleep(rand.N(100 * time.Millisecond))
		m.kill()
		m.start()
	}
	for range kills {
		killAmidWork()
	}
	create(m.hurry)
	settled()
	letters := lettersOf(t, admin, "dlq-"+topic)
	if len(letters) < keys/3*100 {
		t.Fatalf("%d letters: too few keys were parked", len(letters))
	}

	create(m.mends)
	if err := os.Remove(m.hurry); err != nil {
		t.Fatal(err)
	}
	sent := map[[2]int64]bool{}
	sendBack := func(letters []*kgo.Record) (n int) {
		t.Helper()
		var records []*kgo.Record
		for _, letter := range letters {
			if at := [2]int64{int64(letter.Partition), letter.Offset}; !sent[at] {
				sent[at] = true
				records = append(records, asSentBack(letter))
			}
		}
		publish(records)
		return len(records)
	}
	rounds := 0
	for ; sendBack(lettersOf(t, admin, "dlq-"+topic)) > 0; rounds++ {
		switch rounds {
		case 0:
			for range kills {
				killAmidWork()
			}
			create(m.hurry)
		case 10:
			t.Fatal("each round makes new letters")
		}
		settled()
	}
	m.kill()
	left := 0
	for key := range keys {
		left += perKey - m.next[strings.Repeat("k", 1+key)]
	}
	t.Logf("%d messages, %d members killed: handled %d times; %d letters before anything was sent back, %d in the end; sent back in %d rounds; not handled: %d",
		len(seeds), 2*kills, m.count(), len(letters), len(lettersOf(t, admin, "dlq-"+topic)), rounds, left)
	if left != 0 || len(m.next) != keys {
		t.Errorf("%d messages of %d keys are not handled: %v", left, keys, slices.Sorted(maps.Values(m.next)))
	}
}

// asSentBack is what package deadletter would publish.
func asSentBack(letter *kgo.Record) *kgo.Record {
	info, _ := kafka.Message[numbered]{Headers: letter.Headers}.DeadLetter()
	headers := slices.DeleteFunc(slices.Clone(letter.Headers), func(h kgo.RecordHeader) bool {
		origin := h.Key == dlqheader.Topic || h.Key == dlqheader.Partition || h.Key == dlqheader.Offset
		return strings.HasPrefix(h.Key, "__dlq.") && !origin
	})
	headers = append(headers, kgo.RecordHeader{Key: dlqheader.WrittenTo, Value: []byte(info.Topic)})
	return &kgo.Record{Topic: info.Topic, Partition: info.Partition, Key: letter.Key, Value: letter.Value, Headers: headers}
}

// lettersOf reads a dead letter topic up to its end, without its marks.
func lettersOf(t *testing.T, admin *kadm.Client, dlq string) (letters []*kgo.Record) {
	t.Helper()
	ends, err := admin.ListEndOffsets(t.Context(), dlq)
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(end kadm.ListedOffset) { left += end.Offset })
	reader, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...), kgo.ConsumeTopics(dlq), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for left > 0 {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			left--
			if !slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == dlqheader.Unparked }) {
				letters = append(letters, r)
			}
		}
	}
	return letters
}
