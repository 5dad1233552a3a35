package manifest_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/skeji/kafka/topics"
	"github.com/skeji/kafka/topics/manifest"
)

// resource is a KafkaTopic with this metadata beside its name, in YAML's flow style.
func resource(name, metadata string) string {
	return fmt.Sprintf("---\napiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata: {name: %s%s}\nspec: {partitions: 3}\n", name, metadata)
}

// What the operator would not create or change is not read as a topic that should be there; each is told with its
// reason.
func TestResourcesThatTheOperatorLeavesAloneAreSkipped(t *testing.T) {
	text := resource("orders", "") +
		resource("dying", `, deletionTimestamp: "2026-11-25T14:00:00Z"`) +
		resource("unmanaged", `, annotations: {strimzi.io/managed: "false"}`) +
		resource("paused", `, annotations: {strimzi.io/pause-reconciliation: "true"}`) +
		resource("managed", `, annotations: {strimzi.io/managed: "true", strimzi.io/pause-reconciliation: "false"}, deletionTimestamp: null`)
	skipped := map[string]string{}
	loader := manifest.Loader{OnSkip: func(s manifest.Skipped) { skipped[s.Resource] = s.Why }}
	list, err := loader.Load(strings.NewReader(text))
	want := topics.List{{Name: "orders", Partitions: 3}, {Name: "managed", Partitions: 3}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v\nwant %+v", list, err, want)
	}
	for name, why := range map[string]string{"dying": "deletionTimestamp", "unmanaged": "strimzi.io/managed", "paused": "strimzi.io/pause-reconciliation"} {
		if !strings.Contains(skipped[name], why) {
			t.Errorf("%s is skipped because %q, want %s named", name, skipped[name], why)
		}
	}
	if len(skipped) != 3 {
		t.Errorf("skipped %v", skipped)
	}
	if list, err := manifest.Load(strings.NewReader(text)); err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("without a function: %+v, %v", list, err)
	}
	// A mistake in one of them is a mistake.
	if _, err := manifest.Load(strings.NewReader(strings.ReplaceAll(text, "partitions: 3", "partition: 3"))); err == nil {
		t.Error("a skipped resource may say anything")
	}
	if _, err := manifest.Load(strings.NewReader(resource("a", ", deletionTimestamp: x"))); err == nil || !strings.Contains(err.Error(), "deletionTimestamp") {
		t.Errorf("where nothing is left: %v", err)
	}
}

// Resources of several clusters are never one list.
func TestOneClusterIsMeant(t *testing.T) {
	label := func(cluster string) string { return ", labels: {app: shop, strimzi.io/cluster: " + cluster + "}" }
	both := resource("a", label("east")) + resource("b", label("west")) + resource("c", "")
	if _, err := manifest.Load(strings.NewReader(both)); !errors.Is(err, manifest.ErrClusters) || !strings.Contains(err.Error(), "east") || !strings.Contains(err.Error(), "west") {
		t.Errorf("two clusters: %v", err)
	}
	var skipped []string
	loader := manifest.Loader{Cluster: "west", OnSkip: func(s manifest.Skipped) { skipped = append(skipped, s.Resource) }}
	list, err := loader.Load(strings.NewReader(both))
	if err != nil || len(list) != 1 || list[0].Name != "b" || !reflect.DeepEqual(skipped, []string{"a", "c"}) {
		t.Errorf("%+v, %v, skipped %v", list, err, skipped)
	}
	if _, err := (&manifest.Loader{Cluster: "north"}).Load(strings.NewReader(both)); !errors.Is(err, manifest.ErrAllSkipped) {
		t.Errorf("a cluster that no resource names: %v", err)
	}
	// Files that are read together are one list, too.
	folder := fstest.MapFS{"a.yaml": {Data: []byte(resource("a", label("east")))}, "b.yaml": {Data: []byte(resource("b", label("west")))}}
	if _, err := manifest.LoadFS(folder, "*.yaml"); !errors.Is(err, manifest.ErrClusters) || !strings.Contains(err.Error(), "b.yaml: line") {
		t.Errorf("two files: %v", err)
	}
	if list, err := (&manifest.Loader{Cluster: "east"}).LoadFS(folder, "*.yaml"); err != nil || len(list) != 1 {
		t.Errorf("two files, one cluster: %+v, %v", list, err)
	}
	if _, err := (&manifest.Loader{Cluster: "north"}).LoadFS(folder, "*.yaml"); !errors.Is(err, manifest.ErrAllSkipped) {
		t.Errorf("two files, none of the cluster: %v", err)
	}
	var one manifest.Loader
	if _, err := one.LoadFS(folder, "a.yaml"); err != nil {
		t.Error(err)
	}
	if _, err := one.LoadFS(folder, "b.yaml"); !errors.Is(err, manifest.ErrClusters) {
		t.Errorf("a loader that has read another cluster's: %v", err)
	}
	if list, err := manifest.Load(strings.NewReader(resource("a", label("east")) + resource("c", ""))); err != nil || len(list) != 2 {
		t.Errorf("a resource without the label: %+v, %v", list, err)
	}
}

// In a resource, null means that the field is not there, as it does for Kubernetes.
func TestNullIsNothingInAResource(t *testing.T) {
	for _, spec := range []string{
		"{config: null}", "{config: ~, partitions: null, replicas: null, topicName: null}", "null", "",
	} {
		text := "apiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata: {name: a, labels: null, annotations: null, creationTimestamp: null}\nspec: " + spec + "\nstatus: null\n"
		list, err := manifest.Load(strings.NewReader(text))
		if want := (topics.List{{Name: "a"}}); err != nil || !reflect.DeepEqual(list, want) {
			t.Errorf("spec %s: %+v, %v", spec, list, err)
		}
	}
	if _, err := manifest.Load(strings.NewReader("topics: [{name: a, partitions: null}]")); err == nil {
		t.Error("the plain format takes null for a number")
	}
}

// A mapping's own field replaces that of a mapping that it merges as a whole.
func TestAMergedResourceIsReplacedFieldByField(t *testing.T) {
	list, err := manifest.Load(strings.NewReader(`apiVersion: v1
kind: List
items:
- &base
  apiVersion: kafka.strimzi.io/v1
  kind: KafkaTopic
  metadata: {name: a, annotations: {strimzi.io/managed: "false"}}
  spec: {topicName: other, partitions: 3}
- {<<: *base, metadata: {name: b}}
- {<<: *base, metadata: {name: c}, spec: {replicas: 2}}
`))
	want := topics.List{{Name: "other", Partitions: 3}, {Name: "c", ReplicationFactor: 2}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v\nwant %+v", list, err, want)
	}
}
