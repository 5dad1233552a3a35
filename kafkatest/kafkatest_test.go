package kafkatest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

type booking struct {
	Seats int `json:"seats"`
}

func bookingOf(seats int) kafka.Message[booking] {
	return kafka.NewMessage[booking]().WithKey("k").WithValue(booking{seats}).WithEventType("booking.create").Build()
}

func TestAConsumersWholeWay(t *testing.T) {
	t.Parallel()
	wholeWay(t, kafkatest.Start(t, "bookings", "invoices"))
}

func TestAConsumersWholeWayInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { wholeWay(t, kafkatest.StartInBubble(t, "bookings", "invoices")) })
}

func wholeWay(t *testing.T, b *kafkatest.Broker) {
	begun := time.Now()
	producer, err := kafka.NewProducer[booking](b.ProducerConfig("invoices"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	consumer, err := kafka.NewConsumer(b.ConsumerConfig("bookings", "billing"), func(ctx context.Context, msg kafka.Message[booking]) error {
		switch {
		case msg.Value.Seats == 4:
			return kafka.NewPermanentError("no table", nil)
		case msg.Attempt < 3:
			return errors.New("away")
		}
		return producer.Publish(ctx, msg)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", time.Since(begun))
	stop := kafkatest.Run(t, consumer)
	kafkatest.Publish(t, b, "bookings", bookingOf(1), bookingOf(4), bookingOf(2))
	t.Logf("%v", time.Since(begun))
	invoices := kafkatest.AwaitPublished[booking](t, b, "invoices", 2)
	if len(invoices) != 2 || invoices[0].Value.Seats != 1 || invoices[1].Value.Seats != 2 {
		t.Errorf("invoices: %v", invoices)
	}
	t.Logf("%v", time.Since(begun))
	kafkatest.AwaitDone(t, b, "bookings", "billing")
	t.Logf("%v", time.Since(begun))
	letter, ok := kafkatest.AwaitPublished[booking](t, b, "dlq-bookings", 1)[0].DeadLetter()
	if !ok || letter.Class != kafka.ClassPermanent || letter.Group != "billing" {
		t.Errorf("letter %+v", letter)
	}
	stop()
	t.Logf("%v", time.Since(begun))
}
