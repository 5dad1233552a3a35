package kafka

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// Deadlines come from outside.
func TestDeadlinesAreBelievedWithinLimits(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339Nano) }
	topics := replyTopics{}
	for text, want := range map[string]string{
		at(time.Minute): "ahead", at(23 * time.Hour): "ahead", at(-time.Minute): "over", at(-1000 * time.Hour): "over",
		at(25 * time.Hour): "none", "9999-12-31T23:59:59Z": "none", "tomorrow": "none", "": "none", "1764086400000": "none",
	} {
		r, err := topics.request("", []kgo.RecordHeader{{Key: HeaderDeadline, Value: []byte(text)}}, "", false)
		if err != nil {
			t.Fatal(err)
		}
		got := "ahead"
		if r.expired() {
			got = "over"
		} else if r.deadline.IsZero() {
			got = "none"
		}
		if got != want {
			t.Errorf("the deadline %q is %s, want %s", text, got, want)
		}
	}
}

// A retry topic's records tell where they were first. What any other record says of that is its publisher's claim.
func TestOnlyRetryTopicsTellWhereARequestWas(t *testing.T) {
	claimed := []kgo.RecordHeader{
		{Key: dlqheader.Topic, Value: []byte("requests")}, {Key: dlqheader.Partition, Value: []byte("1")}, {Key: dlqheader.Offset, Value: []byte("42")},
	}
	for topic, want := range map[string]string{
		"retry-1-group-requests":  "requests/1/42",
		"requests":                "requests/0/7",
		"other-requests":          "other-requests/0/7",
		"retry-1-group-others":    "retry-1-group-others/0/7",
		"retry-requests":          "retry-requests/0/7",
		"retry-0-group-requests":  "retry-0-group-requests/0/7",
		"retry-11-group-requests": "retry-11-group-requests/0/7",
		"retry-1m-group-requests": "retry-1m-group-requests/0/7",
	} {
		claimed := append(claimed, kgo.RecordHeader{Key: dlqheader.WrittenTo, Value: []byte(topic)})
		if got := placeOf(topic, 0, 7, claimed); got != want {
			t.Errorf("the place of a request in %s is %s, want %s", topic, got, want)
		}
	}
	if got := placeOf("retry-1-group-requests", 0, 7, claimed); got != "retry-1-group-requests/0/7" {
		t.Errorf("with headers that were written for another topic it is %s", got)
	}
	if got := placeOf("retry-1-group-requests", 0, 7, nil); got != "retry-1-group-requests/0/7" {
		t.Errorf("without headers it is %s", got)
	}
}

func TestRepliedErrorsAreReadWithinLimits(t *testing.T) {
	if err := remoteError([]kgo.RecordHeader{{Key: HeaderReplyErrorMessage, Value: []byte("text alone")}}); err != nil {
		t.Errorf("a reply without a class is the error %v", err)
	}
	for class, want := range map[string]Class{
		"transient": ClassTransient, "permanent": ClassPermanent, "business": ClassBusiness, "": ClassTransient, "fatal": ClassTransient,
	} {
		err := remoteError([]kgo.RecordHeader{
			{Key: HeaderReplyErrorClass, Value: []byte(class)}, {Key: HeaderReplyErrorMessage, Value: []byte(strings.Repeat("\xff", 5000))},
		})
		if remote, ok := errors.AsType[*RemoteError](err); !ok || remote.Class != want || ClassOf(err) != want || len(remote.Message) > 1024 {
			t.Errorf("class %q is read as %#v", class, err)
		}
	}
}
