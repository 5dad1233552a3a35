package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

const (
	// accessPatience limits every wait. It is long because the machine may be slow: only a hang reaches it.
	accessPatience = 3 * time.Minute

	saslUser, saslPassword = "app", "app-secret" // as doc.go says
)

var saslMechanisms = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}

// booking is what the tests of access publish.
type booking struct {
	ID    string `json:"id"`
	Seats int    `json:"seats"`
}

// setting returns the value of an environment variable that doc.go names, or skips t.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Skipf("SKIPPED: %s is not set; see doc.go", name)
	}
	return value
}

// listener returns the bootstrap list that the variable holds, or skips t.
func listener(t *testing.T, name string) []string {
	t.Helper()
	var seeds []string
	for seed := range strings.SplitSeq(setting(t, name), ",") {
		seeds = append(seeds, strings.TrimSpace(seed))
	}
	return seeds
}

// trusted is TLS that trusts the listeners' authority.
func trusted(t *testing.T) kafka.TLSConfig {
	t.Helper()
	return kafka.TLSConfig{CAFile: filepath.Join(setting(t, "KAFKA_TEST_CERTS"), "ca.pem")}
}

// certified is TLS with the client certificate that the listeners trust.
func certified(t *testing.T) kafka.TLSConfig {
	t.Helper()
	config := trusted(t)
	config.CertFile = filepath.Join(setting(t, "KAFKA_TEST_CERTS"), "client.pem")
	config.KeyFile = filepath.Join(setting(t, "KAFKA_TEST_CERTS"), "client-key.pem")
	return config
}

func credentials(mechanism, user, password string) kafka.SASLConfig {
	return kafka.SASLConfig{Mechanism: mechanism, Username: user, Password: kafka.NewSecret(password)}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestMessagesPassEveryListener publishes and consumes a typed message over every way in.
func TestMessagesPassEveryListener(t *testing.T) {
	t.Parallel()
	t.Run("plaintext", func(t *testing.T) {
		roundTrip(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_PLAINTEXT_BROKERS")})
	})
	t.Run("TLS", func(t *testing.T) {
		roundTrip(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_TLS_BROKERS"), TLS: trusted(t)})
	})
	t.Run("mTLS", func(t *testing.T) {
		roundTrip(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_TLS_BROKERS"), TLS: certified(t)})
	})
	for _, mechanism := range saslMechanisms {
		sasl := credentials(mechanism, saslUser, saslPassword)
		t.Run(mechanism, func(t *testing.T) {
			roundTrip(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_SASL_BROKERS"), SASL: sasl})
		})
		t.Run(mechanism+" over TLS", func(t *testing.T) {
			roundTrip(t, kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_SASL_TLS_BROKERS"), TLS: trusted(t), SASL: sasl})
		})
	}
}

// roundTrip makes topics, publishes and consumes, all over cfg.
func roundTrip(t *testing.T, cfg kafka.ClientConfig) {
	t.Helper()
	cfg.Logger, cfg.ConnectTimeout = discard(), accessPatience
	topic := "access-" + uuid.NewString()
	makeTopic(t, cfg, topic)

	producer, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: cfg, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	sent := kafka.NewMessage[booking]().WithKey("b-1").WithValue(booking{"b-1", 3}).WithEventType("booking.create").Build()
	if err := producer.Publish(t.Context(), sent); err != nil {
		t.Fatal(err)
	}

	consumerCfg := kafka.NewConsumerConfig(topic, topic)
	consumerCfg.ClientConfig = cfg
	received := make(chan kafka.Message[booking], 1)
	consumer := startConsumer(t, consumerCfg, func(_ context.Context, msg kafka.Message[booking]) error {
		received <- msg
		return nil
	})
	select {
	case got := <-received:
		if got.Key != sent.Key || got.Value != sent.Value || got.GetEventType() != sent.GetEventType() || got.GetMessageID() != sent.GetMessageID() {
			t.Errorf("received %+v, want %+v", got, sent)
		}
	case err := <-consumer.result:
		t.Fatalf("Start returned %v before the message came", err)
	case <-time.After(accessPatience):
		t.Fatal("the message never came")
	}
	consumer.cancel()
	if err := consumer.wait(t); err != nil {
		t.Errorf("Start: %v", err)
	}
}

// makeTopic makes a topic of one partition and its dead letter topic.
func makeTopic(t *testing.T, cfg kafka.ClientConfig, name string) {
	t.Helper()
	makeTopics(t, cfg, topics.New(name, 1), topics.New("dlq-"+name, 1))
}

// makeTopics returns once every broker knows the topics, and deletes them after the test. A client that publishes right
// after a plain CreateTopics is refused by brokers that have not heard of the topic yet.
func makeTopics(t *testing.T, cfg kafka.ClientConfig, list ...topics.Topic) {
	t.Helper()
	client, err := kafka.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	deleteAfter(t, client, list)
	ctx, cancel := context.WithTimeout(t.Context(), accessPatience)
	defer cancel()
	eventually(t, "the topics are made", func() bool { // a broker that gets too little CPU is fenced for some seconds
		err := topics.Ensure(ctx, client, list...)
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
}

// runningConsumer is a consumer whose Start runs.
type runningConsumer struct {
	cancel context.CancelFunc
	result chan error
	health func() kafka.Health
}

func startConsumer[T any](t *testing.T, cfg kafka.ConsumerConfig, handle kafka.Handler[T]) runningConsumer {
	t.Helper()
	consumer, err := kafka.NewConsumer(cfg, handle)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := runningConsumer{cancel, make(chan error, 1), consumer.Health}
	go func() { running.result <- consumer.Start(ctx) }() // ends with cancel, or by itself
	t.Cleanup(func() {
		cancel()
		_ = consumer.Close() // waits for Start
	})
	return running
}

// awaitPartitions waits until the consumer has partitions.
func (r runningConsumer) awaitPartitions(t *testing.T) {
	t.Helper()
	eventually(t, "it has partitions", func() bool { return len(r.health().Partitions) > 0 })
}

// wait returns what Start returned.
func (r runningConsumer) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(accessPatience):
		t.Fatal("Start does not return")
		return nil
	}
}

// constructors are the doors: each must refuse what can't work.
var constructors = []struct {
	name string
	open func(kafka.ClientConfig) (io.Closer, error)
}{
	{"NewClient", func(cfg kafka.ClientConfig) (io.Closer, error) { return closer(kafka.NewClient(cfg)) }},
	{"NewProducer", func(cfg kafka.ClientConfig) (io.Closer, error) {
		return closer(kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: cfg, Topic: "bookings"}))
	}},
	{"NewConsumer", func(cfg kafka.ClientConfig) (io.Closer, error) {
		consumerCfg := kafka.NewConsumerConfig("bookings", "bookings")
		consumerCfg.ClientConfig = cfg
		return closer(kafka.NewConsumer(consumerCfg, func(context.Context, kafka.Message[booking]) error { return nil }))
	}},
}

// closer keeps a nil pointer from becoming an interface that is not nil.
func closer[P interface {
	*E
	io.Closer
}, E any](p P, err error) (io.Closer, error) {
	if p == nil {
		return nil, err
	}
	return p, err
}

// refuse opens every door and wants each to refuse, for the right reason and with a hint at the cause.
func refuse(t *testing.T, cfg kafka.ClientConfig, kind error, hint string) {
	t.Helper()
	cfg.Logger = discard()
	if cfg.ConnectTimeout == 0 {
		// Long: only a cause that was found is to end the wait. How long it took is in the log.
		cfg.ConnectTimeout = accessPatience
	}
	for i, constructor := range constructors {
		began := time.Now()
		opened, err := constructor.open(cfg)
		took := time.Since(began).Round(time.Millisecond)
		if i == 0 {
			t.Logf("%s in %v: %v", constructor.name, took, err)
		} else {
			t.Logf("%s in %v", constructor.name, took)
		}
		if err == nil {
			t.Errorf("%s succeeded", constructor.name)
			_ = opened.Close()
			continue
		}
		if opened == nil {
			t.Errorf("%s returned nothing beside its error", constructor.name)
		} else {
			_ = opened.Close()
		}
		for _, sentinel := range []error{kafka.ErrAuthentication, kafka.ErrUnreachable} {
			if errors.Is(err, sentinel) != (sentinel == kind) {
				t.Errorf("%s: errors.Is %q is %v", constructor.name, sentinel, sentinel != kind)
			}
		}
		connect, ok := errors.AsType[*kafka.ConnectError](err)
		if !ok {
			t.Errorf("%s: the error is a %T, want a ConnectError in it", constructor.name, err)
			continue
		}
		if connect.Broker != cfg.Brokers[0] || !strings.Contains(err.Error(), cfg.Brokers[0]) {
			t.Errorf("%s: the error is about broker %q, want %q", constructor.name, connect.Broker, cfg.Brokers[0])
		}
		if !strings.Contains(connect.Hint, hint) {
			t.Errorf("%s: hint %q, want something about %q", constructor.name, connect.Hint, hint)
		}
		if timedOut := errors.Is(err, context.DeadlineExceeded); timedOut != (cfg.ConnectTimeout < accessPatience) {
			t.Errorf("%s: the wait ended by its timeout: %v", constructor.name, timedOut)
		}
		if password := cfg.SASL.Password.Reveal(); password != "" && strings.Contains(err.Error(), password) {
			t.Errorf("%s: the error holds the password", constructor.name)
		}
	}
}

// TestWrongCredentialsAreRefusedAtTheDoor is about brokers that are there and do not want us.
func TestWrongCredentialsAreRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	for _, mechanism := range saslMechanisms {
		for _, bad := range []struct{ name, user, password string }{
			{"wrong password", saslUser, "not-the-password"},
			{"unknown user", "nobody", saslPassword},
		} {
			sasl := credentials(mechanism, bad.user, bad.password)
			hint := fmt.Sprintf("refused user %q with %s: check the user, the password", bad.user, mechanism)
			t.Run(bad.name+", "+mechanism, func(t *testing.T) {
				t.Parallel()
				cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_SASL_BROKERS")[:1], SASL: sasl}
				refuse(t, cfg, kafka.ErrAuthentication, hint)
			})
			t.Run(bad.name+", "+mechanism+" over TLS", func(t *testing.T) {
				t.Parallel()
				cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_SASL_TLS_BROKERS")[:1], TLS: trusted(t), SASL: sasl}
				refuse(t, cfg, kafka.ErrAuthentication, hint)
			})
		}
		t.Run(mechanism+" where SASL is not spoken", func(t *testing.T) {
			t.Parallel()
			cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_PLAINTEXT_BROKERS")[:1], SASL: credentials(mechanism, saslUser, saslPassword)}
			refuse(t, cfg, kafka.ErrAuthentication, "this listener takes no SASL")
		})
		t.Run(mechanism+" over TLS where SASL is not spoken", func(t *testing.T) {
			t.Parallel()
			cfg := kafka.ClientConfig{
				Brokers: listener(t, "KAFKA_TEST_TLS_BROKERS")[:1], TLS: trusted(t),
				SASL: credentials(mechanism, saslUser, saslPassword),
			}
			refuse(t, cfg, kafka.ErrAuthentication, "this listener takes no SASL")
		})
	}
	t.Run("client certificate of another authority", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_TLS_BROKERS")[:1], TLS: trusted(t)}
		cfg.TLS.CertFile, cfg.TLS.KeyFile = newAuthority(t).issue(t, "client")
		refuse(t, cfg, kafka.ErrAuthentication, "refused the client certificate")
	})
}

// TestWrongAddressesFailAtTheDoor is about ports and certificates that are not what the config says.
func TestWrongAddressesFailAtTheDoor(t *testing.T) {
	t.Parallel()
	app := credentials("SCRAM-SHA-512", saslUser, saslPassword)
	t.Run("authority that is not the brokers'", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_TLS_BROKERS")[:1], TLS: kafka.TLSConfig{CAFile: newAuthority(t).file}}
		refuse(t, cfg, kafka.ErrUnreachable, "authority that is not trusted: set TLS.CAFile")
	})
	t.Run("the system's authorities", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_TLS_BROKERS")[:1], TLS: kafka.TLSConfig{Enabled: true}}
		refuse(t, cfg, kafka.ErrUnreachable, "authority that is not trusted: set TLS.CAFile")
	})
	t.Run("server name that is not the certificate's", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_TLS_BROKERS")[:1], TLS: trusted(t)}
		cfg.TLS.ServerName = "kafka.example"
		refuse(t, cfg, kafka.ErrUnreachable, "certificate is for another name: dial that name or set TLS.ServerName")
	})
	t.Run("TLS where plaintext is spoken", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_PLAINTEXT_BROKERS")[:1], TLS: trusted(t)}
		refuse(t, cfg, kafka.ErrUnreachable, "may not speak TLS")
	})
	t.Run("TLS and SASL where SASL alone is spoken", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_SASL_BROKERS")[:1], TLS: trusted(t), SASL: app}
		refuse(t, cfg, kafka.ErrUnreachable, "may not speak TLS")
	})
	t.Run("plaintext where TLS is spoken", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_TLS_BROKERS")[:1]}
		refuse(t, cfg, kafka.ErrUnreachable, "may want TLS")
	})
	t.Run("SASL alone where TLS and SASL are spoken", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_SASL_TLS_BROKERS")[:1], SASL: app}
		refuse(t, cfg, kafka.ErrUnreachable, "may want TLS")
	})
	t.Run("no SASL where it is wanted", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_SASL_BROKERS")[:1]}
		refuse(t, cfg, kafka.ErrUnreachable, "may want SASL")
	})
	t.Run("TLS without SASL where both are wanted", func(t *testing.T) {
		t.Parallel()
		cfg := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_SASL_TLS_BROKERS")[:1], TLS: trusted(t)}
		refuse(t, cfg, kafka.ErrUnreachable, "may want SASL")
	})
	t.Run("host name that no one knows", func(t *testing.T) {
		t.Parallel()
		refuse(t, kafka.ClientConfig{Brokers: []string{"kafka.invalid:9092"}}, kafka.ErrUnreachable, "host name is unknown")
	})
	t.Run("port where nothing listens", func(t *testing.T) {
		t.Parallel()
		unused := listen(t)
		_ = unused.Close()
		refuse(t, kafka.ClientConfig{Brokers: []string{unused.Addr().String()}}, kafka.ErrUnreachable, "nothing listens there")
	})
	t.Run("port that never answers", func(t *testing.T) {
		t.Parallel()
		// Never accepted: the kernel takes the connections, and no one ever answers them.
		cfg := kafka.ClientConfig{Brokers: []string{listen(t).Addr().String()}}
		cfg.ConnectTimeout = 2 * time.Second // no cause ends this wait
		refuse(t, cfg, kafka.ErrUnreachable, "no answer in time")
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// authority is a certificate authority that the brokers don't know.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string // PEM
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{key: key}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.file = a.sign(t, a.certificate, key, "ca.pem")
	return a
}

// issue returns the PEM files of a certificate and its key.
func (a authority) issue(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key, name+".pem"), writePEM(t, name+"-key.pem", "PRIVATE KEY", der)
}

func (a authority) sign(t *testing.T, certificate *x509.Certificate, key *ecdsa.PrivateKey, file string) string {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, certificate, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, file, "CERTIFICATE", der)
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
