package manifest_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"github.com/skeji/kafka/topics"
	"github.com/skeji/kafka/topics/manifest"
)

// A topic list that services share, as a file. In a service, go:embed and LoadFS make it a part of the program.
func ExampleLoadFS() {
	list, err := manifest.LoadFS(os.DirFS("../../examples"), "topics.yaml")
	if err != nil {
		log.Fatal(err)
	}
	if err := list.Validate(); err != nil {
		log.Fatal(err)
	}
	for _, topic := range list {
		fmt.Println(topic.Name, topic.Partitions, topic.Config["retention.ms"])
	}
	// Output:
	// gw-to-scrub-layer 12 604800000
	// pipeline-executor-to-bookings 12 604800000
	// bookings-to-pipeline-executor 12 604800000
	// dlq-domain-services 12 1209600000
	// dlq-pipeline-executor 12 1209600000
}

// The list of a Go program for the operator that manages the topics; services then run in mode check.
func ExampleWriteStrimzi() {
	list := topics.List{topics.New("orders_created", 6).WithReplicationFactor(3).WithRetention(7 * 24 * time.Hour)}
	if err := manifest.WriteStrimzi(os.Stdout, list, "my-cluster"); err != nil {
		log.Fatal(err)
	}
	// Output:
	// apiVersion: kafka.strimzi.io/v1
	// kind: KafkaTopic
	// metadata:
	//   name: orders-created-ef60275a
	//   labels:
	//     strimzi.io/cluster: my-cluster
	// spec:
	//   topicName: orders_created
	//   partitions: 6
	//   replicas: 3
	//   config:
	//     retention.ms: 604800000
}
