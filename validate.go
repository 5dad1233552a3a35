package kafka

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/loopback"
	"github.com/skeji/kafka/internal/topicname"
	"github.com/skeji/kafka/internal/variable"
)

// Validate reports every mistake at once. Constructors call it.
func (c ClientConfig) Validate() error {
	var faults faults
	faults.checkClient(c)
	return errors.Join(c.misread, faults.join("client config"))
}

// Validate reports every mistake at once. Constructors call it.
func (c ProducerConfig) Validate() error {
	var faults faults
	if c.Client == nil {
		faults.checkClient(c.ClientConfig)
	}
	faults.checkTopic("Topic", c.Topic)
	faults.checkDLQ(c.Topic, c.DLQTopic, "")
	return errors.Join(c.misread, faults.join("producer config"))
}

// Validate reports every mistake at once. Constructors call it.
func (c ConsumerConfig) Validate() error {
	var faults faults
	faults.checkClient(c.ClientConfig)
	faults.checkTopics(c)
	if c.Group == "" {
		faults.addf("Group is empty")
	}
	faults.checkPrintable("Group", c.Group)
	faults.checkPrintable("InstanceID", c.InstanceID)
	if c.ParkKeys && c.DisableDeadLetters {
		faults.addf("ParkKeys is set, and so is DisableDeadLetters: parked records wait in a dead letter topic (KAFKA_CONSUMER_PARK_KEYS)")
	}
	if c.MaxRetries < NoRetries {
		faults.addf("MaxRetries is %d: want 1 or more, 0 for the default, or NoRetries (KAFKA_CONSUMER_MAX_RETRIES)", c.MaxRetries)
	}
	faults.checkRetryDelays(c)
	if c.Concurrency < 0 {
		faults.addf("Concurrency is %d: want 1 or more (KAFKA_CONSUMER_CONCURRENCY)", c.Concurrency)
	}
	checkOneOf(&faults, "Oversize", "KAFKA_CONSUMER_OVERSIZE", c.Oversize, OversizeStop, OversizeStub)
	checkOneOf(&faults, "AutoOffsetReset", "KAFKA_CONSUMER_AUTO_OFFSET_RESET", c.AutoOffsetReset, ResetEarliest, ResetLatest, ResetNone)
	if limit := c.RateLimit; !(limit >= 0) || math.IsInf(limit, 0) {
		faults.addf("RateLimit is %v: want attempts a second, or 0 for no limit (KAFKA_CONSUMER_RATE_LIMIT)", limit)
	}
	faults.checkStartFrom(c.StartFrom)
	faults.checkConsumerOptions(c)
	checkOneOf(&faults, "GroupProtocol", "", c.GroupProtocol, ProtocolClassic, ProtocolConsumer)
	for _, d := range []struct {
		name, variable string
		value          time.Duration
		least          time.Duration // unless it is 0
	}{
		{"RetryBackoff", "KAFKA_CONSUMER_RETRY_BACKOFF", c.RetryBackoff, 0},
		{"RetryBackoffMax", "KAFKA_CONSUMER_RETRY_BACKOFF_MAX", c.RetryBackoffMax, 0},
		{"DrainTimeout", "KAFKA_CONSUMER_DRAIN_TIMEOUT", c.DrainTimeout, 0},
		{"CommitInterval", "KAFKA_CONSUMER_COMMIT_INTERVAL", c.CommitInterval, minGroupInterval},
		{"SessionTimeout", "KAFKA_CONSUMER_SESSION_TIMEOUT", c.SessionTimeout, minGroupInterval},
		{"RebalanceTimeout", "KAFKA_CONSUMER_REBALANCE_TIMEOUT", c.RebalanceTimeout, 0},
		{"MaxBatchWait", "KAFKA_CONSUMER_MAX_BATCH_WAIT", c.MaxBatchWait, 0},
		{"AuthFailureTimeout", "KAFKA_CONSUMER_AUTH_FAILURE_TIMEOUT", c.AuthFailureTimeout, 0},
		{"StallTimeout", "KAFKA_CONSUMER_STALL_TIMEOUT", c.StallTimeout, 0},
		{"FailLivenessAfter", "KAFKA_CONSUMER_FAIL_LIVENESS_AFTER", c.FailLivenessAfter, 0},
	} {
		faults.checkNotNegative(d.name, d.variable, int64(d.value))
		if d.value > 0 && d.value < d.least {
			faults.addf("%s is %v: want %v or more (%s)", d.name, d.value, d.least, d.variable)
		}
	}
	faults.checkNotNegative("MaxQueuedRecords", "KAFKA_CONSUMER_MAX_QUEUED_RECORDS", int64(c.MaxQueuedRecords))
	faults.checkNotNegative("MaxQueuedBytes", "KAFKA_CONSUMER_MAX_QUEUED_BYTES", c.MaxQueuedBytes)
	for _, limit := range []struct {
		name, variable string
		value, most    int64
	}{
		{"MaxBatchSize", "KAFKA_CONSUMER_MAX_BATCH_SIZE", int64(c.MaxBatchSize), maxMaxBatchSize},
		{"MaxParkedRecords", "KAFKA_CONSUMER_MAX_PARKED_RECORDS", int64(c.MaxParkedRecords), math.MaxInt32},
		{"MaxHeaders", "KAFKA_CONSUMER_MAX_HEADERS", int64(c.MaxHeaders), math.MaxInt32},
		{"MaxHeaderBytes", "KAFKA_CONSUMER_MAX_HEADER_BYTES", int64(c.MaxHeaderBytes), math.MaxInt32},
		{"MaxDecompressedBatchBytes", "KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES", c.MaxDecompressedBatchBytes, math.MaxInt32},
	} {
		if limit.value < 0 || limit.value > limit.most {
			faults.addf("%s is %d: want 1 to %d, or 0 for the default (%s)", limit.name, limit.value, limit.most, limit.variable)
		}
	}
	faults.checkFloodGuard(c.FloodGuard)
	d := c.withDefaults()
	if limit := min(d.SessionTimeout, d.RebalanceTimeout); d.DrainTimeout >= limit {
		faults.addf("DrainTimeout is %v: it must be below SessionTimeout and RebalanceTimeout (%v) (KAFKA_CONSUMER_DRAIN_TIMEOUT)", d.DrainTimeout, limit)
	}
	if d.RetryBackoff > d.RetryBackoffMax {
		faults.addf("RetryBackoff is %v: it must not be above RetryBackoffMax (%v) (KAFKA_CONSUMER_RETRY_BACKOFF)", d.RetryBackoff, d.RetryBackoffMax)
	}
	return errors.Join(c.misread, faults.join("consumer config"))
}

// Validate reports every mistake at once. Constructors call it.
func (c RequesterConfig) Validate() error {
	var faults faults
	if c.Client == nil {
		faults.checkClient(c.ClientConfig)
	}
	faults.checkTopic("Topic", c.Topic)
	faults.checkTopic("ReplyTopic", c.ReplyTopic)
	if c.ReplyTopic == c.Topic {
		faults.addf("ReplyTopic is the topic itself, %q: responders would take replies for requests", c.Topic)
	}
	if c.ReplyPartition != nil && *c.ReplyPartition < 0 {
		faults.addf("ReplyPartition is %d: want 0 or more (KAFKA_REQUESTER_REPLY_PARTITION)", *c.ReplyPartition)
	}
	if c.RequestTimeout < 0 {
		faults.addf("RequestTimeout is %v: want more than 0, or 0 for the default (KAFKA_REQUESTER_REQUEST_TIMEOUT)", c.RequestTimeout)
	}
	return errors.Join(c.misread, faults.join("requester config"))
}

// franz-go's own bounds, which it would name one at a time.
const (
	maxLinger          = time.Minute
	minMaxMessageBytes = 512
	maxClientIDBytes   = 256
	minGroupInterval   = 100 * time.Millisecond
)

// faults collects what is wrong with a config.
type faults []error

func (f *faults) addf(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

func (f faults) join(what string) error {
	if len(f) == 0 {
		return nil
	}
	return fmt.Errorf("kafka: %s: %w", what, errors.Join(f...))
}

func (f *faults) checkClient(c ClientConfig) {
	if len(c.Brokers) == 0 {
		f.addf("no brokers: set Brokers or KAFKA_BROKERS, such as kafka-1:9092,kafka-2:9092")
	}
	for _, broker := range c.Brokers {
		if !isHostPort(broker) {
			if i := strings.LastIndex(broker, "@"); i >= 0 {
				broker = redacted + broker[i:] // what stands before it may be a password
			}
			f.addf("broker %q: want host:port", broker)
		}
	}
	checkOneOf(f, "Compression", "KAFKA_PRODUCER_COMPRESSION", c.Compression, "none", "gzip", "snappy", "lz4", "zstd")
	f.checkNotNegative("ConnectTimeout", "KAFKA_CLIENT_CONNECT_TIMEOUT", int64(c.ConnectTimeout))
	f.checkNotNegative("DeliveryTimeout", "KAFKA_PRODUCER_DELIVERY_TIMEOUT", int64(c.DeliveryTimeout))
	f.checkNotNegative("Linger", "KAFKA_PRODUCER_LINGER", int64(c.Linger))
	if c.Linger > maxLinger {
		f.addf("Linger is %v: want %v or less (KAFKA_PRODUCER_LINGER)", c.Linger, maxLinger)
	}
	if c.MaxMessageBytes > 0 && c.MaxMessageBytes < minMaxMessageBytes {
		f.addf("MaxMessageBytes is %d: want %d or more (KAFKA_PRODUCER_MAX_MESSAGE_BYTES)", c.MaxMessageBytes, minMaxMessageBytes)
	}
	if len(c.ClientID) > maxClientIDBytes {
		f.addf("ClientID has %d bytes: want %d or fewer", len(c.ClientID), maxClientIDBytes)
	}
	f.checkPrintable("ClientID", c.ClientID)
	f.checkPrintable("Rack", c.Rack)
	f.checkNotNegative("MaxBufferedRecords", "KAFKA_PRODUCER_MAX_BUFFERED_RECORDS", int64(c.MaxBufferedRecords))
	f.checkNotNegative("MaxBufferedBytes", "KAFKA_PRODUCER_MAX_BUFFERED_BYTES", c.MaxBufferedBytes)
	f.checkNotNegative("MaxMessageBytes", "KAFKA_PRODUCER_MAX_MESSAGE_BYTES", int64(c.MaxMessageBytes))

	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		f.addf("TLS: CertFile and KeyFile go together; one is empty (KAFKA_TLS_CERT_FILE, KAFKA_TLS_KEY_FILE)")
	}
	if c.TLS.Required && !c.TLS.enabled() && !slices.ContainsFunc(c.Options, func(o kgo.Opt) bool { return optionName(o) == "DialTLSConfig" }) {
		f.addf("TLS: Required is set and TLS is off: turn it on (KAFKA_TLS_REQUIRED, KAFKA_TLS_ENABLED)")
	}
	f.checkSASL(c)
	if _, err := c.controlKeys(); err != nil {
		f.addf("ControlKey (KAFKA_CONTROL_KEY, KAFKA_CONTROL_KEY_FILE): %w", err)
	}
	if c.AcceptUnsealed && c.ControlKey.Reveal() == "" {
		f.addf("AcceptUnsealed is set but there is no ControlKey (KAFKA_ACCEPT_UNSEALED, KAFKA_CONTROL_KEY): without one all headers are accepted")
	}
	f.checkOptions(c.Options)
}

func (f *faults) checkSASL(c ClientConfig) {
	s := c.SASL
	token := s.Token != nil || s.TokenFile != ""
	if known := []string{"", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}; !slices.Contains(known, s.Mechanism) {
		f.addf("SASL: Mechanism is %q: want one of %s (KAFKA_SASL_MECHANISM); others, such as AWS's, are SASL.Custom",
			s.Mechanism, strings.Join(known[1:], ", "))
	}
	f.checkPrintable("SASL: Username", s.Username)
	if password := s.Password.Reveal(); password != variable.Trim(password) {
		f.addf("SASL: Password begins with a byte order mark or ends with a line end, which are likely not part of it (KAFKA_SASL_PASSWORD)")
	}
	if s.Token != nil && s.TokenFile != "" {
		f.addf("SASL: Token and TokenFile are both set: keep one (KAFKA_SASL_TOKEN_FILE)")
	}
	user := s.Username != "" || s.Password.Reveal() != ""
	switch {
	case s.Custom != nil:
		if s.Mechanism != "" || user || token {
			f.addf("SASL: Custom is set beside Mechanism, Username, Password, Token or TokenFile (KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD, KAFKA_SASL_TOKEN_FILE): keep one way to authenticate")
		}
		if s.Custom.Name() == "" {
			f.addf("SASL: Custom has no name: brokers choose mechanisms by it")
		}
		f.checkPrintable("SASL: Custom's name", s.Custom.Name())
	case s.Mechanism == "":
		if user {
			f.addf("SASL: a user or password is set but no Mechanism: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (KAFKA_SASL_MECHANISM)")
		}
		if token {
			f.addf("SASL: a token is set but no Mechanism: want OAUTHBEARER (KAFKA_SASL_MECHANISM)")
		}
	case s.Mechanism == "OAUTHBEARER":
		if !token {
			f.addf("SASL: OAUTHBEARER needs a Token or a TokenFile (KAFKA_SASL_TOKEN_FILE)")
		}
		if user {
			f.addf("SASL: OAUTHBEARER takes no Username and no Password: the token says who connects")
		}
	default:
		if s.Username == "" || s.Password.Reveal() == "" {
			f.addf("SASL: %s needs a Username and a Password (KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD)", s.Mechanism)
		}
		if token {
			f.addf("SASL: %s takes no token: want OAUTHBEARER (KAFKA_SASL_MECHANISM)", s.Mechanism)
		}
	}
	if secret := c.clearSecret(); secret != "" && !s.AllowPlaintext {
		if i := slices.IndexFunc(c.Brokers, func(b string) bool { return !loopback.IsAddress(b) }); i >= 0 {
			f.addf("SASL: %s would send the %s unencrypted to %s: turn TLS on, use SCRAM, or set AllowPlaintext (KAFKA_SASL_ALLOW_PLAINTEXT)",
				s.mechanism(), secret, c.Brokers[i])
		}
	}
}

// checkStartFrom takes what has milliseconds since 1970, which is what brokers are asked for: negative ones mean something else.
func (f *faults) checkStartFrom(t time.Time) {
	if t.IsZero() {
		return
	}
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		f.addf("StartFrom is in the year %d: want 1970 to 9999 (KAFKA_CONSUMER_START_FROM)", year)
	}
}

func (f *faults) checkFloodGuard(c FloodGuardConfig) {
	checkOneOf(f, "FloodGuard: Mode", "KAFKA_CONSUMER_FLOOD_GUARD", c.Mode, FloodGuardOff, FloodGuardWarn, FloodGuardPause)
	if !(c.Share >= 0 && c.Share <= 1) { // nor NaN
		f.addf("FloodGuard: Share is %v: want more than 0 and at most 1, or 0 for the default (KAFKA_CONSUMER_FLOOD_SHARE)", c.Share)
	}
	if c.Letters < 0 || c.Letters > maxFloodLetters {
		f.addf("FloodGuard: Letters is %d: want 1 to %d, or 0 for the default (KAFKA_CONSUMER_FLOOD_LETTERS)", c.Letters, maxFloodLetters)
	}
	for _, d := range []struct {
		name, variable string
		value          time.Duration
	}{{"Window", "KAFKA_CONSUMER_FLOOD_WINDOW", c.Window}, {"Pause", "KAFKA_CONSUMER_FLOOD_PAUSE", c.Pause}} {
		if d.value < 0 {
			f.addf("FloodGuard: %s is %v: want more than 0, or 0 for the default (%s)", d.name, d.value, d.variable)
		}
	}
}

func checkOneOf[S ~string](f *faults, name, variable string, value S, allowed ...S) {
	if value != "" && !slices.Contains(allowed, value) {
		names := make([]string, len(allowed))
		for i, one := range allowed {
			names[i] = string(one)
		}
		if variable != "" {
			variable = " (" + variable + ")"
		}
		f.addf("%s is %q: want one of %s%s", name, value, strings.Join(names, ", "), variable)
	}
}

// checkPrintable refuses names that would break a log line or a label. A line's end from a file is the likeliest.
func (f *faults) checkPrintable(name, value string) {
	if strings.ContainsFunc(value, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		f.addf("%s is %q: it has characters that can't be printed", name, value)
	}
}

func (f *faults) checkNotNegative(name, variable string, value int64) {
	if value < 0 {
		f.addf("%s is negative (%s)", name, variable)
	}
}

func (f *faults) checkTopic(field, topic string) {
	if err := topicname.Check(topic); err != nil {
		f.addf("%s %w", field, err)
	}
}

// checkDLQ looks at a dead letter topic. variable is what names it, in brackets.
// checkTopics refuses a consumer that would read its own dead letters, too.
func (f *faults) checkTopics(c ConsumerConfig) {
	for _, topic := range c.sources() {
		name := "Topic"
		if topic != c.Topic {
			name = "Topics"
		}
		f.checkTopic(name, topic)
		if c.DLQTopic == "" && topicname.Check(topic) != nil { // one mistake is enough
			continue
		}
		dlq := c.deadLetterTopicOf(topic)
		f.checkDLQ(topic, dlq, " (KAFKA_CONSUMER_DLQ_TOPIC)")
		if dlq != topic && slices.Contains(c.sources(), dlq) {
			f.addf("DLQTopic of %q is %q, which is consumed as well: its dead letters would come back for ever (KAFKA_CONSUMER_DLQ_TOPIC)", topic, dlq)
		}
	}
}

func (f *faults) checkDLQ(topic, dlq, variable string) {
	if dlq == "" {
		return
	}
	f.checkTopic("DLQTopic", dlq)
	if dlq == topic {
		f.addf("DLQTopic is the topic itself, %q: its dead letters would come back for ever%s", topic, variable)
	}
}

// isHostPort takes a host alone, too: franz-go then dials port 9092.
func isHostPort(broker string) bool {
	if broker == "" || strings.ContainsAny(broker, "/@ \t\r\n,") {
		return false
	}
	host, port, err := net.SplitHostPort(broker)
	if err != nil {
		return !strings.Contains(broker, ":") || net.ParseIP(strings.Trim(broker, "[]")) != nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return host != "" && err == nil && n > 0
}

func (t TLSConfig) enabled() bool {
	return t.Enabled || t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != ""
}

func (c ClientConfig) withDefaults() ClientConfig {
	c.ClientID = cmp.Or(c.ClientID, filepath.Base(os.Args[0]))
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, defaultConnectTimeout)
	c.DeliveryTimeout = cmp.Or(c.DeliveryTimeout, defaultDeliveryTimeout)
	c.Compression = cmp.Or(c.Compression, defaultCompression)
	c.MaxBufferedRecords = cmp.Or(c.MaxBufferedRecords, defaultMaxBufferedRecords)
	c.MaxBufferedBytes = cmp.Or(c.MaxBufferedBytes, defaultMaxBufferedBytes)
	return c
}

func (c ConsumerConfig) withDefaults() ConsumerConfig {
	c.ClientConfig = c.ClientConfig.withDefaults()
	c.MaxRetries = cmp.Or(c.MaxRetries, defaultMaxRetries)
	c.RetryBackoffMax = cmp.Or(c.RetryBackoffMax, defaultRetryBackoffMax)
	c.RetryBackoff = cmp.Or(c.RetryBackoff, min(defaultRetryBackoff, c.RetryBackoffMax))
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.MaxBatchSize = cmp.Or(c.MaxBatchSize, defaultMaxBatchSize)
	c.AutoOffsetReset = cmp.Or(c.AutoOffsetReset, ResetEarliest)
	c.Oversize = cmp.Or(c.Oversize, OversizeStop)
	c.GroupProtocol = cmp.Or(c.GroupProtocol, ProtocolClassic)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, defaultDrainTimeout)
	c.MaxQueuedRecords = cmp.Or(c.MaxQueuedRecords, defaultMaxQueuedRecords)
	c.MaxQueuedBytes = cmp.Or(c.MaxQueuedBytes, defaultMaxQueuedBytes)
	c.MaxParkedRecords = cmp.Or(c.MaxParkedRecords, defaultMaxParkedRecords)
	c.MaxHeaders = cmp.Or(c.MaxHeaders, defaultMaxHeaders)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, defaultMaxHeaderBytes)
	c.MaxDecompressedBatchBytes = cmp.Or(c.MaxDecompressedBatchBytes, deadLetterMaxBytes)
	c.CommitInterval = cmp.Or(c.CommitInterval, defaultCommitInterval)
	c.SessionTimeout = cmp.Or(c.SessionTimeout, defaultSessionTimeout)
	c.RebalanceTimeout = cmp.Or(c.RebalanceTimeout, defaultRebalanceTimeout)
	c.AuthFailureTimeout = cmp.Or(c.AuthFailureTimeout, defaultAuthFailureTimeout)
	c.FloodGuard = c.FloodGuard.withDefaults()
	c.StallTimeout = cmp.Or(c.StallTimeout, defaultStallTimeout)
	return c
}

func (c FloodGuardConfig) withDefaults() FloodGuardConfig {
	c.Mode = cmp.Or(c.Mode, FloodGuardWarn)
	c.Share = cmp.Or(c.Share, defaultFloodShare)
	c.Letters = cmp.Or(c.Letters, defaultFloodLetters)
	c.Window = cmp.Or(c.Window, defaultFloodWindow)
	c.Pause = cmp.Or(c.Pause, defaultFloodPause)
	return c
}

func (c RequesterConfig) withDefaults() RequesterConfig {
	c.ClientConfig = c.ClientConfig.withDefaults()
	c.RequestTimeout = cmp.Or(c.RequestTimeout, defaultRequestTimeout)
	return c
}
