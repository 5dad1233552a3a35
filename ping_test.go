package kafka_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// doors are brokers by what they do when they are dialled, until they open: then they are the bubble's broker.
type doors struct {
	*bubble
	open   atomic.Bool
	silent hush
}

func atDoors(t *testing.T, test func(t *testing.T, d *doors), opts ...kfake.Opt) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bubble) {
		d := &doors{bubble: b}
		d.silent.on.Store(true)
		test(t, d)
	}, opts...)
}

func (d *doors) client(brokers ...string) kafka.ClientConfig {
	cfg := d.bubble.client()
	cfg.Brokers = brokers
	cfg.Options = []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		if d.open.Load() {
			return d.network.DialContext(ctx, network, "127.0.0.1:9092")
		}
		switch {
		case strings.HasPrefix(address, "closed"): // nothing listens there
			return nil, refusedConnection(address)
		case strings.HasPrefix(address, "lost"): // a firewall drops the packets
			for !d.open.Load() {
				select {
				case <-time.After(time.Millisecond):
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
		case strings.HasPrefix(address, "late"):
			time.Sleep(500 * time.Millisecond)
		}
		conn, err := d.network.DialContext(ctx, network, "127.0.0.1:9092")
		if err == nil && strings.HasPrefix(address, "silent") {
			return hushed{conn, &d.silent}, nil
		}
		return conn, err
	})}
	return cfg
}

// connects connects and says how long that took.
func connects(cfg kafka.ClientConfig) (time.Duration, error) {
	began := time.Now()
	client, err := kafka.NewClient(cfg)
	took := time.Since(began)
	_ = client.Close()
	return took, err
}

// Whoever has a wrong address or password need not wait for ConnectTimeout.
func TestRefusalsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	for _, brokers := range [][]string{{"closed:9092"}, {"closed-1:9092", "closed-2:9092", "closed-3:9092"}} {
		atDoors(t, func(t *testing.T, d *doors) {
			took, err := connects(d.client(brokers...))
			wantFault(t, err, brokers...)
			if !errors.Is(err, kafka.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) || took > 0 {
				t.Errorf("after %v: %v", took, err)
			}
		})
	}
	t.Run("credentials", func(t *testing.T) {
		for brokers, patience := range map[string]time.Duration{
			"127.0.0.1:9092": 0, "127.0.0.1:9092,closed:9092": 0, "127.0.0.1:9092,silent:9092": kafka.RefusalPatience, "127.0.0.1:9092,lost:9092,closed:9092": kafka.RefusalPatience,
		} {
			atRefusing(t, func(t *testing.T, d *doors) {
				cfg := d.client(strings.Split(brokers, ",")...)
				cfg.SASL, cfg.SASL.AllowPlaintext = plainSASL, true
				took, err := connects(cfg)
				if !errors.Is(err, kafka.ErrAuthentication) || errors.Is(err, context.DeadlineExceeded) || took != patience {
					t.Errorf("%s: after %v: %v; want ErrAuthentication after %v", brokers, took, err, patience)
				}
			})
		}
	})
	t.Run("topic", func(t *testing.T) {
		atDoors(t, func(t *testing.T, d *doors) {
			began := time.Now()
			producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{ClientConfig: d.client("127.0.0.1:9092", "silent:9092"), Topic: "missing"})
			_ = producer.Close()
			if took := time.Since(began); !errors.Is(err, kafka.ErrTopicMissing) || took > 0 {
				t.Errorf("after %v: %v; want ErrTopicMissing at once", took, err)
			}
		})
	})
}

// atRefusing has brokers that refuse every password.
func atRefusing(t *testing.T, test func(t *testing.T, d *doors)) {
	t.Helper()
	atDoors(t, func(t *testing.T, d *doors) {
		d.cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(request kmsg.Request) (kmsg.Response, error, bool) {
			d.cluster.KeepControl()
			if d.open.Load() {
				return nil, nil, false
			}
			response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			response.ErrorCode = kerr.SaslAuthenticationFailed.Code
			return response, nil, true
		})
		test(t, d)
	}, kfake.EnableSASL(), kfake.Superuser("PLAIN", "app", "secret"))
}

// A broker that restarts is no failed start: not if it is silent, and not if it refuses connections while another one is silent.
func TestASilentBrokerIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, brokers := range [][]string{{"lost:9092"}, {"closed:9092", "silent:9092"}, {"closed:9092", "lost:9092"}} {
		atDoors(t, func(t *testing.T, d *doors) {
			const away = 8 * time.Second
			time.AfterFunc(away, func() { d.open.Store(true) })
			if took, err := connects(d.client(brokers...)); err != nil || took < away || took > away+time.Second {
				t.Errorf("%s: after %v: %v; want a connection after %v", brokers, took, err, away)
			}
		})
		atDoors(t, func(t *testing.T, d *doors) {
			took, err := connects(d.client(brokers...))
			wantFault(t, err, append(brokers, "no answer in time")...)
			if !errors.Is(err, kafka.ErrUnreachable) || took != 10*time.Second {
				t.Errorf("%s: after %v: %v; want ErrUnreachable after 10s", brokers, took, err)
			}
			d.open.Store(true) // for what still dials
			synctest.Wait()
		})
	}
}

// One broker that refuses the credentials does not speak for another that takes them.
func TestAnotherBrokerMayTakeTheCredentials(t *testing.T) {
	t.Parallel()
	atRefusing(t, func(t *testing.T, d *doors) {
		cfg := d.client("127.0.0.1:9092", "late:9092")
		cfg.SASL, cfg.SASL.AllowPlaintext = plainSASL, true
		time.AfterFunc(100*time.Millisecond, func() { d.open.Store(true) })
		if took, err := connects(cfg); err != nil || took < 100*time.Millisecond {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
