package kafka_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/skeji/kafka"
)

func wantNo(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || strings.Contains(err.Error(), part) {
			t.Errorf("%q stands in: %v", part, err)
		}
	}
}

// A producer's dead letter topic has no variable.
func TestAProducersMissingDeadLetterTopicNamesItsOwnSetting(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		cfg := b.producer()
		cfg.DLQTopic = "dlq-missing"
		_, err := kafka.NewProducer[numbered](cfg)
		wantFault(t, err, "dlq-missing", "ProducerConfig.DLQTopic")
		wantNo(t, err, "KAFKA_CONSUMER")
		consuming := b.consumer()
		consuming.DLQTopic = "dlq-missing"
		consumer, err := kafka.NewConsumer(consuming, ignore1)
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		wantFault(t, consumer.Start(t.Context()), "dlq-missing", "KAFKA_CONSUMER_DLQ_TOPIC")
	})
}

func TestADeadLetterTopicThatIsTheTopicNamesItsVariable(t *testing.T) {
	t.Parallel()
	consuming, producing := kafka.NewConsumerConfig("orders", "group", "127.0.0.1:1"), kafka.NewProducerConfig("orders", "127.0.0.1:1")
	consuming.DLQTopic, producing.DLQTopic = "orders", "orders"
	wantFault(t, consuming.Validate(), "DLQTopic", "KAFKA_CONSUMER_DLQ_TOPIC")
	wantFault(t, producing.Validate(), "DLQTopic")
	wantNo(t, producing.Validate(), "KAFKA_CONSUMER")
}

// Go does not look at the common name, so that no other name helps.
func TestACertificateWithACommonNameAloneIsNamed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("broker", &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	cfg, _, _ := a.cluster("broker", tls.NoClientCert)
	_, err := kafka.NewClient(cfg)
	wantFault(t, err, "common name", "subject alternative name")
	wantNo(t, err, "KAFKA_TLS_SERVER_NAME")
	cfg.TLS.ServerName = "127.0.0.1"
	_, err = kafka.NewClient(cfg)
	wantFault(t, err, "subject alternative name")
}

func TestTLSFilesAreNamedWithTheirVariables(t *testing.T) {
	t.Parallel()
	missing, noPEM := t.TempDir()+"/missing.pem", secretFile(t, "no PEM")
	for name, test := range map[string]struct {
		tls  kafka.TLSConfig
		want []string
	}{
		"missing authorities": {kafka.TLSConfig{CAFile: missing}, []string{missing, "KAFKA_TLS_CA_FILE"}},
		"no authorities":      {kafka.TLSConfig{CAFile: noPEM}, []string{noPEM, "KAFKA_TLS_CA_FILE"}},
		"missing certificate": {kafka.TLSConfig{CertFile: missing, KeyFile: missing}, []string{missing, "KAFKA_TLS_CERT_FILE", "KAFKA_TLS_KEY_FILE"}},
		"no certificate":      {kafka.TLSConfig{CertFile: noPEM, KeyFile: noPEM}, []string{"KAFKA_TLS_CERT_FILE", "KAFKA_TLS_KEY_FILE"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := kafka.NewClient(kafka.ClientConfig{Brokers: []string{"127.0.0.1:1"}, TLS: test.tls})
			wantFault(t, err, test.want...)
		})
	}
}

// Whoever meets the limit learns how large the message is, where the limit is, and what to do.
func TestMessagesThatAreTooLargeSayWhatTheLimitIs(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		large := kafka.Message[string]{Key: "k", Value: strings.Repeat("x", 200_000)}
		publish := func(cfg kafka.ProducerConfig) error {
			producer, err := kafka.NewProducer[string](cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer producer.Close()
			err = producer.Publish(t.Context(), large)
			if !errors.Is(err, kerr.MessageTooLarge) {
				t.Errorf("Publish returned %v", err)
			}
			return err
		}
		cfg := b.producer()
		cfg.MaxMessageBytes, cfg.Compression = 100_000, "none"
		wantFault(t, publish(cfg), "200", "100000", "MaxMessageBytes")
		client := b.raw()
		defer client.Close()
		limit := "50000"
		if _, err := kadm.NewClient(client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, "orders"); err != nil {
			t.Fatal(err)
		}
		cfg.MaxMessageBytes = 0
		wantFault(t, publish(cfg), "orders", "50000", "max.message.bytes")
		cfg.MaxMessageBytes = 1 << 20 // the brokers refuse it
		wantFault(t, publish(cfg), "orders", "50000", "max.message.bytes")
	})
}

// foreign is a mechanism that the library does not have, such as that of AWS.
type foreign struct{}

func (foreign) Name() string { return "AWS_MSK_IAM" }
func (foreign) Authenticate(context.Context, string) (sasl.Session, []byte, error) {
	return nil, []byte("signed"), nil
}

func TestMechanismsOfOptionsAreNamed(t *testing.T) {
	t.Parallel()
	for code, want := range map[*kerr.Error]string{kerr.UnsupportedSaslMechanism: "does not offer SASL mechanism AWS_MSK_IAM", kerr.SaslAuthenticationFailed: "refused the credentials of SASL mechanism AWS_MSK_IAM"} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.cluster.ControlKey(int16(kmsg.SASLHandshake), func(request kmsg.Request) (kmsg.Response, error, bool) {
				b.cluster.KeepControl()
				response := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
				response.ErrorCode = code.Code
				return response, nil, true
			})
			cfg := b.client()
			cfg.Options = append(cfg.Options, kgo.SASL(foreign{}))
			_, err := kafka.NewClient(cfg)
			wantFault(t, err, want)
			wantNo(t, err, `user ""`)
			if !errors.Is(err, kafka.ErrAuthentication) {
				t.Errorf("%v, want ErrAuthentication", err)
			}
		}, kfake.EnableSASL(), kfake.Superuser("PLAIN", "app", "secret"))
	}
	cfg := kafka.ClientConfig{Brokers: []string{"127.0.0.1:1"}, SASL: kafka.SASLConfig{Mechanism: "AWS_MSK_IAM"}}
	wantFault(t, cfg.Validate(), "KAFKA_SASL_MECHANISM", "SASL.Custom")
}

// Java consumers have the range assignor by default.
func TestAGroupOfOtherAssignorsSaysWhatToDo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		other := b.raw(kgo.ConsumerGroup("group"), kgo.ConsumeTopics("orders"), kgo.Balancers(kgo.RangeBalancer()))
		defer other.Close()
		time.Sleep(10 * time.Second)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		consumer, err := kafka.NewConsumer(cfg, ignore1)
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		err = consumer.Start(t.Context())
		wantFault(t, err, "group", "kgo.Balancers(kgo.RangeBalancer())", "GroupProtocol")
		if !errors.Is(err, kerr.InconsistentGroupProtocol) {
			t.Errorf("Start returned %v", err)
		}
		other.Close()
		cfg.Options = append(cfg.Options, kgo.Balancers(kgo.RangeBalancer()))
		other = b.raw(kgo.ConsumerGroup("group"), kgo.ConsumeTopics("orders"), kgo.Balancers(kgo.RangeBalancer()))
		defer other.Close()
		_, stop := b.start(cfg, ignore1)
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Errorf("with the remedy Start returned %v", err)
		}
	})
}

// Files and editors add what nobody sees.
func TestLineEndsAndByteOrderMarksOfVariablesAreNoPartOfThem(t *testing.T) {
	const bom = "\ufeff"
	for name, around := range map[string]func(string) string{
		"line end":        func(value string) string { return value + "\n" },
		"DOS line end":    func(value string) string { return value + "\r\n" },
		"byte order mark": func(value string) string { return bom + value },
	} {
		t.Run(name, func(t *testing.T) {
			variables := map[string]string{
				"KAFKA_BROKERS": "kafka-1:9092", "KAFKA_CLIENT_ID": "svc", "KAFKA_TLS_ENABLED": "true", "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "app",
				"KAFKA_SASL_PASSWORD": "secret", "KAFKA_CONSUMER_MAX_RETRIES": "7", "KAFKA_CONSUMER_DLQ_TOPIC": "letters",
			}
			for key, value := range variables {
				variables[key] = around(value)
			}
			setEnvironment(t, variables)
			cfg, err := kafka.NewConsumerConfigFromEnv("orders", "group")
			if err != nil {
				t.Fatal(err)
			}
			if cfg.Brokers[0] != "kafka-1:9092" || cfg.ClientID != "svc" || !cfg.TLS.Enabled || cfg.SASL.Mechanism != "PLAIN" || cfg.SASL.Username != "app" ||
				cfg.SASL.Password.Reveal() != "secret" || cfg.MaxRetries != 7 || cfg.DLQTopic != "letters" {
				t.Errorf("read %q, password of %d bytes", cfg, len(cfg.SASL.Password.Reveal()))
			}
			delete(variables, "KAFKA_SASL_PASSWORD")
			variables["KAFKA_SASL_PASSWORD_FILE"] = secretFile(t, around("secret"))
			setEnvironment(t, variables)
			t.Setenv("KAFKA_SASL_PASSWORD", "")
			if cfg, err := kafka.NewClientConfigFromEnv(); err != nil || cfg.SASL.Password.Reveal() != "secret" {
				t.Errorf("from a file a password of %d bytes, %v", len(cfg.SASL.Password.Reveal()), err)
			}
		})
	}
	for _, fault := range []string{"app\n", bom + "app", "a\x00pp"} {
		cfg := kafka.ClientConfig{Brokers: []string{"127.0.0.1:1"}, SASL: kafka.SASLConfig{Mechanism: "PLAIN", Username: fault, Password: kafka.NewSecret("secret")}}
		wantFault(t, cfg.Validate(), "SASL: Username", "can't be printed")
		cfg.SASL.Username, cfg.SASL.Password = "app", kafka.NewSecret(fault)
		if fault != "a\x00pp" {
			wantFault(t, cfg.Validate(), "SASL: Password", "KAFKA_SASL_PASSWORD")
		}
	}
}
