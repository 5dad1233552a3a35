package jsonv2_test

import (
	"context"
	"fmt"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/jsonv2"
)

func Example() {
	type Booking struct {
		ID    string `json:"id"`
		Seats int    `json:"seats"`
	}
	consumer, err := kafka.NewConsumerWithCodec(kafka.NewConsumerConfig("bookings", "bookings-service"), jsonv2.Codec[Booking](),
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
