package integration

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// TestARotatedPasswordEndsStartOnlyIfItStays: a password that is changed while a service runs leaves its connections alone. Once they
// are cut, the old one is refused, and Start ends with ErrAuthentication, unless it is made good again in time.
func TestARotatedPasswordEndsStartOnlyIfItStays(t *testing.T) {
	t.Parallel()
	admin := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_PLAINTEXT_BROKERS"), Logger: discard(), ConnectTimeout: accessPatience}
	client, err := kafka.NewClient(admin)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	user := newUser(t, admin, "SCRAM-SHA-256")
	topic := "rotation-" + uuid.NewString()
	makeTopic(t, admin, topic)
	producer, err := kafka.NewProducer[booking](kafka.ProducerConfig{Client: client, Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()

	var mu sync.Mutex
	var connections []net.Conn
	all := &capture{}
	lines := &logLines{}
	cfg := kafka.NewConsumerConfig(topic, topic)
	cfg.ClientConfig = kafka.ClientConfig{
		Brokers: listener(t, "KAFKA_TEST_SASL_BROKERS"), SASL: credentials("SCRAM-SHA-256", user, markedPassword), Logger: slog.New(slog.NewMultiHandler(all.logger().Handler(), lines)), ConnectTimeout: accessPatience,
		Options: []kgo.Opt{kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				connections = append(connections, conn)
			}
			return conn, err
		})},
	}
	cfg.AuthFailureTimeout = 8 * time.Second
	var handled atomic.Int64 // the latest message's number: what was cut off before a commit comes again
	consumer := startConsumer(t, cfg, func(_ context.Context, msg kafka.Message[booking]) error {
		handled.Store(int64(msg.Value.Seats))
		return nil
	})
	published := int64(0)
	consumes := func(when string) {
		t.Helper()
		published++
		if err := producer.Publish(t.Context(), kafka.NewMessage[booking]().WithValue(booking{Seats: int(published)}).Build()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it consumes "+when, func() bool { return handled.Load() == published })
	}
	consumes("at first")
	change := func(password string) { // and wait until the broker heeds it
		t.Helper()
		made, err := kadm.NewClient(client.KGO()).AlterUserSCRAMs(t.Context(), nil,
			[]kadm.UpsertSCRAM{{User: user, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: password}})
		if err := errors.Join(err, made.Error()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the broker knows the password", func() bool {
			probe, err := kafka.NewClient(kafka.ClientConfig{Brokers: cfg.Brokers, ConnectTimeout: accessPatience, SASL: credentials("SCRAM-SHA-256", user, password), Logger: discard()})
			if err == nil {
				_ = probe.Close()
			}
			return err == nil
		})
	}
	cut := func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range connections {
			_ = conn.Close()
		}
		connections = nil
	}

	change("another password")
	consumes("over connections that were there before")
	cut()
	eventually(t, "the old password is refused", func() bool { return lines.about(kafka.ErrAuthentication) > 0 })
	change(markedPassword)
	consumes("with the password that is good again")
	select {
	case err := <-consumer.result:
		t.Fatalf("Start returned %v", err)
	default:
	}

	change("another password")
	cut()
	began := time.Now()
	err = consumer.wait(t)
	t.Logf("message %d was the latest; Start returned after %v: %v", handled.Load(), time.Since(began).Round(time.Millisecond), err)
	if !errors.Is(err, kafka.ErrAuthentication) || !strings.Contains(err.Error(), user) {
		t.Errorf("Start returned %v, want ErrAuthentication that names the user", err)
	}
	all.wantNone(t, markedPassword)
}
