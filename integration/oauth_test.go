package integration

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// unsigned returns a token that the brokers' default validator takes, in one of the ways in which no two are alike.
func unsigned(t *testing.T, user string, ends time.Time) string {
	t.Helper()
	part := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Error(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	claims := map[string]any{"sub": user, "iat": time.Now().Add(-time.Minute).Unix(), "exp": ends.Unix(), "jti": uuid.NewString()}
	return part(map[string]string{"alg": "none"}) + "." + part(claims) + "."
}

// bearerConfig connects with tokens to the listener that takes them.
func bearerConfig(t *testing.T, token func(context.Context) (kafka.Secret, error)) kafka.ClientConfig {
	t.Helper()
	return kafka.ClientConfig{
		Brokers: listener(t, "KAFKA_TEST_OAUTH_BROKERS"), TLS: trusted(t), Logger: discard(), ConnectTimeout: accessPatience,
		SASL: kafka.SASLConfig{Mechanism: "OAUTHBEARER", Token: token},
	}
}

// TestTokensPassAndAreRenewed runs for several sessions of a real broker, which ends a connection that does not renew its own.
// All that is ever printed, franz-go's debug lines too, is searched for the tokens.
func TestTokensPassAndAreRenewed(t *testing.T) {
	t.Parallel()
	all := &capture{}
	var mu sync.Mutex
	var tokens []string
	token := func(context.Context) (kafka.Secret, error) {
		text := unsigned(t, saslUser, time.Now().Add(time.Minute))
		mu.Lock()
		defer mu.Unlock()
		tokens = append(tokens, text)
		return kafka.NewSecret(text), nil
	}
	cfg := bearerConfig(t, token)
	topic := "oauth-" + uuid.NewString()
	makeTopic(t, cfg, topic)
	cfg.Logger = all.logger()
	sessions := &sessionCounter{}
	cfg.Options = []kgo.Opt{kgo.WithLogger(kgo.BasicLogger(all, kgo.LogLevelDebug, nil)), kgo.WithHooks(sessions)}

	consumerCfg := kafka.NewConsumerConfig(topic, topic)
	consumerCfg.ClientConfig = cfg
	var handled []int
	consumer := startConsumer(t, consumerCfg, func(_ context.Context, msg kafka.Message[booking]) error {
		mu.Lock()
		defer mu.Unlock()
		handled = append(handled, msg.Value.Seats)
		return nil
	})
	producer, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: cfg, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	var want []int
	began := time.Now()
	for n := 0; sessions.renewals() < 2*3 && time.Since(began) < accessPatience; n++ { // of both clients
		if err := producer.Publish(t.Context(), kafka.NewMessage[booking]().WithKey("b").WithValue(booking{Seats: n}).Build()); err != nil {
			t.Errorf("message %d: %v", n, err)
		}
		want = append(want, n)
		time.Sleep(20 * time.Millisecond) // only so many messages
	}
	eventually(t, "all messages are handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(handled) >= len(want)
	})
	consumer.cancel()
	if err := consumer.wait(t); err != nil {
		t.Errorf("Start: %v", err)
	}
	if !slices.Equal(handled, want) {
		t.Errorf("handled %d messages, want each of %d once and in order", len(handled), len(want))
	}
	t.Logf("%d renewals, %d tokens, %d messages in %v", sessions.renewals(), len(tokens), len(want), time.Since(began).Round(time.Second))
	if sessions.renewals() < 2*3 {
		t.Errorf("%d renewals: the test proves nothing", sessions.renewals())
	}
	all.wantNone(t, tokens...)
}

// sessionCounter counts the authentications of clients' connections.
type sessionCounter struct{ connections, authentications atomic.Int64 }

func (c *sessionCounter) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		c.connections.Add(1)
	}
}

func (c *sessionCounter) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err == nil && key == int16(kmsg.SASLAuthenticate) {
		c.authentications.Add(1)
	}
}

// renewals is how often a connection has authenticated again: OAUTHBEARER takes one request.
func (c *sessionCounter) renewals() int64 { return c.authentications.Load() - c.connections.Load() }

// TestTokenFilesPass is what a pod does with a projected token.
func TestTokenFilesPass(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(unsigned(t, saslUser, time.Now().Add(time.Minute))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := bearerConfig(t, nil)
	cfg.SASL.TokenFile = file
	roundTrip(t, cfg)
}

// TestRefusedTokensAreRefusedAtTheDoor is about brokers that don't want what they are shown.
func TestRefusedTokensAreRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	for name, token := range map[string]string{
		"expired": unsigned(t, saslUser, time.Now().Add(-time.Second)), "no user": unsigned(t, "", time.Now().Add(time.Minute)),
		"no token": "k7pfQ2nonsense9Zw",
	} {
		t.Run(name, func(t *testing.T) {
			all := &capture{}
			cfg := bearerConfig(t, func(context.Context) (kafka.Secret, error) { return kafka.NewSecret(token), nil })
			refuse(t, cfg, kafka.ErrAuthentication, "the broker refused the token: has it expired")
			cfg.Logger = all.logger()
			cfg.Options = []kgo.Opt{kgo.WithLogger(kgo.BasicLogger(all, kgo.LogLevelDebug, nil))}
			for _, constructor := range constructors {
				_, err := constructor.open(cfg)
				all.keep(t, constructor.name, err, kafka.ErrAuthentication)
			}
			all.wantNone(t, token)
		})
	}
	t.Run("a listener without OAUTHBEARER", func(t *testing.T) {
		cfg := bearerConfig(t, func(context.Context) (kafka.Secret, error) {
			return kafka.NewSecret(unsigned(t, saslUser, time.Now().Add(time.Minute))), nil
		})
		cfg.Brokers, cfg.TLS = listener(t, "KAFKA_TEST_SASL_BROKERS")[:1], kafka.TLSConfig{}
		refuse(t, cfg, kafka.ErrAuthentication, "does not offer SASL mechanism OAUTHBEARER")
	})
}

// TestTokensThatExpireEndStart: nothing but time cuts the session of a consumer whose tokens are not renewed.
func TestTokensThatExpireEndStart(t *testing.T) {
	t.Parallel()
	var stale atomic.Bool
	cfg := bearerConfig(t, func(context.Context) (kafka.Secret, error) {
		ends := time.Now().Add(time.Minute)
		if stale.Load() {
			ends = time.Now().Add(-time.Second)
		}
		return kafka.NewSecret(unsigned(t, saslUser, ends)), nil
	})
	topic := "oauth-" + uuid.NewString()
	makeTopic(t, cfg, topic)
	consumerCfg := kafka.NewConsumerConfig(topic, topic)
	consumerCfg.ClientConfig = cfg
	consumerCfg.AuthFailureTimeout = 2 * time.Second
	consumer := startConsumer(t, consumerCfg, func(context.Context, kafka.Message[booking]) error { return nil })
	consumer.awaitPartitions(t)
	stale.Store(true)
	began := time.Now()
	err := consumer.wait(t)
	t.Logf("Start returned after %v: %v", time.Since(began).Round(time.Millisecond), err)
	if !errors.Is(err, kafka.ErrAuthentication) || !strings.Contains(fmt.Sprint(err), "refused the token") {
		t.Errorf("Start returned %v, want ErrAuthentication and the cause", err)
	}
}
