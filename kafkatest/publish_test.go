package kafkatest_test

import (
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/kafkatest"
)

// Tests publish dead letters and requests, with the headers that producers leave out.
func TestPublishKeepsControlHeaders(t *testing.T) {
	t.Parallel()
	broker := kafkatest.Start(t, "letters")
	names := []string{
		kafka.HeaderReplyTopic, kafka.HeaderReplyPartition, kafka.HeaderRequesterID, kafka.HeaderReplyToken, kafka.HeaderRequestPlace,
		kafka.HeaderDeadline, kafka.HeaderReplyErrorClass, kafka.HeaderReplyErrorMessage, dlqheader.Topic, dlqheader.WrittenTo,
	}
	var messages []kafka.Message[string]
	for _, name := range names {
		messages = append(messages, kafka.NewMessage[string]().WithValue("v").WithHeader(name, "of "+name).Build())
	}
	kafkatest.Publish(t, broker, "letters", messages...)
	got := map[string]bool{}
	for _, msg := range kafkatest.Published[string](t, broker, "letters") {
		for _, name := range names {
			if value, ok := msg.Header(name); ok && value == "of "+name {
				got[name] = true
			}
		}
	}
	for _, name := range names {
		if !got[name] {
			t.Errorf("header %s is not published", name)
		}
	}
}
