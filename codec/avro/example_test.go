package avro_test

import (
	"context"
	"fmt"

	twmb "github.com/twmb/avro"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/avro"
)

// The schema may be in a file that go:embed reads.
const bookingSchema = `{
	"type": "record",
	"name": "Booking",
	"namespace": "shop",
	"fields": [
		{"name": "id", "type": "string"},
		{"name": "seats", "type": "int", "default": 1}
	]
}`

func Example() {
	type Booking struct {
		ID    string `avro:"id"`
		Seats int    `avro:"seats"`
	}
	codec, err := avro.Codec[Booking](twmb.MustParse(bookingSchema))
	if err != nil {
		fmt.Println(err)
		return
	}
	consumer, err := kafka.NewConsumerWithCodec(kafka.NewConsumerConfig("bookings", "bookings-service"), codec,
		func(_ context.Context, msg kafka.Message[Booking]) error {
			fmt.Println(msg.Value.Seats)
			return nil
		})
	if err != nil {
		fmt.Println("no broker:", err)
		return
	}
	defer consumer.Close()
}
