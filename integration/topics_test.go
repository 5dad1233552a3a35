package integration

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// These tests are about what the in-process broker takes and a real one doesn't, and about what only several brokers show.

func connect(t *testing.T, cfg kafka.ClientConfig) *kafka.Client {
	t.Helper()
	cfg.Logger, cfg.ConnectTimeout = discard(), cmp.Or(cfg.ConnectTimeout, accessPatience)
	client, err := kafka.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// apply applies the list, and wants neither an error nor anything left to do. The topics are deleted after the test: brokers
// that are restarted take long to catch up with thousands of partitions.
func apply(t *testing.T, client *kafka.Client, mode topics.Mode, list topics.List) *topics.Plan {
	t.Helper()
	deleteAfter(t, client, list)
	plan, err := list.Apply(t.Context(), client, mode)
	if err != nil || plan.Pending() {
		t.Fatalf("apply: %v\n%s", err, plan)
	}
	return plan
}

// deleteAfter deletes topics at the test's end, if they are there. The client was made before, and is closed after.
func deleteAfter(t *testing.T, client *kafka.Client, list topics.List) {
	t.Helper()
	names := make([]string, len(list))
	for i, topic := range list {
		names[i] = topic.Name
	}
	t.Cleanup(func() { _, _ = kadm.NewClient(client.KGO()).DeleteTopics(context.Background(), names...) })
}

// What Validate says of a name is what a broker says of it.
func TestNamesAreJudgedAsTheBrokerJudgesThem(t *testing.T) {
	t.Parallel()
	client := connect(t, kafka.ClientConfig{Brokers: brokers(t)})
	unique := strings.ReplaceAll(uuid.NewString(), "-", "")
	for _, name := range []string{
		"", ".", "..", "...", unique, unique + ".a_b-C", "__" + unique, unique + " ", unique + "/", unique + "é", unique + ":",
		unique + strings.Repeat("x", 249-len(unique)), unique + strings.Repeat("x", 250-len(unique)),
	} {
		validated, err := kadm.NewClient(client.KGO()).ValidateCreateTopics(t.Context(), 1, 1, nil, name)
		if err != nil {
			t.Fatal(err)
		}
		ours, brokers := topics.List{topics.New(name, 1)}.Validate(), validated[name].Err
		if (ours == nil) != (brokers == nil) {
			t.Errorf("%q: Validate says %v, the broker says %v", name, ours, brokers)
		}
	}
}

func TestPlanShowsWhatOnlyTheBrokerKnows(t *testing.T) {
	t.Parallel()
	client := connect(t, kafka.ClientConfig{Brokers: brokers(t)})
	name := "topics." + uuid.NewString()
	apply(t, client, topics.Create, topics.List{topics.New(name, 1), topics.New(name+"-exists", 1)})
	list := topics.List{
		topics.New(name+"-good", 1),
		topics.New(name+"-unknown", 1).WithConfig("retention.sm", "1000"),
		topics.New(name+"-value", 1).WithConfig("cleanup.policy", "keep"),
		topics.New(name+"-wide", 1).WithReplicationFactor(99),
		topics.New(strings.Replace(name, ".", "_", 1), 1),
		topics.New(name+"-exists", 1).WithConfig("compression.type", "zip"),
	}
	wants := []string{"", "retention.sm", "cleanup.policy", "INVALID_REPLICATION_FACTOR", "collides", "compression.type"}
	deleteAfter(t, client, list)
	planned, err := list.Plan(t.Context(), client, topics.Reconcile)
	if err != nil {
		t.Fatal(err)
	}
	applied, err := list.Apply(t.Context(), client, topics.Reconcile)
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("want an error for each of five: %v", err)
	}
	for i, want := range wants {
		for _, plan := range []*topics.Plan{planned, applied} {
			fault := plan.Topics[i].Err
			if (want == "") != (fault == nil) || fault != nil && !strings.Contains(fault.Error(), want) {
				t.Errorf("%s: error %v, want %q", list[i].Name, fault, want)
			}
		}
	}
	if planned.Topics[0].Action != topics.ActionCreate || applied.Topics[0].Action != topics.ActionCreate {
		t.Errorf("the good one is not made:\n%s", applied)
	}
}

func TestAppliedTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	client := connect(t, kafka.ClientConfig{Brokers: brokers(t)})
	name := "topics-" + uuid.NewString()
	consumer := kafka.NewConsumerConfig(name, "group")
	list := topics.List{
		topics.New(name, 2).WithAllowGrow().WithRetention(time.Hour).WithConfig("min.cleanable.dirty.ratio", "0.50").
			WithConfig("preallocate", "FALSE").WithConfig("cleanup.policy", "compact,delete").WithConfig("max.message.bytes", "2000000"),
		topics.Compacted(name+"-compacted", 0),
	}.WithDeadLetters(consumer)
	planned, err := list.Plan(t.Context(), client, topics.Reconcile)
	if err != nil {
		t.Fatal(err)
	}
	applied := apply(t, client, topics.Reconcile, list)
	if want := strings.Replace(planned.String(), "planned", "applied", 1); applied.String() != want {
		t.Errorf("applied\n%swant what was planned\n%s", applied, want)
	}
	unchanged := func() {
		t.Helper()
		for _, mode := range []topics.Mode{topics.Check, topics.Create, topics.Reconcile} {
			plan := apply(t, client, mode, list)
			for _, c := range plan.Topics {
				if c.Action != topics.ActionNone || len(c.Differences) > 0 {
					t.Errorf("mode %s, again: %+v", mode, c)
				}
			}
		}
	}
	unchanged()

	list[0] = list[0].WithRetention(2*time.Hour).WithConfig("min.cleanable.dirty.ratio", "0.250")
	list[0].Partitions = 5
	plan := apply(t, client, topics.Reconcile, list)
	if c := plan.Topics[0]; c.Action != topics.ActionAlter || len(c.Differences) != 3 || c.Partitions != 5 {
		t.Errorf("altered: %+v", c)
	}
	unchanged()

	// A consumer takes these topics: it would refuse a dead letter topic with less room than its source.
	consumer.Brokers, consumer.Logger = brokers(t), discard()
	handle, ids := received()
	running := startConsumer(t, consumer, handle)
	if err := client.KGO().ProduceSync(t.Context(), &kgo.Record{Topic: name, Key: []byte("k"), Value: []byte(`{"id":"1"}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	await(t, "the consumer handles a record", ids)
	running.cancel()
	if err := running.wait(t); err != nil {
		t.Error(err)
	}
}

// The list of a child process; it grows one topic, alters it, and makes two and a dead letter topic.
func childList(name string) topics.List {
	return topics.List{
		topics.New(name, 6).WithReplicationFactor(3).WithConfig("min.insync.replicas", "2"),
		topics.New(name+"-grown", 12).WithAllowGrow().WithRetention(time.Hour),
		topics.Compacted(name+"-compacted", 3),
	}.WithDeadLetters(kafka.NewConsumerConfig(name, "group"))
}

// TestEnsureInAChild is a process of TestTenProcessesAtOnceAllSucceed, and skips without it.
func TestEnsureInAChild(t *testing.T) {
	name := os.Getenv("KAFKA_TEST_CHILD_TOPIC")
	if name == "" {
		t.Skip("runs as a child of TestTenProcessesAtOnceAllSucceed")
	}
	client := connect(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_CLUSTER_BROKERS")})
	start, err := time.Parse(time.RFC3339Nano, os.Getenv("KAFKA_TEST_CHILD_START"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(start)) // all at once
	list := childList(name)
	if err := topics.Ensure(t.Context(), client, list...); err != nil {
		t.Fatal(err)
	}
	everyBrokerKnows(t, client, list)
}

func TestTenProcessesAtOnceAllSucceed(t *testing.T) {
	notShort(t)
	t.Parallel()
	client := connect(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_CLUSTER_BROKERS")})
	for range rounds(1, 3) {
		name := "topics-" + uuid.NewString()
		apply(t, client, topics.Create, topics.List{topics.New(name+"-grown", 3)})
		start := time.Now().Add(2 * time.Second).Format(time.RFC3339Nano)
		var processes sync.WaitGroup
		for i := range 10 {
			processes.Go(func() {
				child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestEnsureInAChild$", "-test.v")
				child.Env = append(os.Environ(), "KAFKA_TOPICS_MODE=reconcile", "KAFKA_TEST_CHILD_TOPIC="+name, "KAFKA_TEST_CHILD_START="+start)
				output, err := child.CombinedOutput()
				if err != nil || !bytes.Contains(output, []byte("--- PASS: TestEnsureInAChild")) {
					t.Errorf("process %d: %v\n%s", i, err, output)
				}
			})
		}
		processes.Wait()
		plan := apply(t, client, topics.Check, childList(name))
		for _, c := range plan.Topics {
			if len(c.Differences) > 0 {
				t.Errorf("%+v", c)
			}
		}
	}
}

// everyBrokerKnows asks each broker itself, at once: whoever has just made sure of topics may use any of them.
func everyBrokerKnows(t *testing.T, client *kafka.Client, list topics.List) {
	t.Helper()
	all, err := kadm.NewClient(client.KGO()).ListBrokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, broker := range all {
		request := kmsg.NewPtrMetadataRequest()
		for _, topic := range list {
			asked := kmsg.NewMetadataRequestTopic()
			asked.Topic = new(topic.Name)
			request.Topics = append(request.Topics, asked)
		}
		response, err := request.RequestWith(t.Context(), client.KGO().Broker(int(broker.NodeID)))
		if err != nil {
			t.Fatal(err)
		}
		for i, topic := range response.Topics {
			if topic.ErrorCode != 0 || len(topic.Partitions) < max(1, int(list[i].Partitions)) {
				t.Errorf("broker %d: %s has %d partitions, want %d: %v", broker.NodeID, *topic.Topic, len(topic.Partitions), list[i].Partitions, kerr.ErrorForCode(topic.ErrorCode))
			}
			for _, partition := range topic.Partitions {
				if partition.Leader < 0 || partition.ErrorCode != 0 {
					t.Errorf("broker %d: %s-%d has no leader", broker.NodeID, *topic.Topic, partition.Partition)
				}
			}
		}
	}
}

func TestEveryBrokerKnowsEveryLeaderWhenApplyReturns(t *testing.T) {
	notShort(t)
	t.Parallel()
	client := connect(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_CLUSTER_BROKERS")})
	for range rounds(3, 10) {
		name := "topics-" + uuid.NewString()
		list := topics.List{topics.New(name, 24).WithReplicationFactor(3).WithAllowGrow(), topics.New(name+"-2", 1)}
		apply(t, client, topics.Create, list)
		everyBrokerKnows(t, client, list)
		list[0].Partitions = 48
		apply(t, client, topics.Reconcile, list)
		everyBrokerKnows(t, client, list)
	}
}

func TestReplicationOnThreeBrokers(t *testing.T) {
	t.Parallel()
	client := connect(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_CLUSTER_BROKERS")})
	name := "topics-" + uuid.NewString()
	safe := topics.New(name, 3).WithReplicationFactor(3).WithConfig("min.insync.replicas", "2")
	plan := apply(t, client, topics.Create, topics.List{safe}.WithDeadLetters(kafka.NewConsumerConfig(name, "group")))
	if dlq := plan.Topics[1]; dlq.ReplicationFactor != 3 || dlq.Config["min.insync.replicas"] != "2" || dlq.Partitions != 3 {
		t.Errorf("the dead letter topic is less safe than its source: %+v", dlq)
	}
	if err := client.KGO().ProduceSync(t.Context(), &kgo.Record{Topic: name, Value: []byte("x")}).FirstErr(); err != nil {
		t.Error(err)
	}
	_, err := topics.List{topics.New(name, 3).WithReplicationFactor(1), topics.New(name+"-4", 1).WithReplicationFactor(4)}.Apply(t.Context(), client, topics.Reconcile)
	for _, want := range []string{"replication factor: 3 on the cluster, 1 declared: replicas are moved by a reassignment", "INVALID_REPLICATION_FACTOR"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	brittle, err := topics.List{topics.New(name+"-brittle", 1).WithReplicationFactor(3).WithConfig("min.insync.replicas", "3")}.Plan(t.Context(), client, topics.Create)
	if err != nil || brittle.Err() != nil || len(brittle.Topics[0].Warnings) != 1 {
		t.Errorf("no warning of min.insync.replicas 3: %v\n%s", err, brittle)
	}
}

func (w *world) may(topic string, operations ...kadm.ACLOperation) (permissions []permission) {
	for _, operation := range operations {
		permissions = append(permissions, permission{topic: topic, operation: operation})
	}
	return permissions
}

// What each permission is good for on a broker with an authorizer. Each step grants one more.
func TestTopicsWithFewPermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := connect(t, w.adminCfg)
	mine, made := w.name+"-mine", w.name+"-made"
	apply(t, admin, topics.Create, topics.List{topics.New(mine, 3), topics.New(w.name+"-theirs", 3)})
	app := connect(t, w.cfg)
	list := topics.List{
		topics.New(mine, 6).WithAllowGrow().WithRetention(time.Minute),
		topics.New(made, 2),
		topics.New(w.name+"-theirs", 3),
	}
	deleteAfter(t, admin, list)
	for _, step := range []struct {
		grant []permission
		mode  topics.Mode
		want  [3]string // in the table's line of each topic
	}{
		{nil, topics.Create, [3]string{"grant DESCRIBE", "grant DESCRIBE", "grant DESCRIBE"}},
		{nil, topics.Check, [3]string{"DESCRIBE is not granted", "DESCRIBE is not granted", "DESCRIBE is not granted"}},
		{append(w.may(mine, kadm.OpCreate), w.may(made, kadm.OpCreate)...), topics.Create, [3]string{"exists, not verified", "create", "grant DESCRIBE"}},
		{nil, topics.Reconcile, [3]string{"exists, not verified: DESCRIBE is not granted", "exists, not verified", "grant DESCRIBE"}},
		{append(w.may(mine, kadm.OpDescribe), w.may(made, kadm.OpDescribe)...), topics.Create, [3]string{"partitions: 3 on the cluster, 6 declared (kept", "in sync", "grant DESCRIBE"}},
		{nil, topics.Reconcile, [3]string{"DESCRIBE_CONFIGS is not granted", "in sync", "grant DESCRIBE"}},
		{w.may(mine, kadm.OpDescribeConfigs), topics.Reconcile, [3]string{"ALTER is not granted", "in sync", "grant DESCRIBE"}},
		{w.may(mine, kadm.OpAlter), topics.Reconcile, [3]string{"ALTER_CONFIGS is not granted", "in sync", "grant DESCRIBE"}},
		{w.may(mine, kadm.OpAlterConfigs), topics.Reconcile, [3]string{"604800000 -> 60000", "in sync", "grant DESCRIBE"}},
		{nil, topics.Check, [3]string{"in sync", "in sync", "DESCRIBE is not granted"}},
	} {
		w.grant(t, step.grant...)
		planned, err := list.Plan(t.Context(), app, step.mode)
		if err != nil {
			t.Fatal(err)
		}
		applied, err := list.Apply(t.Context(), app, step.mode)
		if !errors.Is(err, kafka.ErrAuthorization) || !strings.Contains(err.Error(), w.name+"-theirs") {
			t.Errorf("mode %s: error %v, want it to name what is not ours", step.mode, err)
		}
		for i, want := range step.want {
			for what, plan := range map[string]*topics.Plan{"plan": planned, "apply": applied} {
				if got := tableOf(plan, list[i].Name); !strings.Contains(got, want) {
					t.Errorf("granted %v, mode %s: %s says\n%swant %q", step.grant, step.mode, what, got, want)
				}
			}
		}
	}
}

// tableOf returns the lines of one topic.
func tableOf(plan *topics.Plan, name string) string {
	var lines strings.Builder
	mine := false
	for line := range strings.Lines(plan.String()) {
		fields := strings.Fields(line)
		if len(fields) > 1 && len(fields[0]) == 1 {
			mine = fields[1] == name
		}
		if mine {
			lines.WriteString(line)
		}
	}
	return cmp.Or(lines.String(), fmt.Sprintf("nothing of %s in\n%s", name, plan))
}
