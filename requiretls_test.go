package kafka_test

import (
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Whoever requires TLS gets it or an error, wherever the brokers are.
func TestTLSThatIsRequiredIsOnOrAnError(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tls     kafka.TLSConfig
		options []kgo.Opt
		refused bool
	}{
		"off":            {kafka.TLSConfig{Required: true}, nil, true},
		"on":             {kafka.TLSConfig{Required: true, Enabled: true}, nil, false},
		"by authorities": {kafka.TLSConfig{Required: true, CAFile: "ca.pem"}, nil, false},
		"by an option":   {kafka.TLSConfig{Required: true}, []kgo.Opt{kgo.DialTLSConfig(&tls.Config{})}, false},
		"not required":   {kafka.TLSConfig{}, nil, false},
	} {
		for _, broker := range []string{"kafka-1:9092", "127.0.0.1:9092"} {
			cfg := kafka.ClientConfig{Brokers: []string{broker}, TLS: test.tls, Options: test.options}
			want := []string{}
			if test.refused {
				want = []string{"TLS: Required", "KAFKA_TLS_REQUIRED", "KAFKA_TLS_ENABLED"}
			}
			t.Run(name, func(t *testing.T) { wantFault(t, cfg.Validate(), want...) })
		}
	}
}

// An option of the user's own comes after ours.
func TestOptionsCannotTurnRequiredTLSOff(t *testing.T) {
	t.Parallel()
	_, err := kafka.NewClient(kafka.ClientConfig{
		Brokers: []string{"127.0.0.1:1"}, TLS: kafka.TLSConfig{Required: true, Enabled: true}, Options: []kgo.Opt{kgo.DialTLSConfig(nil)},
	})
	wantFault(t, err, "kgo.DialTLSConfig", "KAFKA_TLS_REQUIRED")
}

func TestTLSIsRequiredByAVariable(t *testing.T) {
	setEnvironment(t, map[string]string{"KAFKA_BROKERS": "kafka-1:9092", "KAFKA_TLS_REQUIRED": "true"})
	_, err := kafka.NewClientConfigFromEnv()
	wantFault(t, err, "KAFKA_TLS_REQUIRED")
	t.Setenv("KAFKA_TLS_ENABLED", "true")
	_, err = kafka.NewClientConfigFromEnv()
	wantFault(t, err)
}

// What goes over a network unencrypted is said once, not for each broker and each client.
func TestPlaintextBeyondThisMachineIsSaidOnce(t *testing.T) {
	t.Parallel()
	for _, beyond := range []bool{true, false} {
		inBubble(t, func(t *testing.T, b *bubble) {
			e := &elsewhere{bubble: b, secret: "none"}
			e.away.Store(beyond)
			cfg := b.consumer()
			cfg.CommitInterval = time.Hour
			cfg.ClientConfig = e.client(kafka.SASLConfig{})
			for range 2 {
				_, stop := b.start(cfg, ignore1)
				time.Sleep(time.Minute)
				if err := stop(); err != nil {
					t.Error(err)
				}
			}
			want := 0
			if beyond {
				want = 1
			}
			if n := b.log.count(slog.LevelWarn, "broker="+advertised+":9092"); n != want {
				t.Errorf("%d warnings, want %d:\n%s", n, want, b.log.String())
			}
		})
	}
}
