package schemaregistry_test

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/codec/schemaregistry"
)

func Example() {
	type Booking struct {
		ID    string `avro:"id"`
		Seats int    `avro:"seats"`
	}
	registry, err := sr.NewClient(sr.URLs("https://registry:8081"), sr.BasicAuth("bookings-service", "secret"))
	if err != nil {
		fmt.Println(err)
		return
	}
	codec, err := schemaregistry.Avro[Booking](schemaregistry.Config{Client: registry, Topic: "bookings"}, nil)
	if err != nil {
		fmt.Println("no registry, or it lacks the schema:", err)
		return
	}
	producer, err := kafka.NewProducerWithCodec(kafka.NewProducerConfig("bookings"), codec)
	if err != nil {
		fmt.Println("no broker:", err)
		return
	}
	defer producer.Close()
}
