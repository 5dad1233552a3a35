package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka/internal/decompress"
)

// This file alone turns configs into franz-go options. Each list is: what can be tuned, the user's own options, what the
// guarantees rest on. Later options win; those of the user that would lose are refused, see overridden.go.

const (
	fetchMaxWait  = 500 * time.Millisecond // Kafka's default; a resumed partition waits this long for its first fetch
	fetchMaxBytes = 16 << 20               // per broker; kgo's 50 MiB would outweigh the queue's bound
	// fetchedMaxBytes is how much may be decoded and wait to be polled for one more batch to be decompressed; what does not come to it is
	// fetched again. It is above what a fetch of fetchMaxBytes comes to, unless that compresses unusually well.
	fetchedMaxBytes  = 64 << 20
	responseOverhead = 1 << 20 // what a fetch response has beside a batch, and more
	// A broker answers NOT_ENOUGH_REPLICAS or a moved leader with an error that needs new metadata: kgo's 5 s between
	// two metadata requests would make the retry that slow.
	metadataMinAge = 250 * time.Millisecond
	// The franz-go client must never be the one to block or refuse: our own budget does, and heeds the caller's context.
	unboundedRecords = math.MaxInt32
	// deadLetterMaxBytes bounds a dead letter before compression: a record that fitted its topic compressed may be many
	// times larger. What the dead letter topic takes is for its broker to judge.
	deadLetterMaxBytes = 64 << 20
)

// connectOptions says where the brokers are and how to speak to them.
func connectOptions(cfg ClientConfig, logs kgo.Logger, hooks ...kgo.Hook) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(cfg.ClientID),
		kgo.Rack(cfg.Rack),
		kgo.SoftwareNameAndVersion(softwareName, version),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.WithLogger(logs),
		kgo.WithHooks(hooks...),
	}
	if cfg.TLS.enabled() {
		config, err := tlsConfig(cfg.TLS)
		if err != nil {
			return nil, fmt.Errorf("kafka: %w", err)
		}
		if cfg.rereadsAuthorities() {
			opts = append(opts, kgo.Dialer((&authorities{file: cfg.TLS.CAFile, config: config, logs: logs}).dial))
		} else {
			opts = append(opts, kgo.DialTLSConfig(config))
		}
	}
	if mechanism := saslMechanism(cfg.SASL); mechanism != nil {
		if secret := cfg.clearSecret(); secret != "" && !cfg.SASL.AllowPlaintext {
			mechanism = loopbackOnly{mechanism, secret}
		}
		opts = append(opts, kgo.SASL(mechanism))
	}
	return opts, nil
}

// producingOptions is for a client that publishes. batchLimit is the most bytes a batch to a topic may have.
func producingOptions(cfg ClientConfig, batchLimit func(topic string) int32, logs kgo.Logger, hooks ...kgo.Hook) ([]kgo.Opt, error) {
	opts, err := connectOptions(cfg, logs, hooks...)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.ProducerBatchCompression(compression(cfg.Compression)),
		kgo.ProducerLinger(cfg.Linger),
		kgo.RecordPartitioner(replyPartitioner{defaultPartitioner}),
	)
	opts = append(opts, cfg.Options...)
	opts = append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()), // and idempotent, which is kgo's default
		kgo.MaxBufferedRecords(unboundedRecords),
		kgo.MaxBufferedBytes(0),
		kgo.ProducerBatchMaxBytesFn(batchLimit),
	)
	return opts, nil
}

// refusedOptions finds those of the user's options that no other option can undo.
func refusedOptions(client *kgo.Client, cfg ClientConfig) error {
	var faults faults
	if config, _ := client.OptValue(kgo.DialTLSConfig).(*tls.Config); config == nil && cfg.TLS.Required && !cfg.rereadsAuthorities() {
		faults.addf("Options: kgo.DialTLSConfig or kgo.Dialer turns TLS off, and TLS: Required is set (KAFKA_TLS_REQUIRED)")
	}
	if id, ok := client.OptValue(kgo.TransactionalID).(string); ok && id != "" {
		faults.addf("Options: kgo.TransactionalID: a transactional client commits what it has fetched, not what is handled")
	}
	if regex, ok := client.OptValue(kgo.ConsumeRegex).(bool); ok && regex {
		faults.addf("Options: kgo.ConsumeRegex: a consumer has one topic; as a pattern it would match its dead letter topic, too")
	}
	if disabled, ok := client.OptValue(kgo.DisableIdempotentWrite).(bool); ok && disabled {
		faults.addf("Options: kgo.DisableIdempotentWrite: without idempotence, retries store messages twice and out of order")
	}
	return faults.join("client config")
}

// groupCallbacks are what the consumer's loop does when the group moves partitions.
type groupCallbacks struct {
	assigned, revoked, lost func(context.Context, *kgo.Client, map[string][]int32)
	fetched                 func(context.Context, *kgo.Client, *kmsg.OffsetFetchResponse) error
	begin                   func(context.Context, map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error)
	committed               func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error) // periodically, sent or not
}

func consumingOptions(cfg ConsumerConfig, topics []string, on groupCallbacks, logs kgo.Logger, hooks ...kgo.Hook) ([]kgo.Opt, error) {
	opts, err := connectOptions(cfg.ClientConfig, logs, hooks...)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.FetchMaxWait(fetchMaxWait),
		kgo.FetchMaxBytes(fetchMaxBytes),
		kgo.AutoCommitInterval(cfg.CommitInterval),
		kgo.SessionTimeout(cfg.SessionTimeout),
		kgo.RebalanceTimeout(cfg.RebalanceTimeout),
		kgo.HeartbeatInterval(min(3*time.Second, cfg.SessionTimeout/3)), // kgo's and Kafka's defaults
	)
	if cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(cfg.InstanceID))
	}
	opts = append(opts, kgo.BrokerMaxReadBytes(maxReadBytes(cfg)))
	opts = append(opts, decompress.New(cfg.MaxDecompressedBatchBytes, fetchedMaxBytes).Options()...)
	opts = append(opts, cfg.Options...)
	opts = append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()), // it writes nothing, but franz-go holds options to each other
		kgo.ConsumerGroup(cfg.Group),
		kgo.ConsumeTopics(topics...),
		// Only marked offsets are committed, and only finished records are marked.
		kgo.AutoCommitMarks(),
		kgo.AutoCommitCallback(on.committed),
		// A poll and a callback exclude each other, which is the lock of the consumer's partition map.
		kgo.BlockRebalanceOnPoll(),
		kgo.KeepControlRecords(), // so that what a transaction leaves at a partition's end is committed
		kgo.OnOffsetsFetched(on.fetched),
		kgo.AdjustFetchOffsetsFn(on.begin),
		kgo.OnPartitionsAssigned(on.assigned),
		kgo.OnPartitionsRevoked(on.revoked),
		kgo.OnPartitionsLost(on.lost),
	)
	opts = append(opts, offsetReset(cfg.AutoOffsetReset)...)
	if !cfg.StartFrom.IsZero() {
		opts = append(opts, kgo.ConsumeStartOffset(kgo.NewOffset().AfterMilli(cfg.StartFrom.UnixMilli())))
	}
	if cfg.GroupProtocol == ProtocolConsumer {
		opts = append(opts, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	}
	return opts, nil
}

// maxReadBytes bounds a broker's response, which holds one batch at least. Uncompressed, that may have as many bytes as a
// compressed one may have when it is decompressed; and no fewer than kgo's default.
func maxReadBytes(cfg ConsumerConfig) int32 {
	return int32(min(max(100<<20, cfg.MaxDecompressedBatchBytes+responseOverhead), 1<<30))
}

// readingOptions is for a client that reads a partition of a topic of ours, from an offset on. largest is what a batch may
// be decompressed to. It has no reset: where franz-go suspects that records were lost, when a leader moves for example, it
// would skip some on its way to an end.
func readingOptions(cfg ClientConfig, topic string, partition int32, from, largest int64, logs kgo.Logger, hooks ...kgo.Hook) ([]kgo.Opt, error) {
	opts, err := connectOptions(cfg, logs, hooks...)
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.FetchMaxWait(fetchMaxWait),
		kgo.FetchMaxBytes(fetchMaxBytes),
	)
	opts = append(opts, decompress.New(largest, fetchedMaxBytes).Options()...)
	opts = append(opts, cfg.Options...)
	opts = append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()), // it writes nothing, but franz-go holds options to each other
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
	return opts, nil
}

// offsetReset sets both of kgo's settings: its own default rewinds by a minute where Kafka resets.
func offsetReset(policy OffsetReset) []kgo.Opt {
	switch policy {
	case ResetLatest:
		end := kgo.NewOffset().AtEnd()
		return []kgo.Opt{kgo.ConsumeStartOffset(end), kgo.ConsumeResetOffset(end)}
	case ResetNone:
		return []kgo.Opt{kgo.ConsumeStartOffset(kgo.NewOffset().AtCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset())}
	}
	start := kgo.NewOffset().AtStart()
	return []kgo.Opt{kgo.ConsumeStartOffset(start), kgo.ConsumeResetOffset(start)}
}

func compression(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

// samePartition puts a record into the partition that its Partition field names, modulo the topic's partitions, so that
// a source partition's order survives in the dead letter topic.
type samePartition struct{}

func (samePartition) ForTopic(string) kgo.TopicPartitioner { return samePartition{} }
func (samePartition) RequiresConsistency(*kgo.Record) bool { return true }
func (samePartition) Partition(r *kgo.Record, n int) int   { return int(r.Partition) % n }

// defaultPartitioner is kgo's default: keys as Java clients place them, records without a key by what waits where.
var defaultPartitioner = kgo.UniformBytesPartitioner(64<<10, true, true, nil)

// replyPartitioner puts a record into the partition that inPartition asks for, and leaves the others to the default.
type replyPartitioner struct{ kgo.Partitioner }

func (p replyPartitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return replyTopicPartitioner{p.Partitioner.ForTopic(topic).(kgo.TopicBackupPartitioner)}
}

type replyTopicPartitioner struct{ kgo.TopicBackupPartitioner }

func (p replyTopicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return asksForPartition(r) || p.TopicBackupPartitioner.RequiresConsistency(r)
}

func (p replyTopicPartitioner) PartitionByBackup(r *kgo.Record, n int, waiting kgo.TopicBackupIter) int {
	if asksForPartition(r) {
		return int(r.Partition - math.MinInt32) // franz-go refuses one that is not there
	}
	return p.TopicBackupPartitioner.PartitionByBackup(r, n, waiting)
}

// inPartition has the record go to that partition. franz-go looks at a record's Partition only to give it one, so that until then
// it can hold what nobody else would put there.
func inPartition(r *kgo.Record, partition int32) { r.Partition = math.MinInt32 + partition }

// asksForPartition tells a partition that was asked for from 0, which all records have at first, and -1, which means none.
func asksForPartition(r *kgo.Record) bool { return r.Partition < -1 }

// validateGroupOptions finds mistakes in the user's options before Start joins the group.
func validateGroupOptions(cfg ConsumerConfig) error {
	nop := func(context.Context, *kgo.Client, map[string][]int32) {}
	on := groupCallbacks{
		assigned: nop, revoked: nop, lost: nop,
		fetched: func(context.Context, *kgo.Client, *kmsg.OffsetFetchResponse) error { return nil },
		begin: func(context.Context, map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			return nil, nil
		},
		committed: func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error) {},
	}
	opts, err := consumingOptions(cfg, cfg.sources(), on, clientLogger(slog.New(slog.DiscardHandler), nil))
	if err != nil {
		return err
	}
	if err := kgo.ValidateOpts(slices.Clip(opts)...); err != nil {
		return fmt.Errorf("kafka: consumer config: %w", err)
	}
	return nil
}
