// Package suite is what package kafkatest promises of each kind of broker.
package suite

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// Booking is what the topics hold.
type Booking struct {
	Seats int `json:"seats"`
}

// BookingOf is a message with a key, so that messages stay in order.
func BookingOf(seats int) kafka.Message[Booking] {
	return kafka.NewMessage[Booking]().WithKey("k").WithValue(Booking{seats}).WithEventType("booking.create").Build()
}

// Run runs all on one broker, one after another.
func Run(t *testing.T, b *kafkatest.Broker) {
	t.Run("WholeWay", func(t *testing.T) { WholeWay(t, b) })
	t.Run("WhatIsThere", func(t *testing.T) { WhatIsThere(t, b) })
	t.Run("Transactions", func(t *testing.T) { Transactions(t, b) })
}

// WholeWay has a consumer handle, retry and give up, and publish something for what it handles.
func WholeWay(t *testing.T, b *kafkatest.Broker) {
	b.CreateTopic(t, "bookings", 3)
	b.CreateTopic(t, "invoices", 3)
	producer, err := kafka.NewProducer[Booking](b.ProducerConfig("invoices"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	consumer, err := kafka.NewConsumer(b.ConsumerConfig("bookings", "billing"), func(ctx context.Context, msg kafka.Message[Booking]) error {
		switch {
		case msg.Value.Seats == 4:
			return kafka.NewPermanentError("there is no table for 4", nil)
		case msg.Attempt < 3:
			return errors.New("away")
		}
		return producer.Publish(ctx, msg)
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := kafkatest.Run(t, consumer)
	kafkatest.Publish(t, b, "bookings", BookingOf(1), BookingOf(4), BookingOf(2))

	invoice := kafkatest.AwaitMessage(t, b, "invoices", func(msg kafka.Message[Booking]) bool { return msg.Value.Seats == 2 })
	if invoice.Topic != "invoices" || invoice.GetEventType() != "booking.create" || invoice.GetMessageID() == "" || invoice.Timestamp.IsZero() {
		t.Errorf("got %+v", invoice)
	}
	kafkatest.AwaitDone(t, b, "bookings", "billing")
	stop()
	if got := seats(kafkatest.Published[Booking](t, b, "invoices")); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("invoices of %v seats, want 1 and 2", got)
	}
	letters := kafkatest.AwaitPublished[Booking](t, b, "dlq-bookings", 1)
	letter, ok := letters[0].DeadLetter()
	if len(letters) != 1 || !ok || letters[0].Value.Seats != 4 || letter.Class != kafka.ClassPermanent || letter.Group != "billing" {
		t.Errorf("letters %+v, of which the first is %+v", letters, letter)
	}
}

// WhatIsThere reads a topic as it is.
func WhatIsThere(t *testing.T, b *kafkatest.Broker) {
	b.CreateTopic(t, "things", 3)
	if got := kafkatest.Published[Booking](t, b, "things"); len(got) != 0 {
		t.Errorf("an empty topic holds %v", got)
	}
	kafkatest.AwaitDone(t, b, "things", "nobody") // there is nothing to be done
	tombstone := kafka.NewMessage[Booking]().WithKey("k").WithTombstone().Build()
	kafkatest.Publish(t, b, "things", BookingOf(1), tombstone, BookingOf(2))
	got := kafkatest.AwaitPublished[Booking](t, b, "things", 2)
	if len(got) != 3 || !got[1].Tombstone || !slices.Equal(seats(got), []int{1, 0, 2}) {
		t.Errorf("got %+v, want 1, a tombstone, 2", got)
	}
	var again Booking
	if err := got[2].DecodeValue(&again); err != nil || again.Seats != 2 {
		t.Errorf("decoded again: %+v, %v", again, err)
	}
	kafkatest.Publish(t, b, "things", kafka.NewMessage[[]byte]().WithKey("raw").WithValue([]byte("no JSON")).Build())
	raw := kafkatest.AwaitMessage(t, b, "things", func(msg kafka.Message[[]byte]) bool { return msg.Key == "raw" })
	if string(raw.Value) != "no JSON" {
		t.Errorf("bytes came back as %q", raw.Value)
	}
}

// Transactions end with markers, which are no messages; reads must end all the same.
func Transactions(t *testing.T, b *kafkatest.Broker) {
	b.CreateTopic(t, "ledger", 1)
	client, err := kgo.NewClient(append(b.ClientConfig().Options, kgo.SeedBrokers(b.Brokers()...), kgo.TransactionalID("ledger"), kgo.DefaultProduceTopic("ledger"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	transact := func(value string, commit kgo.TransactionEndTry) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	transact(`{"seats":1}`, kgo.TryCommit)
	transact(`{"seats":2}`, kgo.TryAbort)
	transact(`{"seats":3}`, kgo.TryCommit)
	if got := seats(kafkatest.AwaitPublished[Booking](t, b, "ledger", 2)); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("committed are %v, want 1 and 3", got)
	}

	consumer, err := kafka.NewConsumer(b.ConsumerConfig("ledger", "readers"), func(context.Context, kafka.Message[Booking]) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	stop := kafkatest.Run(t, consumer)
	kafkatest.AwaitDone(t, b, "ledger", "readers")
	stop()

	// One that is open: what comes after it can't be read yet, and is not waited for.
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), kgo.StringRecord(`{"seats":4}`)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := seats(kafkatest.Published[Booking](t, b, "ledger")); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("beside an open transaction there are %v, want 1 and 3", got)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got := seats(kafkatest.AwaitPublished[Booking](t, b, "ledger", 3)); !slices.Equal(got, []int{1, 3, 4}) {
		t.Errorf("committed are %v, want 1, 3 and 4", got)
	}
}

func seats(msgs []kafka.Message[Booking]) (list []int) {
	for _, msg := range msgs {
		list = append(list, msg.Value.Seats)
	}
	return list
}
