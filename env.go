package kafka

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/skeji/kafka/internal/variable"
)

// environment is what the process's environment says. The README's table is tested against its tags.
//
// Never add KAFKA_PORT, KAFKA_HOST or KAFKA_SERVICE_*: Kubernetes sets those names for a Service called kafka.
type environment struct {
	Brokers  string `env:"KAFKA_BROKERS"`
	ClientID string `env:"KAFKA_CLIENT_ID"`
	Rack     string `env:"KAFKA_CLIENT_RACK"`

	TLSEnabled    bool   `env:"KAFKA_TLS_ENABLED"`
	TLSRequired   bool   `env:"KAFKA_TLS_REQUIRED"`
	TLSCAFile     string `env:"KAFKA_TLS_CA_FILE"`
	TLSCertFile   string `env:"KAFKA_TLS_CERT_FILE"`
	TLSKeyFile    string `env:"KAFKA_TLS_KEY_FILE"`
	TLSServerName string `env:"KAFKA_TLS_SERVER_NAME"`

	SASLMechanism      string `env:"KAFKA_SASL_MECHANISM"`
	SASLUsername       string `env:"KAFKA_SASL_USERNAME"`
	SASLPassword       string `env:"KAFKA_SASL_PASSWORD"`
	SASLPasswordFile   string `env:"KAFKA_SASL_PASSWORD_FILE"`
	SASLTokenFile      string `env:"KAFKA_SASL_TOKEN_FILE"`
	SASLAllowPlaintext bool   `env:"KAFKA_SASL_ALLOW_PLAINTEXT"`

	ControlKey     string `env:"KAFKA_CONTROL_KEY"`
	ControlKeyFile string `env:"KAFKA_CONTROL_KEY_FILE"`
	AcceptUnsealed bool   `env:"KAFKA_ACCEPT_UNSEALED"`

	EnableMiddleware bool `env:"KAFKA_ENABLE_MIDDLEWARE" envDefault:"true"`

	ConnectTimeout time.Duration `env:"KAFKA_CLIENT_CONNECT_TIMEOUT" envDefault:"10s"`

	ProducerDeliveryTimeout    time.Duration `env:"KAFKA_PRODUCER_DELIVERY_TIMEOUT" envDefault:"2m"`
	ProducerCompression        string        `env:"KAFKA_PRODUCER_COMPRESSION" envDefault:"snappy"`
	ProducerLinger             time.Duration `env:"KAFKA_PRODUCER_LINGER" envDefault:"0s"`
	ProducerMaxBufferedRecords int           `env:"KAFKA_PRODUCER_MAX_BUFFERED_RECORDS" envDefault:"50000"`
	ProducerMaxBufferedBytes   int64         `env:"KAFKA_PRODUCER_MAX_BUFFERED_BYTES" envDefault:"67108864"`
	ProducerMaxMessageBytes    int32         `env:"KAFKA_PRODUCER_MAX_MESSAGE_BYTES"`

	ConsumerDLQTopic        string          `env:"KAFKA_CONSUMER_DLQ_TOPIC"`
	ConsumerMaxRetries      int             `env:"KAFKA_CONSUMER_MAX_RETRIES" envDefault:"3"`
	ConsumerRetryBackoff    time.Duration   `env:"KAFKA_CONSUMER_RETRY_BACKOFF"` // whose default may not be above the next one
	ConsumerRetryBackoffMax time.Duration   `env:"KAFKA_CONSUMER_RETRY_BACKOFF_MAX" envDefault:"30s"`
	ConsumerRetryDelays     []time.Duration `env:"KAFKA_CONSUMER_RETRY_DELAYS"`
	ConsumerConcurrency     int             `env:"KAFKA_CONSUMER_CONCURRENCY" envDefault:"1"`
	ConsumerAutoOffsetReset string          `env:"KAFKA_CONSUMER_AUTO_OFFSET_RESET" envDefault:"earliest"`
	ConsumerStartFrom       time.Time       `env:"KAFKA_CONSUMER_START_FROM"`

	ConsumerParkKeys         bool `env:"KAFKA_CONSUMER_PARK_KEYS"`
	ConsumerMaxParkedRecords int  `env:"KAFKA_CONSUMER_MAX_PARKED_RECORDS" envDefault:"1000000"`

	ConsumerMaxBatchSize      int           `env:"KAFKA_CONSUMER_MAX_BATCH_SIZE" envDefault:"500"`
	ConsumerFailLivenessAfter time.Duration `env:"KAFKA_CONSUMER_FAIL_LIVENESS_AFTER" envDefault:"0s"`
	ConsumerRateLimit         float64       `env:"KAFKA_CONSUMER_RATE_LIMIT" envDefault:"0"`
	ConsumerMaxBatchWait      time.Duration `env:"KAFKA_CONSUMER_MAX_BATCH_WAIT" envDefault:"0s"`

	ConsumerDrainTimeout       time.Duration `env:"KAFKA_CONSUMER_DRAIN_TIMEOUT" envDefault:"30s"`
	ConsumerCommitInterval     time.Duration `env:"KAFKA_CONSUMER_COMMIT_INTERVAL" envDefault:"1s"`
	ConsumerSessionTimeout     time.Duration `env:"KAFKA_CONSUMER_SESSION_TIMEOUT" envDefault:"45s"`
	ConsumerRebalanceTimeout   time.Duration `env:"KAFKA_CONSUMER_REBALANCE_TIMEOUT" envDefault:"1m"`
	ConsumerAuthFailureTimeout time.Duration `env:"KAFKA_CONSUMER_AUTH_FAILURE_TIMEOUT" envDefault:"30s"`
	ConsumerStallTimeout       time.Duration `env:"KAFKA_CONSUMER_STALL_TIMEOUT" envDefault:"1m"`
	ConsumerMaxQueuedRecords   int           `env:"KAFKA_CONSUMER_MAX_QUEUED_RECORDS" envDefault:"250000"`
	ConsumerMaxQueuedBytes     int64         `env:"KAFKA_CONSUMER_MAX_QUEUED_BYTES" envDefault:"67108864"`

	ConsumerOversize                  string `env:"KAFKA_CONSUMER_OVERSIZE" envDefault:"stop"`
	ConsumerMaxHeaders                int    `env:"KAFKA_CONSUMER_MAX_HEADERS" envDefault:"1000"`
	ConsumerMaxHeaderBytes            int    `env:"KAFKA_CONSUMER_MAX_HEADER_BYTES" envDefault:"1048588"`
	ConsumerMaxDecompressedBatchBytes int64  `env:"KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES" envDefault:"67108864"`

	ConsumerFloodGuard   string        `env:"KAFKA_CONSUMER_FLOOD_GUARD" envDefault:"warn"`
	ConsumerFloodShare   float64       `env:"KAFKA_CONSUMER_FLOOD_SHARE" envDefault:"0.5"`
	ConsumerFloodLetters int           `env:"KAFKA_CONSUMER_FLOOD_LETTERS" envDefault:"20"`
	ConsumerFloodWindow  time.Duration `env:"KAFKA_CONSUMER_FLOOD_WINDOW" envDefault:"10m"`
	ConsumerFloodPause   time.Duration `env:"KAFKA_CONSUMER_FLOOD_PAUSE" envDefault:"30s"`

	RequesterReplyPartition *int32        `env:"KAFKA_REQUESTER_REPLY_PARTITION"`
	RequesterRequestTimeout time.Duration `env:"KAFKA_REQUESTER_REQUEST_TIMEOUT" envDefault:"30s"`

	RequesterForeignResponders bool `env:"KAFKA_REQUESTER_FOREIGN_RESPONDERS"`
}

// NewClientConfigFromEnv reads the KAFKA_ variables that say where the cluster is. It reports every mistake at once.
func NewClientConfigFromEnv() (ClientConfig, error) {
	e, err := readEnvironment()
	cfg := e.client()
	cfg.misread = err
	return cfg, cfg.Validate()
}

// NewProducerConfigFromEnv reads the KAFKA_ variables for a producer of topic. It reports every mistake at once.
func NewProducerConfigFromEnv(topic string) (ProducerConfig, error) {
	e, err := readEnvironment()
	cfg := ProducerConfig{ClientConfig: e.client(), Topic: topic, DisableMiddleware: !e.EnableMiddleware}
	cfg.misread = err
	return cfg, cfg.Validate()
}

// NewConsumerConfigFromEnv reads the KAFKA_ variables for a consumer of topic in group. It reports every mistake at once.
// A consumer of the very topic that KAFKA_CONSUMER_DLQ_TOPIC names has no dead letter topic (DisableDeadLetters).
// KAFKA_CONSUMER_MAX_RETRIES 0 means none (NoRetries).
func NewConsumerConfigFromEnv(topic, group string) (ConsumerConfig, error) {
	e, err := readEnvironment()
	cfg := NewConsumerConfig(topic, group)
	cfg.ClientConfig = e.client()
	if cfg.DLQTopic = e.ConsumerDLQTopic; cfg.DLQTopic == topic {
		cfg.DLQTopic, cfg.DisableDeadLetters = "", true // a consumer of the dead letters themselves
		e.ConsumerParkKeys = false
	}
	switch cfg.MaxRetries = e.ConsumerMaxRetries; {
	case cfg.MaxRetries == 0: // which somebody wrote
		cfg.MaxRetries = NoRetries
	case cfg.MaxRetries < 0: // for some programs that is no limit
		err = errors.Join(err, fmt.Errorf("kafka: environment: KAFKA_CONSUMER_MAX_RETRIES is %d: want 0 or more", cfg.MaxRetries))
	}
	cfg.RetryDelays = e.ConsumerRetryDelays
	cfg.RetryBackoff, cfg.RetryBackoffMax = e.ConsumerRetryBackoff, e.ConsumerRetryBackoffMax
	cfg.DrainTimeout, cfg.CommitInterval = e.ConsumerDrainTimeout, e.ConsumerCommitInterval
	cfg.SessionTimeout, cfg.RebalanceTimeout = e.ConsumerSessionTimeout, e.ConsumerRebalanceTimeout
	cfg.AuthFailureTimeout, cfg.StallTimeout = e.ConsumerAuthFailureTimeout, e.ConsumerStallTimeout
	cfg.MaxQueuedRecords, cfg.MaxQueuedBytes = e.ConsumerMaxQueuedRecords, e.ConsumerMaxQueuedBytes
	cfg.Concurrency = e.ConsumerConcurrency
	cfg.ParkKeys, cfg.MaxParkedRecords = e.ConsumerParkKeys, e.ConsumerMaxParkedRecords
	cfg.FailLivenessAfter, cfg.RateLimit = e.ConsumerFailLivenessAfter, e.ConsumerRateLimit
	cfg.MaxBatchSize, cfg.MaxBatchWait = e.ConsumerMaxBatchSize, e.ConsumerMaxBatchWait
	cfg.Oversize = Oversize(e.ConsumerOversize)
	cfg.AutoOffsetReset, cfg.StartFrom = OffsetReset(e.ConsumerAutoOffsetReset), e.ConsumerStartFrom
	cfg.MaxHeaders, cfg.MaxHeaderBytes = e.ConsumerMaxHeaders, e.ConsumerMaxHeaderBytes
	cfg.MaxDecompressedBatchBytes = e.ConsumerMaxDecompressedBatchBytes
	cfg.FloodGuard = FloodGuardConfig{
		Mode: FloodGuardMode(e.ConsumerFloodGuard), Share: e.ConsumerFloodShare, Letters: e.ConsumerFloodLetters, Window: e.ConsumerFloodWindow,
		Pause: e.ConsumerFloodPause,
	}
	cfg.DisableMiddleware = !e.EnableMiddleware
	cfg.misread = err
	return cfg, cfg.Validate()
}

// NewRequesterConfigFromEnv reads the KAFKA_ variables for a requester that publishes to topic and reads its replies from
// replyTopic. It reports every mistake at once.
func NewRequesterConfigFromEnv(topic, replyTopic string) (RequesterConfig, error) {
	e, err := readEnvironment()
	cfg := RequesterConfig{
		ClientConfig: e.client(), Topic: topic, ReplyTopic: replyTopic,
		ReplyPartition: e.RequesterReplyPartition, RequestTimeout: e.RequesterRequestTimeout,
		ForeignResponders: e.RequesterForeignResponders, DisableMiddleware: !e.EnableMiddleware,
	}
	cfg.misread = err
	return cfg, cfg.Validate()
}

func readEnvironment() (environment, error) {
	var e environment
	var faults faults
	if err := env.ParseWithOptions(&e, env.Options{Environment: variables()}); err != nil {
		faults = append(faults, explainParse(err)...)
	}
	faults.readSecret("KAFKA_SASL_PASSWORD", &e.SASLPassword, e.SASLPasswordFile)
	if read := faults.readSecret("KAFKA_CONTROL_KEY", &e.ControlKey, e.ControlKeyFile); read && e.ControlKey == "" {
		faults.addf("KAFKA_CONTROL_KEY_FILE is empty: %s holds no key", e.ControlKeyFile) // and not: there is to be none
	}
	return e, faults.join("environment")
}

// readSecret reads a variable's value from the file that name_FILE names, if it names one. It returns false where it
// could not.
func (f *faults) readSecret(name string, value *string, file string) (read bool) {
	if file == "" {
		return false
	}
	if *value != "" {
		f.addf("%s and %s_FILE are both set: keep one", name, name)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		f.addf("%s_FILE: %w", name, err)
	}
	*value = variable.Trim(string(text))
	return err == nil
}

// variables returns the environment, without what files and editors add to values.
func variables() map[string]string {
	all := env.ToMap(os.Environ())
	for name, value := range all {
		all[name] = variable.Trim(value)
	}
	return all
}

// explainParse names the variable and what it wants; the parser's own text names only our field.
func explainParse(err error) []error {
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		return []error{err}
	}
	faults := make([]error, 0, len(all.Errors))
	for _, err := range all.Errors {
		if bad, ok := errors.AsType[env.ParseError](err); ok {
			field, _ := reflect.TypeFor[environment]().FieldByName(bad.Name)
			name := field.Tag.Get("env")
			want := "a whole number"
			switch {
			case bad.Type.Kind() == reflect.Bool:
				want = "true or false"
			case bad.Type.Kind() == reflect.Float64:
				want = "a number, such as 0.5"
			case bad.Type == reflect.TypeFor[time.Duration]():
				want = "a duration, such as 30s"
			case bad.Type == reflect.TypeFor[time.Time]():
				want = "a time in RFC 3339, such as 2026-01-31T08:00:00Z"
			case bad.Type == reflect.TypeFor[[]time.Duration]():
				want = "durations, such as 1m,10m"
			}
			err = fmt.Errorf("%s is %q: want %s", name, os.Getenv(name), want)
		}
		faults = append(faults, err)
	}
	return faults
}

func (e environment) client() ClientConfig {
	return ClientConfig{
		Brokers:  splitList(e.Brokers),
		ClientID: e.ClientID,
		Rack:     e.Rack,
		TLS: TLSConfig{
			Enabled: e.TLSEnabled, Required: e.TLSRequired, CAFile: e.TLSCAFile, CertFile: e.TLSCertFile, KeyFile: e.TLSKeyFile,
			ServerName: e.TLSServerName,
		},
		SASL: SASLConfig{
			Mechanism: e.SASLMechanism, Username: e.SASLUsername, Password: NewSecret(e.SASLPassword),
			TokenFile: e.SASLTokenFile, AllowPlaintext: e.SASLAllowPlaintext,
		},
		ControlKey: NewSecret(e.ControlKey), AcceptUnsealed: e.AcceptUnsealed,
		ConnectTimeout: e.ConnectTimeout, DeliveryTimeout: e.ProducerDeliveryTimeout,
		Compression: e.ProducerCompression, Linger: e.ProducerLinger,
		MaxBufferedRecords: e.ProducerMaxBufferedRecords, MaxBufferedBytes: e.ProducerMaxBufferedBytes,
		MaxMessageBytes: e.ProducerMaxMessageBytes,
		unknown:         unknownVariables(variables()),
	}
}

// splitList splits at commas, trims, and drops what is empty.
func splitList(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
