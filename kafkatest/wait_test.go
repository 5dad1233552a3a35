package kafkatest_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
	"github.com/skeji/kafka/kafkatest/internal/suite"
)

// What does not come is waited for for 30 s, and the text says what is there.
func TestWhatDoesNotComeIsTold(t *testing.T) {
	t.Parallel()
	never := func(kafka.Message[suite.Booking]) bool { return false }
	for name, c := range map[string]struct {
		wait  func(testing.TB, *kafkatest.Broker)
		parts []string
	}{
		"fewer": {
			func(t testing.TB, b *kafkatest.Broker) { kafkatest.AwaitPublished[suite.Booking](t, b, "bookings", 5) },
			[]string{"bookings", "5 messages", "30s", "booking.create", `"k"`, `{"seats":1}`, `"other"`, "not JSON"},
		},
		"nothing": {
			func(t testing.TB, b *kafkatest.Broker) {
				kafkatest.AwaitPublished[suite.Booking](t, b, "dlq-bookings", 1)
			},
			[]string{"dlq-bookings", "1 messages", "30s"},
		},
		"none that matches": {
			func(t testing.TB, b *kafkatest.Broker) { kafkatest.AwaitMessage(t, b, "bookings", never) },
			[]string{"bookings", "30s", "not JSON", "invalid JSON at byte"},
		},
		"no topic": {
			func(t testing.TB, b *kafkatest.Broker) { kafkatest.AwaitPublished[suite.Booking](t, b, "absent", 1) },
			[]string{"absent", kafka.ErrTopicMissing.Error()},
		},
		"a group that commits nothing": {
			func(t testing.TB, b *kafkatest.Broker) { kafkatest.AwaitDone(t, b, "bookings", "nobody") },
			[]string{"nobody", "30s", "bookings-"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := kafkatest.StartInBubble(t, "bookings")
				kafkatest.Publish(t, b, "bookings", suite.BookingOf(1))
				kafkatest.Publish(t, b, "bookings", notJSON())
				begun := time.Now()
				mustFail(t, func(t testing.TB) { c.wait(t, b) }, c.parts...)
				if took := time.Since(begun).Round(time.Second); took != 30*time.Second {
					t.Errorf("it was waited for for %v, want 30 s", took)
				}
			})
		})
	}
}

// A wait may be as long as the test wants.
func TestWaitsLastAsLongAsIsAsked(t *testing.T) {
	t.Parallel()
	for _, patience := range []time.Duration{2 * time.Second, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			b := kafkatest.StartInBubble(t, "bookings")
			kafkatest.Publish(t, b, "bookings", suite.BookingOf(1))
			for name, wait := range map[string]func(testing.TB, *kafkatest.Broker){
				"messages": func(t testing.TB, b *kafkatest.Broker) { kafkatest.AwaitPublished[suite.Booking](t, b, "bookings", 5) },
				"a group":  func(t testing.TB, b *kafkatest.Broker) { kafkatest.AwaitDone(t, b, "bookings", "nobody") },
			} {
				begun := time.Now()
				mustFail(t, func(t testing.TB) { wait(t, b.WithPatience(patience)) })
				if took := time.Since(begun).Round(time.Second); took != patience {
					t.Errorf("%s: it was waited for for %v, want %v", name, took, patience)
				}
			}
		})
	}
}

func notJSON() kafka.Message[[]byte] {
	return kafka.NewMessage[[]byte]().WithKey("other").WithValue([]byte("not JSON")).Build()
}

// A group that is on its way is not done.
func TestDoneIsToTheLastMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := kafkatest.StartInBubble(t)
		b.CreateTopic(t, "bookings", 1)
		kafkatest.Publish(t, b, "bookings", suite.BookingOf(1), suite.BookingOf(2))
		client, err := kafka.NewClient(b.ClientConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		commit := func(offset int64) {
			var offsets kadm.Offsets
			offsets.AddOffset("bookings", 0, offset, -1)
			if err := kadm.NewClient(client.KGO()).CommitAllOffsets(t.Context(), "group", offsets); err != nil {
				t.Fatal(err)
			}
		}
		commit(1)
		mustFail(t, func(t testing.TB) { kafkatest.AwaitDone(t, b, "bookings", "group") }, "bookings-0", "1 of 2")
		commit(2)
		kafkatest.AwaitDone(t, b, "bookings", "group")
	})
}

// A test that has failed says so at once, and not in half a minute.
func TestAFailedTestWaitsForNothing(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(testing.TB, *kafkatest.Broker){
		"message": func(t testing.TB, b *kafkatest.Broker) { kafkatest.AwaitPublished[suite.Booking](t, b, "bookings", 2) },
		"done":    func(t testing.TB, b *kafkatest.Broker) { kafkatest.AwaitDone(t, b, "bookings", "nobody") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := kafkatest.StartInBubble(t, "bookings")
				kafkatest.Publish(t, b, "bookings", suite.BookingOf(1))
				begun := time.Now()
				mustFail(t, func(t testing.TB) {
					t.Errorf("the consumer has ended")
					kafkatest.AwaitPublished[suite.Booking](t, b, "bookings", 1) // what is there is had all the same
					wait(t, b)
				}, "the consumer has ended", "bookings")
				if took := time.Since(begun); took > time.Second {
					t.Errorf("it waited for %v", took)
				}
			})
		})
	}
}

func TestPublishedTellsWhatItCantRead(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, "bookings")
	kafkatest.Publish(t, b, "bookings", notJSON())
	mustFail(t, func(t testing.TB) { kafkatest.Published[suite.Booking](t, b, "bookings") },
		"suite.Booking", "invalid JSON", `"other"`, "not JSON")
	mustFail(t, func(t testing.TB) { kafkatest.Published[suite.Booking](t, b, "absent") }, "absent", "UNKNOWN_TOPIC_OR_PARTITION")
	if got := kafkatest.Published[[]byte](t, b, "bookings"); len(got) != 1 || string(got[0].Value) != "not JSON" {
		t.Errorf("as bytes it is %v", got)
	}
}

// A topic may hold much, and values may be large.
func TestWhatIsThereIsToldInShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := kafkatest.StartInBubble(t)
		b.CreateTopic(t, "blobs", 1)
		for range 12 {
			kafkatest.Publish(t, b, "blobs", kafka.NewMessage[[]byte]().WithValue([]byte(strings.Repeat("x", 1000))).Build())
		}
		kafkatest.Publish(t, b, "blobs", kafka.NewMessage[[]byte]().WithValue([]byte{0, 0xff}).Build())
		kafkatest.Publish(t, b, "blobs", kafka.NewMessage[[]byte]().WithKey("gone").WithTombstone().Build())
		f := &fakeTest{TB: t}
		f.run(func(t testing.TB) { kafkatest.AwaitPublished[[]byte](t, b, "blobs", 15) })
		for _, part := range []string{"14", "4 more", "offset 4", "1000 bytes", `"\x00\xff"`, `"gone"`, "tombstone"} {
			if !strings.Contains(f.text(), part) {
				t.Errorf("no %q in:\n%s", part, f.text())
			}
		}
		if strings.Contains(f.text(), "offset 3:") || len(f.text()) > 4000 {
			t.Errorf("it is not short:\n%s", f.text())
		}
	})
}

func TestLettersTellWhereTheyAreFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := kafkatest.StartInBubble(t, "bookings")
		consumer, err := kafka.NewConsumer(b.ConsumerConfig("bookings", "group"), func(_ context.Context, msg kafka.Message[suite.Booking]) error {
			return kafka.NewPermanentError("there is no table", nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		kafkatest.Run(t, consumer)
		kafkatest.Publish(t, b, "bookings", suite.BookingOf(1))
		mustFail(t, func(t testing.TB) { kafkatest.AwaitPublished[suite.Booking](t, b, "dlq-bookings", 2) },
			"from bookings-2 offset 0", "permanent", "there is no table", `{"seats":1}`)
	})
}

func TestPublishRefusesWhatCantBeEncoded(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, "bookings")
	mustFail(t, func(t testing.TB) {
		kafkatest.Publish(t, b, "bookings", kafka.NewMessage[*suite.Booking]().Build())
	}, "value is null in JSON")
}

// What runs may make its topics itself, some time later.
func TestTopicsAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := kafkatest.StartInBubble(t)
		go func() {
			time.Sleep(10 * time.Second)
			b.CreateTopic(t, "late", 1)
		}()
		kafkatest.Publish(t, b, "late", suite.BookingOf(1))
		kafkatest.AwaitPublished[suite.Booking](t, b, "late", 1)
	})
}
