package topics

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/skeji/kafka/internal/topicname"
)

// internalTopics are Kafka's own, which its brokers make.
var internalTopics = []string{"__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"}

// Validate finds what no broker would take and what can't be meant, all of it at once, and asks nobody: names, numbers,
// settings, one topic declared twice in two ways, and names that differ in '.' and '_' alone, which collide in the brokers'
// metrics. What only the brokers know, such as the names of settings, is found by [List.Plan].
func (l List) Validate() error {
	_, err := l.merged()
	return err
}

// merged returns the valid list with each topic once, in the list's order.
func (l List) merged() (List, error) {
	var faults []error
	addf := func(topic, format string, args ...any) {
		faults = append(faults, fmt.Errorf("topics: "+cmp.Or(topic, `""`)+": "+format, args...))
	}
	var merged List
	position := map[string]int{}  // in merged, by name
	folded := map[string]string{} // names as the brokers' metrics see them
	for _, topic := range l {
		i, again := position[topic.Name]
		if again {
			switch earlier := &merged[i]; {
			case earlier.lettersOf != nil && topic.lettersOf != nil:
				earlier.lettersOf = union(earlier.lettersOf, topic.lettersOf)
			case earlier.lettersOf != nil: // what is declared wins over what is derived
				*earlier = topic
			case topic.lettersOf == nil && !earlier.equal(topic):
				addf(topic.Name, "declared twice, in two ways: keep one")
			}
			continue
		}
		position[topic.Name] = len(merged)
		merged = append(merged, topic)
		fold := strings.ReplaceAll(topic.Name, ".", "_")
		if other, taken := folded[fold]; taken {
			addf(topic.Name, "collides with %s: '.' and '_' are one character in the brokers' metrics; rename one", other)
		}
		folded[fold] = topic.Name
	}
	for _, topic := range merged {
		for _, fault := range topic.faults() {
			addf(topic.Name, "%w", fault)
		}
	}
	return merged, errors.Join(faults...)
}

func (t Topic) equal(o Topic) bool {
	return t.Partitions == o.Partitions && t.ReplicationFactor == o.ReplicationFactor && t.AllowGrow == o.AllowGrow &&
		maps.Equal(t.Config, o.Config)
}

func (t Topic) faults() (faults []error) {
	addf := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := topicname.Check(t.Name); err != nil {
		addf("name %w", err)
	}
	for _, source := range t.lettersOf {
		if err := topicname.Check(source); err != nil {
			addf("it is to take the dead letters of a topic whose name %w", err)
		}
	}
	if slices.Contains(internalTopics, t.Name) {
		addf("this topic is Kafka's own: the brokers make it")
	}
	if t.Partitions < 0 {
		addf("partitions is %d: want 1 or more, or 0 for the brokers' default", t.Partitions)
	}
	if t.ReplicationFactor < 0 {
		addf("replication factor is %d: want 1 or more, or 0 for the brokers' default", t.ReplicationFactor)
	}
	for _, key := range slices.Sorted(maps.Keys(t.Config)) {
		value := t.Config[key]
		// All of Kafka's settings with these endings are whole numbers.
		if strings.HasSuffix(key, ".ms") || strings.HasSuffix(key, ".bytes") || key == minISRKey {
			if _, err := strconv.ParseInt(value, 10, 64); err != nil {
				addf("%s is %q: want a whole number, such as 604800000 for 7 days in milliseconds", key, value)
			}
		}
		if key == "" || strings.TrimSpace(key) != key {
			addf("setting %q: a name is empty or has spaces around it", key)
		}
	}
	if isr, err := strconv.Atoi(t.Config[minISRKey]); err == nil {
		switch replicas := int(t.ReplicationFactor); {
		case isr < 1:
			addf("%s is %d: want 1 or more", minISRKey, isr)
		case replicas > 0 && isr > replicas:
			// Brokers take it and then quietly count the replicas there are.
			addf("%s is %d, more than the replication factor of %d: it promises copies that can't be had", minISRKey, isr, replicas)
		}
	}
	return faults
}

const minISRKey = "min.insync.replicas"

// union returns the items of both, sorted, each once.
func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}
