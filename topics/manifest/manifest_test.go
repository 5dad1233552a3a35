package manifest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
	"github.com/skeji/kafka/topics/manifest"
)

const plainText = `# comments alone make a document, too
---
topics:
  - name: orders
    partitions: 6
    replicationFactor: 3
    allowGrow: true
    config:
      retention.ms: 604800000
      max.message.bytes: 9007199254740993   # more digits than a float64 holds
      min.cleanable.dirty.ratio: 0.50
      preallocate: FALSE
      cleanup.policy: [delete, compact]
      compression.type: "1e3"
  - name: "123"
---
topics: [{name: json, partitions: 1}]
`

const strimziText = `apiVersion: kafka.strimzi.io/v1beta2
kind: KafkaTopic
metadata:
  name: orders-created
  namespace: kafka
  labels: {strimzi.io/cluster: my-cluster}
spec:
  topicName: orders_created
  partitions: 3
  replicas: 2
  config:
    retention.ms: 604800000
status: {observedGeneration: 1}
---
apiVersion: kafka.strimzi.io/v1
kind: KafkaUser
metadata: {name: somebody}
spec: {authentication: {type: tls}}
---
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopicList
items:
  - apiVersion: kafka.strimzi.io/v1
    kind: KafkaTopic
    metadata: {name: payments, uid: 1, resourceVersion: "2"}
    spec: {}
`

var (
	plainList = topics.List{
		{Name: "orders", Partitions: 6, ReplicationFactor: 3, AllowGrow: true, Config: map[string]string{
			"retention.ms": "604800000", "max.message.bytes": "9007199254740993", "min.cleanable.dirty.ratio": "0.50",
			"preallocate": "false", "cleanup.policy": "delete,compact", "compression.type": "1e3",
		}},
		{Name: "123"},
		{Name: "json", Partitions: 1},
	}
	strimziList = topics.List{
		{Name: "orders_created", Partitions: 3, ReplicationFactor: 2, Config: map[string]string{"retention.ms": "604800000"}},
		{Name: "payments"},
	}
)

func TestBothFormatsAreRead(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       topics.List
	}{
		{"plain", plainText, plainList}, {"strimzi", strimziText, strimziList},
		{"both in one file", plainText + "---\n" + strimziText, append(plainList[:3:3], strimziList...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, err := manifest.Load(strings.NewReader(test.text))
			if err != nil || !reflect.DeepEqual(list, test.want) {
				t.Errorf("%+v, %v\nwant %+v", list, err, test.want)
			}
		})
	}
	if list, err := manifest.LoadStrimzi(strings.NewReader(strimziText)); err != nil || !reflect.DeepEqual(list, strimziList) {
		t.Errorf("LoadStrimzi: %+v, %v", list, err)
	}
	if _, err := manifest.LoadStrimzi(strings.NewReader(plainText)); err == nil || !strings.Contains(err.Error(), "line 3: no Kubernetes resource") {
		t.Errorf("LoadStrimzi takes the plain format: %v", err)
	}
}

func TestMistakesHaveTheirLine(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"topics:\n- name: a\n  partition: 3\n  replicas: 2\n", []string{
			`line 3: unknown field "partition": want one of allowGrow, config, name, partitions, replicationFactor`, `line 4: unknown field "replicas"`,
		}},
		{"topics:\n- partitions: 1\n", []string{"line 2: a topic without a name"}},
		{"topics:\n- name: 123\n", []string{`line 2: want text: write "123" if it is meant as text`}},
		{"topics:\n- name: [a]\n", []string{"line 2: want text"}},
		{"topics:\n- name: a\n  partitions: 0\n  replicationFactor: 1.5\n  allowGrow: yes\n", []string{"line 3: want a whole number from 1", "line 4: want a whole number", "line 5: want true or false"}},
		{"topics:\n- name: a\n  partitions: 99999999999\n", []string{"line 3: want a whole number from 1 to 2147483647"}},
		{"topics:\n- name: a\n  config:\n    a: yes\n    b: 1e3\n    c: 0644\n    d: 0x10\n    e:\n    f: {}\n    g: .inf\n    h: 1_000\n    i: 2001-01-01\n", []string{
			`line 4: readers of YAML disagree about yes`, "line 5: ", "line 6: ", "line 7: ", "line 8: no value: leave the setting out", "line 9: want one value", "line 10: ", "line 11: ", "line 12: ",
		}},
		{"topics:\n- name: a\n  name: b\n", []string{`line 3: field "name" stands twice`}},
		{"topics: a\n", []string{"line 1: want a list"}},
		{"topics:\n- a\n", []string{"line 2: want a mapping"}},
		{"topic:\n- name: a\n", []string{`line 1: unknown field "topic": want one of topics`}},
		{"- a\n", []string{"line 1: want a mapping"}},
		{"a: [\n", []string{"line 1"}},
		{"", []string{"no topic in it"}},
		{"kind: KafkaTopic\napiVersion: kafka.strimzi.io/v1alpha1\n", []string{`line 1: KafkaTopic of apiVersion "kafka.strimzi.io/v1alpha1": want kafka.strimzi.io/v1 or kafka.strimzi.io/v1beta2`}},
		{"apiVersion: kafka.strimzi.io/v1\n", []string{"line 1: no Kubernetes resource: it has no kind"}},
		{"apiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata: {nam: a}\nspec:\n  partition: 1\n", []string{`line 3: unknown field "nam"`, `line 5: unknown field "partition"`, "line 1: a KafkaTopic without metadata.name"}},
		{"apiVersion: kafka.strimzi.io/v1\nkind: KafkaUser\n", []string{"no topic in it"}},
		{"kind: List\napiVersion: v1\nitems:\n- kind: List\n", []string{"line 4: a List in a List"}},
		{"apiVersion: kafka.strimzi.io/v1\nkind: Kafkatopic\n", []string{`line 1: kind "Kafkatopic": is KafkaTopic meant?`}},
		{"topics:\n- name: on\n- name: ~\n", []string{`line 2: want text: write "on"`, "line 3: want text"}},
	} {
		list, err := manifest.Load(strings.NewReader(test.text))
		if err == nil || list != nil {
			t.Errorf("%q is read as %+v", test.text, list)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error lacks %q:\n%v", test.text, want, err)
			}
		}
		if n := strings.Count(err.Error(), "\n") + 1; n != len(test.want) {
			t.Errorf("%q: %d mistakes, want %d:\n%v", test.text, n, len(test.want), err)
		}
	}
}

func TestAnchorsAndMergesWork(t *testing.T) {
	list, err := manifest.Load(strings.NewReader(`
topics:
  - &base {name: a, partitions: 6, config: &config {retention.ms: 1000, segment.ms: 5}}
  - {<<: *base, name: b, config: {<<: *config, retention.ms: 2000}}
  - {<<: [{partitions: 1}, {partitions: 2}], name: c}
`))
	want := topics.List{
		{Name: "a", Partitions: 6, Config: map[string]string{"retention.ms": "1000", "segment.ms": "5"}},
		{Name: "b", Partitions: 6, Config: map[string]string{"retention.ms": "2000", "segment.ms": "5"}},
		{Name: "c", Partitions: 1},
	}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v\nwant %+v", list, err, want)
	}
	// A mapping that merges itself ends, and so do those that would merge each other a million times.
	var million strings.Builder
	million.WriteString("x-0: &a0 {}\n")
	for i := range 25 {
		million.WriteString(fmt.Sprintf("x-%d: &a%d {<<: [*a%d, *a%d]}\n", i+1, i+1, i, i))
	}
	for text, want := range map[string]string{
		"topics:\n- &a {<<: *a, name: x}\n":                   "line 2: a mapping that merges itself",
		million.String() + "topics:\n- {<<: *a25, name: x}\n": "more than 100000 merges",
	} {
		if _, err := manifest.Load(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.50q: %v", text, err)
		}
	}
	// Many topics may merge one mapping, and its mistake is told once.
	many, bad := "x-week: &week {retention.ms: 604800000}\ntopics:\n", "x-week: &week {retention.ms: yes}\ntopics:\n"
	for i := range 200 {
		line := fmt.Sprintf("- {name: t%d, config: {<<: *week, segment.ms: 5}}\n", i)
		many, bad = many+line, bad+line
	}
	list, err = manifest.Load(strings.NewReader(many))
	if err != nil || len(list) != 200 || list[199].Config["retention.ms"] != "604800000" {
		t.Errorf("%d topics, %v", len(list), err)
	}
	if _, err := manifest.Load(strings.NewReader(bad)); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	// Resources, too.
	resources, err := manifest.Load(strings.NewReader(`apiVersion: v1
kind: List
items:
- &base {apiVersion: &v kafka.strimzi.io/v1, kind: &k KafkaTopic, metadata: {name: a}, spec: {partitions: 3}}
- {apiVersion: *v, kind: *k, metadata: {name: b}}
- {<<: *base, metadata: {name: c}}
`))
	if want := (topics.List{{Name: "a", Partitions: 3}, {Name: "b"}, {Name: "c", Partitions: 3}}); err != nil || !reflect.DeepEqual(resources, want) {
		t.Errorf("%+v, %v\nwant %+v", resources, err, want)
	}
}

func TestFilesAreNamedInErrors(t *testing.T) {
	folder := fstest.MapFS{
		"good.yaml":    {Data: []byte("topics: [{name: a}]")},
		"k8s/one.yaml": {Data: []byte(strimziText)},
		"k8s/bad.yaml": {Data: []byte("topics: [{nam: a}]")},
	}
	list, err := manifest.LoadFS(folder, "good.yaml", "k8s/o*.yaml")
	if err != nil || len(list) != 3 || list[0].Name != "a" {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = manifest.LoadFS(folder, "*/*.yaml", "none*.yaml", "[")
	for _, want := range []string{`k8s/bad.yaml: line 1: unknown field "nam"`, `pattern "none*.yaml": matches no file`, `pattern "["`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	name := filepath.Join(t.TempDir(), "topics.yaml")
	if err := os.WriteFile(name, []byte("topics: [{nam: a}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.LoadFile(name); err == nil || !strings.Contains(err.Error(), name+": line 1: ") {
		t.Errorf("LoadFile: %v", err)
	}
	if _, err := manifest.LoadFile(name + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadFile of nothing: %v", err)
	}
}

func TestWrittenStrimziIsReadBack(t *testing.T) {
	long := strings.Repeat("X", 249)
	list := topics.List{
		topics.New("orders.created", 6).WithReplicationFactor(3).WithConfig("retention.ms", "604800000").
			WithConfig("min.cleanable.dirty.ratio", "0.50").WithConfig("cleanup.policy", "delete,compact").
			WithConfig("preallocate", "true").WithConfig("compression.type", "zstd"),
		topics.New("Orders_Created", 1).WithConfig("a", "yes").WithConfig("b", "1e3").WithConfig("c", "null").WithConfig("d", "0644").WithConfig("e", "x: y # z").WithConfig("f", ""),
		topics.New("orders-created", 1), topics.New("orders-Created", 1), topics.New("-", 1), topics.New("_x_", 1), topics.New(long, 0),
	}.WithDeadLetters(kafka.NewConsumerConfig("orders.created", "billing"))
	var text bytes.Buffer
	if err := manifest.WriteStrimzi(&text, list, "my-cluster"); err != nil {
		t.Fatal(err)
	}
	read, err := manifest.LoadStrimzi(bytes.NewReader(text.Bytes()))
	want, resolveErr := list.Resolve()
	if err != nil || resolveErr != nil || !reflect.DeepEqual(read, want) {
		t.Errorf("%v %v\n%+v\nwant\n%+v\n%s", err, resolveErr, read, want, text.String())
	}
	resources := map[string]bool{}
	for line := range strings.Lines(text.String()) {
		if name, ok := strings.CutPrefix(line, "  name: "); ok {
			name = strings.Trim(name, "\"\n")
			if resources[name] || strings.ToLower(name) != name || strings.ContainsAny(name, "_") || len(name) > 253 {
				t.Errorf("resource name %q is taken, or none that Kubernetes takes", name)
			}
			resources[name] = true
		}
	}
	if len(resources) != len(list) || !resources["orders.created"] {
		t.Errorf("resources %v", resources)
	}
	if strings.Count(text.String(), "strimzi.io/cluster: my-cluster") != len(list) || strings.Count(text.String(), "apiVersion: kafka.strimzi.io/v1\n") != len(list) {
		t.Errorf("label or version is missing:\n%s", text.String())
	}
	if err := manifest.WriteStrimzi(&text, list, ""); err == nil {
		t.Error("no cluster is no error")
	}
	if err := manifest.WriteStrimzi(&text, topics.List{topics.New("b d", 1)}, "my-cluster"); err == nil {
		t.Error("an invalid list is no error")
	}
}

func FuzzLoad(f *testing.F) {
	for _, text := range []string{plainText, strimziText, "topics:\n- &a {<<: *a, name: x}\n", "a: &a [*a]", "---\n---\n", "? [a]\n: b\n", "topics: [{name: a, config: {<<: [1]}}]", "kind: [a]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := manifest.Load(bytes.NewReader(text))
		if err != nil {
			if list != nil || !strings.HasPrefix(err.Error(), "manifest: ") {
				t.Errorf("list %v with error %v", list, err)
			}
			return
		}
		if list.Validate() != nil {
			return
		}
		// What is read can be written, and is read as the same.
		var written bytes.Buffer
		if err := manifest.WriteStrimzi(&written, list, "c"); err != nil {
			t.Fatal(err)
		}
		want, _ := list.Resolve()
		again, err := manifest.LoadStrimzi(&written)
		if err != nil || len(again) != len(want) {
			t.Fatalf("%v: %+v, want %+v", err, again, want)
		}
		for i := range again {
			if again[i].Name != want[i].Name || again[i].Partitions != want[i].Partitions || len(again[i].Config) != len(want[i].Config) {
				t.Errorf("%+v, want %+v", again[i], want[i])
			}
			for key, value := range want[i].Config {
				if again[i].Config[key] != value {
					t.Errorf("%s: %q, want %q", key, again[i].Config[key], value)
				}
			}
		}
	})
}
