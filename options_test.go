package kafka_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

func moved(context.Context, *kgo.Client, map[string][]int32) {}

// overridden are options that a client of ours would not have, whatever Options says, by their names, and what to set
// instead.
func overridden() map[string]struct {
	option kgo.Opt
	advice string
} {
	type o = struct {
		option kgo.Opt
		advice string
	}
	return map[string]o{
		"ConsumeStartOffset":      {kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), "KAFKA_CONSUMER_START_FROM"},
		"ConsumeResetOffset":      {kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), "KAFKA_CONSUMER_AUTO_OFFSET_RESET"},
		"ConsumerGroup":           {kgo.ConsumerGroup("another"), "Group"},
		"ConsumeTopics":           {kgo.ConsumeTopics("dlq-orders"), "Topic"},
		"ConsumePartitions":       {kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {}}), "group"},
		"AutoCommitMarks":         {kgo.AutoCommitMarks(), "commit"},
		"DisableAutoCommit":       {kgo.DisableAutoCommit(), "commit"},
		"GreedyAutoCommit":        {kgo.GreedyAutoCommit(), "commit"},
		"AutoCommitCallback":      {kgo.AutoCommitCallback(func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error) {}), "OffsetsCommitted"},
		"BlockRebalanceOnPoll":    {kgo.BlockRebalanceOnPoll(), ""},
		"OnOffsetsFetched":        {kgo.OnOffsetsFetched(func(context.Context, *kgo.Client, *kmsg.OffsetFetchResponse) error { return nil }), ""},
		"OnPartitionsAssigned":    {kgo.OnPartitionsAssigned(moved), "ConsumerHooks"},
		"OnPartitionsRevoked":     {kgo.OnPartitionsRevoked(moved), "ConsumerHooks"},
		"OnPartitionsLost":        {kgo.OnPartitionsLost(moved), "ConsumerHooks"},
		"Rack":                    {kgo.Rack("zone-b"), "KAFKA_CLIENT_RACK"},
		"RequiredAcks":            {kgo.RequiredAcks(kgo.LeaderAck()), "all in-sync replicas"},
		"MaxBufferedRecords":      {kgo.MaxBufferedRecords(7), "MaxBufferedRecords"},
		"MaxBufferedBytes":        {kgo.MaxBufferedBytes(7), "MaxBufferedBytes"},
		"ProducerBatchMaxBytes":   {kgo.ProducerBatchMaxBytes(1 << 20), "MaxMessageBytes"},
		"ProducerBatchMaxBytesFn": {kgo.ProducerBatchMaxBytesFn(func(string) int32 { return 1 << 20 }), "MaxMessageBytes"},
	}
}

func TestOptionsThatAreOverriddenAreRefusedByName(t *testing.T) {
	t.Parallel()
	inAVariable := kgo.ConsumeResetOffset // which the compiler does not inline
	options := overridden()
	options["ConsumeResetOffset, called through a variable"] = struct {
		option kgo.Opt
		advice string
	}{inAVariable(kgo.NewOffset()), "KAFKA_CONSUMER_AUTO_OFFSET_RESET"}
	for name, test := range options {
		client := kafka.ClientConfig{Brokers: []string{"127.0.0.1:9092"}, Options: []kgo.Opt{kgo.MetadataMaxAge(time.Minute), test.option}}
		consuming := kafka.NewConsumerConfig("orders", "group")
		consuming.ClientConfig = client
		name, _, _ := strings.Cut(name, ",")
		name = strings.TrimSuffix(name, "Fn") // one calls the other
		for _, err := range []error{
			client.Validate(), consuming.Validate(), kafka.ProducerConfig{ClientConfig: client, Topic: "orders"}.Validate(),
			kafka.RequesterConfig{ClientConfig: client, Topic: "orders", ReplyTopic: "replies"}.Validate(),
		} {
			wantFault(t, err, "Options: kgo."+name, test.advice)
		}
	}
}

// Options that a consumer overrides and a producer does not.
func TestOptionsThatConsumersOverrideAreRefusedByName(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		option   kgo.Opt
		protocol string
	}{
		"RecordPartitioner":  {kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), ""},
		"WithContext":        {kgo.WithContext(context.Background()), ""},
		"Balancers":          {kgo.Balancers(kgo.RangeBalancer()), "consumer"},
		"ServerSideBalancer": {kgo.ServerSideBalancer(), "classic"},
	} {
		cfg := kafka.NewConsumerConfig("orders", "group", "127.0.0.1:9092")
		cfg.Options, cfg.GroupProtocol = []kgo.Opt{test.option}, kafka.GroupProtocol(test.protocol)
		wantFault(t, cfg.Validate(), "Options: kgo."+name)
		if name != "ServerSideBalancer" && name != "Balancers" {
			wantFault(t, cfg.ClientConfig.Validate())
		}
	}
	cfg := kafka.NewConsumerConfig("orders", "group", "127.0.0.1:9092")
	cfg.Options = []kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.FetchMaxBytes(1 << 20), kgo.SessionTimeout(time.Minute), kgo.ClientID("c")}
	wantFault(t, cfg.Validate()) // which all count
}

// A group without committed offsets begins at StartFrom; one that has some goes on where it was.
func TestStartFromIsForGroupsWithoutOffsets(t *testing.T) {
	t.Parallel()
	for _, reset := range []string{"earliest", "latest", "none"} {
		t.Run(reset, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.seed(0, 3) // 0, 1, 2
				time.Sleep(time.Hour)
				from := time.Now()
				time.Sleep(time.Hour)
				b.seed(0, 5) // at 3 to 7
				cfg := b.consumer()
				cfg.CommitInterval, cfg.AutoOffsetReset, cfg.StartFrom = time.Hour, kafka.OffsetReset(reset), from
				offsets := b.consume(cfg)
				if !slices.Equal(offsets, []int64{3, 4, 5, 6, 7}) {
					t.Errorf("handled %v, want 3 to 7", offsets)
				}
				cfg.StartFrom = from.Add(-24 * time.Hour)
				b.seed(0, 1)
				if offsets := b.consume(cfg); !slices.Equal(offsets, []int64{8}) {
					t.Errorf("with committed offsets it handled %v, want 8", offsets)
				}
			})
		})
	}
}

// Retry topics begin at their beginning all the same: what waits there is older than it was made for.
func TestStartFromIsNotForRetryTopics(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.consumer()
		cfg.CommitInterval, cfg.MaxRetries, cfg.RetryDelays, cfg.StartFrom = time.Hour, kafka.NoRetries, []time.Duration{time.Minute}, time.Now().Add(time.Hour)
		client := b.raw()
		defer client.Close()
		retry := cfg.RetryTopics()[0]
		if _, err := kadm.NewClient(client).CreateTopics(t.Context(), 1, 1, nil, retry); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: retry, Value: []byte(`{"n":1}`)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if offsets := b.consume(cfg); !slices.Equal(offsets, []int64{0}) {
			t.Errorf("handled %v", offsets)
		}
	})
}

// consume runs a consumer for a long time and returns the offsets that it handled.
func (b *bubble) consume(cfg kafka.ConsumerConfig) (offsets []int64) {
	b.t.Helper()
	handled := make(chan int64, 100)
	_, stop := b.start(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
		handled <- msg.Offset
		return nil
	})
	time.Sleep(aLongTime)
	if err := stop(); err != nil {
		b.t.Error(err)
	}
	close(handled)
	for offset := range handled {
		offsets = append(offsets, offset)
	}
	return offsets
}

// -1 and -2 milliseconds are the brokers' words for a partition's end and beginning.
func TestStartFromIsATimeThatBrokersKnow(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{time.UnixMilli(-1), time.UnixMilli(-2), time.Unix(1<<60, 0), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)} {
		cfg := kafka.NewConsumerConfig("orders", "group", "127.0.0.1:9092")
		cfg.StartFrom = at
		wantFault(t, cfg.Validate(), "StartFrom", "KAFKA_CONSUMER_START_FROM")
	}
}
