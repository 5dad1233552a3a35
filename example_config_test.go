package kafka_test

import (
	"context"
	"encoding/csv"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/skeji/kafka"
)

// A service has its settings from KAFKA_ variables; what they don't say is set in code.
func ExampleNewConsumerConfigFromEnv() {
	for name, value := range map[string]string{ // which a Deployment would set
		"KAFKA_BROKERS": "kafka-1:9093, kafka-2:9093", "KAFKA_TLS_ENABLED": "true",
		"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512", "KAFKA_SASL_USERNAME": "billing", "KAFKA_SASL_PASSWORD": "secret",
		"KAFKA_CLIENT_ID": "billing", "KAFKA_CONSUMER_DLQ_TOPIC": "dlq-domain-services", "KAFKA_CONSUMER_MAX_RETRIES": "5",
	} {
		os.Setenv(name, value)
		defer os.Unsetenv(name)
	}
	cfg, err := kafka.NewConsumerConfigFromEnv("orders", "billing")
	fmt.Println(cfg, err)

	os.Setenv("KAFKA_CONSUMER_MAX_RETRIES", "many")
	os.Unsetenv("KAFKA_SASL_USERNAME")
	_, err = kafka.NewConsumerConfigFromEnv("orders", "billing")
	fmt.Println(err)
	// Output:
	// topic="orders" group="billing" dlq_topic="dlq-domain-services" max_retries="5" brokers="kafka-1:9093,kafka-2:9093" client_id="billing" tls="true" sasl_mechanism="SCRAM-SHA-512" sasl_username="billing" sasl_password="[redacted]" <nil>
	// kafka: environment: KAFKA_CONSUMER_MAX_RETRIES is "many": want a whole number
	// kafka: consumer config: SASL: SCRAM-SHA-512 needs a Username and a Password (KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD)
}

// bookingCSV writes a booking as a line of comma-separated values.
type bookingCSV struct{}

func (bookingCSV) ContentType() string { return "text/csv" }

func (bookingCSV) Encode(b Booking) ([]byte, error) {
	var line strings.Builder
	w := csv.NewWriter(&line)
	_ = w.Write([]string{b.Phone, strconv.Itoa(b.Seats)}) // to a strings.Builder, which takes all
	w.Flush()
	return []byte(line.String()), nil
}

func (bookingCSV) Decode(data []byte, b *Booking) (err error) {
	fields, err := csv.NewReader(strings.NewReader(string(data))).Read()
	if err != nil || len(fields) != 2 {
		return &kafka.DecodeError{Reason: "want two fields", Err: err} // any other error is taken for one, too
	}
	b.Phone = fields[0]
	b.Seats, err = strconv.Atoi(fields[1])
	return err
}

// A format of one's own is a codec.
func ExampleCodec() {
	broker, stopBroker := startBroker("orders", "dlq-orders")
	defer stopBroker()
	producer, err := kafka.NewProducerWithCodec(kafka.NewProducerConfig("orders", broker), bookingCSV{})
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	if err := producer.Publish(context.Background(), kafka.Message[Booking]{Value: Booking{"+15550100", 2}}); err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background())
	cfg := kafka.NewConsumerConfig("orders", "bookings", broker)
	cfg.Logger = quiet
	consumer, err := kafka.NewConsumerWithCodec(cfg, bookingCSV{}, func(_ context.Context, msg kafka.Message[Booking]) error {
		contentType, _ := msg.Header(kafka.HeaderContentType)
		fmt.Println(contentType, msg.Value)
		stop()
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	fmt.Println(consumer.Start(ctx))
	// Output:
	// text/csv {+15550100 2}
	// <nil>
}

// Dead letters are read as bytes, since some can't be decoded. A letter that is published is a new message, without the headers about
// its failure. Package deadletter sends letters back so that one that fails again still says where it was first.
func ExampleMessage_DeadLetter() {
	broker, stopBroker := startBroker("orders", "dlq-orders")
	defer stopBroker()
	publish(broker, "orders", Booking{"+15550100", 4})
	ctx, stop := context.WithCancel(context.Background())
	consume(ctx, broker, "orders", func(context.Context, kafka.Message[Booking]) error {
		stop()
		return kafka.NewPermanentError("save booking", nil)
	})

	orders, err := kafka.NewProducerWithCodec(kafka.NewProducerConfig("orders", broker), kafka.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	defer orders.Close()
	ctx, stop = context.WithCancel(context.Background())
	cfg := kafka.NewConsumerConfig("dlq-orders", "redrive", broker)
	cfg.DisableDeadLetters, cfg.Logger = true, quiet // a letter that can't be sent back ends Start, and stays
	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(ctx context.Context, msg kafka.Message[[]byte]) error {
		letter, ok := msg.DeadLetter()
		if !ok {
			return nil // somebody else's
		}
		fmt.Printf("%s-%d offset %d: %s: %s\n", letter.Topic, letter.Partition, letter.Offset, letter.Message, msg.Value)
		stop()
		return orders.Publish(ctx, msg)
	})
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	fmt.Println(consumer.Start(ctx))

	ctx, stop = context.WithCancel(context.Background())
	consume(ctx, broker, "orders", func(_ context.Context, msg kafka.Message[Booking]) error {
		_, isLetter := msg.DeadLetter()
		fmt.Println("back:", msg.Value, "a dead letter:", isLetter)
		stop()
		return nil
	})
	// Output:
	// orders-0 offset 0: save booking: {"phone":"+15550100","seats":4}
	// <nil>
	// back: {+15550100 4} a dead letter: false
}

// A compacted topic forgets a key after its tombstone. Handlers that keep state want to know.
func ExampleConsumerConfig_tombstones() {
	broker, stopBroker := startBroker("customers", "dlq-customers")
	defer stopBroker()
	producer, err := kafka.NewProducer[Booking](kafka.NewProducerConfig("customers", broker))
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	ctx := context.Background()
	if err := producer.PublishBatch(ctx,
		kafka.Message[Booking]{Key: "c-1", Value: Booking{"+15550100", 2}},
		kafka.Message[Booking]{Key: "c-1", Tombstone: true},
	); err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(ctx)
	cfg := kafka.NewConsumerConfig("customers", "cache", broker)
	cfg.HandleTombstones, cfg.Logger = true, quiet
	consumer, err := kafka.NewConsumer(cfg, func(_ context.Context, msg kafka.Message[Booking]) error {
		if msg.Tombstone {
			fmt.Println("forget", msg.Key)
			stop()
			return nil
		}
		fmt.Println("keep", msg.Key, msg.Value)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	fmt.Println(consumer.Start(ctx))
	// Output:
	// keep c-1 {+15550100 2}
	// forget c-1
	// <nil>
}
