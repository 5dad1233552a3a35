// Quickstart publishes five bookings and consumes them: one is retried, one lands in the dead letter topic.
//
// It runs on the cluster that KAFKA_BROKERS names, or on a broker of its own, in this process, if there is none.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// Booking is what the messages say.
type Booking struct {
	Phone string `json:"phone"`
	Seats int    `json:"seats"`
}

func main() {
	if os.Getenv("KAFKA_BROKERS") == "" {
		stop := startBroker()
		defer stop()
	} else {
		fmt.Println("on your own cluster, two topics stay behind: their names begin with quickstart- and dlq-quickstart-")
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// startBroker is for examples and tests alone: it keeps everything in memory.
func startBroker() (stop func()) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		log.Fatal(err)
	}
	os.Setenv("KAFKA_BROKERS", cluster.ListenAddrs()[0])
	fmt.Println("in-process broker started at", cluster.ListenAddrs()[0])
	return cluster.Close
}

func run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	topic := "quickstart-" + uuid.NewString()[:8] // of this run alone, so that it can be run again

	if err := makeTopics(ctx, topic); err != nil {
		return err
	}
	if err := publish(ctx, topic); err != nil {
		return err
	}
	if err := consume(ctx, topic); err != nil {
		return err
	}
	return readDeadLetters(ctx, topic)
}

func makeTopics(ctx context.Context, topic string) error {
	cfg, err := kafka.NewConsumerConfigFromEnv(topic, topic+"-group")
	if err != nil {
		return err
	}
	client, err := kafka.NewClient(cfg.ClientConfig)
	if err != nil {
		return err
	}
	defer client.Close()
	list := topics.List{topics.New(topic, 1)}.WithDeadLetters(cfg)
	return topics.Ensure(ctx, client, list...) // logs what it makes
}

func publish(ctx context.Context, topic string) error {
	cfg, err := kafka.NewProducerConfigFromEnv(topic)
	if err != nil {
		return err
	}
	producer, err := kafka.NewProducer[Booking](cfg)
	if err != nil {
		return err
	}
	defer producer.Close()

	for seats := 1; seats <= 5; seats++ {
		msg := kafka.NewMessage[Booking]().
			WithKey("+15550100").
			WithValue(Booking{Phone: "+15550100", Seats: seats}).
			WithEventType("booking.create").
			WithSource("quickstart").
			Build()
		if err := producer.Publish(ctx, msg); err != nil {
			return err
		}
	}
	fmt.Println("published 5 bookings")
	return nil
}

func consume(ctx context.Context, topic string) error {
	cfg, err := kafka.NewConsumerConfigFromEnv(topic, topic+"-group")
	if err != nil {
		return err
	}
	cfg.RetryBackoff = 50 * time.Millisecond

	ctx, done := context.WithCancel(ctx)
	defer done()
	consumer, err := kafka.NewConsumer(cfg, func(ctx context.Context, msg kafka.Message[Booking]) error {
		switch {
		case msg.Value.Seats == 2 && msg.Attempt == 1:
			fmt.Println("booking of 2 seats: database is away, to be retried")
			return kafka.NewTransientError("save booking", errors.New("connection reset"))
		case msg.Value.Seats == 4:
			fmt.Println("booking of 4 seats: can never be handled")
			return kafka.NewPermanentError("save booking", errors.New("there is no table for 4"))
		}
		fmt.Printf("booking of %d seats: saved at attempt %d\n", msg.Value.Seats, msg.Attempt)
		if msg.Value.Seats == 5 {
			done() // the last one: shut down as SIGTERM would
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer consumer.Close()
	return consumer.Start(ctx) // returns when everything in hand is finished and committed
}

func readDeadLetters(ctx context.Context, topic string) error {
	cfg, err := kafka.NewConsumerConfigFromEnv("dlq-"+topic, topic+"-reader")
	if err != nil {
		return err
	}
	cfg.DisableDeadLetters = true // dead letters have none of their own

	ctx, done := context.WithCancel(ctx)
	defer done()
	// As bytes: a letter may be here because it could not be decoded.
	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(ctx context.Context, msg kafka.Message[[]byte]) error {
		fmt.Printf("dead letter: %s\n", msg.Value)
		for _, header := range msg.Headers {
			fmt.Printf("    %-28s %s\n", header.Key, header.Value)
		}
		done()
		return nil
	})
	if err != nil {
		return err
	}
	defer consumer.Close()
	return consumer.Start(ctx)
}
