package kafka

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
)

// NoRetries is ConsumerConfig.MaxRetries for none.
const NoRetries = -1

// Defaults. In every config a zero field means its default.
const (
	defaultConnectTimeout     = 10 * time.Second // for brokers that say nothing; a refusal ends the wait at once
	defaultDeliveryTimeout    = 2 * time.Minute  // Kafka's own
	defaultCompression        = "snappy"         // kgo's default: cheap in CPU
	defaultMaxBufferedRecords = 50_000           // kgo's default
	defaultMaxBufferedBytes   = 64 << 20
	defaultMaxMessageBytes    = 1_048_588 // a broker's default message.max.bytes

	dlqPrefix                 = "dlq-" // a topic's dead letter topic is named by it
	defaultMaxRetries         = 3
	defaultMaxBatchSize       = 500 // Kafka's own
	maxMaxBatchSize           = maxAhead
	defaultRetryBackoff       = 500 * time.Millisecond
	defaultRetryBackoffMax    = 30 * time.Second
	defaultDrainTimeout       = 30 * time.Second // half of the rebalance timeout
	defaultMaxQueuedRecords   = 250_000          // 268 bytes for each, of which franz-go's Record takes 160
	defaultMaxQueuedBytes     = 64 << 20         // librdkafka's queued.max.messages.kbytes
	defaultMaxHeaders         = 1000
	defaultMaxHeaderBytes     = defaultMaxMessageBytes // uncompressed, a broker's default lets nothing larger in
	defaultCommitInterval     = time.Second
	defaultSessionTimeout     = 45 * time.Second // Kafka's own
	defaultRebalanceTimeout   = 60 * time.Second // kgo's default
	defaultAuthFailureTimeout = 30 * time.Second
	defaultStallTimeout       = time.Minute // longer than a service waits for another
	defaultMaxParkedRecords   = 1_000_000   // measured: 17 MB for a partition, or 100 if each has a key of its own

	defaultFloodShare   = 0.5              // records alone rarely fail by halves
	defaultFloodLetters = 20               // few enough to be looked at one by one
	maxFloodLetters     = 10_000           // each is remembered
	defaultFloodWindow  = 10 * time.Minute // a database that times out lets a partition fail three records a minute
	defaultFloodPause   = 30 * time.Second // what restarts is often back by then

	defaultRequestTimeout = 30 * time.Second // Kafka's own for requests to brokers
)

// ClientConfig is how to reach a cluster and how to write to it. It is part of [ProducerConfig] and [ConsumerConfig];
// a consumer writes only its dead letters.
type ClientConfig struct {
	// Brokers to ask first, as host:port. At least one is required. Kafka: bootstrap.servers.
	Brokers []string
	// ClientID names this service in the brokers' logs, metrics and quotas. Default: the program's file name.
	// At most 256 bytes. Kafka: client.id.
	ClientID string
	// Rack is where this client is, as the brokers' broker.rack names places, an availability zone for example: consumers then
	// fetch from a replica there, if the brokers have replica.selector.class set to Kafka's RackAwareReplicaSelector, and from the
	// leader otherwise. It does not move partitions: kgo.BalanceRacks in Options, or GroupProtocol consumer, does. Default none.
	// Kafka: client.rack.
	Rack string
	// TLS encrypts the connections. Default: off.
	TLS TLSConfig
	// SASL says who connects. Default: nobody in particular.
	SASL SASLConfig
	// ControlKey seals the headers by which the library skips, attributes and counts records (__dlq.errors.): those of
	// dead letters, of records in retry topics, of what package deadletter sends back, and of marks. With it, such
	// headers count only with a seal of the key (deadletter.HeaderSeal); consumers leave others out, of what the handler sees
	// too, and package deadletter redrives no other letter. All who write or read these topics need the key: services,
	// and whoever runs the deadletter command. Several keys are a line each: the first one seals, all verify, so that a
	// key can be replaced. Each has 32 bytes or more. Default none: whoever may write to a topic can forge these
	// headers.
	ControlKey Secret
	// AcceptUnsealed believes headers without a seal, as without a ControlKey; what is written is sealed. It is for the
	// time in which a key is introduced: until all services have it, and until records of before are handled or
	// deleted. A seal that does not hold counts for nothing. Default false.
	AcceptUnsealed bool
	// ConnectTimeout is the longest that the checks of a constructor, and of Start, wait for brokers that don't answer: that one
	// takes the credentials, and what it says of the topics. They fail at once when every broker refuses (nothing listens there, a
	// certificate is wrong), when a topic is missing, and within a second of a broker's refusing the credentials, which another one
	// might take. While a broker is silent, those that refused the connection are asked again. Default 10s.
	ConnectTimeout time.Duration

	// DeliveryTimeout bounds the retries of one message. When it ends, the message fails. A message already on its way
	// waits for the brokers' verdict past it. Default 2m. Kafka: delivery.timeout.ms.
	DeliveryTimeout time.Duration
	// Compression is one of none, gzip, snappy, lz4, zstd. Default snappy. zstd is smallest, but needs brokers that can
	// load its native library. Kafka: compression.type.
	Compression string
	// Linger is how long a batch waits for more messages. Default 0: a batch grows while the one before it is on its
	// way. At most 1m. Kafka: linger.ms.
	Linger time.Duration
	// MaxBufferedRecords bounds how many messages wait to be acknowledged, over all producers of a client. Publishing waits
	// while the bound is reached. Default 50,000.
	MaxBufferedRecords int
	// MaxBufferedBytes bounds their memory: each message counts its bytes, 40 for each header, and
	// MaxBufferedBytes/MaxBufferedRecords on top.
	// Default 64 MiB. Kafka: buffer.memory.
	MaxBufferedBytes int64
	// MaxMessageBytes is the largest batch, before compression, that is sent at all. Default: the topic's own
	// max.message.bytes, or 1,048,588, which is the brokers' default, where that can't be read. At least 512. Kafka:
	// max.request.size.
	MaxMessageBytes int32

	// Logger takes the library's own lines. Default slog.Default(). Keys, values and headers are never logged.
	Logger *slog.Logger
	// Options are passed to the franz-go client, after this package's own, so that they win. Those that this package has a field for
	// or rests its guarantees on (offsets, group callbacks, commits, acknowledgements) are refused, and named.
	Options []kgo.Opt

	saslInOptions string // names of the mechanisms that a client has by SASL or by Options; accessWatch.config sets it

	misread error        // variables that could not be read; Validate reports them
	unknown []misspelled // variables that nothing reads; a client logs them
}

// TLSConfig turns TLS on. TLS 1.2 is the least that is accepted. Files are read when a client is made.
type TLSConfig struct {
	// Enabled turns TLS on with the system's certificate authorities. Any other field but Required turns it on as well.
	Enabled bool
	// Required refuses a config without TLS, for brokers on this machine too, so that a variable that is missing can't turn encryption
	// off. It does not turn TLS on. Default false.
	Required bool
	// CAFile is a PEM file of the authorities to trust in place of the system's. It is read again for each connection, unless
	// Options has a dialer or kgo.DialTimeout. While it can't be read, the authorities that were read last are trusted.
	// Kafka: ssl.truststore.location.
	CAFile string
	// CertFile is the client's certificate, PEM, for mTLS. It is read again at each connection. Kafka: ssl.keystore.location.
	CertFile string
	// KeyFile is its key, PEM.
	KeyFile string
	// ServerName is the name the brokers' certificates must carry. Default: the host that is dialled.
	ServerName string
}

// SASLConfig authenticates with a user and password, with a token, or with a mechanism of your own.
type SASLConfig struct {
	// Mechanism is PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, or "" for none. Kafka: sasl.mechanism.
	Mechanism string
	// Username is required with PLAIN and SCRAM. Kafka: sasl.jaas.config.
	Username string
	// Password is required with PLAIN and SCRAM, and never printed.
	Password Secret
	// Token returns OAUTHBEARER's token, which is never printed. It is called for each connection, and again before the
	// session ends that a broker grants (connections.max.reauth.ms, or the token's own end): return one that lives on for a
	// while. Its context ends after 10s. Its error is ErrAuthentication, and its text is logged. It must be safe for
	// concurrent use. Kafka: sasl.login.callback.handler.class.
	Token func(context.Context) (Secret, error) `json:"-"`
	// TokenFile is a file with that token, in place of Token. It is read again each time, so that a token that is renewed there,
	// as Kubernetes' projected ones are, needs no restart. Kafka: sasl.oauthbearer.token.endpoint.url, as file:///.
	TokenFile string
	// Custom is another mechanism, such as franz-go's aws.ManagedStreamingIAM or kerberos.Auth, in place of all of the above; its
	// Name says which. It is called for each connection, and again before the session ends that a broker grants, with a context
	// that ends after 10s; it must be safe for concurrent use, and is never closed. Its errors and panics are ErrAuthentication,
	// and their texts are logged. The library prints its name alone; fmt prints what it is, so keep secrets behind a pointer or
	// a function. Default nil. Kafka: sasl.jaas.config.
	Custom sasl.Mechanism `json:"-"`
	// AllowPlaintext lets PLAIN send the password, and OAUTHBEARER the token, unencrypted to brokers beyond this machine. Default
	// false: each address is checked before the secret is sent, those that brokers advertise too. A Custom mechanism is checked if its
	// name is one of these two; what others send without TLS is for them to decide, as it is for those that Options has by kgo.SASL.
	AllowPlaintext bool
}

// ProducerConfig configures a [Producer].
type ProducerConfig struct {
	ClientConfig
	// Client, if set, is shared: the producer uses its connections and ignores ClientConfig.
	Client *Client
	// Topic to publish to. Required.
	Topic string
	// DLQTopic, if set, takes messages that the brokers refuse for what they are: too large or invalid. Publish
	// returns the error all the same. Default none, unlike a consumer's: here the caller has the message, and its error.
	DLQTopic string
	// DisableMiddleware turns off this module's plugins that only observe: logging and metrics of package middleware, and tracing.
	// Other middleware and hooks that Use adds are never removed. Default false.
	DisableMiddleware bool
}

// ConsumerConfig configures a [Consumer]. Make one with [NewConsumerConfig] or [NewConsumerConfigFromEnv].
type ConsumerConfig struct {
	ClientConfig
	// Topic to consume. Required, unless there are Topics.
	Topic string
	// Topics are consumed as well, by the same handler: Message.Topic says where a message is from. All settings hold for each
	// of them; limits such as MaxQueuedRecords and RateLimit, a pause, and FloodGuard hold for all together. Default none.
	Topics []string
	// Group shares the topics' partitions among its members. Required. Kafka: group.id.
	Group string
	// DLQTopic takes the records that can't be handled, of all topics. Default: each topic has its own, dlq-<topic>.
	DLQTopic string
	// DisableDeadLetters has a record that can't be handled end Start with an error; DLQTopic is not used then. Default false.
	DisableDeadLetters bool
	// SkipNothing has the handler called for every record, for consumers that audit or look for fraud. Otherwise a
	// consumer skips records whose headers say that they were sent back from a dead letter topic for another group, and
	// marks in dead letter topics; whoever may write to the topic can forge such headers unless there is a ControlKey.
	// What is skipped is logged, counted, and reported to ConsumerHooks.RecordSkipped. A mark has no value: to the
	// handler it is a tombstone (HandleTombstones).
	SkipNothing bool
	// ParkKeys keeps the order of a key beyond a failure: once a record of it is in DLQTopic, its later ones follow it there without
	// being handled, in order, with class "parked". They are handled when they are sent back, with package deadletter for example; the
	// key is free again when the last one was, or when its letters are deleted. Records without a key are never parked. The state is
	// read from DLQTopic, which must not be compacted, when a partition is assigned: it takes READ on it, and waits until it is
	// through. Default false. A BatchConsumer can't.
	ParkKeys bool
	// MaxParkedRecords bounds how many records of one partition ParkKeys may have parked: each costs memory, 17 bytes and 80 for
	// each key. With more that partition stops, and PartitionHealth.Stuck says what to do. Default 1,000,000.
	MaxParkedRecords int
	// MaxRetries is how many more attempts a record gets after a transient error. Default 3; NoRetries for none.
	MaxRetries int
	// RetryDelays, if there are any, are for work that must not block its key, at the price of the key's order: a
	// record that fails with a transient error when its retries are used up waits in a retry topic, for the first
	// delay, and the records behind it go on. Then it is tried once more; when that fails likewise, it waits in the
	// next topic, and after the last one it goes to DLQTopic. Each delay has a topic of its own; see RetryTopics. When
	// a delay is changed, records that wait keep the due time that they were given, but no wait is longer than the
	// longest delay; until then a record that is due may wait behind one that is not. With fewer delays, or none, a new
	// consumer handles what still waits in the other topics of the group, once it is due. Permanent errors and business
	// errors end it at once, as ever. The handler finds the record's first place, and the attempts before, in
	// Message.DeadLetter. It goes neither with ParkKeys nor with a BatchConsumer. Default none. At most 10, each 1ms or
	// more, and shorter than the retention of its topic.
	RetryDelays []time.Duration
	// RetryBackoff is the bound of the first wait between attempts; it doubles up to RetryBackoffMax, and each wait is
	// a random part of the bound ("full jitter"). Default 500ms. Java's retry.backoff.ms is about requests, not records.
	RetryBackoff time.Duration
	// RetryBackoffMax is the largest bound of a wait between attempts. Default 30s.
	RetryBackoffMax time.Duration
	// Concurrency is how many records of one partition are handled side by side. Default 1: a partition's records are handled
	// one by one, whatever their keys. With more, records of one key are still handled in order, and wait for one that is
	// retried; those of other keys, and those without a key, go on meanwhile, up to 100,000 of them. The committed offset stays
	// below the first record that is not done, and what is done beyond it is told in the commit's metadata, so that a clean
	// handover redelivers nothing of it. A crash may.
	Concurrency int
	// MaxBatchSize is how many messages a BatchConsumer's handler gets at most. Default 500, at most 100,000: a crash
	// may redeliver all of a batch. Each takes its message's memory, beside the record's. Kafka: max.poll.records.
	MaxBatchSize int
	// MaxBatchWait is how long a BatchConsumer that is done with a batch and has a message waits for more, while there are fewer than
	// MaxBatchSize and MaxQueuedRecords and MaxQueuedBytes let more come. Default 0: it takes those that are there.
	MaxBatchWait time.Duration
	// AutoOffsetReset is where a group without a committed offset starts, and where it goes on when its offset is no
	// longer in the log. Default ResetEarliest. Kafka: auto.offset.reset.
	AutoOffsetReset OffsetReset
	// HandleTombstones passes records with a nil value to the handler, with Message.Tombstone set. Without it they are
	// permanent errors (ErrTombstone), since a handler that does not expect them would see a zero value.
	HandleTombstones bool
	// StartFrom is where a group without a committed offset starts instead of where AutoOffsetReset says: at the first record whose
	// timestamp is StartFrom or later, in each partition; at its end if there is none. Timestamps are what publishers say, unless the
	// topic has message.timestamp.type=LogAppendTime. A group goes on from its committed offsets, whatever StartFrom says. Default
	// zero: AutoOffsetReset decides.
	StartFrom time.Time

	// DrainTimeout bounds how long a revoked or closing partition may take to finish the record it has in hand. A
	// handler still running when it expires sees a cancelled context, and its record is redelivered to the next owner.
	// Default 30s. It must be below SessionTimeout and RebalanceTimeout, or the group would give the partition away
	// while it drains; leave some seconds between them for the commit.
	DrainTimeout time.Duration
	// MaxQueuedRecords bounds how many records are fetched and not yet handled, over all partitions. Default 250,000: as a
	// rule MaxQueuedBytes is the bound that is met.
	MaxQueuedRecords int
	// MaxQueuedBytes bounds their memory: each record counts its bytes, 40 for each header, and
	// MaxQueuedBytes/MaxQueuedRecords on top. Half of it is for partitions that stand still: the others make do with half. Raise
	// it where many keys are to be busy at once (Concurrency), since the next record of each must be in the queue. One
	// poll's bytes may go over. The franz-go client holds at most one more fetch per broker (fetch.max.bytes, 16 MiB
	// compressed). Default 64 MiB.
	MaxQueuedBytes int64
	// Oversize says what to do about a failed record that DLQTopic does not take, even compressed as far as it can be. With
	// OversizeStop its partition waits until max.message.bytes of DLQTopic is raised; Health and the log name it, and other
	// partitions go on. With OversizeStub the letter has the record's place, error and key, and the size and checksum of its
	// value instead of the value, which stays readable in Topic until it is deleted there. Default OversizeStop.
	Oversize Oversize
	// MaxHeaders bounds how many headers a record may have. One with more is a permanent error, ErrHeaderLimit: its handler is not
	// called, and its letter has only as many headers as leave room for the letter's own. Default 1,000: ten times
	// what busy records have. An empty header takes two bytes on the wire and forty in memory, so that the brokers' limit alone
	// would allow half a million of them.
	MaxHeaders int
	// MaxHeaderBytes bounds their names and values together, likewise. Default 1,048,588, which is the brokers' default
	// message.max.bytes: only a compressed batch, or a topic with a higher limit, can hold more.
	MaxHeaderBytes int
	// MaxDecompressedBatchBytes is the most bytes that one batch may be decompressed to, and the most memory that its records
	// and headers may take on top, about 200 bytes and 40 each: a few KB can be a GB of zeros, or of empty headers. A larger
	// one stops its partition, and PartitionHealth.Stuck says where it is and what to do. An uncompressed one may have as
	// many bytes, and 100 MiB in any case, for which the franz-go client's BrokerMaxReadBytes is set. Default 64 MiB,
	// which is also the most that package deadletter reads of a letter: larger ones are kept, and not sent back. At most 2 GiB.
	MaxDecompressedBatchBytes int64
	// CommitInterval is how often offsets of finished records are committed, and so about how much is redelivered
	// after a crash. Clean handovers and shutdowns commit at once. Default 1s, at least 100ms. Kafka:
	// auto.commit.interval.ms.
	CommitInterval time.Duration
	// SessionTimeout is how long the group waits for a silent member. Default 45s, at least 100ms. Kafka: session.timeout.ms.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the group waits for members to hand partitions over. Default 60s. Java clients use
	// max.poll.interval.ms for it.
	RebalanceTimeout time.Duration
	// GroupProtocol is how the group shares its partitions out. Default ProtocolClassic. Kafka: group.protocol.
	GroupProtocol GroupProtocol
	// InstanceID makes a static member: the group keeps its partitions for it over a restart shorter than
	// SessionTimeout. It must be unique in the group. Default none. Kafka: group.instance.id.
	InstanceID string
	// AuthFailureTimeout is how long the brokers may refuse the credentials of a running consumer before Start returns
	// ErrAuthentication or ErrAuthorization. Default 30s.
	AuthFailureTimeout time.Duration
	// FloodGuard is what to do when so many records go to the dead letter topic that not they are to blame, but a dead database or
	// a bad deploy.
	FloodGuard FloodGuardConfig
	// StallTimeout is how long one attempt of a handler may run before it is named in the log, in Health and to hooks. It goes
	// on running: middleware.TimeoutConsumerMiddleware ends its context. Default 1m.
	StallTimeout time.Duration
	// RateLimit is how many attempts of the handler may begin in a second, retries included, over all partitions of this
	// consumer; other members of the group have limits of their own. In a batch each message counts. A tenth of it may come at
	// once. Default 0: no limit.
	RateLimit float64
	// StartPaused has the consumer begin as after [Consumer.Pause]: it joins its group and fetches, and handles nothing until
	// [Consumer.Resume]. Default false.
	StartPaused bool
	// PauseWhile, if set, pauses the consumer while it returns true: a feature flag, for example, which lasts over restarts.
	// It is called before the first record and then once a second, and must return soon. It adds to Pause and StartPaused: the
	// consumer is paused while either says so. Default nil.
	PauseWhile func() bool `json:"-"`
	// FailLivenessAfter is how long one attempt of a handler may run before Health is not live, so that a liveness probe
	// restarts the process, which delivers the record again. Set it far above the slowest handler. Default 0: however
	// long handlers take, Health stays live.
	FailLivenessAfter time.Duration
	// DisableMiddleware turns off this module's plugins that only observe: logging and metrics of package middleware, and tracing.
	// Other middleware and hooks that Use adds are never removed. Default false.
	DisableMiddleware bool
}

// OffsetReset is a value of ConsumerConfig.AutoOffsetReset.
type OffsetReset string

// Where a group begins that has no offset to go on from.
const (
	ResetEarliest OffsetReset = "earliest" // at the first record that is there
	ResetLatest   OffsetReset = "latest"   // at the end: with what comes from then on
	ResetNone     OffsetReset = "none"     // nowhere: Start returns an error
)

// GroupProtocol is a value of ConsumerConfig.GroupProtocol.
type GroupProtocol string

// How a group shares its partitions out.
const (
	ProtocolClassic  GroupProtocol = "classic"  // its members do, by cooperative rebalancing
	ProtocolConsumer GroupProtocol = "consumer" // the brokers do (KIP-848); Kafka 4.3 or later recommended
)

// FloodGuardMode is a value of FloodGuardConfig.Mode.
type FloodGuardMode string

// What the flood guard does.
const (
	FloodGuardOff   FloodGuardMode = "off"   // nothing is counted
	FloodGuardWarn  FloodGuardMode = "warn"  // it is logged, and told to Health and hooks
	FloodGuardPause FloodGuardMode = "pause" // and the consumer pauses
)

// FloodGuardConfig says when dead letters are a flood, and what then. Each consumer counts its own. Letters of every class count: a
// database that is away makes transient failures, a bad deploy panics and values that can't be decoded.
//
// Paused, a consumer begins no attempt. What is in hand is finished, but what fails for good meanwhile is no letter: it waits, and is
// tried again after the pause, though its retries are used up. Fetching goes on until the queues are full; it stays a member of its
// group, and hands partitions over and ends as ever. Health says that it is not ready. After Pause it tries five records at a time:
// if most go well, all go on; if not, it pauses again, for twice as long each time, up to 10 minutes. Where too few records come to
// tell, all go on after Window. Of those that are tried so, the ones that fail for good are dead letters, five at most each time:
// otherwise a record that always fails might be the only one ever to be tried.
type FloodGuardConfig struct {
	// Mode is FloodGuardOff, FloodGuardWarn or FloodGuardPause. Default warn.
	Mode FloodGuardMode
	// Share is what part of the records that were settled lately must have been given up. Default 0.5. At most 1.
	Share float64
	// Letters is how many were given up at least: the latest so many letters are compared with what was settled since the first of
	// them. Default 20, at most 10,000.
	Letters int
	// Window is how long ago the first of these may be. Default 10m.
	Window time.Duration
	// Pause is how long the first pause lasts. Default 30s.
	Pause time.Duration
}

// RequesterConfig configures a [Requester].
type RequesterConfig struct {
	ClientConfig
	// Client, if set, is shared: requests go out over its connections, and ClientConfig is ignored. Replies come over
	// connections of the requester's own.
	Client *Client
	// Topic to publish requests to. Required.
	Topic string
	// ReplyTopic takes the replies. Required. Requesters may share it, and its partitions: each reads one of them, from its end
	// on, and leaves alone what answers others. It must not be compacted.
	ReplyTopic string
	// ReplyPartition is the partition of ReplyTopic to read. Default nil: one at random.
	ReplyPartition *int32
	// RequestTimeout bounds a Request whose context has no deadline. Default 30s.
	RequestTimeout time.Duration
	// ForeignResponders accepts replies that have the correlation id alone, for responders that are not made by [Respond] and don't
	// repeat the request's token. Anyone who may write to ReplyTopic, or have a responder write there, can then answer a request
	// whose correlation id is known. What a reply has of token and place must still be the request's. Default false: a reply needs both.
	ForeignResponders bool
	// DisableMiddleware turns off this module's plugins that only observe: logging and metrics of package middleware, and tracing.
	// Other middleware and hooks that Use adds are never removed. Default false.
	DisableMiddleware bool
}

// NewConsumerConfig returns a config with the defaults.
func NewConsumerConfig(topic, group string, brokers ...string) ConsumerConfig {
	return ConsumerConfig{
		ClientConfig: ClientConfig{Brokers: brokers},
		Topic:        topic, Group: group,
		MaxRetries: defaultMaxRetries,
	}
}

// NewProducerConfig returns a config with the defaults.
func NewProducerConfig(topic string, brokers ...string) ProducerConfig {
	return ProducerConfig{ClientConfig: ClientConfig{Brokers: brokers}, Topic: topic}
}

// NewRequesterConfig returns a config with the defaults.
func NewRequesterConfig(topic, replyTopic string, brokers ...string) RequesterConfig {
	return RequesterConfig{ClientConfig: ClientConfig{Brokers: brokers}, Topic: topic, ReplyTopic: replyTopic}
}

// sources are the topics to consume.
func (c ConsumerConfig) sources() []string {
	var all []string
	for _, topic := range append([]string{c.Topic}, c.Topics...) {
		if !slices.Contains(all, topic) && (topic != "" || len(c.Topics) == 0) {
			all = append(all, topic)
		}
	}
	return all
}

// topicNames are the sources, for people.
func (c ConsumerConfig) topicNames() string { return strings.Join(c.sources(), ",") }

// deadLetterTopicOf is where a topic's dead letters go; "" for nowhere.
func (c ConsumerConfig) deadLetterTopicOf(source string) string {
	if c.DisableDeadLetters {
		return ""
	}
	return cmp.Or(c.DLQTopic, dlqPrefix+source)
}

// deadLetterTopics are where dead letters go, without repeats.
func (c ConsumerConfig) deadLetterTopics() []string {
	var all []string
	for _, source := range c.sources() {
		if dlq := c.deadLetterTopicOf(source); dlq != "" && !slices.Contains(all, dlq) {
			all = append(all, dlq)
		}
	}
	return all
}

// The configs print without their secrets, and only what tells where and as whom they connect.

// LogValue groups what tells one config from another, without secrets.
func (c ClientConfig) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// String is LogValue as text.
func (c ClientConfig) String() string { return printAttrs(c.attrs()) }

// LogValue groups what tells one config from another, without secrets.
func (c ProducerConfig) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// String is LogValue as text.
func (c ProducerConfig) String() string { return printAttrs(c.attrs()) }

// LogValue groups what tells one config from another, without secrets.
func (c ConsumerConfig) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// String is LogValue as text.
func (c ConsumerConfig) String() string { return printAttrs(c.attrs()) }

// LogValue groups what tells one config from another, without secrets.
func (c RequesterConfig) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

// String is LogValue as text.
func (c RequesterConfig) String() string { return printAttrs(c.attrs()) }

func (c ClientConfig) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.Default()
	}
	return c.Logger
}

func (c ClientConfig) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("brokers", strings.Join(c.Brokers, ",")),
		slog.String("client_id", c.ClientID),
		slog.Bool("tls", c.TLS.enabled()),
		slog.String("sasl_mechanism", c.SASL.mechanism()),
		slog.String("sasl_username", c.SASL.Username),
		slog.String("sasl_password", c.SASL.Password.String()),
	}
}

func (c ProducerConfig) attrs() []slog.Attr {
	return append([]slog.Attr{
		slog.String("topic", c.Topic),
		slog.String("dlq_topic", c.DLQTopic),
	}, c.ClientConfig.attrs()...)
}

func (c ConsumerConfig) attrs() []slog.Attr {
	return append([]slog.Attr{
		slog.String("topic", c.topicNames()),
		slog.String("group", c.Group),
		slog.String("dlq_topic", strings.Join(c.deadLetterTopics(), ",")),
		slog.Int("max_retries", max(cmp.Or(c.MaxRetries, defaultMaxRetries), 0)),
	}, c.ClientConfig.attrs()...)
}

func (c RequesterConfig) attrs() []slog.Attr {
	return append([]slog.Attr{
		slog.String("topic", c.Topic),
		slog.String("reply_topic", c.ReplyTopic),
	}, c.ClientConfig.attrs()...)
}

func printAttrs(attrs []slog.Attr) string {
	var b strings.Builder
	for i, attr := range attrs {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%q", attr.Key, attr.Value)
	}
	return b.String()
}
