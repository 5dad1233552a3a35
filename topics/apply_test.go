package topics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// start returns a cluster in this process, and a client whose log is in the buffer.
func start(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, *kafka.Client, *bytes.Buffer) {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	var log bytes.Buffer
	return cluster, connect(t, kafka.ClientConfig{Brokers: cluster.ListenAddrs(), Logger: slog.New(slog.NewTextHandler(&log, nil))}), &log
}

// inBubble is [start] in a synctest bubble. Waits take no time there, and a deadline does not depend on how busy the
// machine is.
func inBubble(t *testing.T, test func(*testing.T, *kfake.Cluster, *kafka.Client, *bytes.Buffer), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := &kfake.VirtualNetwork{}
		listen := kfake.ListenFn(func(kind, address string) (net.Listener, error) { return network.Listen(kind, address) })
		opts := append([]kfake.Opt{kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094), listen}, opts...)
		cluster, err := kfake.NewCluster(opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		var log bytes.Buffer
		client := connect(t, kafka.ClientConfig{
			Brokers: cluster.ListenAddrs(), Options: []kgo.Opt{kgo.Dialer(network.DialContext)},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		test(t, cluster, client, &log)
	})
}

func connect(t *testing.T, cfg kafka.ClientConfig) *kafka.Client {
	t.Helper()
	client, err := kafka.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// actions is what a plan says, in short.
func actions(plan *topics.Plan) string {
	var all []string
	for _, c := range plan.Topics {
		all = append(all, c.Topic+" "+string(c.Action))
	}
	return strings.Join(all, ", ")
}

func config(t *testing.T, client *kafka.Client, topic, key string) string {
	t.Helper()
	resources, err := kadm.NewClient(client.KGO()).DescribeTopicConfigs(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, setting := range resources[0].Configs {
		if setting.Key == key {
			return setting.MaybeValue()
		}
	}
	return ""
}

func partitions(t *testing.T, client *kafka.Client, topic string) int {
	t.Helper()
	details, err := kadm.NewClient(client.KGO()).ListTopics(kadm.WithAuthorizedOps(t.Context()), topic) // which bypasses its cache
	if err != nil {
		t.Fatal(err)
	}
	if details[topic].Err != nil {
		return 0
	}
	return len(details[topic].Partitions)
}

func TestPlanSaysWhatApplyThenDoes(t *testing.T) {
	_, client, _ := start(t, kfake.DefaultNumPartitions(7), kfake.SeedTopics(3, "grown", "drifted"), kfake.SeedTopics(1, "elsewhere"))
	elsewhere := kafka.NewConsumerConfig("elsewhere", "group") // whose topic is not in the list
	list := topics.List{
		topics.New("missing", 2).WithRetention(time.Hour),
		topics.New("grown", 5).WithAllowGrow(),
		topics.New("drifted", 3).WithRetention(time.Minute),
		topics.New("fine", 0),
		topics.New("default", 0), // its dead letter topic follows what the brokers give it
	}.WithDeadLetters(kafka.NewConsumerConfig("missing", "group"), kafka.NewConsumerConfig("default", "group"), elsewhere)
	if err := topics.Ensure(t.Context(), client, topics.New("fine", 4)); err != nil {
		t.Fatal(err)
	}

	for _, mode := range []topics.Mode{topics.Create, topics.Reconcile} {
		planned, err := list.Plan(t.Context(), client, mode)
		if err != nil || planned.Err() != nil {
			t.Fatal(err, planned.Err())
		}
		if again, _ := list.Plan(t.Context(), client, mode); fmt.Sprint(again) != fmt.Sprint(planned) {
			t.Errorf("mode %s: planning changed the cluster:\n%sthen\n%s", mode, planned, again)
		}
		applied, err := list.Apply(t.Context(), client, mode)
		if err != nil {
			t.Fatal(err)
		}
		if !planned.Pending() || applied.Pending() != (mode == topics.Create) { // which leaves the differences
			t.Errorf("mode %s: pending %v when planned, %v when applied", mode, planned.Pending(), applied.Pending())
		}
		if want := strings.Replace(planned.String(), "planned", "applied", 1); applied.String() != want {
			t.Errorf("mode %s: applied\n%swant what was planned\n%s", mode, applied, want)
		}
	}
	for topic, want := range map[string]int{"missing": 2, "dlq-missing": 2, "grown": 5, "drifted": 3, "fine": 4, "dlq-elsewhere": 1, "elsewhere": 1, "default": 7, "dlq-default": 7} {
		if n := partitions(t, client, topic); n != want {
			t.Errorf("%s has %d partitions, want %d", topic, n, want)
		}
	}
	for topic, want := range map[string]string{"missing": "3600000", "drifted": "60000", "dlq-missing": "1209600000"} {
		if retention := config(t, client, topic, "retention.ms"); retention != want {
			t.Errorf("%s has retention.ms %s, want %s", topic, retention, want)
		}
	}

	// Twice changes nothing.
	again, err := list.Apply(t.Context(), client, topics.Reconcile)
	if err != nil || again.Pending() || strings.Contains(actions(again), "create") || strings.Contains(actions(again), "alter") {
		t.Errorf("applied again: %v\n%s", err, again)
	}
}

func TestCreateLeavesWhatExistsAndSaysSo(t *testing.T) {
	_, client, log := start(t, kfake.SeedTopics(3, "orders"))
	list := topics.List{topics.New("orders", 6).WithAllowGrow().WithRetention(time.Minute)}
	plan, err := list.Apply(t.Context(), client, topics.Create)
	if err != nil {
		t.Fatal(err)
	}
	if n, retention := partitions(t, client, "orders"), config(t, client, "orders", "retention.ms"); n != 3 || retention == "60000" {
		t.Errorf("mode create altered the topic: %d partitions, retention.ms %s", n, retention)
	}
	for _, want := range []string{"partitions: 3 on the cluster, 6 declared", "60000 declared (kept"} {
		if !strings.Contains(plan.String(), want) {
			t.Errorf("the plan lacks %q:\n%s", want, plan)
		}
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "topic=orders differences=") {
		t.Errorf("want one warning with the topic's differences:\n%s", text)
	}
}

func TestCheckChangesNothingAndNamesEveryDifference(t *testing.T) {
	_, client, _ := start(t, kfake.SeedTopics(3, "fewer", "fine"))
	list := topics.List{topics.New("missing", 1), topics.New("fewer", 6).WithAllowGrow(), topics.New("fine", 3)}
	plan, err := list.Apply(t.Context(), client, topics.Check)
	if !errors.Is(err, kafka.ErrTopicMissing) || !strings.Contains(err.Error(), "topics: missing: ") || !strings.Contains(err.Error(), "topics: fewer: partitions: 3 on the cluster") {
		t.Errorf("error %v", err)
	}
	if strings.Contains(err.Error(), "fine") || partitions(t, client, "missing") != 0 || partitions(t, client, "fewer") != 3 {
		t.Errorf("check changed something, or blames what is fine: %v", err)
	}
	if got := actions(plan); got != "missing none, fewer none, fine none" {
		t.Errorf("actions: %s", got)
	}
}

func TestReconcileRefusesAndDoesTheRest(t *testing.T) {
	_, client, _ := start(t, kfake.SeedTopics(3, "shrunk", "kept"))
	list := topics.List{
		topics.New("shrunk", 1).WithRetention(time.Minute), topics.New("kept", 6), topics.New("new", 1), topics.New("toowide", 1).WithReplicationFactor(3),
	}
	plan, err := list.Apply(t.Context(), client, topics.Reconcile)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Fatalf("want an error for each of three topics: %v", err)
	}
	for _, want := range []string{"topics: shrunk: partitions: 3 on the cluster, 1 declared", "topics: kept: ", "topics: toowide: create: INVALID_REPLICATION_FACTOR"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if retention := config(t, client, "shrunk", "retention.ms"); retention != "60000" || partitions(t, client, "new") != 1 {
		t.Errorf("one refusal stopped the rest: retention.ms %s\n%s", retention, plan)
	}
}

func TestOffAsksNobody(t *testing.T) {
	_, client, _ := start(t)
	t.Setenv("KAFKA_TOPICS_MODE", "off")
	if err := topics.Ensure(t.Context(), client, topics.New("orders", 1)); err != nil || partitions(t, client, "orders") != 0 {
		t.Errorf("mode off: %v", err)
	}
	t.Setenv("KAFKA_TOPICS_MODE", "on")
	if err := topics.Ensure(t.Context(), client, topics.New("orders", 1)); err == nil {
		t.Error("an unknown mode is no error")
	}
}

func TestABadListReachesNoBroker(t *testing.T) {
	cluster, client, _ := start(t)
	cluster.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
		t.Error("the broker was asked")
		return nil, nil, false
	})
	if plan, err := (topics.List{topics.New("good", 1), topics.New("b d", 1)}).Apply(t.Context(), client, topics.Create); err == nil || plan != nil {
		t.Errorf("plan %v, error %v", plan, err)
	}
}

// Ten at once, all see the topics missing; one makes each, and the others find it made.
func TestManyAtOnceAllSucceed(t *testing.T) {
	cluster, first, _ := start(t, kfake.NumBrokers(3), kfake.SeedTopics(2, "grown"))
	list := topics.List{topics.New("a", 3), topics.New("b", 3).WithRetention(time.Hour), topics.New("grown", 8).WithAllowGrow()}
	const many = 10
	var looked atomic.Int32
	cluster.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		looked.Add(1) // nobody is answered before all have looked
		cluster.SleepControl(func() {
			for deadline := time.Now().Add(10 * time.Second); looked.Load() < many && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
		})
		return nil, nil, false
	})
	var group sync.WaitGroup
	created := make(chan string, many)
	for range many {
		client := connect(t, kafka.ClientConfig{Brokers: cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler)})
		group.Go(func() {
			plan, err := list.Apply(t.Context(), client, topics.Reconcile)
			if err != nil {
				t.Error(err)
				return
			}
			created <- actions(plan)
		})
	}
	group.Wait()
	close(created)
	creators := 0
	for got := range created {
		if strings.Contains(got, "create") {
			creators++
		}
	}
	if creators == 0 || creators == many || partitions(t, first, "a") != 3 || partitions(t, first, "grown") != 8 {
		t.Errorf("%d of %d say that they created; grown has %d partitions", creators, many, partitions(t, first, "grown"))
	}
}

// What another process made in between is judged, not taken for granted.
func TestATopicMadeMeanwhileIsJudged(t *testing.T) {
	cluster, client, _ := start(t)
	other := connect(t, kafka.ClientConfig{Brokers: cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler)})
	var once sync.Once
	cluster.ControlKey(int16(kmsg.CreateTopics), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mine := false
		once.Do(func() { mine = true })
		if mine {
			cluster.SleepControl(func() {
				if _, err := kadm.NewClient(other.KGO()).CreateTopic(context.Background(), 2, 1, nil, "orders"); err != nil {
					t.Error(err)
				}
			})
		}
		return nil, nil, false
	})
	_, err := topics.List{topics.New("orders", 6)}.Apply(t.Context(), client, topics.Reconcile)
	if err == nil || !strings.Contains(err.Error(), "partitions: 2 on the cluster, 6 declared") {
		t.Errorf("error %v, want the other's two partitions refused", err)
	}
}

// A real broker refuses to grow a topic to the size that it has by now.
func TestATopicGrownMeanwhileIsInSync(t *testing.T) {
	cluster, client, _ := start(t, kfake.SeedTopics(3, "orders"))
	other := connect(t, kafka.ClientConfig{Brokers: cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler)})
	var refusals atomic.Int32
	cluster.ControlKey(int16(kmsg.CreatePartitions), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if refusals.Add(1) > 1 {
			return nil, nil, false
		}
		cluster.SleepControl(func() {
			if _, err := kadm.NewClient(other.KGO()).UpdatePartitions(context.Background(), 6, "orders"); err != nil {
				t.Error(err)
			}
		})
		response := request.ResponseKind().(*kmsg.CreatePartitionsResponse)
		refused := kmsg.NewCreatePartitionsResponseTopic()
		refused.Topic, refused.ErrorCode = "orders", kerr.InvalidPartitions.Code
		response.Topics = append(response.Topics, refused)
		return response, nil, true
	})
	plan, err := topics.List{topics.New("orders", 6).WithAllowGrow()}.Apply(t.Context(), client, topics.Reconcile)
	if err != nil || actions(plan) != "orders none" || plan.Topics[0].Partitions != 6 {
		t.Errorf("error %v, plan\n%s", err, plan)
	}
}

func TestPassingErrorsAreTriedAgainUntilTheDeadline(t *testing.T) {
	answer := func(code *kerr.Error) func(kmsg.Request) (kmsg.Response, error, bool) {
		return func(request kmsg.Request) (kmsg.Response, error, bool) {
			response := request.ResponseKind().(*kmsg.CreateTopicsResponse)
			for _, topic := range request.(*kmsg.CreateTopicsRequest).Topics {
				refused := kmsg.NewCreateTopicsResponseTopic()
				refused.Topic, refused.ErrorCode = topic.Topic, code.Code
				response.Topics = append(response.Topics, refused)
			}
			return response, nil, true
		}
	}
	inBubble(t, func(t *testing.T, cluster *kfake.Cluster, client *kafka.Client, _ *bytes.Buffer) {
		cluster.ControlKey(int16(kmsg.CreateTopics), answer(kerr.RequestTimedOut)) // once
		_, err := topics.List{topics.New("orders", 1)}.Apply(t.Context(), client, topics.Create)
		if err != nil || partitions(t, client, "orders") != 1 {
			t.Errorf("after one timeout: %v", err)
		}

		for range 100 {
			cluster.ControlKey(int16(kmsg.CreateTopics), answer(kerr.ThrottlingQuotaExceeded))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		plan, err := topics.List{topics.New("throttled", 1)}.Apply(ctx, client, topics.Create)
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, kerr.ThrottlingQuotaExceeded) ||
			!strings.Contains(err.Error(), "topics: throttled: ") {
			t.Errorf("error %v; want the deadline, the quota and the topic", err)
		}
		if plan == nil || actions(plan) != "throttled none" {
			t.Errorf("plan %v", plan)
		}
	})
}

// What a source will get from the brokers' defaults is in their answer to its creation, before it can be looked up.
func TestADeadLetterTopicFollowsWhatItsSourceWillBe(t *testing.T) {
	cluster, client, _ := start(t)
	cluster.ControlKey(int16(kmsg.CreateTopics), func(request kmsg.Request) (kmsg.Response, error, bool) { // once, for the source
		response := request.ResponseKind().(*kmsg.CreateTopicsResponse)
		answer := kmsg.NewCreateTopicsResponseTopic()
		answer.Topic, answer.NumPartitions, answer.ReplicationFactor = "orders", 9, 1
		limit := kmsg.NewCreateTopicsResponseTopicConfig()
		limit.Name, limit.Value = "max.message.bytes", new("5000000")
		answer.Configs = append(answer.Configs, limit)
		response.Topics = append(response.Topics, answer)
		return response, nil, true
	})
	list := topics.List{topics.New("orders", 0)}.WithDeadLetters(kafka.NewConsumerConfig("orders", "group"))
	plan, err := list.Plan(t.Context(), client, topics.Create)
	if err != nil {
		t.Fatal(err)
	}
	if dlq := plan.Topics[1]; dlq.Partitions != 9 || dlq.Config["max.message.bytes"] != "10000000" {
		t.Errorf("derived %+v", dlq)
	}
}

// A creation is answered before every broker knows of it; a client that asks another broker would fail.
func TestApplyReturnsWhenEveryBrokerKnowsEveryLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, cluster *kfake.Cluster, client *kafka.Client, _ *bytes.Buffer) {
		var ignorant atomic.Int32
		cluster.ControlKey(int16(kmsg.Metadata), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			asked := request.(*kmsg.MetadataRequest)
			if cluster.CurrentNode() != 2 || len(asked.Topics) != 1 || ignorant.Load() >= 5 || partitionsMade(cluster) == 0 {
				return nil, nil, false
			}
			ignorant.Add(1)
			response := request.ResponseKind().(*kmsg.MetadataResponse)
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic, topic.ErrorCode = asked.Topics[0].Topic, kerr.UnknownTopicOrPartition.Code
			response.Topics = append(response.Topics, topic)
			return response, nil, true
		})
		if _, err := (topics.List{topics.New("orders", 3)}).Apply(t.Context(), client, topics.Create); err != nil {
			t.Fatal(err)
		}
		if n := ignorant.Load(); n != 5 {
			t.Errorf("Apply returned after broker 2 had said %d times that it knows of no topic, want 5", n)
		}
	})
}

func partitionsMade(cluster *kfake.Cluster) int {
	if cluster.LeaderFor("orders", 0) < 0 {
		return 0
	}
	return 1
}

func TestPlanAsTextAndJSON(t *testing.T) {
	_, client, _ := start(t, kfake.ClusterID("test"), kfake.SeedTopics(3, "grown", "kept", "fine", "wide"))
	list := topics.List{
		topics.New("missing", 2).WithRetention(time.Hour),
		topics.New("grown", 5).WithAllowGrow().WithRetention(time.Minute),
		topics.New("kept", 6),
		topics.New("fine", 3),
		topics.New("wide", 3).WithReplicationFactor(1),
	}.WithDeadLetters(kafka.NewConsumerConfig("missing", "group"))
	plan, err := list.Plan(t.Context(), client, topics.Reconcile)
	if err != nil {
		t.Fatal(err)
	}
	const text = `cluster test, brokers: 1, mode reconcile, planned
+  missing      create  partitions=2 replication.factor=1 retention.ms=3600000
~  grown        alter   partitions: 3 -> 5
                        retention.ms: 604800000 -> 60000
!  kept         error   partitions: 3 on the cluster, 6 declared (refused: more partitions move keys and break their order: set allowGrow to accept that, or declare 3)
=  fine         in sync
=  wide         in sync
+  dlq-missing  create  partitions=2 replication.factor=1 cleanup.policy=delete max.message.bytes=2097176 retention.ms=1209600000 (dead letters of missing)
create: 2, alter: 1, error: 1, in sync: 2
`
	if plan.String() != text {
		t.Errorf("text:\n%swant\n%s", plan, text)
	}
	var decoded struct {
		Mode, Cluster string
		Brokers       int
		Applied       bool
		Topics        []struct {
			Topic, Action, Error string
			Partitions           int
			Config               map[string]string
			DeadLettersOf        []string
			Differences          []struct{ What, Cluster, Declared, Verdict, Why string }
		}
	}
	encoded, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatal(err)
	}
	if d := decoded; d.Mode != "reconcile" || d.Cluster != "test" || d.Brokers != 1 || d.Applied || len(d.Topics) != 6 ||
		d.Topics[0].Action != "create" || d.Topics[0].Config["retention.ms"] != "3600000" ||
		d.Topics[1].Action != "alter" || len(d.Topics[1].Differences) != 2 || d.Topics[1].Differences[0].Verdict != "changed" ||
		d.Topics[2].Error == "" || d.Topics[2].Differences[0].Verdict != "refused" ||
		d.Topics[5].Topic != "dlq-missing" || len(d.Topics[5].DeadLettersOf) != 1 {
		t.Errorf("JSON: %s", encoded)
	}
}
