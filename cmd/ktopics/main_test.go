package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// ktopics runs the command.
func ktopics(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(stdin), &out, &log)
	return code, out.String(), log.String()
}

func write(t *testing.T, text string) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "topics.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestExitCodesTellTheStateOfTheCluster(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	t.Setenv("KAFKA_BROKERS", cluster.ListenAddrs()[0])
	orders := write(t, "topics: [{name: orders, partitions: 3, config: {retention.ms: 1000}}]")
	drifted := write(t, "topics: [{name: orders, partitions: 3, config: {retention.ms: 2000}}]")
	shrunk := write(t, "topics: [{name: orders, partitions: 1}]")
	for _, step := range []struct {
		args   string
		file   string
		code   int
		stdout string
	}{
		{"plan -mode check", orders, exitError, "topic does not exist"},
		{"plan", orders, exitPending, "+  orders  create"},
		{"plan", orders, exitPending, "+  orders  create"}, // planning makes nothing
		{"apply", orders, exitInSync, "+  orders  create"},
		{"plan", orders, exitInSync, "in sync: 1"},
		{"apply", orders, exitInSync, "in sync: 1"},
		{"plan", drifted, exitPending, "*  orders  differs"},
		{"apply", drifted, exitPending, "*  orders  differs"}, // mode create alters nothing
		{"plan -mode reconcile", drifted, exitPending, "retention.ms: 1000 -> 2000"},
		{"apply -mode reconcile", drifted, exitInSync, "retention.ms: 1000 -> 2000"},
		{"apply -mode reconcile", shrunk, exitError, "!  orders  error"},
		{"apply -mode off", shrunk, exitInSync, "nobody was asked"},
	} {
		code, stdout, stderr := ktopics(t, "", append(strings.Fields(step.args), "-f", step.file)...)
		if code != step.code || !strings.Contains(stdout, step.stdout) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", step.args, code, step.code, step.stdout, stdout, stderr)
		}
	}
	t.Setenv("KAFKA_TOPICS_MODE", "check")
	if code, stdout, _ := ktopics(t, "", "plan", "-f", drifted); code != exitInSync || !strings.Contains(stdout, "mode check") {
		t.Errorf("KAFKA_TOPICS_MODE is not heeded: exit %d\n%s", code, stdout)
	}
}

func TestStandardOutputIsDataAlone(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	t.Setenv("KAFKA_BROKERS", cluster.ListenAddrs()[0])
	for _, verb := range []string{"plan", "apply"} {
		_, stdout, stderr := ktopics(t, "topics: [{name: orders}]", verb, "-f", "-", "-o", "json")
		var plan struct {
			Topics []struct{ Topic, Action string }
		}
		if err := json.Unmarshal([]byte(stdout), &plan); err != nil || len(plan.Topics) != 1 || plan.Topics[0].Action != "create" {
			t.Errorf("%s: %v\n%s", verb, err, stdout)
		}
		if !strings.Contains(stderr, "mode create") {
			t.Errorf("%s: no progress on standard error: %s", verb, stderr)
		}
	}
	code, stdout, _ := ktopics(t, "topics: [{name: orders, partitions: 3}]\n---\ntopics: [{name: payments}]", "validate", "-f", "-", "-o", "json")
	var list []struct {
		Name       string
		Partitions int
	}
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != exitInSync || len(list) != 2 || list[0].Partitions != 3 {
		t.Errorf("validate: exit %d, %v\n%s", code, err, stdout)
	}
	if code, stdout, _ := ktopics(t, "topics: [{name: orders, partitions: 3}]", "validate", "-f", "-"); code != exitInSync || !strings.Contains(stdout, "orders  3 ") {
		t.Errorf("validate: exit %d\n%s", code, stdout)
	}
}

func TestMistakesAreErrorsThatSayWhatToDo(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "")
	good := write(t, "topics: [{name: orders}]")
	bad := write(t, "topics: [{nam: orders}]")
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "want validate, plan or apply"},
		{[]string{"delete", "-f", good}, `"delete": want validate, plan or apply`},
		{[]string{"plan"}, "no file: want -f topics.yaml"},
		{[]string{"plan", "-f", good, "more"}, `"more" is too much`},
		{[]string{"plan", "-f", good, "-o", "xml"}, "want table or json"},
		{[]string{"plan", "-f", good, "-mode", "all"}, "want off, check, create or reconcile"},
		{[]string{"plan", "-f", good + "x"}, "no such file"},
		{[]string{"plan", "-force"}, "flag provided but not defined: -force"},
		{[]string{"validate", "-f", bad, "-f", good + "x"}, "no such file"},
		{[]string{"validate", "-f", bad, "-f", good + "x"}, bad + `: line 1: unknown field "nam"`},
		{[]string{"validate", "-f", good, "-f", write(t, "topics: [{name: orders, partitions: 2}]")}, "orders: declared twice"},
		{[]string{"plan", "-f", good}, "no brokers: set KAFKA_BROKERS"},
	} {
		code, stdout, stderr := ktopics(t, "", test.args...)
		if code != exitError || stdout != "" || strings.Count(stderr, test.want) != 1 {
			t.Errorf("%v: exit %d, want %d and %q\n%s%s", test.args, code, exitError, test.want, stdout, stderr)
		}
	}
	if code, stdout, stderr := ktopics(t, "", "apply", "-f", good, "-mode", "off"); code != exitInSync || !strings.Contains(stdout, "nobody was asked") {
		t.Errorf("mode off without brokers: exit %d\n%s%s", code, stdout, stderr)
	}
	for _, help := range [][]string{{"-h"}, {"plan", "-h"}} {
		if code, _, stderr := ktopics(t, "", help...); code != exitInSync || !strings.Contains(stderr, "usage: ktopics") || !strings.Contains(stderr, "-mode") {
			t.Errorf("%v: exit %d\n%s", help, code, stderr)
		}
	}
}

// What the Strimzi operator leaves alone is left alone and told; topics of two clusters are one list for nobody.
func TestResourcesOfTheOperatorAreReadAsItReadsThem(t *testing.T) {
	resource := func(name, metadata string) string {
		return write(t, "apiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata: {name: "+name+", "+metadata+"}\nspec: {config: null}\n")
	}
	east := resource("east-orders", "labels: {strimzi.io/cluster: east}")
	west := resource("west-orders", "labels: {strimzi.io/cluster: west}")
	dying := resource("dying", "labels: {strimzi.io/cluster: east}, deletionTimestamp: 2026-11-25T14:00:00Z")
	code, stdout, stderr := ktopics(t, "", "validate", "-f", east, "-f", dying)
	if code != exitInSync || !strings.Contains(stdout, "east-orders") || strings.Contains(stdout, "dying") || !strings.Contains(stderr, `KafkaTopic "dying" is skipped`) {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	code, _, stderr = ktopics(t, "", "validate", "-f", east, "-f", west)
	if code != exitError || !strings.Contains(stderr, "-cluster NAME") || !strings.Contains(stderr, "west") {
		t.Errorf("two clusters: exit %d\n%s", code, stderr)
	}
	code, stdout, stderr = ktopics(t, "", "validate", "-cluster", "west", "-f", east, "-f", west)
	if code != exitInSync || !strings.Contains(stdout, "west-orders") || strings.Contains(stdout, "east-orders") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr = ktopics(t, "", "validate", "-cluster", "north", "-f", east, "-f", west); code != exitError || !strings.Contains(stderr, "skipped") {
		t.Errorf("a cluster that no file names: exit %d\n%s", code, stderr)
	}
}
