package main

import (
	"flag"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/skeji/kafka/deadletter"
)

func TestEveryFilterFlagHasItsEffect(t *testing.T) {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	filter := filterFlags(flags)
	stateFlag(flags, &filter.State)
	rest, err := parse(flags, strings.Fields("--class transient,parked --class com.example.X dlq-orders --source orders, payments"))
	if err == nil {
		t.Errorf("a list that ends with a comma is taken: %v", rest)
	}
	*filter = deadletter.Filter{}
	rest, err = parse(flags, strings.Fields("--class transient,parked --class com.example.X dlq-orders --source orders,payments --group billing --key k --error e "+
		"--since 2026-11-25T10:00:00Z --until 2026-11-25T11:00:00Z --partition 0,3 --from-offset 7 --state all"))
	if err != nil || !reflect.DeepEqual(rest, []string{"dlq-orders"}) {
		t.Fatalf("%v, %v", rest, err)
	}
	want := deadletter.Filter{
		State: deadletter.All, Classes: []string{"transient", "parked", "com.example.X"}, Sources: []string{"orders", "payments"}, Groups: []string{"billing"},
		Key: "k", Error: "e", Since: time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC), Until: time.Date(2026, 11, 25, 11, 0, 0, 0, time.UTC),
		Partitions: []int32{0, 3}, FromOffset: 7,
	}
	if !reflect.DeepEqual(*filter, want) {
		t.Errorf("%+v, want %+v", *filter, want)
	}
}

// The variable of services names the topic that theirs go to.
func TestTheTopicMayComeFromTheEnvironment(t *testing.T) {
	t.Setenv("KAFKA_CONSUMER_DLQ_TOPIC", "dlq-services")
	if topic, err := theTopic("stats", nil); err != nil || topic != "dlq-services" {
		t.Errorf("%q, %v", topic, err)
	}
	if topic, err := theTopic("stats", []string{"dlq-orders"}); err != nil || topic != "dlq-orders" {
		t.Errorf("%q, %v", topic, err)
	}
}
