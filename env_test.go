package kafka_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/skeji/kafka"
)

// setEnvironment makes these the only KAFKA_ variables for the rest of the test.
func setEnvironment(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "KAFKA_") {
			t.Setenv(name, "") // puts it back at the end
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryVariableHasItsEffect(t *testing.T) {
	tested := map[string]bool{}
	scram := map[string]string{"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256", "KAFKA_SASL_USERNAME": "svc", "KAFKA_SASL_PASSWORD": "pw"}

	t.Run("clients", func(t *testing.T) {
		for _, test := range []struct {
			name, value string
			with        map[string]string // what it needs beside it
			read        func(kafka.ClientConfig) any
			want        any
		}{
			{"KAFKA_BROKERS", "a:1, b:2", nil, func(c kafka.ClientConfig) any { return strings.Join(c.Brokers, "+") }, "a:1+b:2"},
			{"KAFKA_CLIENT_ID", "bookings-7", nil, func(c kafka.ClientConfig) any { return c.ClientID }, "bookings-7"},
			{"KAFKA_CLIENT_CONNECT_TIMEOUT", "20s", nil, func(c kafka.ClientConfig) any { return c.ConnectTimeout }, 20 * time.Second},
			{"KAFKA_PRODUCER_DELIVERY_TIMEOUT", "20s", nil, func(c kafka.ClientConfig) any { return c.DeliveryTimeout }, 20 * time.Second},
			{"KAFKA_PRODUCER_COMPRESSION", "zstd", nil, func(c kafka.ClientConfig) any { return c.Compression }, "zstd"},
			{"KAFKA_PRODUCER_LINGER", "5ms", nil, func(c kafka.ClientConfig) any { return c.Linger }, 5 * time.Millisecond},
			{"KAFKA_PRODUCER_MAX_BUFFERED_RECORDS", "7", nil, func(c kafka.ClientConfig) any { return c.MaxBufferedRecords }, 7},
			{"KAFKA_PRODUCER_MAX_BUFFERED_BYTES", "4096", nil, func(c kafka.ClientConfig) any { return c.MaxBufferedBytes }, int64(4096)},
			{"KAFKA_PRODUCER_MAX_MESSAGE_BYTES", "4096", nil, func(c kafka.ClientConfig) any { return c.MaxMessageBytes }, int32(4096)},
			{"KAFKA_CLIENT_RACK", "zone-a", nil, func(c kafka.ClientConfig) any { return c.Rack }, "zone-a"},
			{"KAFKA_TLS_ENABLED", "true", nil, func(c kafka.ClientConfig) any { return c.TLS }, kafka.TLSConfig{Enabled: true}},
			{"KAFKA_TLS_REQUIRED", "true", map[string]string{"KAFKA_TLS_ENABLED": "true"}, func(c kafka.ClientConfig) any { return c.TLS }, kafka.TLSConfig{Enabled: true, Required: true}},
			{"KAFKA_TLS_CA_FILE", "ca.pem", nil, func(c kafka.ClientConfig) any { return c.TLS }, kafka.TLSConfig{CAFile: "ca.pem"}},
			{"KAFKA_TLS_CERT_FILE", "c.pem", map[string]string{"KAFKA_TLS_KEY_FILE": "k.pem"}, func(c kafka.ClientConfig) any { return c.TLS.CertFile }, "c.pem"},
			{"KAFKA_TLS_KEY_FILE", "k.pem", map[string]string{"KAFKA_TLS_CERT_FILE": "c.pem"}, func(c kafka.ClientConfig) any { return c.TLS.KeyFile }, "k.pem"},
			{"KAFKA_TLS_SERVER_NAME", "kafka.internal", nil, func(c kafka.ClientConfig) any { return c.TLS }, kafka.TLSConfig{ServerName: "kafka.internal"}},
			{"KAFKA_SASL_MECHANISM", "SCRAM-SHA-512", scram, func(c kafka.ClientConfig) any { return c.SASL.Mechanism }, "SCRAM-SHA-512"},
			{"KAFKA_SASL_USERNAME", "other", scram, func(c kafka.ClientConfig) any { return c.SASL.Username }, "other"},
			{"KAFKA_SASL_PASSWORD", "another", scram, func(c kafka.ClientConfig) any { return c.SASL.Password.Reveal() }, "another"},
			{"KAFKA_SASL_PASSWORD_FILE", secretFile(t, "from file"), map[string]string{"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256", "KAFKA_SASL_USERNAME": "svc"},
				func(c kafka.ClientConfig) any { return c.SASL.Password.Reveal() }, "from file"},
			{"KAFKA_SASL_TOKEN_FILE", "token", map[string]string{"KAFKA_SASL_MECHANISM": "OAUTHBEARER", "KAFKA_TLS_ENABLED": "true"},
				func(c kafka.ClientConfig) any { return c.SASL.TokenFile }, "token"},
			{"KAFKA_CONTROL_KEY", controlKey, nil, func(c kafka.ClientConfig) any { return c.ControlKey.Reveal() }, controlKey},
			{"KAFKA_CONTROL_KEY_FILE", secretFile(t, controlKey+"\n"+otherKey+"\n"), nil,
				func(c kafka.ClientConfig) any { return c.ControlKey.Reveal() }, controlKey + "\n" + otherKey},
			{"KAFKA_ACCEPT_UNSEALED", "true", map[string]string{"KAFKA_CONTROL_KEY": controlKey}, func(c kafka.ClientConfig) any { return c.AcceptUnsealed }, true},
			{"KAFKA_SASL_ALLOW_PLAINTEXT", "true", nil, func(c kafka.ClientConfig) any { return c.SASL }, kafka.SASLConfig{AllowPlaintext: true}},
		} {
			tested[test.name] = true
			t.Run(test.name, func(t *testing.T) {
				setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092"})
				for name, value := range test.with {
					t.Setenv(name, value)
				}
				without, err := kafka.NewClientConfigFromEnv()
				if err == nil && reflect.DeepEqual(test.read(without), test.want) {
					t.Fatal("the test shows nothing: the effect is there without the variable")
				}
				t.Setenv(test.name, test.value)
				client, clientErr := kafka.NewClientConfigFromEnv()
				producer, producerErr := kafka.NewProducerConfigFromEnv("orders")
				consumer, consumerErr := kafka.NewConsumerConfigFromEnv("orders", "bookings")
				for what, got := range map[string]struct {
					cfg kafka.ClientConfig
					err error
				}{"client": {client, clientErr}, "producer": {producer.ClientConfig, producerErr}, "consumer": {consumer.ClientConfig, consumerErr}} {
					if got.err != nil || !reflect.DeepEqual(test.read(got.cfg), test.want) {
						t.Errorf("%s has %v, want %v (error: %v)", what, test.read(got.cfg), test.want, got.err)
					}
				}
			})
		}
	})

	t.Run("consumers", func(t *testing.T) {
		for _, test := range []struct {
			name, value string
			read        func(kafka.ConsumerConfig) any
			before      any
			want        any
		}{
			{"KAFKA_CONSUMER_DLQ_TOPIC", "dlq-domain-services", func(c kafka.ConsumerConfig) any { return c.DLQTopic }, "", "dlq-domain-services"},
			{"KAFKA_CONSUMER_MAX_RETRIES", "0", func(c kafka.ConsumerConfig) any { return c.MaxRetries }, 3, kafka.NoRetries},
			{"KAFKA_CONSUMER_RETRY_BACKOFF", "20ms", func(c kafka.ConsumerConfig) any { return c.RetryBackoff }, time.Duration(0), 20 * time.Millisecond},
			{"KAFKA_CONSUMER_RETRY_BACKOFF_MAX", "2m", func(c kafka.ConsumerConfig) any { return c.RetryBackoffMax }, 30 * time.Second, 2 * time.Minute},
			{"KAFKA_CONSUMER_DRAIN_TIMEOUT", "10s", func(c kafka.ConsumerConfig) any { return c.DrainTimeout }, 30 * time.Second, 10 * time.Second},
			{"KAFKA_CONSUMER_COMMIT_INTERVAL", "5s", func(c kafka.ConsumerConfig) any { return c.CommitInterval }, time.Second, 5 * time.Second},
			{"KAFKA_CONSUMER_SESSION_TIMEOUT", "90s", func(c kafka.ConsumerConfig) any { return c.SessionTimeout }, 45 * time.Second, 90 * time.Second},
			{"KAFKA_CONSUMER_REBALANCE_TIMEOUT", "5m", func(c kafka.ConsumerConfig) any { return c.RebalanceTimeout }, time.Minute, 5 * time.Minute},
			{"KAFKA_CONSUMER_AUTH_FAILURE_TIMEOUT", "2m", func(c kafka.ConsumerConfig) any { return c.AuthFailureTimeout }, 30 * time.Second, 2 * time.Minute},
			{"KAFKA_CONSUMER_STALL_TIMEOUT", "10m", func(c kafka.ConsumerConfig) any { return c.StallTimeout }, time.Minute, 10 * time.Minute},
			{"KAFKA_CONSUMER_MAX_QUEUED_RECORDS", "1000", func(c kafka.ConsumerConfig) any { return c.MaxQueuedRecords }, 250_000, 1000},
			{"KAFKA_CONSUMER_MAX_QUEUED_BYTES", "1048576", func(c kafka.ConsumerConfig) any { return c.MaxQueuedBytes }, int64(64 << 20), int64(1 << 20)},
			{"KAFKA_CONSUMER_RETRY_DELAYS", "1m,10m", func(c kafka.ConsumerConfig) any { return fmt.Sprint(c.RetryDelays) }, "[]", "[1m0s 10m0s]"},
			{"KAFKA_CONSUMER_AUTO_OFFSET_RESET", "latest", func(c kafka.ConsumerConfig) any { return c.AutoOffsetReset }, kafka.ResetEarliest, kafka.ResetLatest},
			{"KAFKA_CONSUMER_START_FROM", "2026-01-31T08:00:00+01:00", func(c kafka.ConsumerConfig) any { return c.StartFrom.UTC() }, time.Time{}, time.Date(2026, 1, 31, 7, 0, 0, 0, time.UTC)},
			{"KAFKA_CONSUMER_RATE_LIMIT", "2.5", func(c kafka.ConsumerConfig) any { return c.RateLimit }, 0.0, 2.5},
			{"KAFKA_CONSUMER_OVERSIZE", "stub", func(c kafka.ConsumerConfig) any { return c.Oversize }, kafka.OversizeStop, kafka.OversizeStub},
			{"KAFKA_CONSUMER_MAX_HEADERS", "20", func(c kafka.ConsumerConfig) any { return c.MaxHeaders }, 1000, 20},
			{"KAFKA_CONSUMER_MAX_HEADER_BYTES", "4096", func(c kafka.ConsumerConfig) any { return c.MaxHeaderBytes }, 1_048_588, 4096},
			{"KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES", "1048576", func(c kafka.ConsumerConfig) any { return c.MaxDecompressedBatchBytes }, int64(64 << 20), int64(1 << 20)},
			{"KAFKA_CONSUMER_PARK_KEYS", "true", func(c kafka.ConsumerConfig) any { return c.ParkKeys }, false, true},
			{"KAFKA_CONSUMER_MAX_PARKED_RECORDS", "500", func(c kafka.ConsumerConfig) any { return c.MaxParkedRecords }, 1_000_000, 500},
			{"KAFKA_CONSUMER_MAX_BATCH_SIZE", "50", func(c kafka.ConsumerConfig) any { return c.MaxBatchSize }, 500, 50},
			{"KAFKA_CONSUMER_FAIL_LIVENESS_AFTER", "1h", func(c kafka.ConsumerConfig) any { return c.FailLivenessAfter }, time.Duration(0), time.Hour},
			{"KAFKA_CONSUMER_MAX_BATCH_WAIT", "200ms", func(c kafka.ConsumerConfig) any { return c.MaxBatchWait }, time.Duration(0), 200 * time.Millisecond},
			{"KAFKA_CONSUMER_FLOOD_GUARD", "pause", func(c kafka.ConsumerConfig) any { return c.FloodGuard.Mode }, kafka.FloodGuardWarn, kafka.FloodGuardPause},
			{"KAFKA_CONSUMER_FLOOD_SHARE", "0.25", func(c kafka.ConsumerConfig) any { return c.FloodGuard.Share }, 0.5, 0.25},
			{"KAFKA_CONSUMER_FLOOD_LETTERS", "100", func(c kafka.ConsumerConfig) any { return c.FloodGuard.Letters }, 20, 100},
			{"KAFKA_CONSUMER_FLOOD_WINDOW", "1m", func(c kafka.ConsumerConfig) any { return c.FloodGuard.Window }, 10 * time.Minute, time.Minute},
			{"KAFKA_CONSUMER_FLOOD_PAUSE", "2m", func(c kafka.ConsumerConfig) any { return c.FloodGuard.Pause }, 30 * time.Second, 2 * time.Minute},
			{"KAFKA_ENABLE_MIDDLEWARE", "false", func(c kafka.ConsumerConfig) any { return c.DisableMiddleware }, false, true},
		} {
			tested[test.name] = true
			t.Run(test.name, func(t *testing.T) {
				setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092"})
				cfg, err := kafka.NewConsumerConfigFromEnv("orders", "bookings")
				if got := test.read(cfg); err != nil || got != test.before {
					t.Errorf("without it %v, want %v (error: %v)", got, test.before, err)
				}
				t.Setenv(test.name, test.value)
				cfg, err = kafka.NewConsumerConfigFromEnv("orders", "bookings")
				if got := test.read(cfg); err != nil || got != test.want {
					t.Errorf("with %q %v, want %v (error: %v)", test.value, got, test.want, err)
				}
			})
		}
	})

	t.Run("requesters", func(t *testing.T) {
		partition := func(cfg kafka.RequesterConfig) any {
			if cfg.ReplyPartition == nil {
				return nil
			}
			return int(*cfg.ReplyPartition)
		}
		for _, test := range []struct {
			name, value  string
			read         func(kafka.RequesterConfig) any
			before, want any
		}{
			{"KAFKA_REQUESTER_REPLY_PARTITION", "0", partition, nil, 0},
			{"KAFKA_REQUESTER_REQUEST_TIMEOUT", "5s", func(c kafka.RequesterConfig) any { return c.RequestTimeout }, 30 * time.Second, 5 * time.Second},
			{"KAFKA_REQUESTER_FOREIGN_RESPONDERS", "true", func(c kafka.RequesterConfig) any { return c.ForeignResponders }, false, true},
			{"KAFKA_ENABLE_MIDDLEWARE", "false", func(c kafka.RequesterConfig) any { return c.DisableMiddleware }, false, true},
			{"KAFKA_CLIENT_ID", "asker", func(c kafka.RequesterConfig) any { return c.ClientID }, "", "asker"},
		} {
			tested[test.name] = true
			t.Run(test.name, func(t *testing.T) {
				setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092"})
				cfg, err := kafka.NewRequesterConfigFromEnv("orders", "replies")
				if got := test.read(cfg); err != nil || got != test.before || cfg.Topic != "orders" || cfg.ReplyTopic != "replies" {
					t.Errorf("without it %v in %v, want %v (error: %v)", got, cfg, test.before, err)
				}
				t.Setenv(test.name, test.value)
				cfg, err = kafka.NewRequesterConfigFromEnv("orders", "replies")
				if got := test.read(cfg); err != nil || got != test.want {
					t.Errorf("with %q %v, want %v (error: %v)", test.value, got, test.want, err)
				}
			})
		}
	})

	tested["KAFKA_CONSUMER_CONCURRENCY"] = true
	t.Run("KAFKA_CONSUMER_CONCURRENCY", func(t *testing.T) {
		setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092"})
		if cfg, err := kafka.NewConsumerConfigFromEnv("orders", "bookings"); cfg.Concurrency != 1 || err != nil {
			t.Errorf("without it %d, want 1 (error: %v)", cfg.Concurrency, err)
		}
		t.Setenv("KAFKA_CONSUMER_CONCURRENCY", "8") // whatever Validate makes of it
		if cfg, _ := kafka.NewConsumerConfigFromEnv("orders", "bookings"); cfg.Concurrency != 8 {
			t.Errorf("with 8 it is %d", cfg.Concurrency)
		}
	})

	t.Run("KAFKA_ENABLE_MIDDLEWARE for producers", func(t *testing.T) {
		setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092"})
		if cfg, err := kafka.NewProducerConfigFromEnv("orders"); cfg.DisableMiddleware || cfg.Topic != "orders" || err != nil {
			t.Errorf("without it %+v (error: %v)", cfg, err)
		}
		t.Setenv("KAFKA_ENABLE_MIDDLEWARE", "false")
		if cfg, err := kafka.NewProducerConfigFromEnv("orders"); !cfg.DisableMiddleware || err != nil {
			t.Errorf("with false: DisableMiddleware is %t (error: %v)", cfg.DisableMiddleware, err)
		}
	})

	for _, field := range variables(t) {
		if !tested[field.Key] {
			t.Errorf("no test shows the effect of %s", field.Key)
		}
	}
}

// variables returns what struct environment reads.
func variables(t *testing.T) []env.FieldParams {
	t.Helper()
	fields, err := env.GetFieldParams(kafka.EnvironmentFields())
	if err != nil || len(fields) == 0 {
		t.Fatalf("environment has %d tags: %v", len(fields), err)
	}
	return fields
}

func TestEmptyVariablesCountAsUnset(t *testing.T) {
	setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092"})
	want, err := kafka.NewConsumerConfigFromEnv("orders", "bookings")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range variables(t) {
		if field.Key != "KAFKA_BROKERS" {
			t.Setenv(field.Key, "")
		}
	}
	if got, err := kafka.NewConsumerConfigFromEnv("orders", "bookings"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v (error: %v)", got, want, err)
	}
	if want.MaxRetries != 3 || want.DLQTopic != "" || want.DisableDeadLetters {
		t.Errorf("unset variables give %+v", want)
	}
	if got, err := kafka.NewRequesterConfigFromEnv("orders", "replies"); err != nil || got.ReplyPartition != nil || got.RequestTimeout != 30*time.Second {
		t.Errorf("a requester has %#v (error: %v)", got, err)
	}
}

func TestBrokersAreRequired(t *testing.T) {
	for _, value := range []string{"", " ", ",", " , ,"} {
		setEnvironment(t, map[string]string{"KAFKA_BROKERS": value})
		_, err := kafka.NewClientConfigFromEnv()
		wantFault(t, err, "KAFKA_BROKERS")
		_, err = kafka.NewProducerConfigFromEnv("orders")
		wantFault(t, err, "KAFKA_BROKERS")
		_, err = kafka.NewConsumerConfigFromEnv("orders", "bookings")
		wantFault(t, err, "KAFKA_BROKERS")
	}
}

func TestListsAreTrimmed(t *testing.T) {
	for text, want := range map[string][]string{
		"":                       nil,
		",":                      nil,
		" \t,\n, ":               nil,
		"a:1":                    {"a:1"},
		" a:1 ":                  {"a:1"},
		"a:1,b:2":                {"a:1", "b:2"},
		" a:1 ,\tb:2\r\n, ,c:3,": {"a:1", "b:2", "c:3"},
		"a b":                    {"a b"}, // what is in the middle is for Validate
	} {
		if got := kafka.SplitList(text); !slices.Equal(got, want) {
			t.Errorf("splitList(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestBadValuesAreAllReportedByName(t *testing.T) {
	bad := map[string]string{
		"KAFKA_TLS_ENABLED":          "perhaps",
		"KAFKA_SASL_ALLOW_PLAINTEXT": "jein",
		"KAFKA_ENABLE_MIDDLEWARE":    "2",
		"KAFKA_CONSUMER_MAX_RETRIES": "three",
		"KAFKA_CONSUMER_CONCURRENCY": "1.5",
		"KAFKA_CONSUMER_FLOOD_SHARE": "half",
		"KAFKA_CONSUMER_START_FROM":  "yesterday",

		"KAFKA_REQUESTER_REPLY_PARTITION": "first",
		"KAFKA_REQUESTER_REQUEST_TIMEOUT": "30",
	}
	variables := maps.Clone(bad)
	variables["KAFKA_SASL_PASSWORD_FILE"] = filepath.Join(t.TempDir(), "missing")
	setEnvironment(t, variables) // and no brokers
	want := []string{"KAFKA_BROKERS", "KAFKA_SASL_PASSWORD_FILE", `Topic is "bad topic"`}
	for name, value := range bad {
		want = append(want, name+` is "`+value+`": want `)
	}
	_, err := kafka.NewConsumerConfigFromEnv("bad topic", "")
	wantFault(t, err, append(want, "Group is empty", "want a time in RFC 3339")...)
	_, err = kafka.NewProducerConfigFromEnv("bad topic")
	wantFault(t, err, want...)
	_, err = kafka.NewRequesterConfigFromEnv("bad topic", "")
	wantFault(t, err, append(want, "ReplyTopic is empty", "want a duration, such as 30s")...)
	_, err = kafka.NewClientConfigFromEnv()
	wantFault(t, err, slices.DeleteFunc(want, func(s string) bool { return strings.HasPrefix(s, "Topic") })...)
}

// Values that parse but make no sense are config mistakes. Whoever set a variable looks for its name.
func TestSenselessValuesAreReportedByName(t *testing.T) {
	for name, value := range map[string]string{
		"KAFKA_CONSUMER_MAX_RETRIES": "-1", "KAFKA_CONSUMER_CONCURRENCY": "-2", "KAFKA_CONSUMER_MAX_HEADERS": "-1", "KAFKA_CONSUMER_MAX_PARKED_RECORDS": "-1",
		"KAFKA_CONSUMER_MAX_HEADER_BYTES": "-1", "KAFKA_CONSUMER_MAX_DECOMPRESSED_BATCH_BYTES": "2147483648", "KAFKA_CONSUMER_OVERSIZE": "cut", "KAFKA_CONSUMER_RATE_LIMIT": "-1", "KAFKA_CONSUMER_AUTO_OFFSET_RESET": "newest",
		"KAFKA_CONSUMER_START_FROM": "1969-12-31T23:59:59.999Z", "KAFKA_CONSUMER_FLOOD_GUARD": "stop", "KAFKA_CONSUMER_FLOOD_SHARE": "1.1", "KAFKA_CONSUMER_FLOOD_LETTERS": "10001",
		"KAFKA_CLIENT_CONNECT_TIMEOUT": "-1s", "KAFKA_PRODUCER_DELIVERY_TIMEOUT": "-1s", "KAFKA_PRODUCER_COMPRESSION": "brotli", "KAFKA_PRODUCER_LINGER": "2m",
		"KAFKA_PRODUCER_MAX_BUFFERED_RECORDS": "-1", "KAFKA_PRODUCER_MAX_BUFFERED_BYTES": "-1", "KAFKA_PRODUCER_MAX_MESSAGE_BYTES": "511",
		"KAFKA_CONSUMER_RETRY_BACKOFF": "31s", "KAFKA_CONSUMER_RETRY_BACKOFF_MAX": "-1s", "KAFKA_CONSUMER_DRAIN_TIMEOUT": "45s", "KAFKA_CONSUMER_COMMIT_INTERVAL": "99ms",
		"KAFKA_CONSUMER_SESSION_TIMEOUT": "99ms", "KAFKA_CONSUMER_REBALANCE_TIMEOUT": "-1s", "KAFKA_CONSUMER_AUTH_FAILURE_TIMEOUT": "-1s", "KAFKA_CONSUMER_STALL_TIMEOUT": "-1s",
		"KAFKA_CONSUMER_MAX_QUEUED_RECORDS": "-1", "KAFKA_CONSUMER_MAX_QUEUED_BYTES": "-1", "KAFKA_CONSUMER_MAX_BATCH_WAIT": "-1s", "KAFKA_CONSUMER_FAIL_LIVENESS_AFTER": "-1s",
		"KAFKA_CONSUMER_FLOOD_WINDOW": "-1s", "KAFKA_CONSUMER_FLOOD_PAUSE": "-1s",
		"KAFKA_SASL_MECHANISM": "KERBEROS", "KAFKA_TLS_CERT_FILE": "c.pem", "KAFKA_TLS_KEY_FILE": "k.pem",
		"KAFKA_SASL_USERNAME": "svc", "KAFKA_SASL_PASSWORD": "pw", "KAFKA_SASL_TOKEN_FILE": "token", "KAFKA_CONTROL_KEY": "short", "KAFKA_ACCEPT_UNSEALED": "true",
	} {
		setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092", name: value})
		want := name
		if name == "KAFKA_SASL_USERNAME" || name == "KAFKA_SASL_PASSWORD" || name == "KAFKA_SASL_TOKEN_FILE" {
			want = "KAFKA_SASL_MECHANISM" // is what is missing
		}
		_, err := kafka.NewConsumerConfigFromEnv("orders", "bookings")
		wantFault(t, err, want)
	}
	setEnvironment(t, map[string]string{
		"KAFKA_BROKERS": "kafka-1:9092", "KAFKA_REQUESTER_REPLY_PARTITION": "-1", "KAFKA_REQUESTER_REQUEST_TIMEOUT": "-1s",
	})
	_, err := kafka.NewRequesterConfigFromEnv("orders", "replies")
	wantFault(t, err, "KAFKA_REQUESTER_REPLY_PARTITION", "KAFKA_REQUESTER_REQUEST_TIMEOUT")
	setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092", "KAFKA_SASL_MECHANISM": "PLAIN"})
	_, err = kafka.NewClientConfigFromEnv()
	wantFault(t, err, "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_ALLOW_PLAINTEXT")
}

// One deployment's variables serve its consumers of dead letters, too.
func TestConsumersOfTheDeadLetterTopicHaveNone(t *testing.T) {
	setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092", "KAFKA_CONSUMER_DLQ_TOPIC": "dlq-domain-services"})
	if cfg, err := kafka.NewConsumerConfigFromEnv("dlq-domain-services", "redrive"); err != nil || cfg.DLQTopic != "" || !cfg.DisableDeadLetters {
		t.Errorf("its dead letters go to %q, DisableDeadLetters is %t (error: %v)", cfg.DLQTopic, cfg.DisableDeadLetters, err)
	}
}

func TestPasswordFile(t *testing.T) {
	base := map[string]string{"KAFKA_BROKERS": "kafka-1:9092", "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256", "KAFKA_SASL_USERNAME": "svc"}
	read := func(t *testing.T, more map[string]string) (string, error) {
		t.Helper()
		variables := maps.Clone(base)
		maps.Copy(variables, more)
		setEnvironment(t, variables)
		cfg, err := kafka.NewClientConfigFromEnv()
		return cfg.SASL.Password.Reveal(), err
	}

	t.Run("ItsTrailingNewlinesAreTrimmed", func(t *testing.T) {
		for text, want := range map[string]string{
			"pw": "pw", "pw\n": "pw", "pw\r\n": "pw", "pw\n\n": "pw", " p w \n": " p w ", "\npw": "\npw", "pässwörd\n": "pässwörd",
		} {
			if got, err := read(t, map[string]string{"KAFKA_SASL_PASSWORD_FILE": secretFile(t, text)}); got != want || err != nil {
				t.Errorf("a file of %q gives %q, want %q (error: %v)", text, got, want, err)
			}
		}
	})

	t.Run("BesideThePasswordItIsAnError", func(t *testing.T) {
		_, err := read(t, map[string]string{"KAFKA_SASL_PASSWORD_FILE": secretFile(t, marked), "KAFKA_SASL_PASSWORD": marked})
		wantFault(t, err, "KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE are both set")
		wantUnmarked(t, "the error", err.Error())
	})

	t.Run("MissingOrEmptyItIsAnError", func(t *testing.T) {
		missing := filepath.Join(t.TempDir(), "missing")
		_, err := read(t, map[string]string{"KAFKA_SASL_PASSWORD_FILE": missing})
		wantFault(t, err, "KAFKA_SASL_PASSWORD_FILE", missing)
		_, err = read(t, map[string]string{"KAFKA_SASL_PASSWORD_FILE": secretFile(t, "\n")})
		wantFault(t, err, "needs a Username and a Password")
	})
}

func TestBadEnvironmentsNeverEchoThePassword(t *testing.T) {
	setEnvironment(t, map[string]string{
		"KAFKA_SASL_PASSWORD": marked, "KAFKA_SASL_PASSWORD_FILE": secretFile(t, marked+"\n"), "KAFKA_SASL_MECHANISM": "PLAINISH",
		"KAFKA_TLS_ENABLED": "perhaps", "KAFKA_CONSUMER_MAX_RETRIES": "three", "KAFKA_TLS_CERT_FILE": "c.pem",
	})
	client, err := kafka.NewClientConfigFromEnv()
	wantUnmarked(t, "the client's error", err.Error(), client.String())
	producer, err := kafka.NewProducerConfigFromEnv("bad topic")
	wantUnmarked(t, "the producer's error", err.Error(), producer.String())
	consumer, err := kafka.NewConsumerConfigFromEnv("bad topic", "")
	wantUnmarked(t, "the consumer's error", err.Error(), consumer.String())
	if consumer.SASL.Password.Reveal() != marked {
		t.Error("the test shows nothing: the password was not read")
	}
}

// For a Service named kafka, Kubernetes sets these in every pod of the namespace.
func TestKubernetesOwnVariablesAreIgnored(t *testing.T) {
	setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092"})
	want, err := kafka.NewConsumerConfigFromEnv("orders", "bookings")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"KAFKA_PORT": "tcp://10.96.0.17:9092", "KAFKA_HOST": "10.96.0.17",
		"KAFKA_SERVICE_HOST": "10.96.0.17", "KAFKA_SERVICE_PORT": "9092", "KAFKA_SERVICE_PORT_CLIENTS": "9092",
		"KAFKA_PORT_9092_TCP": "tcp://10.96.0.17:9092", "KAFKA_PORT_9092_TCP_PROTO": "tcp",
		"KAFKA_PORT_9092_TCP_PORT": "9092", "KAFKA_PORT_9092_TCP_ADDR": "10.96.0.17",
	} {
		t.Setenv(name, value)
	}
	got, err := kafka.NewConsumerConfigFromEnv("orders", "bookings")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with Kubernetes' variables %+v, want %+v (error: %v)", got, want, err)
	}
	for _, field := range variables(t) {
		if name := field.Key; name == "KAFKA_PORT" || name == "KAFKA_HOST" || strings.HasPrefix(name, "KAFKA_PORT_") || strings.HasPrefix(name, "KAFKA_SERVICE_") {
			t.Errorf("%s is a name that Kubernetes may set", name)
		}
	}
}

// The README's environment table has the header | Variable | Default | Meaning |. Its defaults are those of the tags; what
// comes of a variable that has none stands in the third column.
func TestReadmeTableMatchesEnvironment(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{} // variable to default
	variable := regexp.MustCompile("`(KAFKA_[A-Z0-9_]+)`")
	inTable, found := false, false
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(strings.TrimSpace(line), "|"):
			inTable = false
		case len(cells) >= 3 && cells[0] == "Variable" && cells[1] == "Default" && cells[2] == "Meaning":
			inTable, found = true, true
		case inTable && len(cells) >= 3:
			for _, match := range variable.FindAllStringSubmatch(cells[0], -1) {
				if _, twice := documented[match[1]]; twice {
					t.Errorf("README.md lists %s twice", match[1])
				}
				documented[match[1]] = strings.ReplaceAll(cells[1], "`", "")
			}
		}
	}
	if !found {
		t.Fatal("README.md has no table with the header | Variable | Default | Meaning |")
	}
	if documented["KAFKA_TOPICS_MODE"] != "create" { // which package topics reads
		t.Errorf("README.md says that KAFKA_TOPICS_MODE is %q by default, want create", documented["KAFKA_TOPICS_MODE"])
	}
	delete(documented, "KAFKA_TOPICS_MODE")
	for _, field := range variables(t) {
		text, ok := documented[field.Key]
		delete(documented, field.Key)
		switch {
		case !ok:
			t.Errorf("README.md does not list %s", field.Key)
		case text != field.DefaultValue:
			t.Errorf("README.md says that %s is %q by default, the code says %q", field.Key, text, field.DefaultValue)
		}
	}
	for name := range documented {
		t.Errorf("README.md lists %s, which the code does not read", name)
	}
}
