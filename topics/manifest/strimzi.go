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
)

// LoadStrimzi reads the KafkaTopic resources (kafka.strimzi.io/v1 and v1beta2) of r, in as many documents as there are,
// and of lists, such as kubectl prints. Resources of other kinds are skipped. A topic's name is spec.topicName or, if there
// is none, metadata.name.
func LoadStrimzi(r io.Reader) (topics.List, error) { return load(r, "", strimzi) }

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
		list = append(list, kafkaTopic(d, node))
	case strings.HasPrefix(version, strimziGroup) && strings.Contains(strings.ToLower(kind), "topic"):
		d.addf(node, "kind %q: is KafkaTopic meant?", kind)
	}
	return list
}

// header returns a field of a resource that decides how the rest is read. Faults are left to the reading.
func header(node *yaml.Node, name string) (text string) {
	newDocument("").each(node, func(key, value *yaml.Node) {
		if key.Value == name {
			text = value.Value
		}
	})
	return text
}

func skip(*yaml.Node) {}

func kafkaTopic(d *document, node *yaml.Node) (topic topics.Topic) {
	resource := ""
	spec := fields{
		"topicName":  func(node *yaml.Node) { topic.Name = d.text(node) },
		"partitions": func(node *yaml.Node) { topic.Partitions = int32(d.integer(node, 1<<31-1)) },
		"replicas":   func(node *yaml.Node) { topic.ReplicationFactor = int16(d.integer(node, 1<<15-1)) },
		"config":     func(node *yaml.Node) { topic.Config = d.settings(node) },
	}
	// All that Kubernetes knows; what the API server adds is in what kubectl prints.
	metadata := fields{"name": func(node *yaml.Node) { resource = d.text(node) }}
	for _, name := range []string{
		"annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
		"generation", "labels", "managedFields", "namespace", "ownerReferences", "resourceVersion", "selfLink", "uid",
	} {
		metadata[name] = skip
	}
	d.mapping(node, fields{
		"apiVersion": skip, "kind": skip, "status": skip,
		"metadata": func(node *yaml.Node) { d.mapping(node, metadata) },
		"spec":     func(node *yaml.Node) { d.mapping(node, spec) },
	})
	if topic.Name == "" {
		topic.Name = resource
	}
	if topic.Name == "" {
		d.addf(node, "a KafkaTopic without metadata.name")
	}
	return topic
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
