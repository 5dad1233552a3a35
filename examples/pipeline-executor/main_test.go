package main

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/examples/internal/platform"
	"github.com/skeji/kafka/kafkatest"
)

// saying is what the gateway publishes.
func saying(text, id string) kafka.Message[Request] {
	return kafka.NewMessage[Request]().WithMessageID(id).WithKey("+15550100").WithValue(Request{UserPhone: "+15550100", Text: text}).
		WithCorrelationID(id).WithConversationID("talk-of-" + id).WithSource("gateway").Build()
}

func replyTo(id string) kafka.Message[Reply] {
	return kafka.NewMessage[Reply]().WithMessageID("reply-to-command-of-" + id).WithValue(Reply{BookingID: "b-1"}).WithCorrelationID(id).Build()
}

func TestRequestsBecomeCommands(t *testing.T) {
	broker := kafkatest.Start(t)
	broker.Env(t)
	t.Setenv("PROBES_ADDRESS", "127.0.0.1:0")
	kafkatest.RunFunc(t, run)
	kafkatest.Publish(t, broker, "gw-to-scrub-layer", saying("Book a table", "1"), saying("hello", "2"), saying("cancel it", "3"))
	kafkatest.Publish(t, broker, "bookings-to-pipeline-executor", replyTo("1"))

	actions := map[string]string{}
	for _, command := range kafkatest.AwaitPublished[Command](t, broker, "pipeline-executor-to-bookings", 2) {
		id := command.GetCorrelationID()
		actions[id] = command.Value.Action
		if command.GetMessageID() != "command-of-"+id || command.GetConversationID() != "talk-of-"+id || command.GetSource() != "pipeline-executor" {
			t.Errorf("command %s of conversation %s from %s to request %s", command.GetMessageID(), command.GetConversationID(), command.GetSource(), id)
		}
		if command.Key != "+15550100" || command.Value.Params["user_phone"] != "+15550100" {
			t.Errorf("command %s has the key %q and the params %v", id, command.Key, command.Value.Params)
		}
	}
	kafkatest.AwaitDone(t, broker, "gw-to-scrub-layer", "pipeline-executor-consumer-group")
	kafkatest.AwaitDone(t, broker, "bookings-to-pipeline-executor", "pipeline-executor-responses-consumer-group")
	if !maps.Equal(actions, map[string]string{"1": "create_booking", "3": "cancel_booking"}) {
		t.Errorf("commands %v", actions)
	}
	if letters := kafkatest.Published[[]byte](t, broker, "dlq-pipeline-executor"); len(letters) > 0 {
		t.Errorf("%d dead letters, want none: a text that asks for nothing is no failure", len(letters))
	}
}

func TestARequestIsDoneOnceItsCommandIsStored(t *testing.T) {
	fails := command(func(context.Context, kafka.Message[Command]) error { return errors.New("no broker") })
	if result := kafkatest.Handle(t, fails, saying("book", "1")); result.Class != kafka.ClassTransient {
		t.Errorf("command not stored: %v, class %q, want it tried again", result.Err, result.Class)
	}
}

func TestAReplyThatComesTwiceIsAnsweredOnce(t *testing.T) {
	handle := answer(platform.NewMemory(10))
	for i, want := range []kafka.Class{"", kafka.ClassBusiness, kafka.ClassBusiness} {
		if result := kafkatest.Handle(t, handle, replyTo("1")); result.Class != want {
			t.Errorf("delivery %d: %v, class %q, want %q", i+1, result.Err, result.Class, want)
		}
	}
	if result := kafkatest.Handle(t, handle, replyTo("2")); result.Err != nil {
		t.Errorf("the reply to another: %v", result.Err)
	}
}
