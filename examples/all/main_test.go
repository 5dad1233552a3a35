package main

import (
	"strings"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
	"github.com/skeji/kafka/topics"
	"github.com/skeji/kafka/topics/manifest"
)

func TestTheThreeServicesTalk(t *testing.T) {
	broker := kafkatest.Start(t)
	folder, out := t.TempDir(), &strings.Builder{}
	if err := build(t.Context(), folder); err != nil {
		t.Fatal(err)
	}
	if err := show(t.Context(), out, folder, broker.Brokers()[0]); err != nil {
		t.Fatal(err)
	}
	conversations := strings.Split(out.String(), "\nconversation ")[1:]
	if len(conversations) != len(requests) {
		t.Fatalf("%d conversations, want %d:\n%s", len(conversations), len(requests), out)
	}
	for i, want := range [][]string{
		{"a user", "gateway", "pipeline-executor", `{"booking_id":`},
		{"a user", "gateway", "pipeline-executor", `{"booking_id":`},
		{"a user", "gateway", "pipeline-executor", `{"refused":`},
		{"a user", "gateway", "pipeline-executor", `dead letter: action "cancel_booking"`},
	} {
		lines := strings.Split(strings.TrimSpace(conversations[i]), "\n")
		for j, word := range want {
			if len(lines) <= j+1 || !strings.Contains(lines[j+1], word) {
				t.Errorf("conversation %d: want %q in line %d of\n%s", i, word, j+1, conversations[i])
			}
		}
	}

	// They have ended, and left nothing undone.
	kafkatest.AwaitDone(t, broker, "gw-to-scrub-layer", "pipeline-executor-consumer-group")
	kafkatest.AwaitDone(t, broker, "pipeline-executor-to-bookings", "bookings-service-consumer-group")
	kafkatest.AwaitDone(t, broker, "bookings-to-pipeline-executor", "pipeline-executor-responses-consumer-group")
	isAsDeclared(t, broker, "../topics.yaml")
}

// isAsDeclared holds the topics that the services have made to the file that says the same for ktopics.
func isAsDeclared(t *testing.T, broker *kafkatest.Broker, path string) {
	t.Helper()
	list, err := manifest.LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kafka.NewClient(broker.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if plan, err := list.Apply(t.Context(), client, topics.Check); err != nil {
		t.Errorf("%v\n%s", err, plan)
	}
}
