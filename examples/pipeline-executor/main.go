// Pipeline-executor turns what users say into commands to other services, and the replies into answers to the users.
package main

import (
	"context"
	"log/slog"
	"strings"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/examples/internal/platform"
	"github.com/skeji/kafka/middleware"
)

// Request is what a user says, Command what another service is asked for, and Reply what became of that.
type (
	Request struct {
		UserPhone string `json:"user_phone"`
		Text      string `json:"text"`
	}
	Command struct {
		Action string            `json:"action"`
		Params map[string]string `json:"params"`
	}
	Reply struct {
		BookingID string `json:"booking_id"`
		Refused   string `json:"refused"`
	}
)

func main() { platform.Main(run) }

func run(ctx context.Context) error {
	const commandsTopic = "pipeline-executor-to-bookings"
	// In the platform a scrub layer stands between the gateway and this service. It is left out here.
	requestsCfg, err := kafka.NewConsumerConfigFromEnv("gw-to-scrub-layer", "pipeline-executor-consumer-group")
	if err != nil {
		return err
	}
	requestsCfg.DLQTopic = "dlq-pipeline-executor"
	repliesCfg := requestsCfg
	repliesCfg.Topic, repliesCfg.Group = "bookings-to-pipeline-executor", "pipeline-executor-responses-consumer-group"
	list := platform.Topics(requestsCfg.Topic, commandsTopic, repliesCfg.Topic).WithDeadLetters(requestsCfg, repliesCfg)
	client, err := platform.Connect(ctx, requestsCfg.ClientConfig, list)
	if err != nil {
		return err
	}
	defer client.Close()
	commands, err := kafka.NewProducer[Command](kafka.ProducerConfig{Client: client, Topic: commandsTopic, DisableMiddleware: requestsCfg.DisableMiddleware})
	if err != nil {
		return err
	}
	defer commands.Close()
	commands.Use(middleware.LoggingProducerMiddleware(), middleware.MetricsProducerMiddleware())
	requests, err := kafka.NewConsumer(requestsCfg, command(commands.Publish))
	if err != nil {
		return err
	}
	defer requests.Close()
	requests.Use(middleware.LoggingConsumerMiddleware(), middleware.MetricsConsumerMiddleware())
	replies, err := kafka.NewConsumer(repliesCfg, answer(platform.NewMemory(100_000)))
	if err != nil {
		return err
	}
	defer replies.Close()
	replies.Use(middleware.LoggingConsumerMiddleware(), middleware.MetricsConsumerMiddleware())
	return platform.Consume(ctx, requests, replies)
}

// actions are what texts may begin with. A real pipeline would ask a model what the user wants.
var actions = map[string]string{"book": "create_booking", "cancel": "cancel_booking"}

// command makes commands of requests, and publishes them.
func command(publish func(context.Context, kafka.Message[Command]) error) kafka.Handler[Request] {
	return func(ctx context.Context, msg kafka.Message[Request]) error {
		word, _, _ := strings.Cut(strings.ToLower(msg.Value.Text), " ")
		action := actions[word]
		if action == "" {
			return kafka.NewBusinessError("the text asks for nothing that there is", nil)
		}
		return publish(ctx, kafka.NewMessage[Command]().
			WithMessageID("command-of-"+msg.GetMessageID()). // the same at each attempt: whoever gets it twice can tell
			WithKey(msg.Value.UserPhone).WithEventType("booking.command").WithSource("pipeline-executor").
			WithValue(Command{Action: action, Params: map[string]string{"user_phone": msg.Value.UserPhone}}).
			WithCorrelationID(msg.GetCorrelationID()).WithConversationID(msg.GetConversationID()).Build())
	}
}

// answer tells users what became of what they said; here it only logs that it would. A reply may come twice, after a crash
// for example, and is answered once, as far as the memory goes.
func answer(answered *platform.Memory) kafka.Handler[Reply] {
	return func(_ context.Context, msg kafka.Message[Reply]) error {
		if answered.Knows(msg.GetMessageID()) {
			return kafka.NewBusinessError("answered before", nil)
		}
		slog.Info("answer to the user", "correlation_id", msg.GetCorrelationID(), "booked", msg.Value.BookingID != "")
		answered.Keep(msg.GetMessageID())
		return nil
	}
}
