package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// commandTo is what pipeline-executor publishes.
func commandTo(action, phone, id string) kafka.Message[Command] {
	var command Command
	command.Action, command.Params.UserPhone = action, phone
	return kafka.NewMessage[Command]().WithMessageID("command-of-" + id).WithKey(phone).WithValue(command).
		WithCorrelationID(id).WithConversationID("talk-of-" + id).WithSource("pipeline-executor").Build()
}

func TestCommandsAreRepliedTo(t *testing.T) {
	broker := kafkatest.Start(t)
	broker.Env(t)
	t.Setenv("PROBES_ADDRESS", "127.0.0.1:0")
	kafkatest.RunFunc(t, run)
	made := commandTo("create_booking", "+15550100", "1")
	kafkatest.Publish(t, broker, "pipeline-executor-to-bookings",
		made, made, // as after a crash of whoever published it
		commandTo("create_booking", "", "2"),
		commandTo("cancel_booking", "+15550100", "3"),
	)

	letter := kafkatest.AwaitPublished[Command](t, broker, "dlq-domain-services", 1)[0]
	if dead, _ := letter.DeadLetter(); letter.GetCorrelationID() != "3" || !strings.Contains(dead.Message, "cancel_booking") {
		t.Errorf("the dead letter is of %s: %s", letter.GetCorrelationID(), dead.Message)
	}
	replies := map[string][]kafka.Message[Reply]{}
	for _, reply := range kafkatest.AwaitPublished[Reply](t, broker, "bookings-to-pipeline-executor", 3) {
		id := reply.GetCorrelationID()
		replies[id] = append(replies[id], reply)
		if reply.GetMessageID() != "reply-to-command-of-"+id || reply.GetConversationID() != "talk-of-"+id || reply.GetSource() != "bookings" {
			t.Errorf("reply %s of conversation %s from %s to command %s", reply.GetMessageID(), reply.GetConversationID(), reply.GetSource(), id)
		}
	}
	if first := replies["1"]; len(first) != 2 || first[0].Value != (Reply{BookingID: "booking-command-of-1"}) || first[1].Value != first[0].Value || first[0].Key != "+15550100" {
		t.Errorf("the command that came twice got the replies %+v, want twice the same", first)
	}
	if second := replies["2"]; len(second) != 1 || second[0].Value.Refused == "" || second[0].Value.BookingID != "" {
		t.Errorf("the command without a phone number got the replies %+v, want a refusal", second)
	}
	kafkatest.AwaitDone(t, broker, "pipeline-executor-to-bookings", "bookings-service-consumer-group")
}

func TestACommandIsDoneOnceItsReplyIsStored(t *testing.T) {
	fails := handle(func(context.Context, kafka.Message[Reply]) error { return errors.New("no broker") })
	for _, phone := range []string{"+15550100", "not a number"} {
		if result := kafkatest.Handle(t, fails, commandTo("create_booking", phone, "1")); result.Class != kafka.ClassTransient {
			t.Errorf("phone %q, reply not stored: %v, class %q, want it tried again", phone, result.Err, result.Class)
		}
	}
}
