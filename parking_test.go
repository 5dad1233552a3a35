package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
)

// A key's later records follow it into the dead letter topic, and come out in order. Other keys, and records without one, go on.
func TestAKeyIsParkedUntilItsLastLetterIsHandled(t *testing.T) {
	t.Parallel()
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
			if info, _ := parseDeadLetter(letters[2].Headers); info.Class != kafka.ClassParked || info.Attempts != 0 || !strings.Contains(info.Message, "its key is parked behind the dead letter at dlq-orders-0 offset ") {
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
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		l.refuse("a 0")
		l.publish("a 0", "a 1")
		l.start(l.config(), l.handle)
		time.Sleep(time.Minute)
		l.sendBack(l.wantLetters("permanent: a 0", "parked: a 1")...)
		time.Sleep(time.Minute)
		letters := l.wantLetters("permanent: a 0", "parked: a 1", "permanent: a 0", "parked: a 1")
		if info, _ := parseDeadLetter(letters[3].Headers); info.Redrives != 0 || info.Offset != 1 {
			t.Errorf("the letter of a 1 says %+v, want its first offset, and that it was not tried", info)
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
	t.Parallel()
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

// Whoever deletes letters has given them up.
func TestDeletedLettersUnpark(t *testing.T) {
	t.Parallel()
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

// A mark is stored before its record is done: no offset passes a record whose letter would count again.
func TestAMarkComesBeforeTheOffset(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		l.cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			l.cluster.KeepControl()
			produce := request.(*kmsg.ProduceRequest)
			topic := produce.Topics[0] // which may be named by its id alone
			if records := string(topic.Partitions[0].Records); strings.Contains(records, "large") && strings.Contains(records, dlqheader.Topic) {
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

// A partition with more parked records than it may have stops. The others go on.
func TestTooManyParkedRecordsStopTheirPartitionAlone(t *testing.T) {
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		cfg := l.config()
		cfg.MaxParkedRecords = 2
		l.refuse("a 0")
		l.publish("a 0", "a 1", "a 2", "a 3")
		for i := range 2 { // while it runs, and when it begins
			consumer, stop := l.start(cfg, l.handle)
			time.Sleep(time.Minute)
			l.produce(&kgo.Record{Topic: "orders", Partition: 1, Key: []byte("c"), Value: fmt.Appendf(nil, `{"n":%d}`, i)})
			time.Sleep(time.Minute)
			text := stuckOf(consumer.Health(), 0)
			if !strings.Contains(text, "more than 2 records wait in dlq-orders") || !strings.Contains(text, "KAFKA_CONSUMER_MAX_PARKED_RECORDS") {
				t.Fatalf("Stuck is %q", text)
			}
			if err := stop(); err != nil {
				t.Fatalf("Start returned %v", err)
			}
			l.wantHandled(fmt.Sprintf("c %d", i))
		}
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
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		cfg := l.config()
		_, err := kafka.NewBatchConsumer(cfg, func(context.Context, []kafka.Message[numbered]) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "ParkKeys is set: a batch consumer") {
			t.Errorf("a batch consumer: %v", err)
		}
		cfg.DisableDeadLetters = true
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "ParkKeys is set, and so is DisableDeadLetters") {
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
		consumer, err := kafka.NewConsumer(l.config(), l.handle)
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
	t.Parallel()
	inParkingLot(t, func(t *testing.T, l *parkingLot) {
		forged := func(key, topic, partition, offset string) *kgo.Record {
			return &kgo.Record{Topic: "orders", Key: []byte(key), Value: []byte(`{"n":9}`), Headers: headers(dlqheader.Topic, topic, dlqheader.Partition, partition, dlqheader.Offset, offset,
				dlqheader.Parked, "orders/0/0/group", dlqheader.Unparked, "orders/0/0/group", dlqheader.WrittenTo, "orders")}
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
			if text, _ := lastHeader(letter.Headers, dlqheader.Parked); text != fmt.Sprintf("orders/0/%d/group", map[bool]int{true: 0, false: i + 1}[i == 0]) {
				t.Errorf("letter %d is parked as %q", i, text)
			}
		}
		_ = stop
	})
}
