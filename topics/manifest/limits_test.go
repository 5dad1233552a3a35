package manifest_test

import (
	"math"
	"strings"
	"testing"

	"github.com/skeji/kafka/topics/manifest"
)

// TestNumbersFitKafkasFields loads the largest numbers that Kafka's protocol can hold. One more would overflow.
func TestNumbersFitKafkasFields(t *testing.T) {
	const (
		plain   = "topics:\n- name: a\n  partitions: PARTITIONS\n  replicationFactor: REPLICAS\n"
		strimzi = "apiVersion: kafka.strimzi.io/v1\nkind: KafkaTopic\nmetadata: {name: a}\nspec:\n  partitions: PARTITIONS\n  replicas: REPLICAS\n"
	)
	for _, text := range []string{plain, strimzi} {
		list, err := manifest.Load(strings.NewReader(strings.NewReplacer("PARTITIONS", "2147483647", "REPLICAS", "32767").Replace(text)))
		if err != nil || list[0].Partitions != math.MaxInt32 || list[0].ReplicationFactor != math.MaxInt16 {
			t.Errorf("the largest numbers: %+v, %v", list, err)
		}
		_, err = manifest.Load(strings.NewReader(strings.NewReplacer("PARTITIONS", "2147483648", "REPLICAS", "32768").Replace(text)))
		for _, want := range []string{"want a whole number from 1 to 2147483647", "want a whole number from 1 to 32767"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("one more than the largest: %v, want %q", err, want)
			}
		}
	}
}
