package topics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// A dead letter topic follows its source as it will be: what is planned is what is applied, and the second time is the last.
func TestDeadLetterTopicsFollowWhatTheSameCallChanges(t *testing.T) {
	large := topics.New("orders", 12).WithAllowGrow().WithConfig("max.message.bytes", "5000000")
	for name, seeds := range map[string][]string{"both are missing": nil, "the source grows": {"orders"}, "both exist": {"orders", "dlq-orders"}} {
		t.Run(name, func(t *testing.T) {
			_, client, _ := start(t, kfake.SeedTopics(3, seeds...))
			// A consumer of the dead letters has some of its own by default.
			list := topics.List{large}.WithDeadLetters(kafka.NewConsumerConfig("dlq-orders", "reader"), kafka.NewConsumerConfig("orders", "billing"))
			planned, err := list.Plan(t.Context(), client, topics.Reconcile)
			if err != nil {
				t.Fatal(err)
			}
			applied, err := list.Apply(t.Context(), client, topics.Reconcile)
			if want := strings.Replace(planned.String(), "planned", "applied", 1); err != nil || applied.String() != want {
				t.Errorf("%v\napplied\n%swant what was planned\n%s", err, applied, want)
			}
			if again, err := list.Apply(t.Context(), client, topics.Check); err != nil || again.Pending() {
				t.Errorf("the second time: %v\n%s", err, again)
			}
			for topic, want := range map[string]string{"dlq-orders": "10000000", "dlq-dlq-orders": "20000000"} {
				if limit := config(t, client, topic, "max.message.bytes"); limit != want {
					t.Errorf("%s takes %s bytes, want %s", topic, limit, want)
				}
			}
			if resolved, err := list.Resolve(); err != nil || resolved[1].Config["max.message.bytes"] != "20000000" || resolved[1].Partitions != 12 {
				t.Errorf("without a cluster: %v, %+v", err, resolved)
			}
		})
	}
}

// One answer of a broker that has not heard of the source yet must not make its dead letter topic small.
func TestASourceThatABrokerDoesNotKnowYetIsAskedForAgain(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.Metadata, kmsg.DescribeConfigs} {
		cluster, client, _ := start(t)
		if err := topics.Ensure(t.Context(), client, topics.New("orders", 3).WithConfig("max.message.bytes", "5000000")); err != nil {
			t.Fatal(err)
		}
		list := topics.List{}.WithDeadLetters(kafka.NewConsumerConfig("orders", "group"))
		var asked atomic.Int32
		cluster.ControlKey(int16(key), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			switch request := request.(type) {
			case *kmsg.MetadataRequest:
				if len(request.Topics) == 0 || asked.Add(1) > 1 {
					return nil, nil, false
				}
				response := request.ResponseKind().(*kmsg.MetadataResponse)
				for _, topic := range request.Topics {
					unknown := kmsg.NewMetadataResponseTopic()
					unknown.Topic, unknown.ErrorCode = topic.Topic, kerr.UnknownTopicOrPartition.Code
					response.Topics = append(response.Topics, unknown)
				}
				return response, nil, true
			case *kmsg.DescribeConfigsRequest:
				if asked.Add(1) > 1 {
					return nil, nil, false
				}
				response := request.ResponseKind().(*kmsg.DescribeConfigsResponse)
				for _, resource := range request.Resources {
					unknown := kmsg.NewDescribeConfigsResponseResource()
					unknown.ResourceType, unknown.ResourceName, unknown.ErrorCode = resource.ResourceType, resource.ResourceName, kerr.UnknownTopicOrPartition.Code
					response.Resources = append(response.Resources, unknown)
				}
				return response, nil, true
			}
			return nil, nil, false
		})
		if _, err := list.Apply(t.Context(), client, topics.Create); err != nil {
			t.Fatal(err)
		}
		if limit := config(t, client, "dlq-orders", "max.message.bytes"); limit != "10000000" {
			t.Errorf("%s: the dead letter topic takes %s bytes, want 10000000", key.Name(), limit)
		}
	}
}

func TestSourcesThatCantBeSeenAreAWarning(t *testing.T) {
	_, client, _ := start(t)
	plan, err := topics.List{}.WithDeadLetters(kafka.NewConsumerConfig("ordres", "group")).Plan(t.Context(), client, topics.Create)
	if err != nil || !strings.Contains(plan.String(), "warning: ordres, whose dead letters it takes, does not exist") {
		t.Errorf("%v\n%s", err, plan)
	}
	app := startGuarded(t, kmsg.ACLOperationCreate)
	plan, err = topics.List{}.WithDeadLetters(kafka.NewConsumerConfig("mine", "group"), kafka.ConsumerConfig{Topic: "mine", DLQTopic: "mine-dlq"}).Plan(t.Context(), app, topics.Create)
	if err != nil || !strings.Contains(plan.String(), "the settings of mine, whose dead letters it takes, can't be read") {
		t.Errorf("%v\n%s", err, plan)
	}
}

// A topic that has to wait holds up only what derives from it.
func TestATopicThatWaitsHoldsUpNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, cluster *kfake.Cluster, client *kafka.Client, _ *bytes.Buffer) {
		cluster.ControlKey(int16(kmsg.CreateTopics), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			response := request.ResponseKind().(*kmsg.CreateTopicsResponse)
			for _, topic := range request.(*kmsg.CreateTopicsRequest).Topics {
				answer := kmsg.NewCreateTopicsResponseTopic()
				answer.Topic, answer.NumPartitions, answer.ReplicationFactor = topic.Topic, 1, 1
				if topic.Topic == "bad" {
					answer.ErrorCode = kerr.ThrottlingQuotaExceeded.Code
				}
				response.Topics = append(response.Topics, answer)
			}
			return response, nil, true
		})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		list := topics.List{topics.New("bad", 1), topics.New("good", 1)}.
			WithDeadLetters(kafka.NewConsumerConfig("bad", "group"), kafka.NewConsumerConfig("good", "group"))
		plan, err := list.Plan(ctx, client, topics.Create)
		if err != nil || actions(plan) != "bad none, good create, dlq-bad none, dlq-good create" {
			t.Errorf("%v\n%s", err, plan)
		}
		for _, want := range []string{"topics: bad: ", "THROTTLING_QUOTA_EXCEEDED", "topics: dlq-bad: ", "waits for [bad]"} {
			if err := plan.Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error lacks %q: %v", want, err)
			}
		}
	})
}

// What was not answered was not done, says the plan, and so does the log.
func TestARequestThatFailsIsNotReportedAsDone(t *testing.T) {
	inBubble(t, func(t *testing.T, cluster *kfake.Cluster, client *kafka.Client, log *bytes.Buffer) {
		cluster.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			return nil, errors.New("the connection is cut"), true
		})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		list := topics.List{topics.New("a", 1), topics.New("b", 1)}.WithDeadLetters(kafka.NewConsumerConfig("a", "group"))
		plan, err := list.Apply(ctx, client, topics.Create)
		for _, want := range []string{"topics: a: create: ", "topics: b: create: ", "topics: dlq-a: "} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error lacks %q: %v", want, err)
			}
		}
		if actions(plan) != "a none, b none, dlq-a none" || strings.Contains(log.String(), "replication_factor=") {
			t.Errorf("plan\n%slog %s", plan, log)
		}
	})
}

// Settings that were set stay in the plan when the topic has to be looked at again for its growth.
func TestWhatWasDoneBeforeAnotherLookIsReported(t *testing.T) {
	cluster, client, log := start(t, kfake.SeedTopics(3, "orders"))
	var refusals atomic.Int32
	cluster.ControlKey(int16(kmsg.CreatePartitions), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if refusals.Add(1) > 1 {
			return nil, nil, false
		}
		response := request.ResponseKind().(*kmsg.CreatePartitionsResponse)
		refused := kmsg.NewCreatePartitionsResponseTopic()
		refused.Topic, refused.ErrorCode = "orders", kerr.InvalidPartitions.Code
		response.Topics = append(response.Topics, refused)
		return response, nil, true
	})
	plan, err := topics.List{topics.New("orders", 6).WithAllowGrow().WithRetention(time.Minute)}.Apply(t.Context(), client, topics.Reconcile)
	if err != nil || actions(plan) != "orders alter" || len(plan.Topics[0].Differences) != 2 || !strings.Contains(log.String(), "60000") {
		t.Errorf("%v\n%s%s", err, plan, log)
	}
}

// Every broker has what was set when Apply returns, not only the one that was asked.
func TestApplyReturnsWhenEveryBrokerHasWhatWasSet(t *testing.T) {
	inBubble(t, func(t *testing.T, cluster *kfake.Cluster, client *kafka.Client, _ *bytes.Buffer) {
		var altered atomic.Bool
		var old atomic.Int32
		cluster.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(kmsg.Request) (kmsg.Response, error, bool) {
			altered.Store(true)
			return nil, nil, false
		})
		cluster.ControlKey(int16(kmsg.DescribeConfigs), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if cluster.CurrentNode() != 2 || !altered.Load() || old.Add(1) > 5 {
				return nil, nil, false
			}
			response := request.ResponseKind().(*kmsg.DescribeConfigsResponse)
			resource := kmsg.NewDescribeConfigsResponseResource()
			resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, "orders"
			setting := kmsg.NewDescribeConfigsResponseResourceConfig()
			setting.Name, setting.Value = "retention.ms", new("604800000")
			resource.Configs = append(resource.Configs, setting)
			response.Resources = append(response.Resources, resource)
			return response, nil, true
		})
		list := topics.List{topics.New("orders", 1).WithRetention(time.Minute)}
		if _, err := list.Apply(t.Context(), client, topics.Reconcile); err != nil {
			t.Fatal(err)
		}
		if n := old.Load(); n < 5 {
			t.Errorf("Apply returned after broker 2 had told %d times what was before, want 5", n)
		}
	}, kfake.SeedTopics(1, "orders"))
}

// A leader that nobody has is an error of its topic, in the plan too, once for all brokers.
func TestTopicsWithoutLeadersAreErrorsOfTheirOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, cluster *kfake.Cluster, client *kafka.Client, _ *bytes.Buffer) {
		cluster.ControlKey(int16(kmsg.Metadata), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			response := request.ResponseKind().(*kmsg.MetadataResponse)
			if len(request.(*kmsg.MetadataRequest).Topics) != 2 {
				return nil, nil, false
			}
			for _, name := range []string{"fine", "leaderless"} {
				topic := kmsg.NewMetadataResponseTopic()
				topic.Topic = new(name)
				partition := kmsg.NewMetadataResponseTopicPartition()
				partition.Replicas = []int32{0}
				if name == "leaderless" {
					partition.Leader, partition.ErrorCode = -1, kerr.LeaderNotAvailable.Code
				}
				topic.Partitions = append(topic.Partitions, partition)
				response.Topics = append(response.Topics, topic)
			}
			return response, nil, true
		})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		plan, err := topics.List{topics.New("fine", 1), topics.New("leaderless", 1)}.Apply(ctx, client, topics.Create)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "topics: leaderless: ") ||
			!strings.Contains(err.Error(), "no leader of partitions [0]") {
			t.Errorf("error %v", err)
		}
		if plan.Topics[0].Err != nil || plan.Topics[1].Err == nil {
			t.Errorf("the plan does not say so:\n%s", plan)
		}
	}, kfake.SeedTopics(1, "fine", "leaderless"))
}

func TestEmptyPlansAreJSONLists(t *testing.T) {
	_, client, _ := start(t)
	for _, mode := range []topics.Mode{topics.Off, topics.Create} {
		plan, err := topics.List{}.Apply(t.Context(), client, mode)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := json.Marshal(plan); !strings.Contains(string(text), `"topics":[]`) || strings.Contains(string(text), `"applied":true`) != (mode == topics.Create) {
			t.Errorf("mode %s: %s", mode, text)
		}
	}
}

// Writing to a plan is no way to change the list.
func TestPlansShareNothingWithTheList(t *testing.T) {
	_, client, _ := start(t)
	list := topics.List{topics.New("orders", 1).WithRetention(time.Hour)}
	plan, err := list.Plan(t.Context(), client, topics.Create)
	if err != nil {
		t.Fatal(err)
	}
	plan.Topics[0].Config["retention.ms"] = "1"
	if list[0].Config["retention.ms"] != "3600000" {
		t.Errorf("the list changed: %+v", list)
	}
}

// Retry topics are derived as dead letter topics are.
func TestRetryTopicsAreDerived(t *testing.T) {
	cfg := kafka.NewConsumerConfig("mails", "mailer")
	cfg.RetryDelays = []time.Duration{time.Minute, time.Hour}
	list, err := topics.List{topics.New("mails", 6), topics.New("retry-2-mailer-mails", 2)}.WithDeadLetters(cfg).Resolve()
	if err != nil {
		t.Fatal(err)
	}
	partitions := map[string]int32{}
	for _, topic := range list {
		partitions[topic.Name] = topic.Partitions
		if topic.Name == "retry-1-mailer-mails" && (topic.Config["cleanup.policy"] != "delete" || topic.Config["retention.ms"] != "1209600000") {
			t.Errorf("%+v", topic)
		}
	}
	want := map[string]int32{"mails": 6, "dlq-mails": 6, "retry-1-mailer-mails": 6, "retry-2-mailer-mails": 2} // the last is declared
	if !maps.Equal(partitions, want) {
		t.Errorf("%v, want %v", partitions, want)
	}
}

// Each of several topics has its own dead letter topic and retry topics, unless one dead letter topic takes them all.
func TestSeveralTopicsHaveTheirOwnDeadLetters(t *testing.T) {
	cfg := kafka.NewConsumerConfig("mails", "mailer")
	cfg.Topics, cfg.RetryDelays = []string{"mails", "letters"}, []time.Duration{time.Minute}
	for dlq, want := range map[string]map[string]int32{
		"":     {"mails": 6, "letters": 3, "dlq-mails": 6, "dlq-letters": 3, "retry-1-mailer-mails": 6, "retry-1-mailer-letters": 3},
		"lost": {"mails": 6, "letters": 3, "lost": 6, "retry-1-mailer-mails": 6, "retry-1-mailer-letters": 3},
	} {
		cfg.DLQTopic = dlq
		list, err := topics.List{topics.New("mails", 6), topics.New("letters", 3)}.WithDeadLetters(cfg).Resolve()
		if err != nil {
			t.Fatal(err)
		}
		partitions := map[string]int32{}
		for _, topic := range list {
			partitions[topic.Name] = topic.Partitions
		}
		if !maps.Equal(partitions, want) {
			t.Errorf("DLQTopic %q: %v, want %v", dlq, partitions, want)
		}
	}
}
