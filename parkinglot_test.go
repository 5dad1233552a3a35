package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
)

// parkingLot is a topic with parked keys: who handles it, and what is sent back.
type parkingLot struct {
	*bubble
	raw *kgo.Client

	mu      sync.Mutex
	handled []string // "key n", in their order
	refuses map[string]bool
	rejects bool // by a business rule
}

func newParkingLot(b *bubble) *parkingLot {
	raw, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(b.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(raw.Close)
	return &parkingLot{bubble: b, raw: raw, refuses: map[string]bool{}}
}

func (l *parkingLot) config() kafka.ConsumerConfig {
	cfg := l.consumer()
	cfg.ParkKeys = true
	return cfg
}

func (l *parkingLot) handle(_ context.Context, msg kafka.Message[numbered]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	what := fmt.Sprint(msg.Key, " ", msg.Value.N)
	if l.refuses[what] {
		return kafka.NewPermanentError("never", nil)
	}
	l.handled = append(l.handled, what)
	if l.rejects {
		return kafka.NewBusinessError("no", nil)
	}
	return nil
}

// refuse says what the handler does not take from now on.
func (l *parkingLot) refuse(what ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.refuses)
	for _, w := range what {
		l.refuses[w] = true
	}
}

// wantHandled fails unless these, and no others, were handled, in this order, since it was last asked.
func (l *parkingLot) wantHandled(want ...string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.handled, want) {
		l.t.Errorf("handled %q, want %q", l.handled, want)
	}
	l.handled = nil
}

// publish puts records such as "a 0" into partition 0: their key, and their number. " 0" has no key.
func (l *parkingLot) publish(what ...string) {
	l.t.Helper()
	var records []*kgo.Record
	for _, w := range what {
		key, n, _ := strings.Cut(w, " ")
		r := &kgo.Record{Topic: "orders", Value: fmt.Appendf(nil, `{"n":%s}`, n)}
		if key != "" {
			r.Key = []byte(key)
		}
		records = append(records, r)
	}
	l.produce(records...)
}

func (l *parkingLot) produce(records ...*kgo.Record) {
	l.t.Helper()
	if err := l.raw.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		l.t.Fatal(err)
	}
}

// stored returns what partition 0 of the dead letter topic holds: letters, and marks.
func (l *parkingLot) stored() (letters, marks []*kgo.Record) {
	l.t.Helper()
	info := l.cluster.PartitionInfos("dlq-orders")[0]
	reader, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(l.network.DialContext),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"dlq-orders": {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		l.t.Fatal(err)
	}
	defer reader.Close()
	for next := info.LogStartOffset; next < info.HighWatermark; {
		for _, r := range reader.PollFetches(context.Background()).Records() {
			next = r.Offset + 1
			if _, mark := lastHeader(r.Headers, dlqheader.Unparked); mark {
				marks = append(marks, r)
			} else {
				letters = append(letters, r)
			}
		}
	}
	return letters, marks
}

// wantLetters fails unless the letters are these, such as "parked: a 1".
func (l *parkingLot) wantLetters(want ...string) []*kgo.Record {
	l.t.Helper()
	letters, _ := l.stored()
	var got []string
	for _, r := range letters {
		info, _ := parseDeadLetter(r.Headers)
		got = append(got, fmt.Sprintf("%s: %s", info.Class, whatOf(r)))
		if wantAttempts := map[kafka.Class]int{kafka.ClassPermanent: 1}[info.Class]; info.Attempts != wantAttempts {
			l.t.Errorf("letter %s says %d attempts, want %d", got[len(got)-1], info.Attempts, wantAttempts)
		}
	}
	if !slices.Equal(got, want) {
		l.t.Fatalf("letters are %q, want %q", got, want)
	}
	return letters
}

func whatOf(r *kgo.Record) string {
	return string(r.Key) + " " + strings.TrimSuffix(strings.TrimPrefix(string(r.Value), `{"n":`), "}")
}

// sendBack does what package deadletter does.
func (l *parkingLot) sendBack(letters ...*kgo.Record) {
	l.t.Helper()
	var records []*kgo.Record
	for _, letter := range letters {
		info, _ := parseDeadLetter(letter.Headers)
		headers := slices.DeleteFunc(slices.Clone(letter.Headers), func(h kgo.RecordHeader) bool {
			place := h.Key == dlqheader.Topic || h.Key == dlqheader.Partition || h.Key == dlqheader.Offset
			return strings.HasPrefix(h.Key, kafka.DLQPrefix) && !place
		})
		headers = append(headers, kgo.RecordHeader{Key: dlqheader.RedriveCount, Value: []byte(strconv.Itoa(info.Redrives + 1))},
			kgo.RecordHeader{Key: dlqheader.WrittenTo, Value: []byte(info.Topic)})
		records = append(records, &kgo.Record{Topic: info.Topic, Partition: info.Partition, Key: letter.Key, Value: letter.Value, Headers: headers})
	}
	l.produce(records...)
}

func (l *parkingLot) stopsAtOnce(stop func() error) {
	l.t.Helper()
	began := time.Now()
	if err := stop(); err != nil {
		l.t.Fatal(err)
	}
	if took := time.Since(began); took > time.Second {
		l.t.Errorf("Start's end took %v", took)
	}
}

func inParkingLot(t *testing.T, test func(*testing.T, *parkingLot), opts ...kfake.Opt) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bubble) { test(t, newParkingLot(b)) }, opts...)
}
