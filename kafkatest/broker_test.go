package kafkatest_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
	"github.com/skeji/kafka/kafkatest/internal/suite"
	"github.com/skeji/kafka/topics"
)

func TestTheBrokerInProcess(t *testing.T) {
	t.Parallel()
	suite.Run(t, kafkatest.Start(t))
}

// Each is in a bubble of its own, since t.Run can't be called in one. That a bubble ends proves that no goroutine is left.
func TestTheBrokerInABubble(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T, *kafkatest.Broker){
		"WholeWay": suite.WholeWay, "WhatIsThere": suite.WhatIsThere, "Transactions": suite.Transactions,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, kafkatest.StartInBubble(t)) })
		})
	}
}

func TestTopicsComeWithTheirDeadLetters(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, "orders", "dlq-orders", "dlq-shared")
	b.CreateTopic(t, "single", 1)
	client, err := kafka.NewClient(b.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	want := topics.List{topics.New("orders", 3), topics.New("dlq-orders", 3), topics.New("dlq-shared", 3), topics.New("single", 1), topics.New("dlq-single", 1)}
	if _, err := want.Apply(t.Context(), client, topics.Check); err != nil {
		t.Error(err)
	}
	if _, err := (topics.List{topics.New("dlq-dlq-shared", 3)}).Apply(t.Context(), client, topics.Check); err == nil {
		t.Error("a dead letter topic has a dead letter topic")
	}
	if cfg := b.ConsumerConfig("dlq-orders", "group"); cfg.DLQTopic != "" || !cfg.DisableDeadLetters {
		t.Errorf("a consumer of dead letters writes its own to %q, DisableDeadLetters is %t", cfg.DLQTopic, cfg.DisableDeadLetters)
	}
}

// What a test does to a config it does to that config alone.
func TestConfigsAreCopies(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	addr := b.Brokers()[0]
	b.Brokers()[0], b.ClientConfig().Brokers[0] = "elsewhere:1", "elsewhere:2"
	if got := b.ConsumerConfig("orders", "group").Brokers[0]; got != addr {
		t.Errorf("the broker is at %s, want %s", got, addr)
	}
}

func TestEnv(t *testing.T) {
	b := kafkatest.Start(t, "orders")
	b.Env(t)
	cfg, err := kafka.NewProducerConfigFromEnv("orders")
	if err != nil {
		t.Fatal(err)
	}
	producer, err := kafka.NewProducer[suite.Booking](cfg)
	if err != nil {
		t.Fatal(err)
	}
	_ = producer.Close()
}

func TestABubbleHasNoEnv(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := kafkatest.StartInBubble(t)
		mustFail(t, b.Env, "bubble")
	})
}

func TestATopicOfATestIsItsOwn(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t, "orders")
	mustFail(t, func(t testing.TB) { b.CreateTopic(t, "orders", 3) }, "orders")
	mustFail(t, func(t testing.TB) { kafkatest.Connect(t, b.ClientConfig(), "orders") }, "orders")
	mustFail(t, func(t testing.TB) { kafkatest.Start(t, "no topic's name") }, "no topic's name")
}

func TestConnectSaysWhyNot(t *testing.T) {
	t.Parallel()
	cfg := kafka.ClientConfig{Brokers: []string{"127.0.0.1:1"}}
	mustFail(t, func(t testing.TB) { kafkatest.Connect(t, cfg) }, "127.0.0.1:1")
}

// A logger may be used by what a test has not waited for. The test's own log would panic.
func TestLinesAfterTheEndAreDropped(t *testing.T) {
	var cfg kafka.ClientConfig
	var during strings.Builder
	t.Run("over", func(t *testing.T) {
		cfg = kafkatest.Start(outputTo{t, &during}).ClientConfig()
		cfg.Logger.Info("while it runs")
	})
	cfg.Logger.Info("when it is over")
	if got := during.String(); !strings.Contains(got, "while it runs") || strings.Contains(got, "when it is over") {
		t.Errorf("logged: %s", got)
	}
}
