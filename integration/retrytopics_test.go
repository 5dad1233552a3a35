package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

const retryingTopic = "KAFKA_TEST_RETRYING_TOPIC"

func retryingConfig(t *testing.T, topic string) kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig(topic, topic, brokers(t)...)
	cfg.MaxRetries, cfg.RetryDelays = kafka.NoRetries, []time.Duration{time.Second}
	cfg.InstanceID = "member" // its partitions wait for it, and for no timeout
	cfg.CommitInterval = 100 * time.Millisecond
	cfg.Logger = discard()
	return cfg
}

// TestRetryingMember is the process that TestRecordsThatArePutOffSurviveKills kills. Each message goes well from its retry topic, and
// is printed then.
func TestRetryingMember(t *testing.T) {
	topic := os.Getenv(retryingTopic)
	if topic == "" {
		t.Skip("runs as a child of TestRecordsThatArePutOffSurviveKills")
	}
	consumer, err := kafka.NewConsumer(retryingConfig(t, topic), func(_ context.Context, msg kafka.Message[numbered]) error {
		if msg.Topic == topic {
			time.Sleep(time.Millisecond) // so that there is work when it is killed
			return errors.New("the database is away")
		}
		fmt.Printf("handled %d\n", msg.Value.N)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := consumer.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A process that is killed while it puts records off, and while they wait, leaves all of them to the next one.
func TestRecordsThatArePutOffSurviveKills(t *testing.T) {
	notShort(t)
	t.Parallel()
	records, kills := rounds(3000, 6000), rounds(2, 4)
	topic := "retrying-" + uuid.NewString()
	cfg := retryingConfig(t, topic)
	client, err := kafka.NewClient(cfg.ClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	retry := cfg.RetryTopics()[0]
	if err := topics.Ensure(t.Context(), client, topics.New(topic, 3), topics.New(retry, 2), topics.New("dlq-"+topic, 3)); err != nil {
		t.Fatal(err)
	}
	raw, err := kgo.NewClient(kgo.SeedBrokers(brokers(t)...))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	admin := kadm.NewClient(raw)
	t.Cleanup(func() { _, _ = admin.DeleteTopics(context.Background(), topic, retry, "dlq-"+topic) })
	seeds := make([]*kgo.Record, records)
	for n := range seeds {
		seeds[n] = &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, `{"N":%d}`, n)}
	}
	if err := raw.ProduceSync(t.Context(), seeds...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	look := func(topic string) (committed, ends int64) {
		t.Helper()
		all, err := admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		var at kadm.OffsetResponses
		eventually(t, "the coordinator answers", func() bool { // a broker's first group has to wait for it
			at, err = admin.FetchOffsets(t.Context(), cfg.Group)
			return err == nil
		})
		all.Each(func(end kadm.ListedOffset) {
			ends += end.Offset
			if own, ok := at.Lookup(topic, end.Partition); ok {
				committed += own.At
			}
		})
		return committed, ends
	}

	var mu sync.Mutex
	handled := map[int]int{}
	start := func() (kill func()) {
		process := exec.Command(os.Args[0], "-test.run", "^TestRetryingMember$")
		process.Env = append(os.Environ(), retryingTopic+"="+topic, "KAFKA_TEST_CONTAINERS=off", "KAFKA_BROKERS="+strings.Join(brokers(t), ","))
		output, err := process.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { // ends with the process
			defer close(ended)
			for lines := bufio.NewScanner(output); lines.Scan(); {
				var n int
				if read, _ := fmt.Sscanf(lines.Text(), "handled %d", &n); read == 1 {
					mu.Lock()
					handled[n]++
					mu.Unlock()
				}
			}
			_ = process.Wait()
		}()
		return func() {
			_ = process.Process.Kill()
			<-ended
		}
	}
	kill := start()
	t.Cleanup(func() { kill() })
	for range kills {
		before, _ := look(topic)
		eventually(t, "the member puts records off", func() bool { committed, _ := look(topic); return committed > before+100 })
		time.Sleep(rand.N(time.Second))
		if committed, ends := look(retry); committed == ends {
			t.Fatal("no record waits: the kill proves nothing")
		}
		kill()
		kill = start()
	}
	eventually(t, "all is put off, and handled", func() bool {
		for _, name := range []string{topic, retry} {
			if committed, ends := look(name); committed != ends {
				return false
			}
		}
		return true
	})
	kill()
	_, putOff := look(retry)
	if _, letters := look("dlq-" + topic); len(handled) != records || letters != 0 {
		t.Errorf("%d of %d messages are handled, %d dead letters", len(handled), records, letters)
	}
	times := 0
	for _, n := range handled {
		times += n
	}
	t.Logf("%d messages, %d members killed: put off %d times, handled %d times", records, kills, putOff, times)
}
