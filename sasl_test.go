package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/skeji/kafka"
)

// ownMechanism is a SASL mechanism of the user's own. Brokers take it for PLAIN unless it has another name.
type ownMechanism struct {
	name     string
	password string
	fails    func() error // instead of authenticating; nil: it does
	asked    atomic.Int32
	closed   atomic.Bool
}

func (m *ownMechanism) Name() string {
	if m.name != "" {
		return m.name
	}
	return "PLAIN"
}

func (m *ownMechanism) Authenticate(ctx context.Context, broker string) (sasl.Session, []byte, error) {
	m.asked.Add(1)
	if m.fails != nil {
		return nil, nil, m.fails()
	}
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, nil, errors.New("the context has no end")
	}
	return plain.Auth{User: "app", Pass: m.password}.AsMechanism().Authenticate(ctx, broker)
}

func (m *ownMechanism) Close() { m.closed.Store(true) }

func withUsers(t *testing.T, test func(t *testing.T, b *bubble)) {
	t.Helper()
	inBubble(t, test, kfake.EnableSASL(), kfake.Superuser("PLAIN", "app", "secret"))
}

// One mechanism serves all clients of a consumer, and the next consumer of its config.
func TestAMechanismOfYourOwnAuthenticates(t *testing.T) {
	t.Parallel()
	withUsers(t, func(t *testing.T, b *bubble) {
		own := &ownMechanism{password: "secret"}
		for range 2 {
			cfg := b.consumer()
			cfg.SASL.Custom, cfg.CommitInterval = own, time.Hour
			if text := cfg.String(); !strings.Contains(text, `sasl_mechanism="PLAIN"`) || strings.Contains(text, "app") {
				t.Errorf("the config prints as %s", text)
			}
			producer := b.newProducer(kafka.ProducerConfig{ClientConfig: cfg.ClientConfig, Topic: "orders"})
			if err := producer.Publish(t.Context(), kafka.Message[numbered]{Value: numbered{1}}); err != nil {
				t.Fatal(err)
			}
			var handled atomic.Int32
			_, stop := b.start(cfg, func(context.Context, kafka.Message[numbered]) error { handled.Add(1); return nil })
			time.Sleep(time.Minute)
			if err := stop(); err != nil || handled.Load() != 1 {
				t.Errorf("%d handled; Start returned %v", handled.Load(), err)
			}
		}
		if own.asked.Load() < 4 || own.closed.Load() {
			t.Errorf("asked %d times; closed: %t", own.asked.Load(), own.closed.Load())
		}
	})
}

// What the mechanism can't do and what the broker refuses are told apart, and both are authentication's.
func TestAMechanismOfYourOwnThatFailsIsNamed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		own  *ownMechanism
		want []string
	}{
		"wrong password":        {&ownMechanism{password: "wrong"}, []string{"refused the credentials of SASL.Custom, which is PLAIN"}},
		"no credentials":        {&ownMechanism{fails: func() error { return errors.New("no role to assume") }}, []string{"SASL.Custom, which is PLAIN", "has no credentials", "no role to assume"}},
		"a panic":               {&ownMechanism{fails: func() error { panic("no map") }}, []string{"SASL.Custom, which is PLAIN", "panic: no map"}},
		"unknown to the broker": {&ownMechanism{name: "AWS_MSK_IAM"}, []string{"does not offer SASL mechanism AWS_MSK_IAM"}},
	} {
		t.Run(name, func(t *testing.T) {
			atGate(t, func(t *testing.T, g *gate) {
				g.shut.Store(true) // the brokers refuse every password, as kfake itself does not: it closes the connection
				cfg := g.client()
				cfg.SASL = kafka.SASLConfig{Custom: test.own}
				_, err := kafka.NewClient(cfg)
				wantFault(t, err, test.want...)
				wantNo(t, err, `user ""`, "in Options")
				if !errors.Is(err, kafka.ErrAuthentication) {
					t.Errorf("%v, want ErrAuthentication", err)
				}
			})
		})
	}
}

// Credentials that turn bad end Start, as those of the other mechanisms do.
func TestAMechanismOfYourOwnThatTurnsBadEndsStart(t *testing.T) {
	t.Parallel()
	atGate(t, func(t *testing.T, g *gate) {
		own := &ownMechanism{password: "secret"}
		cfg := g.consumer()
		cfg.SASL = kafka.SASLConfig{Custom: own}
		_, ended := g.run(cfg)
		g.close()
		err := endsAfter(t, ended, 30*time.Second, kafka.ErrAuthentication)
		wantFault(t, err, "SASL.Custom, which is PLAIN")
	})
}

func TestAMechanismOfYourOwnStandsAlone(t *testing.T) {
	t.Parallel()
	own, token := &ownMechanism{}, func(context.Context) (kafka.Secret, error) { return kafka.Secret{}, nil }
	for _, other := range []kafka.SASLConfig{
		{Mechanism: "PLAIN"}, {Username: "app"}, {Password: kafka.NewSecret("secret")}, {Token: token}, {TokenFile: "token"},
	} {
		cfg := kafka.ClientConfig{Brokers: []string{"127.0.0.1:9092"}, SASL: other}
		cfg.SASL.Custom = own
		wantFault(t, cfg.Validate(), "SASL: Custom is set beside", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_TOKEN_FILE")
	}
	cfg := kafka.ClientConfig{Brokers: []string{"127.0.0.1:9092"}, SASL: kafka.SASLConfig{Custom: own}}
	wantFault(t, cfg.Validate())
	cfg.SASL.Custom = &ownMechanism{name: "AWS\n"}
	wantFault(t, cfg.Validate(), "SASL: Custom's name")
	cfg.SASL.Custom = foreignName("")
	wantFault(t, cfg.Validate(), "SASL: Custom has no name")
}

// foreignName is a mechanism that is no more than its name.
type foreignName string

func (n foreignName) Name() string { return string(n) }
func (n foreignName) Authenticate(context.Context, string) (sasl.Session, []byte, error) {
	return nil, nil, fmt.Errorf("%s has nothing to say", string(n))
}

// A mechanism that is known to show its secret is kept from it. Of others the library can't know what they show.
func TestAMechanismOfYourOwnIsHeldToItsName(t *testing.T) {
	t.Parallel()
	for name, shows := range map[string]string{"PLAIN": "password", "OAUTHBEARER": "token", "AWS_MSK_IAM": "", "GSSAPI": ""} {
		cfg := kafka.ClientConfig{Brokers: []string{"kafka-1:9092"}, SASL: kafka.SASLConfig{Custom: foreignName(name)}}
		if shows == "" {
			wantFault(t, cfg.Validate())
			continue
		}
		wantFault(t, cfg.Validate(), "SASL: "+name+" would send the "+shows, "kafka-1:9092", "KAFKA_SASL_ALLOW_PLAINTEXT")
		cfg.TLS.Enabled = true
		wantFault(t, cfg.Validate())
		cfg.TLS.Enabled, cfg.SASL.AllowPlaintext = false, true
		wantFault(t, cfg.Validate())
	}
	atElsewhere(t, func(t *testing.T, e *elsewhere) {
		e.away.Store(true)
		_, err := kafka.NewClient(e.client(kafka.SASLConfig{Custom: &ownMechanism{password: "secret"}}))
		wantFault(t, err, advertised+":9092", "PLAIN", "password", "KAFKA_SASL_ALLOW_PLAINTEXT")
		if n := e.leaked.Load(); n > 0 {
			t.Errorf("the secret was sent in the clear %d times", n)
		}
	})
}
