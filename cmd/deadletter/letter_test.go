package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/kafkatest"
)

// A letter that does not say how often its record was tried is told from one whose record was never tried.
func TestTriesAreWhatTheLetterSays(t *testing.T) {
	broker := kafkatest.Start(t, "orders")
	broker.Env(t)
	write := func(msg *kafka.MessageBuilder[[]byte], headers ...string) {
		for i := 0; i < len(headers); i += 2 {
			msg.WithHeader(headers[i], headers[i+1])
		}
		kafkatest.Publish(t, broker, "dlq-orders", msg.Build())
	}
	record := func() *kafka.MessageBuilder[[]byte] {
		return kafka.NewMessage[[]byte]().WithKey("k").WithValue([]byte("v"))
	}
	write(record(), "kafka_dlt-original-topic", "orders", "kafka_dlt-exception-message", "of Spring")
	write(record(), deadletter.HeaderTopic, "orders", deadletter.HeaderClass, "parked", deadletter.HeaderDeliveryCount, "0")
	write(record(), deadletter.HeaderTopic, "orders", deadletter.HeaderClass, "transient", deadletter.HeaderDeliveryCount, "4")
	client, err := kafka.NewClient(broker.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	pointer := &kgo.Record{Topic: "dlq-orders", Headers: []kgo.RecordHeader{
		{Key: deadletter.HeaderTopic, Value: []byte("orders")}, {Key: deadletter.HeaderGroup, Value: []byte("shared")},
		{Key: deadletter.HeaderDeliveryCount, Value: []byte("5")},
	}}
	if err := client.KGO().ProduceSync(t.Context(), pointer).FirstErr(); err != nil {
		t.Fatal(err)
	}
	text := call(t, "ls", "dlq-orders").stdout
	for _, want := range []string{"-      0     pending  of Spring", "  0      0     pending", "  4      0     pending", "  5      0     pending"} {
		if !strings.Contains(text, want) {
			t.Errorf("ls lacks %q:\n%s", want, text)
		}
	}
	for _, letter := range lines(t, call(t, "ls", "dlq-orders", "-o", "json").stdout) {
		want := map[string]any{"spring": nil, "parked": 0.0, "transient": 4.0, "": 5.0}
		name, _ := letter["class"].(string)
		if letter["writer"] == "spring" {
			name = "spring"
		}
		if letter["attempts"] != want[name] || (letter["pointer"] == true) != (name == "") {
			t.Errorf("%v", letter)
		}
	}
	peeked := call(t, "peek", "dlq-orders").stdout
	for _, want := range []string{"parked, never tried", "transient, tried 4 times", "record    not in this letter"} {
		if !strings.Contains(peeked, want) {
			t.Errorf("peek lacks %q:\n%s", want, peeked)
		}
	}
	if got := call(t, "redrive", "dlq-orders", "--dry-run").stderr; !strings.Contains(got, "errors.deadletterqueue.copy.record.enable") {
		t.Errorf("redrive does not say what to do about a letter without its record:\n%s", got)
	}
}
