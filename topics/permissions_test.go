package topics_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// A cluster where the user "app" may do what is granted on topics that begin with "mine", and nothing else.
func startGuarded(t *testing.T, granted ...kmsg.ACLOperation) (app *kafka.Client) {
	t.Helper()
	var acls []kfake.ACL
	for _, operation := range granted {
		acls = append(acls, kfake.ACL{
			Resource: kmsg.ACLResourceTypeTopic, Name: "mine", Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: operation, Allow: true,
		})
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(3, "mine", "theirs"),
		kfake.Superuser("PLAIN", "admin", "admin"), kfake.User("PLAIN", "app", "app", acls...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return connect(t, kafka.ClientConfig{
		Brokers: cluster.ListenAddrs(), Logger: slog.New(slog.DiscardHandler),
		SASL: kafka.SASLConfig{Mechanism: "PLAIN", Username: "app", Password: kafka.NewSecret("app")},
	})
}

func TestCreateAloneSufficesToCreate(t *testing.T) {
	app := startGuarded(t, kmsg.ACLOperationCreate)
	list := topics.List{topics.New("mine", 3), topics.New("mine-new", 3)}

	plan, err := list.Plan(t.Context(), app, topics.Create)
	if err != nil || plan.Err() != nil || actions(plan) != "mine none, mine-new create" {
		t.Errorf("plan: %v %v\n%s", err, plan.Err(), plan)
	}
	plan, err = list.Apply(t.Context(), app, topics.Create)
	if err != nil || actions(plan) != "mine none, mine-new create" || !strings.Contains(plan.String(), "exists, not verified") {
		t.Errorf("apply: %v\n%s", err, plan)
	}
	// The other modes promise what can't be seen.
	for _, mode := range []topics.Mode{topics.Check, topics.Reconcile} {
		if _, err := list.Apply(t.Context(), app, mode); !errors.Is(err, kafka.ErrAuthorization) || !strings.Contains(err.Error(), "DESCRIBE") {
			t.Errorf("mode %s: %v, want that DESCRIBE is missing", mode, err)
		}
	}
}

func TestOneUnauthorizedTopicDoesNotFailTheOthers(t *testing.T) {
	app := startGuarded(t, kmsg.ACLOperationAll)
	list := topics.List{topics.New("mine-a", 1), topics.New("theirs", 3), topics.New("theirs-new", 3), topics.New("mine-b", 1)}
	plan, err := list.Apply(t.Context(), app, topics.Create)
	if actions(plan) != "mine-a create, theirs none, theirs-new none, mine-b create" {
		t.Errorf("actions: %s", actions(plan))
	}
	if !errors.Is(err, kafka.ErrAuthorization) || strings.Count(err.Error(), "\n") != 1 || strings.Contains(err.Error(), "mine") ||
		!strings.Contains(err.Error(), "topics: theirs: ") || !strings.Contains(err.Error(), "topics: theirs-new: ") {
		t.Errorf("error %v, want one for each of the two", err)
	}
}

func TestMissingPermissionsAreNamed(t *testing.T) {
	drifted := topics.List{topics.New("mine", 6).WithAllowGrow().WithConfig("retention.ms", "1000")}
	for _, test := range []struct {
		granted []kmsg.ACLOperation
		list    topics.List
		mode    topics.Mode
		want    string // in the error, or in the plan if it is no error
		isError bool
	}{
		{[]kmsg.ACLOperation{kmsg.ACLOperationDescribe}, topics.List{topics.New("mine-new", 1)}, topics.Create, "grant CREATE", true},
		{nil, topics.List{topics.New("mine-new", 1)}, topics.Create, "grant DESCRIBE to see whether it exists, and CREATE", true},
		{[]kmsg.ACLOperation{kmsg.ACLOperationDescribe}, drifted, topics.Create, "not verified: DESCRIBE_CONFIGS is not granted", false},
		{[]kmsg.ACLOperation{kmsg.ACLOperationDescribe}, drifted, topics.Check, "DESCRIBE_CONFIGS is not granted", true},
		{[]kmsg.ACLOperation{kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationDescribe}, drifted, topics.Reconcile, "ALTER_CONFIGS is not granted", true},
		{[]kmsg.ACLOperation{kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationDescribe}, drifted, topics.Reconcile, "partitions: ALTER is not granted", true},
	} {
		app := startGuarded(t, test.granted...)
		planned, err := test.list.Plan(t.Context(), app, test.mode)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := test.list.Apply(t.Context(), app, test.mode)
		where := plan.String()
		if test.isError {
			where = ""
			if err != nil {
				where = err.Error()
			}
		}
		if !strings.Contains(where, test.want) || errors.Is(err, kafka.ErrAuthorization) != test.isError {
			t.Errorf("granted %v, mode %s: want %q\n%v\n%s", test.granted, test.mode, test.want, err, plan)
		}
		if planError := planned.Err(); errors.Is(planError, kafka.ErrAuthorization) != test.isError {
			t.Errorf("granted %v, mode %s: the plan did not see it coming: %v", test.granted, test.mode, planError)
		}
	}
}
