package kafka_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skeji/kafka"
)

func validClient() kafka.ClientConfig { return kafka.ClientConfig{Brokers: []string{"kafka-1:9092"}} }
func validConsumer() kafka.ConsumerConfig {
	return kafka.NewConsumerConfig("orders", "bookings", "kafka-1:9092")
}
func validProducer() kafka.ProducerConfig { return kafka.NewProducerConfig("orders", "kafka-1:9092") }

func ignore(context.Context, kafka.Message[int]) error { return nil }

// wantFault fails unless err holds every part, or is nil when none is wanted.
func wantFault(t *testing.T, err error, parts ...string) {
	t.Helper()
	if len(parts) == 0 {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	if err == nil {
		t.Errorf("accepted, want an error with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing in: %v", part, err)
		}
	}
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	client := kafka.ClientConfig{
		Brokers:            []string{"http://kafka:9092", "b 2:9092"},
		Compression:        "brotli",
		ConnectTimeout:     -1,
		DeliveryTimeout:    -1,
		Linger:             -1,
		MaxBufferedRecords: -1,
		MaxBufferedBytes:   -1,
		MaxMessageBytes:    -1,
		TLS:                kafka.TLSConfig{CertFile: "cert.pem"},
		SASL:               kafka.SASLConfig{Mechanism: "KERBEROS"},
	}
	clientFaults := []string{
		`broker "http://kafka:9092"`, `broker "b 2:9092"`, `Compression is "brotli"`, "none, gzip, snappy, lz4, zstd",
		"ConnectTimeout is negative", "DeliveryTimeout is negative", "Linger is negative",
		"MaxBufferedRecords is negative", "MaxBufferedBytes is negative", "MaxMessageBytes is negative",
		"CertFile and KeyFile go together", `SASL: Mechanism is "KERBEROS"`, "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
		"KERBEROS needs a Username and a Password",
	}

	t.Run("client", func(t *testing.T) {
		wantFault(t, client.Validate(), append(clientFaults, "kafka: client config: ")...)
		_, err := kafka.NewClient(client)
		wantFault(t, err, clientFaults...)
	})

	t.Run("producer", func(t *testing.T) {
		cfg := kafka.ProducerConfig{ClientConfig: client, Topic: "bad topic", DLQTopic: "bad topic"}
		want := append(clientFaults, "kafka: producer config: ", `Topic is "bad topic"`, `DLQTopic is "bad topic"`, "DLQTopic is the topic itself")
		wantFault(t, cfg.Validate(), want...)
		_, err := kafka.NewProducer[int](cfg)
		wantFault(t, err, want...)
	})

	t.Run("consumer", func(t *testing.T) {
		cfg := kafka.ConsumerConfig{
			ClientConfig: client, Topic: "bad topic", DLQTopic: "bad/dlq", MaxRetries: -2, Concurrency: -2,
			RetryBackoff: -1, RetryBackoffMax: -2, AutoOffsetReset: "newest", DrainTimeout: time.Hour,
			MaxQueuedRecords: -1, MaxQueuedBytes: -1, CommitInterval: -1, SessionTimeout: -1, RebalanceTimeout: -1,
			GroupProtocol: "share", AuthFailureTimeout: -1,
			FloodGuard: kafka.FloodGuardConfig{Mode: "stop", Share: math.NaN(), Letters: -1, Window: -1, Pause: -1},
		}
		want := append(clientFaults,
			"kafka: consumer config: ", `Topic is "bad topic"`, `DLQTopic is "bad/dlq"`, "Group is empty", "MaxRetries is -2", "NoRetries",
			"Concurrency is -2", "RetryBackoff is negative", "RetryBackoffMax is negative", `AutoOffsetReset is "newest"`,
			"earliest, latest, none", "DrainTimeout is 1h0m0s", "MaxQueuedRecords is negative", "MaxQueuedBytes is negative",
			"CommitInterval is negative", "SessionTimeout is negative", "RebalanceTimeout is negative",
			`GroupProtocol is "share"`, "classic, consumer", "AuthFailureTimeout is negative",
			`FloodGuard: Mode is "stop"`, "off, warn, pause", "FloodGuard: Share is NaN", "FloodGuard: Letters is -1",
			"FloodGuard: Window is -1ns", "FloodGuard: Pause is -1ns",
		)
		wantFault(t, cfg.Validate(), want...)
		_, err := kafka.NewConsumer(cfg, ignore)
		wantFault(t, err, want...)
	})

	t.Run("requester", func(t *testing.T) {
		cfg := kafka.RequesterConfig{ClientConfig: client, Topic: "bad topic", ReplyTopic: "bad topic", ReplyPartition: new(int32(-1)), RequestTimeout: -time.Second}
		want := append(clientFaults, "kafka: requester config: ", `Topic is "bad topic"`, `ReplyTopic is "bad topic"`, "ReplyTopic is the topic itself",
			"ReplyPartition is -1", "RequestTimeout is -1s")
		wantFault(t, cfg.Validate(), want...)
		_, err := kafka.NewRequester[int, int](cfg)
		wantFault(t, err, want...)
	})

	t.Run("nothing set", func(t *testing.T) {
		wantFault(t, kafka.ConsumerConfig{}.Validate(), "no brokers: set Brokers or KAFKA_BROKERS", "Topic is empty", "Group is empty")
		wantFault(t, kafka.ProducerConfig{}.Validate(), "no brokers", "Topic is empty")
		wantFault(t, kafka.RequesterConfig{}.Validate(), "no brokers", "Topic is empty", "ReplyTopic is empty")
		wantFault(t, kafka.ClientConfig{}.Validate(), "no brokers")
	})
}

func TestMinimalConfigsAreValid(t *testing.T) {
	wantFault(t, kafka.ClientConfig{Brokers: []string{"kafka-1:9092"}}.Validate())
	wantFault(t, kafka.ProducerConfig{ClientConfig: validClient(), Topic: "orders"}.Validate())
	wantFault(t, kafka.ProducerConfig{Client: &kafka.Client{}, Topic: "orders"}.Validate()) // the client brings its brokers
	wantFault(t, kafka.ConsumerConfig{ClientConfig: validClient(), Topic: "orders", Group: "bookings"}.Validate())
	wantFault(t, kafka.RequesterConfig{ClientConfig: validClient(), Topic: "orders", ReplyTopic: "replies"}.Validate())
	wantFault(t, kafka.RequesterConfig{Client: &kafka.Client{}, Topic: "orders", ReplyTopic: "replies", ReplyPartition: new(int32(0))}.Validate())
	wantFault(t, validConsumer().Validate())
	wantFault(t, validProducer().Validate())
	wantFault(t, validConsumer().WithDefaults().Validate())
}

func TestDefaultsAreWhatTheDocsSay(t *testing.T) {
	made := kafka.NewConsumerConfig("orders", "bookings", "a:1", "b:2")
	if made.Topic != "orders" || made.Group != "bookings" || made.DLQTopic != "" || made.MaxRetries != 3 || len(made.Brokers) != 2 {
		t.Errorf("NewConsumerConfig made %+v", made)
	}
	if made := kafka.NewProducerConfig("orders", "a:1"); made.Topic != "orders" || made.DLQTopic != "" || len(made.Brokers) != 1 {
		t.Errorf("NewProducerConfig made %+v", made)
	}

	if made := kafka.NewRequesterConfig("orders", "replies", "a:1"); made.Topic != "orders" || made.ReplyTopic != "replies" || made.ReplyPartition != nil || len(made.Brokers) != 1 {
		t.Errorf("NewRequesterConfig made %+v", made)
	}

	client := kafka.ClientConfig{}.WithDefaults()
	consumer := kafka.ConsumerConfig{Topic: "orders"}.WithDefaults()
	for name, pair := range map[string][2]any{
		"ClientID":                      {client.ClientID, filepath.Base(os.Args[0])},
		"ConnectTimeout":                {client.ConnectTimeout, 10 * time.Second},
		"DeliveryTimeout":               {client.DeliveryTimeout, 2 * time.Minute},
		"Compression":                   {client.Compression, "snappy"},
		"Linger":                        {client.Linger, time.Duration(0)},
		"MaxBufferedRecords":            {client.MaxBufferedRecords, 50_000},
		"MaxBufferedBytes":              {client.MaxBufferedBytes, int64(64 << 20)},
		"MaxMessageBytes":               {(&kafka.Client{}).BatchLimit("orders"), int32(1_048_588)},
		"the dead letters' Compression": {consumer.Compression, "snappy"},
		"DLQTopic":                      {strings.Contains(consumer.String(), ` dlq_topic="dlq-orders" `), true},
		"MaxRetries":                    {consumer.MaxRetries, 3},
		"RetryBackoff":                  {consumer.RetryBackoff, 500 * time.Millisecond},
		"RetryBackoffMax":               {consumer.RetryBackoffMax, 30 * time.Second},
		"AutoOffsetReset":               {consumer.AutoOffsetReset, kafka.ResetEarliest},
		"DrainTimeout":                  {consumer.DrainTimeout, 30 * time.Second},
		"MaxQueuedRecords":              {consumer.MaxQueuedRecords, 250_000},
		"MaxQueuedBytes":                {consumer.MaxQueuedBytes, int64(64 << 20)},
		"ParkKeys":                      {consumer.ParkKeys, false},
		"MaxParkedRecords":              {consumer.MaxParkedRecords, 1_000_000},
		"MaxHeaders":                    {consumer.MaxHeaders, 1000},
		"MaxHeaderBytes":                {consumer.MaxHeaderBytes, 1_048_588},
		"Oversize":                      {consumer.Oversize, kafka.OversizeStop},
		"MaxDecompressedBatchBytes":     {consumer.MaxDecompressedBatchBytes, int64(64 << 20)},
		"CommitInterval":                {consumer.CommitInterval, time.Second},
		"SessionTimeout":                {consumer.SessionTimeout, 45 * time.Second},
		"RebalanceTimeout":              {consumer.RebalanceTimeout, 60 * time.Second},
		"GroupProtocol":                 {consumer.GroupProtocol, kafka.ProtocolClassic},
		"RequestTimeout":                {kafka.RequesterConfig{}.WithDefaults().RequestTimeout, 30 * time.Second},
		"AuthFailureTimeout":            {consumer.AuthFailureTimeout, 30 * time.Second},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
		}
	}
}

func TestWhatIsSetOutlastsTheDefaults(t *testing.T) {
	cfg := kafka.ConsumerConfig{
		ClientConfig: kafka.ClientConfig{ClientID: "me", ConnectTimeout: 1, DeliveryTimeout: 2, Compression: "none", MaxBufferedRecords: 3, MaxBufferedBytes: 4, MaxMessageBytes: 5},
		RetryBackoff: 6, RetryBackoffMax: 7, AutoOffsetReset: "none", DrainTimeout: 8, MaxQueuedRecords: 9, MaxQueuedBytes: 10,
		CommitInterval: 11, SessionTimeout: 12, RebalanceTimeout: 13, GroupProtocol: "consumer", AuthFailureTimeout: 14,
	}
	if got, want := cfg.WithDefaults().String(), cfg.String(); got != want {
		t.Errorf("defaults made %s of %s", got, want)
	}
	d := cfg.WithDefaults()
	if d.ConnectTimeout != 1 || d.DeliveryTimeout != 2 || d.Compression != "none" || d.MaxBufferedRecords != 3 || d.MaxBufferedBytes != 4 ||
		d.MaxMessageBytes != 5 || d.RetryBackoff != 6 || d.RetryBackoffMax != 7 || d.AutoOffsetReset != "none" || d.DrainTimeout != 8 ||
		d.MaxQueuedRecords != 9 || d.MaxQueuedBytes != 10 || d.CommitInterval != 11 || d.SessionTimeout != 12 ||
		d.RebalanceTimeout != 13 || d.GroupProtocol != "consumer" || d.AuthFailureTimeout != 14 {
		t.Errorf("defaults replaced what was set: %#v", d)
	}
}

// Each constant is a value that the config takes, and the words of Kafka's own settings are those of the constants.
func TestConstantsOfSettingsAreTheirValues(t *testing.T) {
	for what, set := range map[string]func(*kafka.ConsumerConfig){
		"earliest": func(c *kafka.ConsumerConfig) { c.AutoOffsetReset = kafka.ResetEarliest }, "latest": func(c *kafka.ConsumerConfig) { c.AutoOffsetReset = kafka.ResetLatest },
		"none":    func(c *kafka.ConsumerConfig) { c.AutoOffsetReset = kafka.ResetNone },
		"classic": func(c *kafka.ConsumerConfig) { c.GroupProtocol = kafka.ProtocolClassic }, "consumer": func(c *kafka.ConsumerConfig) { c.GroupProtocol = kafka.ProtocolConsumer },
		"off": func(c *kafka.ConsumerConfig) { c.FloodGuard.Mode = kafka.FloodGuardOff }, "warn": func(c *kafka.ConsumerConfig) { c.FloodGuard.Mode = kafka.FloodGuardWarn },
		"pause": func(c *kafka.ConsumerConfig) { c.FloodGuard.Mode = kafka.FloodGuardPause },
	} {
		cfg := validConsumer()
		set(&cfg)
		wantFault(t, cfg.Validate())
		if got := string(cfg.AutoOffsetReset) + string(cfg.GroupProtocol) + string(cfg.FloodGuard.Mode); got != what {
			t.Errorf("%q is set as %q", what, got)
		}
	}
}

func TestDrainTimeoutStaysBelowTheGroupsPatience(t *testing.T) {
	const refused = "must be below SessionTimeout and RebalanceTimeout"
	for _, test := range []struct {
		name                      string
		drain, session, rebalance time.Duration
		want                      string
	}{
		{"the defaults", 0, 0, 0, ""},
		{"just below the default session", 45*time.Second - 1, 0, 0, ""},
		{"the default session", 45 * time.Second, 0, 0, refused},
		{"between session and rebalance", 50 * time.Second, 0, 0, refused},
		{"below a longer session", 50 * time.Second, 55 * time.Second, 0, ""},
		{"the default rebalance", 60 * time.Second, 90 * time.Second, 0, refused},
		{"below both", 60 * time.Second, 90 * time.Second, 2 * time.Minute, ""},
		{"the default drain, a short session", 0, 30 * time.Second, 0, refused},
		{"the default drain, a short rebalance", 0, 0, 10 * time.Second, refused},
		{"short all through", 5 * time.Second, 6 * time.Second, 6 * time.Second, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := validConsumer()
			cfg.DrainTimeout, cfg.SessionTimeout, cfg.RebalanceTimeout = test.drain, test.session, test.rebalance
			if test.want == "" {
				wantFault(t, cfg.Validate())
			} else {
				wantFault(t, cfg.Validate(), test.want)
			}
		})
	}
}

func TestRetryBackoffStaysBelowItsMaximum(t *testing.T) {
	cfg := validConsumer()
	cfg.RetryBackoff = time.Minute // above the default maximum
	wantFault(t, cfg.Validate(), "RetryBackoff is 1m0s: it must not be above RetryBackoffMax (30s)")
	cfg.RetryBackoffMax = time.Minute
	wantFault(t, cfg.Validate())
	cfg.RetryBackoff, cfg.RetryBackoffMax = 0, time.Millisecond // the default backoff gives way
	wantFault(t, cfg.Validate())
	if d := cfg.WithDefaults(); d.RetryBackoff != time.Millisecond {
		t.Errorf("RetryBackoff is %v with a maximum of 1ms", d.RetryBackoff)
	}
}

func TestPlainPasswordsLeaveThisMachineOnlyEncrypted(t *testing.T) {
	plain := kafka.SASLConfig{Mechanism: "PLAIN", Username: "svc", Password: kafka.NewSecret("pw")}
	allowed := plain
	allowed.AllowPlaintext = true
	scram := plain
	scram.Mechanism = "SCRAM-SHA-512"
	for _, test := range []struct {
		name    string
		brokers string
		sasl    kafka.SASLConfig
		tls     kafka.TLSConfig
		refused string // the broker that the error names
	}{
		{"host name", "kafka-1:9092", plain, kafka.TLSConfig{}, "kafka-1:9092"},
		{"host name without a port", "kafka-1", plain, kafka.TLSConfig{}, "kafka-1"},
		{"IPv4", "10.0.0.1:9092", plain, kafka.TLSConfig{}, "10.0.0.1:9092"},
		{"IPv6", "[2001:db8::1]:9092", plain, kafka.TLSConfig{}, "[2001:db8::1]:9092"},
		{"looks like loopback", "localhost.example.com:9092", plain, kafka.TLSConfig{}, "localhost.example.com:9092"},
		{"looks like a loopback address", "127.0.0.1.example.com:9092", plain, kafka.TLSConfig{}, "127.0.0.1.example.com:9092"},
		{"unspecified", "0.0.0.0:9092", plain, kafka.TLSConfig{}, "0.0.0.0:9092"},
		{"no host", ":9092", plain, kafka.TLSConfig{}, ":9092"},
		{"one of several", "localhost:9092,127.0.0.1:9093,kafka-1:9092", plain, kafka.TLSConfig{}, "kafka-1:9092"},
		{"AllowPlaintext", "kafka-1:9092", allowed, kafka.TLSConfig{}, ""},
		{"localhost", "localhost:9092", plain, kafka.TLSConfig{}, ""},
		{"localhost without a port", "localhost", plain, kafka.TLSConfig{}, ""},
		{"IPv4 loopback", "127.0.0.1:9092", plain, kafka.TLSConfig{}, ""},
		{"another IPv4 loopback", "127.8.9.1:9092", plain, kafka.TLSConfig{}, ""},
		{"IPv6 loopback", "[::1]:9092", plain, kafka.TLSConfig{}, ""},
		{"TLS", "kafka-1:9092", plain, kafka.TLSConfig{Enabled: true}, ""},
		{"TLS by its authorities", "kafka-1:9092", plain, kafka.TLSConfig{CAFile: "ca.pem"}, ""},
		{"TLS by its server name", "kafka-1:9092", plain, kafka.TLSConfig{ServerName: "kafka"}, ""},
		{"SCRAM", "kafka-1:9092", scram, kafka.TLSConfig{}, ""},
		{"a token", "kafka-1:9092", kafka.SASLConfig{Mechanism: "OAUTHBEARER", TokenFile: "token"}, kafka.TLSConfig{}, "kafka-1:9092"},
		{"a token over TLS", "kafka-1:9092", kafka.SASLConfig{Mechanism: "OAUTHBEARER", TokenFile: "token"}, kafka.TLSConfig{Enabled: true}, ""},
		{"a token to this machine", "localhost:9092", kafka.SASLConfig{Mechanism: "OAUTHBEARER", TokenFile: "token"}, kafka.TLSConfig{}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := kafka.ClientConfig{Brokers: kafka.SplitList(test.brokers), SASL: test.sasl, TLS: test.tls}
			if test.refused == "" {
				wantFault(t, cfg.Validate())
			} else {
				wantFault(t, cfg.Validate(), "unencrypted to "+test.refused+":", test.sasl.Mechanism, "AllowPlaintext")
			}
		})
	}
}

func noToken(context.Context) (kafka.Secret, error) { return kafka.Secret{}, nil }

func TestCredentialsAreComplete(t *testing.T) {
	pw := kafka.NewSecret("pw")
	for _, test := range []struct {
		name string
		sasl kafka.SASLConfig
		want string
	}{
		{"none", kafka.SASLConfig{}, ""},
		{"complete", kafka.SASLConfig{Mechanism: "SCRAM-SHA-256", Username: "svc", Password: pw}, ""},
		{"no password", kafka.SASLConfig{Mechanism: "SCRAM-SHA-256", Username: "svc"}, "SCRAM-SHA-256 needs a Username and a Password"},
		{"no user", kafka.SASLConfig{Mechanism: "SCRAM-SHA-512", Password: pw}, "SCRAM-SHA-512 needs a Username and a Password"},
		{"a user without a mechanism", kafka.SASLConfig{Username: "svc"}, "no Mechanism: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"},
		{"a password without a mechanism", kafka.SASLConfig{Password: pw}, "no Mechanism"},
		{"a token function", kafka.SASLConfig{Mechanism: "OAUTHBEARER", Token: noToken, AllowPlaintext: true}, ""},
		{"a token file", kafka.SASLConfig{Mechanism: "OAUTHBEARER", TokenFile: "token", AllowPlaintext: true}, ""},
		{"no token", kafka.SASLConfig{Mechanism: "OAUTHBEARER"}, "OAUTHBEARER needs a Token or a TokenFile (KAFKA_SASL_TOKEN_FILE)"},
		{"two tokens", kafka.SASLConfig{Mechanism: "OAUTHBEARER", Token: noToken, TokenFile: "token"}, "Token and TokenFile are both set"},
		{"a user beside a token", kafka.SASLConfig{Mechanism: "OAUTHBEARER", TokenFile: "token", Username: "svc"}, "OAUTHBEARER takes no Username"},
		{"a token beside a password", kafka.SASLConfig{Mechanism: "PLAIN", Username: "svc", Password: pw, TokenFile: "token"}, "PLAIN takes no token"},
		{"a token without a mechanism", kafka.SASLConfig{TokenFile: "token"}, "a token is set but no Mechanism: want OAUTHBEARER"},
		{"lower case", kafka.SASLConfig{Mechanism: "plain", Username: "svc", Password: pw}, `Mechanism is "plain"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := validClient()
			cfg.SASL = test.sasl
			if test.want == "" {
				wantFault(t, cfg.Validate())
			} else {
				wantFault(t, cfg.Validate(), test.want)
			}
		})
	}
}

func TestCertificateAndKeyGoTogether(t *testing.T) {
	cfg := validClient()
	cfg.TLS = kafka.TLSConfig{CertFile: "c"}
	wantFault(t, cfg.Validate(), "CertFile and KeyFile go together")
	cfg.TLS = kafka.TLSConfig{KeyFile: "k"}
	wantFault(t, cfg.Validate(), "CertFile and KeyFile go together")
	cfg.TLS = kafka.TLSConfig{CertFile: "c", KeyFile: "k"}
	wantFault(t, cfg.Validate())
}

// What TLS files hold is found out by constructors, before any connection is tried.
func TestTLSFilesAreReadAtTheDoor(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for _, test := range []struct {
		name string
		tls  kafka.TLSConfig
		want []string
	}{
		{"missing authorities", kafka.TLSConfig{CAFile: missing}, []string{"TLS: CAFile", missing}},
		{"no authorities", kafka.TLSConfig{CAFile: noPEM}, []string{"TLS: CAFile", noPEM, "no PEM certificate"}},
		{"missing certificate", kafka.TLSConfig{CertFile: missing, KeyFile: missing}, []string{"TLS: client certificate", missing}},
		{"no certificate", kafka.TLSConfig{CertFile: noPEM, KeyFile: noPEM}, []string{"TLS: client certificate"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := kafka.ClientConfig{Brokers: []string{"127.0.0.1:1"}, TLS: test.tls}
			_, err := kafka.NewClient(client)
			wantFault(t, err, test.want...)
			cfg := validConsumer()
			cfg.ClientConfig = client
			_, err = kafka.NewConsumer(cfg, ignore)
			wantFault(t, err, test.want...)
			_, err = kafka.NewProducer[int](kafka.ProducerConfig{ClientConfig: client, Topic: "orders"})
			wantFault(t, err, test.want...)
		})
	}
}

func TestTopicNamesAreWhatBrokersAccept(t *testing.T) {
	for topic, ok := range map[string]bool{
		"orders": true, "a": true, "A.b_c-9": true, "...": true, "__consumer_offsets": true, strings.Repeat("x", 249): true,
		"": false, ".": false, "..": false, strings.Repeat("x", 250): false, "a b": false, "a/b": false, "a:b": false,
		"a,b": false, "ordérs": false, "a\n": false, "a\x00": false, "\xff": false, "a*": false, "a$": false,
	} {
		consumer, producer := validConsumer(), validProducer()
		consumer.Topic, producer.Topic = topic, topic
		consumer.DisableDeadLetters = true
		dlq := validConsumer()
		dlq.Topic, dlq.DLQTopic = "source", topic
		for what, err := range map[string]error{"consumer": consumer.Validate(), "producer": producer.Validate(), "dead letters": dlq.Validate()} {
			wantOK := ok || what == "dead letters" && topic == "" // the default
			if (err == nil) != wantOK {
				t.Errorf("topic %q for a %s: %v, want accepted: %t", topic, what, err, wantOK)
			}
		}
	}
}

func TestDeadLettersDontComeBack(t *testing.T) {
	consumer, producer := validConsumer(), validProducer()
	consumer.DLQTopic, producer.DLQTopic = "orders", "orders"
	wantFault(t, consumer.Validate(), `DLQTopic is the topic itself, "orders"`)
	wantFault(t, producer.Validate(), `DLQTopic is the topic itself, "orders"`)
}

func TestBrokersAreHostAndPort(t *testing.T) {
	for broker, ok := range map[string]bool{
		"kafka-1:9092": true, "10.0.0.1:9092": true, "[::1]:9092": true, "kafka.example.com:443": true,
		"": false, " kafka-1:9092": false, "kafka-1:9092 ": false, "a:1,b:2": false, "http://kafka-1:9092": false,
		"kafka-1": true, "10.0.0.1": true, "::1": true, "[::1]": true, // at Kafka's port
		"kafka-1:": false, "kafka-1:port": false, "kafka-1:0": false, "kafka-1:65536": false, "kafka-1:-1": false, ":9092": false,
		"a:b:9092": false, "[::1]:x": false, "svc:pw@kafka-1:9092": false, "svc@kafka-1:9092": false,
		"kafka-1:9092/": false, "kafka-1\t:9092": false, "kafka-1:9092\n": false,
	} {
		cfg := kafka.ClientConfig{Brokers: []string{"first:9092", broker, "third:9092"}}
		if err := cfg.Validate(); (err == nil) != ok {
			t.Errorf("broker %q: %v, want accepted: %t", broker, err, ok)
		}
	}
	wantFault(t, kafka.ClientConfig{Brokers: []string{}}.Validate(), "no brokers")
}

// A consumer without one would dead-letter every record.
func TestConsumersNeedAHandlerAndACodec(t *testing.T) {
	_, err := kafka.NewConsumer[int](validConsumer(), nil)
	wantFault(t, err, "orders", "the handler is nil")
	_, err = kafka.NewConsumerWithCodec(validConsumer(), nil, ignore)
	wantFault(t, err, "orders", "the codec is nil")
}

// A name with a line's end breaks log lines and labels, and is a mistake: it comes of reading a file.
func TestNamesArePrintable(t *testing.T) {
	for name, ok := range map[string]bool{
		"billing": true, "größe 7": true, "billing\n": false, "a\rb": false, "a\x00": false, "\x1b[31m": false, "\xff": false, "\u202e": false,
	} {
		for what, set := range map[string]func(*kafka.ConsumerConfig){
			"Group":      func(c *kafka.ConsumerConfig) { c.Group = name },
			"ClientID":   func(c *kafka.ConsumerConfig) { c.ClientID = name },
			"Rack":       func(c *kafka.ConsumerConfig) { c.Rack = name },
			"InstanceID": func(c *kafka.ConsumerConfig) { c.InstanceID = name },
		} {
			cfg := validConsumer()
			set(&cfg)
			err := cfg.Validate()
			if ok {
				wantFault(t, err)
			} else {
				wantFault(t, err, what+" is ", "can't be printed")
			}
		}
	}
}

func TestConcurrencyIsOneOrMore(t *testing.T) {
	for concurrency, ok := range map[int]bool{0: true, 1: true, 2: true, math.MaxInt: true, -1: false} {
		cfg := validConsumer()
		cfg.Concurrency = concurrency
		if err := cfg.Validate(); (err == nil) != ok {
			t.Errorf("Concurrency %d: %v, want accepted: %t", concurrency, err, ok)
		}
	}
}
