package manifest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/skeji/kafka/topics"
)

const (
	strimziGroup   = "kafka.strimzi.io/"
	strimziV1      = strimziGroup + "v1"
	strimziV1Beta2 = strimziGroup + "v1beta2" // until Strimzi 1.0
	clusterLabel   = "strimzi.io/cluster"

	managedAnnotation = "strimzi.io/managed"
	pausedAnnotation  = "strimzi.io/pause-reconciliation"
)

// ErrClusters says that resources belong to several Kafka clusters, and that none of them is named.
var ErrClusters = errors.New("resources of several clusters, which are not one list: say which cluster is meant")

// ErrAllSkipped says that there are KafkaTopic resources, but none that is meant. [Loader.LoadFS] returns it only if that is so in all
// files.
var ErrAllSkipped = errors.New("all KafkaTopic resources are skipped")

// Skipped is a KafkaTopic resource that is no topic of the list, since the operator would not create or change it.
type Skipped struct {
	File     string // "" for a reader
	Line     int    // where the resource begins
	Resource string // metadata.name
	Topic    string // its name in Kafka
	Why      string // such as: its annotation strimzi.io/managed is false
}

// LoadStrimzi reads the KafkaTopic resources (kafka.strimzi.io/v1 and v1beta2) of r, in as many documents as there are,
// and of lists, such as kubectl prints. Resources of other kinds are skipped, and so are those that the operator would not create or
// change: see [Loader]. A topic's name is spec.topicName or, if there is none, metadata.name.
func LoadStrimzi(r io.Reader) (topics.List, error) { return new(Loader).load(r, "", strimzi) }

// strimzi reads a resource, or a list of them.
func strimzi(d *document, node *yaml.Node) (list topics.List) {
	version, kind := header(node, "apiVersion"), header(node, "kind")
	switch {
	case kind == "":
		d.addf(node, "no Kubernetes resource: it has no kind")
	case kind == "List" && version == "v1", kind == "KafkaTopicList":
		d.mapping(node, fields{
			"apiVersion": skip, "kind": skip, "metadata": skip,
			"items": func(node *yaml.Node) {
				d.sequence(node, func(node *yaml.Node) {
					if strings.HasSuffix(header(node, "kind"), "List") {
						d.addf(node, "a List in a List")
						return
					}
					list = append(list, strimzi(d, node)...)
				})
			},
		})
	case kind == "KafkaTopic" && version != strimziV1 && version != strimziV1Beta2:
		d.addf(node, "KafkaTopic of apiVersion %q: want %s or %s", version, strimziV1, strimziV1Beta2)
	case kind == "KafkaTopic":
		if topic, ours := kafkaTopic(d, node); ours {
			list = append(list, topic)
		}
	case strings.HasPrefix(version, strimziGroup) && strings.Contains(strings.ToLower(kind), "topic"):
		d.addf(node, "kind %q: is KafkaTopic meant?", kind)
	}
	return list
}

// header returns a field of a resource that decides how the rest is read. Faults are left to the reading.
func header(node *yaml.Node, name string) (text string) {
	newDocument("", nil).each(node, func(key, value *yaml.Node) {
		if key.Value == name {
			text = value.Value
		}
	})
	return text
}

func skip(*yaml.Node) {}

// metadata is what a resource says of itself.
type metadata struct {
	name, cluster     string
	deleted           bool
	unmanaged, paused bool
}

// kafkaTopic returns false for a resource that the operator would leave alone.
func kafkaTopic(d *document, node *yaml.Node) (topic topics.Topic, ours bool) {
	var about metadata
	spec := fields{
		"topicName":  orNull(func(node *yaml.Node) { topic.Name = d.text(node) }),
		"partitions": orNull(func(node *yaml.Node) { topic.Partitions = int32(d.integer(node, 1<<31-1)) }),
		"replicas":   orNull(func(node *yaml.Node) { topic.ReplicationFactor = int16(d.integer(node, 1<<15-1)) }),
		"config":     orNull(func(node *yaml.Node) { topic.Config = d.settings(node) }),
	}
	d.mapping(node, fields{
		"apiVersion": skip, "kind": skip, "status": skip,
		"metadata": func(node *yaml.Node) { about = readMetadata(d, node) }, // that of a merged mapping is replaced
		"spec": func(node *yaml.Node) {
			topic = topics.Topic{}
			orNull(func(node *yaml.Node) { d.mapping(node, spec) })(node)
		},
	})
	if topic.Name == "" {
		topic.Name = about.name
	}
	if topic.Name == "" {
		d.addf(node, "a KafkaTopic without metadata.name")
	}
	why := d.whyNot(node, about)
	if why != "" {
		d.skips = append(d.skips, Skipped{File: d.file, Line: node.Line, Resource: about.name, Topic: topic.Name, Why: why})
	}
	return topic, why == ""
}

func readMetadata(d *document, node *yaml.Node) (about metadata) {
	texts := func(known map[string]func(text string)) func(*yaml.Node) {
		return orNull(func(node *yaml.Node) {
			d.each(node, func(key, value *yaml.Node) {
				if take := known[key.Value]; take != nil {
					take(value.Value)
				}
			})
		})
	}
	known := fields{
		"name":              func(node *yaml.Node) { about.name = d.text(node) },
		"deletionTimestamp": func(node *yaml.Node) { about.deleted = node.Tag != "!!null" },
		"labels":            texts(map[string]func(string){clusterLabel: func(text string) { about.cluster = text }}),
		"annotations": texts(map[string]func(string){
			managedAnnotation: func(text string) { about.unmanaged = strings.EqualFold(text, "false") },
			pausedAnnotation:  func(text string) { about.paused = strings.EqualFold(text, "true") },
		}),
	}
	// All else that Kubernetes knows; what the API server adds is in what kubectl prints.
	for _, name := range []string{
		"creationTimestamp", "deletionGracePeriodSeconds", "finalizers", "generateName", "generation", "managedFields", "namespace",
		"ownerReferences", "resourceVersion", "selfLink", "uid",
	} {
		known[name] = skip
	}
	d.mapping(node, known)
	return about
}

// whyNot returns why the operator of the cluster that is meant would leave the resource alone, or "".
func (d *document) whyNot(node *yaml.Node, about metadata) string {
	switch meant := d.loader.Cluster; {
	case meant != "" && about.cluster == "":
		return fmt.Sprintf("it has no label %s, and the cluster %q is meant", clusterLabel, meant)
	case meant != "" && about.cluster != meant:
		return fmt.Sprintf("its label %s is %q, and the cluster %q is meant", clusterLabel, about.cluster, meant)
	case about.deleted:
		return "it is being deleted: it has a metadata.deletionTimestamp"
	case about.unmanaged:
		return "its annotation " + managedAnnotation + " is false"
	case about.paused:
		return "its annotation " + pausedAnnotation + " is true"
	}
	if seen := &d.loader.seen; about.cluster != "" && *seen != about.cluster {
		if *seen != "" {
			d.addf(node, "KafkaTopic %s is of the cluster %q, an earlier one of %q: %w", about.name, about.cluster, *seen, ErrClusters)
			return ""
		}
		*seen = about.cluster
	}
	return ""
}

// kafkaTopicV1 is what WriteStrimzi writes.
type kafkaTopicV1 struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name   string            `yaml:"name"`
		Labels map[string]string `yaml:"labels"`
	} `yaml:"metadata"`
	Spec struct {
		TopicName  string                `yaml:"topicName,omitempty"`
		Partitions int32                 `yaml:"partitions,omitempty"`
		Replicas   int16                 `yaml:"replicas,omitempty"`
		Config     map[string]*yaml.Node `yaml:"config,omitempty"`
	} `yaml:"spec"`
}

// WriteStrimzi writes the list as KafkaTopic resources of kafka.strimzi.io/v1, for the Kafka resource that cluster names;
// their namespace is kubectl's to give. Dead letter topics are as [topics.List.Resolve] has them. A name that Kubernetes
// would not take gets a resource name of its own, always the same, and stands in spec.topicName. AllowGrow has no
// counterpart: Strimzi always grows.
func WriteStrimzi(w io.Writer, list topics.List, cluster string) error {
	if cluster == "" {
		return errors.New("manifest: no cluster: want the name of the Kafka resource that the topics belong to")
	}
	list, err := list.Resolve()
	if err != nil {
		return err
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	for _, topic := range list {
		resource := kafkaTopicV1{APIVersion: strimziV1, Kind: "KafkaTopic"}
		resource.Metadata.Name, resource.Metadata.Labels = resourceName(topic.Name), map[string]string{clusterLabel: cluster}
		if resource.Metadata.Name != topic.Name {
			resource.Spec.TopicName = topic.Name
		}
		resource.Spec.Partitions, resource.Spec.Replicas = topic.Partitions, topic.ReplicationFactor
		resource.Spec.Config = make(map[string]*yaml.Node, len(topic.Config))
		for key, value := range topic.Config {
			resource.Spec.Config[key] = scalar(value)
		}
		if err := encoder.Encode(resource); err != nil {
			return fmt.Errorf("manifest: write %s: %w", topic.Name, err)
		}
	}
	return encoder.Close()
}

// dns1123 is a Kubernetes resource's name.
var dns1123 = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// resourceName returns the topic's name or, where Kubernetes would not take that, one that is like it and has a part of
// its hash, so that a_b and a-b stay two.
func resourceName(topic string) string {
	if dns1123.MatchString(topic) {
		return topic
	}
	const longest = 200 // of Kubernetes' 253
	name := strings.FieldsFunc(strings.ToLower(topic[:min(len(topic), longest)]), func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r)
	})
	hash := sha256.Sum256([]byte(topic))
	return strings.Join(append(slices.Clip(name), fmt.Sprintf("%x", hash[:4])), "-")
}

// plainWords need no quotes whatever the reader.
var plainWords = regexp.MustCompile(`^[a-z]{4,}([,-][a-z]+)*$`)

// scalar writes numbers and booleans as such and quotes what readers could take for something else.
func scalar(value string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Style: yaml.DoubleQuotedStyle}
	switch {
	case integerText.MatchString(value):
		node.Tag, node.Style = "!!int", 0
	case decimalText.MatchString(value):
		node.Tag, node.Style = "!!float", 0
	case value == "true", value == "false":
		node.Tag, node.Style = "!!bool", 0
	case value != "null" && plainWords.MatchString(value):
		node.Style = 0
	}
	return node
}
