// Bookings makes bookings: it consumes commands and replies to each, confirmed or refused.
package main

import (
	"context"
	"fmt"
	"regexp"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/examples/internal/platform"
	"github.com/skeji/kafka/middleware"
)

// Command is what is asked for: {"action":"create_booking","params":{"user_phone":"+15550100"}}.
type Command struct {
	Action string `json:"action"`
	Params struct {
		UserPhone string `json:"user_phone"`
	} `json:"params"`
}

// Reply is what became of it.
type Reply struct {
	BookingID string `json:"booking_id,omitempty"`
	Refused   string `json:"refused,omitempty"` // why there is no booking
}

func main() { platform.Main(run) }

func run(ctx context.Context) error {
	const repliesTopic = "bookings-to-pipeline-executor"
	cfg, err := kafka.NewConsumerConfigFromEnv("pipeline-executor-to-bookings", "bookings-service-consumer-group")
	if err != nil {
		return err
	}
	cfg.DLQTopic = "dlq-domain-services"
	client, err := platform.Connect(ctx, cfg.ClientConfig, platform.Topics(cfg.Topic, repliesTopic).WithDeadLetters(cfg))
	if err != nil {
		return err
	}
	defer client.Close()

	replies, err := kafka.NewProducer[Reply](kafka.ProducerConfig{Client: client, Topic: repliesTopic, DisableMiddleware: cfg.DisableMiddleware})
	if err != nil {
		return err
	}
	defer replies.Close()
	replies.Use(middleware.LoggingProducerMiddleware(), middleware.MetricsProducerMiddleware())

	consumer, err := kafka.NewConsumer(cfg, handle(replies.Publish))
	if err != nil {
		return err
	}
	defer consumer.Close()
	consumer.Use(middleware.LoggingConsumerMiddleware(), middleware.MetricsConsumerMiddleware())
	return platform.Consume(ctx, consumer)
}

var phoneNumber = regexp.MustCompile(`^\+[0-9]{7,15}$`)

// handle makes bookings, and publishes the replies. A command is done once its reply is stored.
func handle(publish func(context.Context, kafka.Message[Reply]) error) kafka.Handler[Command] {
	return func(ctx context.Context, msg kafka.Message[Command]) error {
		id := msg.GetMessageID()
		reply := kafka.NewMessage[Reply]().
			WithMessageID("reply-to-" + id). // the same at each attempt: whoever gets it twice can tell
			WithKey(msg.Key).                // the user's phone: replies to one user stay in order
			WithCorrelationID(msg.GetCorrelationID()).
			WithConversationID(msg.GetConversationID()).
			WithSource("bookings")
		switch {
		// To the dead letter topic, without a reply: whoever sent this has a bug.
		case msg.Value.Action != "create_booking":
			return kafka.NewPermanentError(fmt.Sprintf("action %.64q is not known here", msg.Value.Action), nil)
		case id == "":
			return kafka.NewPermanentError("a command without a message id", nil)
		case !phoneNumber.MatchString(msg.Value.Params.UserPhone):
			reply.WithEventType("booking.refused").WithValue(Reply{Refused: "a booking needs a phone number, such as +15550100"})
			if err := publish(ctx, reply.Build()); err != nil {
				return err // tried again
			}
			return kafka.NewBusinessError("booking refused: no phone number", nil)
		}
		// Here the booking would be stored, under the command's id, so that a command that comes twice makes one booking.
		reply.WithEventType("booking.confirmed").WithValue(Reply{BookingID: "booking-" + id})
		return publish(ctx, reply.Build())
	}
}
