package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// MaxRSS is the most memory that a process may take for batches of some KB, with default settings.
const MaxRSS = 512 << 20

// Victim is a process that reads what a test has published, with default settings.
type Victim struct {
	Reader  string // "consumer", "requester" (Topic has its replies) or "letters"
	Broker  string
	Topic   string
	Records int // the consumer ends once it has settled so many
}

const victimPrefix = "KAFKA_TEST_VICTIM_"

// Run runs the process, which is this test's program again, and returns what it has written and the most memory that it
// had in RAM, in bytes. BeVictim must be called before the tests are.
func (v Victim) Run(ctx context.Context) (output string, rss int, err error) {
	var text bytes.Buffer
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), victimPrefix+"READER="+v.Reader, victimPrefix+"BROKER="+v.Broker, victimPrefix+"TOPIC="+v.Topic,
		victimPrefix+"RECORDS="+strconv.Itoa(v.Records), "GOMEMLIMIT=460MiB") // nine tenths, as deploy/ sets it
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Run(); err != nil {
		return text.String(), 0, err
	}
	_, peak, _ := strings.Cut(text.String(), "peak RSS ")
	rss, err = strconv.Atoi(strings.TrimSpace(peak))
	return text.String(), rss, err
}

// BeVictim makes this process the one that Victim.Run started, and ends it, or returns.
func BeVictim() {
	reader := os.Getenv(victimPrefix + "READER")
	if reader == "" {
		return
	}
	records, _ := strconv.Atoi(os.Getenv(victimPrefix + "RECORDS"))
	v := Victim{Reader: reader, Broker: os.Getenv(victimPrefix + "BROKER"), Topic: os.Getenv(victimPrefix + "TOPIC"), Records: records}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch reader {
	case "consumer":
		v.consume(ctx)
	case "requester":
		v.request(ctx)
	case "letters":
		v.list(ctx)
	}
	fmt.Println("peak RSS", PeakRSS())
	os.Exit(0)
}

// PeakRSS is the most memory that this process had in RAM, in bytes; 0 where the system does not say.
func PeakRSS() int {
	status, _ := os.ReadFile("/proc/self/status")
	for text := range strings.Lines(string(status)) {
		if fields := strings.Fields(text); len(fields) > 1 && fields[0] == "VmHWM:" {
			kilobytes, _ := strconv.Atoi(fields[1])
			return kilobytes << 10
		}
	}
	return 0
}

func warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func (v Victim) consume(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cfg := kafka.NewConsumerConfig(v.Topic, "group-"+v.Topic, v.Broker)
	cfg.Logger = warnings()
	var handled, settled atomic.Int64
	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(context.Context, kafka.Message[[]byte]) error {
		time.Sleep(20 * time.Millisecond)
		handled.Add(1)
		return nil
	})
	if err == nil {
		consumer.Use(kafka.ConsumerHooks{
			RecordSettled: func(context.Context, *kgo.Record, kafka.Settlement) {
				if settled.Add(1) == int64(v.Records) {
					cancel()
				}
			},
			PartitionStuck: func(p kafka.StuckPartition) {
				fmt.Println(p.Err)
				cancel()
			},
		})
		err = consumer.Start(ctx)
	}
	fmt.Println("settled", settled.Load(), "records, handled", handled.Load(), "records:", err)
}

func (v Victim) request(ctx context.Context) {
	cfg := kafka.NewRequesterConfig("requests", v.Topic, v.Broker)
	cfg.Logger = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	requester, err := kafka.NewRequester[int, int](cfg)
	if err == nil {
		_, err = requester.Request(ctx, kafka.NewMessage[int]().WithValue(1).Build())
	}
	fmt.Println(err)
}

func (v Victim) list(ctx context.Context) {
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: []string{v.Broker}, Logger: warnings()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	read := 0
	for _, err = range deadletter.List(ctx, client, v.Topic, deadletter.Filter{}) {
		if err != nil {
			break
		}
		read++
	}
	fmt.Println("read", read, "letters:", errors.Join(err))
}
