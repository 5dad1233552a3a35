package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// elsewhere makes the brokers of a bubble advertise an address beyond this machine, and notes what is sent there.
type elsewhere struct {
	bubble *bubble
	away   atomic.Bool // they do so from now on
	secret string
	leaked atomic.Int32
	mu     sync.Mutex
	conns  []net.Conn
}

const advertised = "kafka.lan" // as long as localhost, which kfake advertises

func (e *elsewhere) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conn, err := e.bubble.network.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conns = append(e.conns, conn)
	return &rewriting{distant{conn}, e, host == advertised}, nil
}

func (e *elsewhere) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, conn := range e.conns {
		_ = conn.Close()
	}
	e.conns = nil
}

type rewriting struct {
	distant
	e      *elsewhere
	beyond bool
}

func (r *rewriting) Read(into []byte) (int, error) {
	n, err := r.distant.Read(into)
	if r.e.away.Load() {
		copy(into, bytes.ReplaceAll(into[:n], []byte("localhost"), []byte(advertised)))
	}
	return n, err
}

func (r *rewriting) Write(request []byte) (int, error) {
	if r.beyond && bytes.Contains(request, []byte(r.e.secret)) {
		r.e.leaked.Add(1)
	}
	return r.distant.Write(request)
}

func (e *elsewhere) client(sasl kafka.SASLConfig) kafka.ClientConfig {
	cfg := e.bubble.client()
	cfg.Options = []kgo.Opt{kgo.Dialer(e.dial)}
	cfg.SASL = sasl
	return cfg
}

var plainSASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "app", Password: kafka.NewSecret("secret")}

func atElsewhere(t *testing.T, test func(t *testing.T, e *elsewhere)) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bubble) {
		test(t, &elsewhere{bubble: b, secret: "secret"})
	}, kfake.EnableSASL(), kfake.Superuser("PLAIN", "app", "secret"), kfake.Superuser("SCRAM-SHA-256", "app", "secret"))
}

// The seed is on this machine, the broker that it names is not.
func TestSecretsAreNotSentInTheClearToAdvertisedAddresses(t *testing.T) {
	t.Parallel()
	token := kafka.SASLConfig{Mechanism: "OAUTHBEARER", Token: func(context.Context) (kafka.Secret, error) { return kafka.NewSecret("secret"), nil }}
	allowed, scram := plainSASL, plainSASL
	allowed.AllowPlaintext, scram.Mechanism = true, "SCRAM-SHA-256"
	for _, test := range []struct {
		name string
		sasl kafka.SASLConfig
		want []string
	}{
		{"password", plainSASL, []string{advertised + ":9092", "PLAIN", "password", "KAFKA_TLS_ENABLED", "KAFKA_SASL_ALLOW_PLAINTEXT"}},
		{"allowed", allowed, nil},
		{"SCRAM", scram, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			atElsewhere(t, func(t *testing.T, e *elsewhere) {
				e.away.Store(true)
				client, err := kafka.NewClient(e.client(test.sasl))
				_ = client.Close()
				wantFault(t, err, test.want...)
				if len(test.want) > 0 && !errors.Is(err, kafka.ErrAuthentication) {
					t.Errorf("%v, want ErrAuthentication", err)
				}
				if n := e.leaked.Load(); n > 0 && test.name != "allowed" {
					t.Errorf("the secret was sent in the clear %d times", n)
				}
			})
		})
	}
	t.Run("token", func(t *testing.T) {
		withIssuer(t, func(t *testing.T, i *issuer) {
			i.good["secret"] = true
			e := &elsewhere{bubble: i.bubble, secret: "secret"}
			e.away.Store(true)
			client, err := kafka.NewClient(e.client(token))
			_ = client.Close()
			wantFault(t, err, advertised+":9092", "OAUTHBEARER", "token", "KAFKA_SASL_ALLOW_PLAINTEXT")
			if n := e.leaked.Load(); n > 0 {
				t.Errorf("the token was sent in the clear %d times", n)
			}
		})
	})
}

// Whoever answers for a broker may name another address at any time.
func TestSecretsAreNotSentInTheClearToAddressesThatChange(t *testing.T) {
	t.Parallel()
	atElsewhere(t, func(t *testing.T, e *elsewhere) {
		cfg := e.bubble.consumer()
		cfg.ClientConfig, cfg.CommitInterval = e.client(plainSASL), time.Hour
		consumer, err := kafka.NewConsumer(cfg, ignore1)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(context.Background()) }() // ends with Close
		defer consumer.Close()
		producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{ClientConfig: e.client(plainSASL), Topic: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		if err := producer.Publish(t.Context(), kafka.Message[numbered]{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		e.away.Store(true)
		e.cut()
		time.Sleep(6 * time.Minute) // by then the clients have asked for metadata again
		e.cut()
		err = producer.Publish(t.Context(), kafka.Message[numbered]{})
		if err == nil || !strings.Contains(err.Error(), "unencrypted") {
			t.Errorf("Publish returned %v", err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, kafka.ErrAuthentication) || !strings.Contains(err.Error(), "unencrypted") {
				t.Errorf("Start returned %v", err)
			}
		case <-time.After(aLongTime):
			t.Error("Start goes on")
		}
		if n := e.leaked.Load(); n > 0 {
			t.Errorf("the secret was sent in the clear %d times", n)
		}
	})
}
