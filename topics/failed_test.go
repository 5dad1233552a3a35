package topics_test

import (
	"errors"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

func TestAClientThatCouldNotBeMadeSaysWhy(t *testing.T) {
	client, err := kafka.NewClient(kafka.ClientConfig{})
	if err == nil {
		t.Fatal("no error")
	}
	defer client.Close()
	if got := topics.Ensure(t.Context(), client, topics.New("orders", 1)); !errors.Is(got, err) {
		t.Errorf("Ensure returned %v, want %v", got, err)
	}
}
