package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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

func (l *parkingLot) config() ConsumerConfig {
	cfg := l.consumer()
	cfg.ParkKeys = true
	return cfg
}

func (l *parkingLot) handle(_ context.Context, msg Message[numbered]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	what := fmt.Sprint(msg.Key, " ", msg.Value.N)
	if l.refuses[what] {
		return NewPermanentError("never", nil)
	}
	l.handled = append(l.handled, what)
	if l.rejects {
		return NewBusinessError("no", nil)
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
			if _, mark := lastHeader(r.Headers, HeaderDLQUnparked); mark {
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
		if wantAttempts := map[Class]int{ClassPermanent: 1}[info.Class]; info.Attempts != wantAttempts {
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
			place := h.Key == HeaderDLQTopic || h.Key == HeaderDLQPartition || h.Key == HeaderDLQOffset
			return strings.HasPrefix(h.Key, dlqPrefix) && !place
		})
		headers = append(headers, kgo.RecordHeader{Key: HeaderDLQRedriveCount, Value: []byte(strconv.Itoa(info.Redrives + 1))})
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

// A key's later records follow it into the dead letter topic, and come out in order. Other keys, and records without one, go on.
func TestAKeyIsParkedUntilItsLastLetterIsHandled(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		inParkingLot(t, func(t *testing.T, l *parkingLot) {
			cfg := l.config()
			cfg.Concurrency = concurrency
			l.refuse("a 0", " 0")
			l.publish("a 0", "b 0", "a 1", " 0", " 1", "a 2")
			consumer, _ := l.start(cfg, l.handle)
			time.Sleep(time.Minute)
			l.mu.Lock()
			slices.Sort(l.handled) // of different keys
			l.mu.Unlock()
			l.wantHandled(" 1", "b 0")
			if at := l.committed(0); at != 6 {
				t.Errorf("committed %d, want 6: parked records are done", at)
			}
			if keys := consumer.Health().Partitions[0].ParkedKeys; keys != 1 {
				t.Errorf("health says %d parked keys, want 1", keys)
			}
			letters, _ := l.stored()
			letters = slices.DeleteFunc(letters, func(r *kgo.Record) bool { return r.Key == nil })
			if len(letters) != 3 || whatOf(letters[0]) != "a 0" || whatOf(letters[1]) != "a 1" || whatOf(letters[2]) != "a 2" {
				t.Fatalf("letters are %v, want a 0, a 1, a 2", letters)
			}
			if info, _ := parseDeadLetter(letters[2].Headers); info.Class != ClassParked || info.Attempts != 0 || !strings.Contains(info.Message, "its key is parked behind the dead letter at dlq-orders-0 offset ") {
				t.Errorf("the letter of a 2 says %+v", info)
			}

			l.refuse()
			l.sendBack(letters[:2]...)
			l.publish("a 3")
			time.Sleep(time.Minute)
			l.wantHandled("a 0", "a 1") // a 2 still waits, and a 3 behind it
			letters, _ = l.stored()
			l.sendBack(letters[len(letters)-2:]...)
			time.Sleep(time.Minute)
			l.publish("a 4")
			time.Sleep(time.Minute)
			l.wantHandled("a 2", "a 3", "a 4")
			if keys := consumer.Health().Partitions[0].ParkedKeys; keys != 0 {
				t.Errorf("health says %d parked keys, want none", keys)
			}
			if letters, marks := l.stored(); len(letters) != 5 || len(marks) != 4 {
				t.Errorf("%d letters and %d marks, want 5 and 4", len(letters), len(marks))
			}
		})
	}
}

// One that fails again keeps back those that were sent back with it.
func TestWhatFailsAgainKeepsItsKeyParked(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		l.refuse("a 0")
		l.publish("a 0", "a 1")
		l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		l.sendBack(l.wantLetters("permanent: a 0", "parked: a 1")...)
		time.Sleep(time.Minute)
		letters := l.wantLetters("permanent: a 0", "parked: a 1", "permanent: a 0", "parked: a 1")
		if info, _ := parseDeadLetter(letters[3].Headers); info.Redrives != 1 || info.Offset != 1 {
			t.Errorf("the letter of a 1 says %+v, want its first offset and how often it was sent back", info)
		}
		l.wantHandled()

		l.refuse()
		l.rejects = true // which is an end like another
		l.sendBack(letters[2:]...)
		l.publish("a 2")
		time.Sleep(time.Minute)
		l.wantHandled("a 0", "a 1", "a 2")
	})
}

// Whatever is sent back first: nothing of a key is handled before what comes before it.
func TestOrderDoesNotDependOnWhatIsSentBackFirst(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		l.refuse("a 0")
		l.publish("a 0", "a 1", "a 2")
		l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		l.refuse()
		letters := l.wantLetters("permanent: a 0", "parked: a 1", "parked: a 2")
		l.sendBack(letters[1], letters[0], letters[0], letters[2]) // one of them twice
		time.Sleep(time.Minute)
		l.wantHandled("a 0", "a 0")
		letters, _ = l.stored()
		l.sendBack(letters[3:]...)
		time.Sleep(time.Minute)
		l.publish("a 3")
		time.Sleep(time.Minute)
		l.wantHandled("a 1", "a 2", "a 3")
	})
}

// The dead letter topic is all that the next owner of a partition has.
func TestParkedKeysSurviveARestart(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		restart := func(stop func() error) func() error {
			t.Helper()
			if stop != nil {
				if err := stop(); err != nil {
					t.Fatal(err)
				}
			}
			_, stop = l.start(l.config(), l.handle)
			return stop
		}
		l.refuse("a 0", "b 0")
		l.publish("a 0", "b 0", "a 1")
		stop := restart(nil)
		time.Sleep(time.Minute)
		stop = restart(stop)
		l.publish("a 2", "c 0")
		time.Sleep(time.Minute)
		l.wantHandled("c 0")
		letters := l.wantLetters("permanent: a 0", "permanent: b 0", "parked: a 1", "parked: a 2")

		l.refuse()
		l.sendBack(letters[0], letters[2])
		time.Sleep(time.Minute)
		l.wantHandled("a 0", "a 1")
		stop = restart(stop)
		l.publish("a 3", "b 1")
		time.Sleep(time.Minute)
		l.wantHandled()
		letters, _ = l.stored()
		l.sendBack(letters[3], letters[4], letters[1], letters[5])
		time.Sleep(time.Minute)
		l.wantHandled("a 2", "a 3", "b 0", "b 1")
		stop = restart(stop)
		l.publish("a 4", "b 2")
		time.Sleep(time.Minute)
		l.wantHandled("a 4", "b 2")
		if letters, marks := l.stored(); len(letters) != 6 || len(marks) != 6 {
			t.Errorf("%d letters and %d marks, want 6 of each", len(letters), len(marks))
		}
		_ = stop
	})
}

// Letters of other groups, topics and partitions are in the same partition of the dead letter topic, and so are marks that no
// longer count, records of other programs, and a transaction's marker at the end.
func TestOnlyOwnLettersPark(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
		letter := func(key string, headers ...kgo.RecordHeader) *kgo.Record {
			return &kgo.Record{Topic: "dlq-orders", Key: []byte(key), Value: []byte("x"), Headers: headers}
		}
		l.produce(
			letter("a", header(HeaderDLQParked, "orders/0/2/others")),
			letter("a", header(HeaderDLQParked, "orders/2/2/group")),
			letter("a", header(HeaderDLQParked, "invoices/0/2/group")),
			letter("a", header(HeaderDLQTopic, "orders"), header(HeaderDLQPartition, "0"), header(HeaderDLQOffset, "0"), header(HeaderDLQGroup, "group")),
			letter("a"),
			letter("a", header(HeaderDLQParked, "")), letter("a", header(HeaderDLQParked, "orders/0/-1/group")), letter("a", header(HeaderDLQParked, "orders/x/0/group")),
			letter("b", header(HeaderDLQParked, "orders/0/0/group")),
			letter("b", header(HeaderDLQUnparked, "orders/0/0/group")),
			letter("c", header(HeaderDLQParked, "orders/0/0/group")),
			&kgo.Record{Topic: "dlq-orders", Headers: []kgo.RecordHeader{header(HeaderDLQUnparked, "orders/0/0/group")}}, // of a key that is too large for it
			letter("d", header(HeaderDLQParked, "orders/0/1/group")),
			letter("d", header(HeaderDLQUnparked, "orders/0/1/others")),
			letter("d", header(HeaderDLQUnparked, "orders/0/2/group")),
			letter("d", header(HeaderDLQUnparked, "")),
		)
		transactional, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(l.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("t"))
		if err != nil {
			t.Fatal(err)
		}
		defer transactional.Close()
		if err := transactional.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := transactional.ProduceSync(t.Context(), letter("a")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := transactional.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		l.publish("x 0", "x 1", "x 2", "a 0", "b 0", "c 0", "d 0")
		l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		l.wantHandled("x 0", "x 1", "x 2", "a 0", "b 0", "c 0")
	})
}

// Whoever deletes letters has given them up.
func TestDeletedLettersUnpark(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		l.refuse("a 0")
		l.publish("a 0", "a 1")
		_, stop := l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		purge := func(before int64) {
			request := kmsg.NewPtrDeleteRecordsRequest()
			partition := kmsg.NewDeleteRecordsRequestTopicPartition()
			partition.Offset = before
			request.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "dlq-orders", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{partition}}}
			response, err := request.RequestWith(context.Background(), l.raw)
			if err != nil || response.Topics[0].Partitions[0].ErrorCode != 0 {
				t.Fatal(err, response)
			}
		}
		purge(1)
		l.publish("a 2")
		time.Sleep(time.Minute)
		l.wantLetters("parked: a 1", "parked: a 2")
		purge(3)
		l.publish("a 3")
		time.Sleep(time.Minute)
		l.wantHandled("a 3") // the running consumer has asked

		l.refuse("a 4")
		l.publish("a 4")
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		purge(4)
		l.publish("a 5")
		l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		l.wantHandled("a 5") // and so has the next
	})
}

// A partition whose dead letters can't be read waits, and says so; the others go on. It gives up at once when it is stopped.
func TestAPartitionWaitsForItsParkedKeys(t *testing.T) {
	for _, fault := range []kfake.Fault{
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.TopicAuthorizationFailed}, // an answer
		{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.LeaderNotAvailable},       // asked again and again
		{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.LeaderNotAvailable},             // asked again and again by franz-go
	} {
		fault.Topic, fault.Partitions, fault.Count = "dlq-orders", []int32{0}, -1
		aPartitionWaits(t, fault)
	}
}

func aPartitionWaits(t *testing.T, fault kfake.Fault) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		cfg := l.config()
		l.refuse("a 0")
		l.publish("a 0")
		_, stop := l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		outage := l.cluster.Fault(fault)
		l.publish("a 1", "b 0")
		l.produce(&kgo.Record{Topic: "orders", Partition: 1, Key: []byte("c"), Value: []byte(`{"n":0}`)})
		consumer, stop := l.start(cfg, l.handle)
		for health := consumer.Health(); len(health.Partitions) == 0 || health.Partitions[0].Activity != ActivityRecalling; health = consumer.Health() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond) // it waits for an answer
		l.stopsAtOnce(stop)
		l.wantHandled("c 0")

		l.produce(&kgo.Record{Topic: "orders", Partition: 1, Key: []byte("c"), Value: []byte(`{"n":1}`)})
		consumer, stop = l.start(cfg, l.handle)
		time.Sleep(aLongTime) // it waits to ask again, likely
		l.wantHandled("c 1")
		health := consumer.Health()
		if p := health.Partitions[0]; p.Activity != ActivityRecalling || p.QueuedRecords != 2 || !health.Live() || !health.Ready() {
			t.Errorf("health says %+v", health)
		}
		if len(health.Problems) == 0 || !strings.Contains(health.Problems[0], "orders-0: since 2000-01-01T00:") || !strings.Contains(health.Problems[0], "it waits to know which keys are parked: dead letter topic dlq-orders can't be read: ") {
			t.Errorf("problems are %q", health.Problems)
		}
		if l.log.count("parked keys can't be read") == 0 {
			t.Error("nothing is logged")
		}
		l.stopsAtOnce(stop)

		consumer, _ = l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		outage.Remove()
		time.Sleep(aLongTime)
		l.wantHandled("b 0")
		if health := consumer.Health(); len(health.Problems) != 0 {
			t.Errorf("problems are %q", health.Problems)
		}
		l.wantLetters("permanent: a 0", "parked: a 1")
	})
}

// A mark is stored before its record is done: no offset passes a record whose letter would count again.
func TestAMarkComesBeforeTheOffset(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		l.refuse("a 0")
		l.publish("a 0")
		_, stop := l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		l.refuse()
		outage := l.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq-orders", Err: kerr.NotEnoughReplicas, Count: -1})
		l.sendBack(l.wantLetters("permanent: a 0")...)
		time.Sleep(aLongTime)
		l.wantHandled("a 0")
		if at := l.committed(0); at != 1 {
			t.Errorf("committed %d, want 1", at)
		}
		_ = stop() // the mark is given up with its record
		outage.Remove()
		l.start(l.config(), l.handle)
		l.publish("a 1")
		time.Sleep(time.Minute)
		l.wantHandled("a 0", "a 1")
		if _, marks := l.stored(); len(marks) != 1 || l.committed(0) != 3 {
			t.Errorf("%d marks, committed %d; want 1 and 3", len(marks), l.committed(0))
		}
	})
}

// A letter at its topic's limit has no room to say that it parks its key. A mark behind it says so.
func TestALetterWithoutRoomParksItsKey(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		l.cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			l.cluster.KeepControl()
			produce := request.(*kmsg.ProduceRequest)
			topic := produce.Topics[0] // which may be named by its id alone
			if records := string(topic.Partitions[0].Records); strings.Contains(records, "large") && strings.Contains(records, HeaderDLQTopic) {
				response := produce.ResponseKind().(*kmsg.ProduceResponse)
				answer := kmsg.NewProduceResponseTopicPartition()
				answer.Partition, answer.ErrorCode = topic.Partitions[0].Partition, kerr.MessageTooLarge.Code
				response.Topics = []kmsg.ProduceResponseTopic{{Topic: topic.Topic, TopicID: topic.TopicID, Partitions: []kmsg.ProduceResponseTopicPartition{answer}}}
				return response, nil, true
			}
			return nil, nil, false
		})
		cfg := l.config()
		cfg.Compression = "none"
		l.produce(&kgo.Record{Topic: "orders", Key: []byte("a"), Value: []byte(`"large"`)})
		_, stop := l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		if letters, marks := l.stored(); len(letters) != 1 || len(letters[0].Headers) != 0 || len(marks) != 1 {
			t.Fatalf("letters %v, marks %v; want one of each, the letter without headers", letters, marks)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		l.start(cfg, l.handle)
		l.publish("a 1", "b 0")
		time.Sleep(time.Minute)
		l.wantHandled("b 0")
	})
}

func TestTooManyParkedRecordsEndStart(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		cfg := l.config()
		cfg.MaxParkedRecords = 2
		l.refuse("a 0")
		l.publish("a 0", "a 1", "a 2", "a 3")
		for range 2 { // while it runs, and when it begins
			consumer, err := NewConsumer(cfg, l.handle)
			if err != nil {
				t.Fatal(err)
			}
			err = consumer.Start(context.Background())
			_ = consumer.Close()
			if err == nil || !strings.Contains(err.Error(), "orders-0: more than 2 records wait in dlq-orders") || !strings.Contains(err.Error(), "KAFKA_CONSUMER_MAX_PARKED_RECORDS") {
				t.Fatalf("Start returned %v", err)
			}
		}
		l.wantHandled()
		cfg.MaxParkedRecords = 0 // the way out
		l.start(cfg, l.handle)
		time.Sleep(time.Minute)
		l.refuse()
		letters := l.wantLetters("permanent: a 0", "parked: a 1", "parked: a 2", "parked: a 3")
		l.sendBack(letters...)
		time.Sleep(time.Minute)
		l.wantHandled("a 0", "a 1", "a 2", "a 3")
	})
}

func TestParkKeysIsRefusedWhereItCantBe(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		cfg := l.config()
		_, err := NewBatchConsumer(cfg, func(context.Context, []Message[numbered]) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "ParkKeys is set: a batch consumer") {
			t.Errorf("a batch consumer: %v", err)
		}
		cfg.DLQTopic = ""
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "ParkKeys is set but DLQTopic is empty") {
			t.Errorf("without a dead letter topic: %v", err)
		}

		request := kmsg.NewPtrIncrementalAlterConfigsRequest()
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, "dlq-orders"
		policy := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		policy.Name, policy.Value = "cleanup.policy", new("compact")
		resource.Configs = append(resource.Configs, policy)
		request.Resources = append(request.Resources, resource)
		if _, err := request.RequestWith(context.Background(), l.raw); err != nil {
			t.Fatal(err)
		}
		consumer, err := NewConsumer(l.config(), l.handle)
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		if err := consumer.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "dlq-orders is compacted") {
			t.Errorf("Start returned %v", err)
		}
	})
}

// Whoever may write to the topic may claim that his record was sent back. It must not pass for one that comes after itself, for one of
// another place, or take a letter out of the count that is not of its key.
func TestForgedOriginsParkNobodyElse(t *testing.T) {
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		forged := func(key, topic, partition, offset string) *kgo.Record {
			return &kgo.Record{Topic: "orders", Key: []byte(key), Value: []byte(`{"n":9}`), Headers: headers(HeaderDLQTopic, topic, HeaderDLQPartition, partition, HeaderDLQOffset, offset,
				HeaderDLQParked, "orders/0/0/group", HeaderDLQUnparked, "orders/0/0/group")}
		}
		l.refuse("a 0")
		l.publish("a 0")
		_, stop := l.start(l.config(), l.handle)
		l.produce(forged("b", "orders", "0", "0")) // handled; a stays parked
		l.produce(forged("a", "orders", "0", "999"), forged("a", "orders", "1", "0"), forged("a", "invoices", "0", "0"), forged("a", "orders", "0", "-1"), forged("a", "orders", "0", "x"))
		time.Sleep(time.Minute)
		l.wantHandled("b 9")
		letters := l.wantLetters("permanent: a 0", "parked: a 9", "parked: a 9", "parked: a 9", "parked: a 9", "parked: a 9")
		for i, letter := range letters {
			if text, _ := lastHeader(letter.Headers, HeaderDLQParked); text != fmt.Sprintf("orders/0/%d/group", map[bool]int{true: 0, false: i + 1}[i == 0]) {
				t.Errorf("letter %d is parked as %q", i, text)
			}
		}
		_ = stop
	})
}

// Letters fail, members come and go, and letters are sent back at random: of each key nothing is handled before what comes before it.
func TestParkedKeysKeepTheirOrderWhateverHappens(t *testing.T) {
	for seed := range uint64(30) {
		inParkingLot(t, func(t *testing.T, l *parkingLot) { l.anything(rand.New(rand.NewPCG(seed, 1))) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (l *parkingLot) anything(random *rand.Rand) {
	const keys, rounds = 3, 12
	cfg := l.config()
	cfg.Concurrency = 1 + 3*random.IntN(2)
	cfg.CommitInterval = time.Minute // so that a member that ends badly has committed little
	next := map[string]int{}         // what was handled, by key
	broken, calls := true, 0
	failures := rand.New(rand.NewPCG(random.Uint64(), 2)) // l.mu guards it
	handle := func(ctx context.Context, msg Message[numbered]) error {
		time.Sleep(time.Second) // a member may end meanwhile
		l.mu.Lock()
		defer l.mu.Unlock()
		calls++
		if broken && failures.IntN(3) == 0 {
			return NewPermanentError("never", nil)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if msg.Value.N > next[msg.Key] {
			l.t.Errorf("%s %d is handled before %d", msg.Key, msg.Value.N, next[msg.Key])
		}
		next[msg.Key] = max(next[msg.Key], msg.Value.N+1)
		return nil
	}
	published := map[string]int{}
	_, stop := l.start(cfg, handle)
	sent := 0
	for range rounds {
		var records []string
		for range random.IntN(5) {
			key := fmt.Sprint("k", random.IntN(keys))
			records = append(records, fmt.Sprint(key, " ", published[key]))
			published[key]++
		}
		if len(records) > 0 {
			l.publish(records...)
		}
		time.Sleep(time.Duration(random.IntN(10)) * time.Second)
		if letters, _ := l.stored(); random.IntN(2) == 0 { // all that are new or, after a crash of who sends them, some once more
			from := max(0, sent-random.IntN(3))
			sent = len(letters)
			l.sendBack(letters[from:]...)
		}
		switch random.IntN(4) {
		case 0: // a rolling deployment
			_ = stop()
			_, stop = l.start(cfg, handle)
		case 1: // a member that is thrown out, with records in hand
			l.cluster.ControlKey(int16(kmsg.Heartbeat), func(request kmsg.Request) (kmsg.Response, error, bool) {
				response := request.ResponseKind().(*kmsg.HeartbeatResponse)
				response.ErrorCode = kerr.UnknownMemberID.Code
				return response, nil, true
			})
		}
	}
	l.mu.Lock()
	broken = false
	l.mu.Unlock()
	for range 4 * rounds {
		time.Sleep(2 * time.Minute)
		letters, _ := l.stored()
		if len(letters) == sent {
			break
		}
		l.sendBack(letters[sent:]...)
		sent = len(letters)
	}
	time.Sleep(2 * time.Minute)
	if err := stop(); err != nil {
		l.t.Errorf("Start returned %v", err)
	}
	for key, n := range published {
		if next[key] != n {
			l.t.Errorf("%s: %d handled, want %d", key, next[key], n)
		}
	}
	if calls == 0 {
		l.t.Error("nothing was handled")
	}
}

// The set of letters is judged against a simple one.
func TestParkedKeysAgainstASimpleSet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		keys, simple := newParkedKeys(1<<30), map[uint64]map[int64]int64{}
		start := int64(0)
		for at := range int64(200) {
			lane, origin := random.Uint64N(3), random.Int64N(40)
			switch random.IntN(8) {
			case 0, 1, 2:
				if simple[lane] == nil {
					simple[lane] = map[int64]int64{}
				}
				simple[lane][origin] = at
				keys.add(lane, parkedLetter{origin, at})
			case 3, 4, 5:
				if first, parked := keys.first(lane); parked && random.IntN(2) == 0 {
					origin = first.origin
				}
				delete(simple[lane], origin)
				keys.remove(lane, origin)
			case 6:
				for _, letters := range simple {
					delete(letters, origin)
				}
				keys.removeAnywhere(origin)
			default:
				start += random.Int64N(10)
				for _, letters := range simple {
					for origin, offset := range letters {
						if offset < start {
							delete(letters, origin)
						}
					}
				}
				keys.forgetBelow(start)
			}
			count, parked := 0, 0
			for lane := range uint64(3) {
				lowest := parkedLetter{origin: -1}
				for origin, offset := range simple[lane] {
					count++
					if !keys.has(lane, origin) {
						t.Fatalf("lane %d lacks %d", lane, origin)
					}
					if lowest.origin < 0 || origin < lowest.origin {
						lowest = parkedLetter{origin, offset}
					}
				}
				first, any := keys.first(lane)
				if any {
					parked++
				}
				if any != (lowest.origin >= 0) || any && first != lowest {
					t.Fatalf("lane %d begins with %+v, %t; want %+v", lane, first, any, lowest)
				}
			}
			if keys.count != count || keys.keys() != parked {
				t.Fatalf("%d letters of %d keys, want %d of %d", keys.count, keys.keys(), count, parked)
			}
		}
	}
}

func TestParkedPlacesReadBack(t *testing.T) {
	place := parkedPlace{"orders", 3, 42, "a/group/of mine"}
	if back, ok := parseParkedPlace(place.String()); !ok || back != place {
		t.Errorf("%q reads back as %+v, %t", place, back, ok)
	}
	for _, text := range []string{"", "orders", "orders/3/42", "orders/-3/42/g", "orders/3/-42/g", "orders/3/x/g", "orders/2147483648/1/g", "orders/3/9223372036854775808/g"} {
		if back, ok := parseParkedPlace(text); ok {
			t.Errorf("%q reads as %+v", text, back)
		}
	}
	if err := error(&parkedError{"dlq-orders", 1, 42}); ClassOf(err) != ClassParked || !errors.Is(err, ErrParked) {
		t.Errorf("%v is of class %q", err, ClassOf(err))
	}
}
