package protobuf_test

import (
	"context"
	"fmt"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/protobuf"
	"github.com/skeji/kafka/codec/protobuf/internal/shop"
)

func Example() {
	consumer, err := kafka.NewConsumerWithCodec(kafka.NewConsumerConfig("bookings", "bookings-service"), protobuf.Codec[*shop.Booking](),
		func(_ context.Context, msg kafka.Message[*shop.Booking]) error {
			fmt.Println(msg.Value.GetSeats())
			return nil
		})
	if err != nil {
		fmt.Println("no broker:", err)
		return
	}
	defer consumer.Close()
}
