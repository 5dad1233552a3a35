// Package cluster breaks and mends the brokers of a test cluster, and reads what its coordinators have written down.
package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Cluster is the cluster of KAFKA_TEST_CLUSTER_BROKERS, whose brokers are numbered in the list's order.
type Cluster struct {
	Brokers []string

	control string
	client  *kgo.Client
	admin   *kadm.Client
	mu      sync.Mutex
	broken  map[int]string // by number: the verb that mends it
}

// Brokers is the bootstrap list of KAFKA_TEST_CLUSTER_BROKERS; empty if that names no cluster.
func Brokers() (brokers []string) {
	for broker := range strings.SplitSeq(os.Getenv("KAFKA_TEST_CLUSTER_BROKERS"), ",") {
		if broker = strings.TrimSpace(broker); broker != "" {
			brokers = append(brokers, broker)
		}
	}
	return brokers
}

// Find returns the cluster, and skips the test where none can be broken. What is broken at the test's end is mended.
func Find(t *testing.T) *Cluster {
	t.Helper()
	c := &Cluster{Brokers: Brokers(), control: os.Getenv("KAFKA_TEST_CLUSTER_CONTROL"), broken: map[int]string{}}
	if c.control == "" || len(c.Brokers) < 3 {
		t.Skip("SKIPPED: no cluster to break: set KAFKA_TEST_CLUSTER_BROKERS and KAFKA_TEST_CLUSTER_CONTROL")
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	c.client, c.admin = client, kadm.NewClient(client)
	t.Cleanup(func() {
		c.Mend(t)
		client.Close()
	})
	c.Mend(t)
	return c
}

// Kill ends a broker's process as a crash would.
func (c *Cluster) Kill(t testing.TB, broker int) { c.do(t, "kill", broker, "revive") }

// Freeze stops a broker's process as a hang would: its connections stay open.
func (c *Cluster) Freeze(t testing.TB, broker int) { c.do(t, "freeze", broker, "thaw") }

// Revive starts a killed broker on its old data.
func (c *Cluster) Revive(t testing.TB, broker int) { c.do(t, "revive", broker, "") }

// Thaw lets a frozen broker go on.
func (c *Cluster) Thaw(t testing.TB, broker int) { c.do(t, "thaw", broker, "") }

func (c *Cluster) do(t testing.TB, verb string, broker int, mend string) {
	t.Helper()
	if err := c.call(verb, broker); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken[broker] = mend; mend == "" {
		delete(c.broken, broker)
	}
}

func (c *Cluster) call(verb string, broker int) error {
	if output, err := exec.Command(c.control, verb, fmt.Sprint(broker)).CombinedOutput(); err != nil {
		return fmt.Errorf("%s broker %d: %w: %s", verb, broker, err, output)
	}
	return nil
}

// Mend mends what is broken, and waits until all replicas are in sync.
func (c *Cluster) Mend(t testing.TB) {
	t.Helper()
	c.Restore(t)
	c.AwaitInSync(t)
}

// Restore mends what is broken. A broker may take longer to start than the program waits for it: whether it comes back is what
// AwaitInSync finds out.
func (c *Cluster) Restore(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	broken := c.broken
	c.broken = map[int]string{}
	c.mu.Unlock()
	for broker, verb := range broken {
		if err := c.call(verb, broker); err != nil {
			t.Log(err)
		}
	}
}

// AwaitInSync waits until all replicas are in sync, so that another broker may be lost.
func (c *Cluster) AwaitInSync(t testing.TB) {
	t.Helper()
	const patience = 4 * time.Minute
	deadline := time.Now().Add(patience)
	for why := c.unhealthy(); why != ""; why = c.unhealthy() {
		if time.Now().After(deadline) {
			t.Fatalf("the cluster does not recover: %s", why)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// unhealthy says which replica is not in sync; "" if all are.
func (c *Cluster) unhealthy() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	metadata, err := c.admin.Metadata(ctx) // internal topics too
	if err != nil {
		return err.Error()
	}
	if len(metadata.Brokers) < len(c.Brokers) {
		return fmt.Sprintf("%d brokers", len(metadata.Brokers))
	}
	for _, topic := range metadata.Topics {
		for _, partition := range topic.Partitions {
			if partition.Err != nil || partition.Leader < 0 || len(partition.ISR) < len(partition.Replicas) {
				return fmt.Sprintf("%s-%d: leader %d, in sync %v of %v", topic.Topic, partition.Partition, partition.Leader, partition.ISR, partition.Replicas)
			}
		}
	}
	return ""
}

// Leader returns the number of the broker that leads a partition; -1: none is known.
func (c *Cluster) Leader(ctx context.Context, topic string, partition int32) int {
	metadata, err := c.admin.Metadata(ctx, topic)
	if err != nil {
		return -1
	}
	at, ok := metadata.Topics[topic].Partitions[partition]
	if !ok {
		return -1
	}
	return c.number(metadata.Brokers, at.Leader)
}

// Controller returns the number of the active controller's broker; -1: none is known.
func (c *Cluster) Controller(ctx context.Context) int {
	request := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, c.client)
	if err != nil || len(response.Topics) == 0 || len(response.Topics[0].Partitions) == 0 {
		return -1
	}
	brokers, err := c.admin.ListBrokers(ctx)
	if err != nil {
		return -1
	}
	return c.number(brokers, response.Topics[0].Partitions[0].LeaderID)
}

// Coordinator returns the number of the broker that coordinates a group; -1: none is known.
func (c *Cluster) Coordinator(ctx context.Context, group string) int {
	found := c.admin.FindGroupCoordinators(ctx, group)
	if at, ok := found[group]; ok && at.Err == nil {
		return slices.Index(c.Brokers, fmt.Sprintf("%s:%d", at.Host, at.Port))
	}
	return -1
}

func (c *Cluster) number(brokers kadm.BrokerDetails, id int32) int {
	for _, broker := range brokers {
		if broker.NodeID == id {
			return slices.Index(c.Brokers, fmt.Sprintf("%s:%d", broker.Host, broker.Port))
		}
	}
	return -1
}
