package deadletter_test

import (
	"errors"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

func TestAClientThatCouldNotBeMadeSaysWhy(t *testing.T) {
	client, err := kafka.NewClient(kafka.ClientConfig{})
	if err == nil {
		t.Fatal("no error")
	}
	defer client.Close()
	const topic = "dlq-orders"
	for name, ask := range map[string]func() error{
		"Topics": func() error { _, err := deadletter.Topics(t.Context(), client); return err },
		"ReadStats": func() error {
			_, err := deadletter.ReadStats(t.Context(), client, topic, deadletter.Filter{})
			return err
		},
		"PlanPurge": func() error {
			_, err := deadletter.PlanPurge(t.Context(), client, topic, deadletter.PurgeOptions{})
			return err
		},
		"Redrive": func() error {
			_, err := deadletter.Redrive(t.Context(), client, topic, deadletter.RedriveOptions{})
			return err
		},
		"List": func() error {
			for _, err := range deadletter.List(t.Context(), client, topic, deadletter.Filter{}) {
				return err
			}
			return nil
		},
	} {
		if got := ask(); !errors.Is(got, err) {
			t.Errorf("%s returned %v, want %v", name, got, err)
		}
	}
}
