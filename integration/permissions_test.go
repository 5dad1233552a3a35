package integration

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// These tests are about ACLs. Each has a user of its own, who may do nothing at first, since some permissions are about
// all that a user may do: to write anything at all needs one topic that may be written.

// world is what one of these tests plays in: an administrator, and a user with a topic, a dead letter topic and a group.
type world struct {
	admin            *kadm.Client
	adminCfg         kafka.ClientConfig
	cfg              kafka.ClientConfig // the user's
	principal        string
	topic, dlq, name string // name is the user's and the group's
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{name: "permissions-" + uuid.NewString()}
	w.topic, w.dlq, w.principal = w.name, "dlq-"+w.name, "User:"+w.name
	w.cfg = kafka.ClientConfig{
		Brokers: listener(t, "KAFKA_TEST_ACL_BROKERS"), Logger: discard(), ConnectTimeout: accessPatience,
		SASL: credentials("SCRAM-SHA-256", w.name, "password of "+w.name),
	}
	w.administrate(t)
	made, err := w.admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{
		User: w.name, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: w.cfg.SASL.Password.Reveal(),
	}})
	if err := errors.Join(err, made.Error()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = w.admin.AlterUserSCRAMs(context.Background(), []kadm.DeleteSCRAM{{User: w.name, Mechanism: kadm.ScramSha256}}, nil)
	})
	eventually(t, "the broker knows the user", func() bool {
		client, err := kafka.NewClient(w.cfg)
		if err != nil {
			return false
		}
		_ = client.Close()
		return true
	})
	return w
}

// administrate sets the administrator up and makes the topics.
func (w *world) administrate(t *testing.T) {
	t.Helper()
	w.adminCfg = kafka.ClientConfig{
		Brokers: listener(t, "KAFKA_TEST_ACL_ADMIN_BROKERS"), Logger: discard(), ConnectTimeout: accessPatience,
	}
	makeTopics(t, w.adminCfg, topics.New(w.topic, 1), topics.New(w.dlq, 1))
	client, err := kgo.NewClient(kgo.SeedBrokers(w.adminCfg.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	w.admin = kadm.NewClient(client)
	t.Cleanup(func() {
		_, _ = w.admin.DeleteACLs(context.Background(), kadm.NewACLs().AnyResource().Operations(kadm.OpAny).
			ResourcePatternType(kadm.ACLPatternAny).Allow(w.principal).AllowHosts())
		w.admin.Close()
	})
}

// permission is one operation on one topic or group.
type permission struct {
	topic, group string
	operation    kadm.ACLOperation
}

func (w *world) readTopic() permission  { return permission{topic: w.topic, operation: kadm.OpRead} }
func (w *world) writeTopic() permission { return permission{topic: w.topic, operation: kadm.OpWrite} }
func (w *world) describeTopic() permission {
	return permission{topic: w.topic, operation: kadm.OpDescribe}
}
func (w *world) readGroup() permission   { return permission{group: w.name, operation: kadm.OpRead} }
func (w *world) writeDLQ() permission    { return permission{topic: w.dlq, operation: kadm.OpWrite} }
func (w *world) describeDLQ() permission { return permission{topic: w.dlq, operation: kadm.OpDescribe} }

// consumes is the least that a consumer needs.
func (w *world) consumes() []permission {
	return []permission{w.readTopic(), w.readGroup(), w.writeDLQ()}
}

func (w *world) acl(p permission) *kadm.ACLBuilder {
	acl := kadm.NewACLs().Allow(w.principal).AllowHosts("*").Operations(p.operation).ResourcePatternType(kadm.ACLPatternLiteral)
	if p.group != "" {
		return acl.Groups(p.group)
	}
	return acl.Topics(p.topic)
}

// grant returns once the broker has heard of the permissions.
func (w *world) grant(t *testing.T, permissions ...permission) {
	t.Helper()
	for _, p := range permissions {
		results, err := w.admin.CreateACLs(t.Context(), w.acl(p))
		for _, result := range results {
			err = errors.Join(err, result.Err)
		}
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the broker knows the permission", func() bool { return w.granted(t, p) })
	}
}

// withdraw returns once the broker has heard of it.
func (w *world) withdraw(t *testing.T, permissions ...permission) {
	t.Helper()
	for _, p := range permissions {
		results, err := w.admin.DeleteACLs(t.Context(), w.acl(p))
		for _, result := range results {
			err = errors.Join(err, result.Err)
		}
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the broker has forgotten the permission", func() bool { return !w.granted(t, p) })
	}
}

// granted asks the broker, which hears of changes after they are acknowledged.
func (w *world) granted(t *testing.T, p permission) bool {
	t.Helper()
	results, err := w.admin.DescribeACLs(t.Context(), w.acl(p))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(results, func(r kadm.DescribeACLsResult) bool { return len(r.Described) > 0 })
}

// publish publishes as the administrator.
func (w *world) publish(t *testing.T, ids ...string) {
	t.Helper()
	producer, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: w.adminCfg, Topic: w.topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for _, id := range ids {
		if err := producer.Publish(t.Context(), kafka.Message[booking]{Key: id, Value: booking{ID: id}}); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) committed(t *testing.T) int64 {
	t.Helper()
	offsets, err := w.admin.FetchOffsetsForTopics(t.Context(), w.name, w.topic)
	if err != nil {
		t.Fatal(err)
	}
	offset, _ := offsets.Lookup(w.topic, 0)
	return offset.At // -1: none
}

func (w *world) stored(t *testing.T, topic string) int64 {
	t.Helper()
	ends, err := w.admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	return end.Offset
}

// consumerConfig is the user's, with short waits, but for how long a running consumer puts up with being refused: no test
// waits for that unless it says so.
func (w *world) consumerConfig() kafka.ConsumerConfig {
	cfg := kafka.NewConsumerConfig(w.topic, w.name)
	cfg.ClientConfig = w.cfg
	cfg.RetryBackoff, cfg.RetryBackoffMax = 10*time.Millisecond, 100*time.Millisecond
	cfg.CommitInterval = 100 * time.Millisecond
	cfg.SessionTimeout, cfg.DrainTimeout = 6*time.Second, 2*time.Second // who may not read a group can't leave it either
	cfg.AuthFailureTimeout = time.Hour
	return cfg
}

// unauthorized wants an error about a permission, and about the resource that it names.
func unauthorized(t *testing.T, what string, err error, resource string) {
	t.Helper()
	t.Logf("%s: %v", what, err)
	if !errors.Is(err, kafka.ErrAuthorization) {
		t.Errorf("%s returned %v, want ErrAuthorization", what, err)
		return
	}
	if errors.Is(err, kafka.ErrAuthentication) || errors.Is(err, kafka.ErrTopicMissing) {
		t.Errorf("%s returned %v: an error of another kind, too", what, err)
	}
	if !strings.Contains(err.Error(), resource) {
		t.Errorf("%s returned %v, which does not name %s", what, err, resource)
	}
}

// eventually polls for what no channel tells.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(accessPatience)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// await waits for a channel.
func await[T any](t *testing.T, what string, ch <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-ch:
	case <-time.After(accessPatience):
		t.Fatalf("never: %s", what)
	}
	return value
}

// received is a handler that passes on the ids of what it is given.
func received() (kafka.Handler[booking], <-chan string) {
	ids := make(chan string, 100)
	return func(_ context.Context, msg kafka.Message[booking]) error {
		ids <- msg.Value.ID
		return nil
	}, ids
}

func poison(context.Context, kafka.Message[booking]) error {
	return kafka.NewPermanentError("never", nil)
}

// logLines keeps what the library logs.
type logLines struct {
	mu    sync.Mutex
	lines []logLine
}

type logLine struct {
	level slog.Level
	attrs map[string]any
}

func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }
func (l *logLines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logLines) WithGroup(string) slog.Handler            { return l }
func (l *logLines) Handle(_ context.Context, r slog.Record) error {
	line := logLine{r.Level, map[string]any{}}
	r.Attrs(func(a slog.Attr) bool {
		line.attrs[a.Key] = a.Value.Any()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

// about counts the warnings and errors with such an error that have all these attributes.
func (l *logLines) about(cause error, attrs ...slog.Attr) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		err, _ := line.attrs["error"].(error)
		lacks := slices.ContainsFunc(attrs, func(a slog.Attr) bool { return line.attrs[a.Key] != a.Value.Any() })
		if line.level >= slog.LevelWarn && errors.Is(err, cause) && !lacks {
			n++
		}
	}
	return n
}

// name tells whether the error of a warning or an error names a resource.
func (l *logLines) name(resource string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.lines, func(line logLine) bool {
		err, _ := line.attrs["error"].(error)
		return line.level >= slog.LevelWarn && errors.Is(err, kafka.ErrAuthorization) && strings.Contains(err.Error(), resource)
	})
}

// TestTheLeastPermissionsSuffice is what the documentation can tell operators to grant.
func TestTheLeastPermissionsSuffice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(t, w.writeTopic())
	producer, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: w.cfg, Topic: w.topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for _, id := range []string{"bad", "good"} {
		if err := producer.Publish(t.Context(), kafka.Message[booking]{Value: booking{ID: id}}); err != nil {
			t.Fatal(err)
		}
	}
	w.withdraw(t, w.writeTopic()) // it is not the consumer's
	w.grant(t, w.consumes()...)
	handled := make(chan string, 10)
	consumer := startConsumer(t, w.consumerConfig(), func(_ context.Context, msg kafka.Message[booking]) error {
		if msg.Value.ID == "bad" {
			return kafka.NewPermanentError("bad", nil)
		}
		handled <- msg.Value.ID
		return nil
	})
	await(t, "the good message is handled", handled)
	consumer.cancel()
	if err := consumer.wait(t); err != nil {
		t.Errorf("Start: %v", err)
	}
	if at, letters := w.committed(t), w.stored(t, w.dlq); at != 2 || letters != 1 {
		t.Errorf("committed %d with %d dead letters, want 2 with 1", at, letters)
	}
}

// TestAProducerThatMayNotWriteSaysSo: nothing is stored, and the same producer goes on once it may.
func TestAProducerThatMayNotWriteSaysSo(t *testing.T) {
	t.Parallel()
	t.Run("no permission at all", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		_, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: w.cfg, Topic: w.topic})
		unauthorized(t, "NewProducer", err, w.topic)
	})
	t.Run("no permission for the dead letter topic", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.grant(t, w.writeTopic())
		_, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: w.cfg, Topic: w.topic, DLQTopic: w.dlq})
		unauthorized(t, "NewProducer", err, w.dlq)
	})
	t.Run("DESCRIBE but no WRITE", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.grant(t, w.describeTopic())
		_, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: w.cfg, Topic: w.topic})
		unauthorized(t, "NewProducer", err, w.topic)
	})
	for _, before := range []struct {
		name   string
		stored int64 // before the permission is withdrawn
	}{{"before its first message", 0}, {"after its first message", 1}} {
		t.Run("WRITE withdrawn "+before.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grant(t, w.describeTopic(), w.writeTopic())
			producer, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: w.cfg, Topic: w.topic})
			if err != nil {
				t.Fatal(err)
			}
			defer producer.Close()
			for range before.stored {
				if err := producer.Publish(t.Context(), kafka.Message[booking]{Value: booking{ID: "b"}}); err != nil {
					t.Fatal(err)
				}
			}
			w.withdraw(t, w.writeTopic())
			for range 2 {
				err := producer.Publish(t.Context(), kafka.Message[booking]{Value: booking{ID: "refused"}})
				unauthorized(t, "Publish", err, w.topic)
				if _, ok := errors.AsType[*kafka.PublishError](err); !ok {
					t.Errorf("Publish returned a %T, want a PublishError", err)
				}
			}
			if n := w.stored(t, w.topic); n != before.stored {
				t.Errorf("%d messages are stored, want %d", n, before.stored)
			}
			w.grant(t, w.writeTopic())
			if err := producer.Publish(t.Context(), kafka.Message[booking]{Value: booking{ID: "b"}}); err != nil {
				t.Errorf("Publish with the permission granted back: %v", err)
			}
		})
	}
}

// TestAConsumerThatMayNotConsumeSaysSo: Start does not wait for AuthFailureTimeout, and names the topic or the group.
func TestAConsumerThatMayNotConsumeSaysSo(t *testing.T) {
	t.Parallel()
	for _, missing := range []struct {
		name     string
		granted  func(*world) []permission
		resource func(*world) string
	}{
		{
			"no permission for the topic",
			func(w *world) []permission { return []permission{w.readGroup(), w.writeDLQ()} },
			func(w *world) string { return "topic " + w.topic },
		}, {
			"no permission for the dead letter topic",
			func(w *world) []permission { return []permission{w.readTopic(), w.readGroup()} },
			func(w *world) string { return "topic " + w.dlq },
		}, {
			"no permission for the group",
			func(w *world) []permission { return []permission{w.readTopic(), w.writeDLQ()} },
			func(w *world) string { return "group " + w.name },
		}, {
			"DESCRIBE but no READ for the topic",
			func(w *world) []permission { return []permission{w.describeTopic(), w.readGroup(), w.writeDLQ()} },
			func(w *world) string { return w.topic },
		}, {
			"DESCRIBE but no WRITE for the dead letter topic",
			func(w *world) []permission { return []permission{w.readTopic(), w.readGroup(), w.describeDLQ()} },
			func(w *world) string { return w.dlq },
		},
	} {
		t.Run(missing.name, func(t *testing.T) {
			t.Parallel()
			for _, protocol := range []string{"classic", "consumer"} {
				w := newWorld(t)
				w.publish(t, "b-1")
				w.grant(t, missing.granted(w)...)
				cfg := w.consumerConfig()
				cfg.GroupProtocol = kafka.GroupProtocol(protocol)
				handle, handled := received()
				began := time.Now()
				unauthorized(t, "Start", startConsumer(t, cfg, handle).wait(t), missing.resource(w))
				t.Logf("with protocol %s after %v", protocol, time.Since(began).Round(time.Millisecond))
				if len(handled) > 0 {
					t.Errorf("%d messages were handled", len(handled))
				}
			}
		})
	}
}

// TestReadWithdrawnForLongEndsStart: and what was published meanwhile waits for the next consumer.
func TestReadWithdrawnForLongEndsStart(t *testing.T) {
	t.Parallel()
	for _, withdrawn := range []struct {
		name       string
		permission func(*world) permission
	}{{"topic", (*world).readTopic}, {"group", (*world).readGroup}} {
		t.Run(withdrawn.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grant(t, w.consumes()...)
			w.grant(t, w.describeTopic())
			cfg := w.consumerConfig()
			cfg.AuthFailureTimeout = 2 * time.Second
			handle, handled := received()
			consumer := startConsumer(t, cfg, handle)
			w.publish(t, "first")
			await(t, "the first message is handled", handled)
			eventually(t, "it is committed", func() bool { return w.committed(t) == 1 })

			w.withdraw(t, withdrawn.permission(w))
			began := time.Now()
			unauthorized(t, "Start", consumer.wait(t), w.topic) // which is the group's name, too
			t.Logf("ended %v after the permission", time.Since(began).Round(time.Millisecond))
			w.publish(t, "second")

			w.grant(t, withdrawn.permission(w))
			handle, handled = received()
			startConsumer(t, w.consumerConfig(), handle)
			for await(t, "the second message is handled", handled) != "second" { // the first may come again
			}
			eventually(t, "it is committed", func() bool { return w.committed(t) == 2 })
		})
	}
}

// TestReadWithdrawnForAMomentEndsNothing: the running consumer goes on, and nothing is lost.
func TestReadWithdrawnForAMomentEndsNothing(t *testing.T) {
	t.Parallel()
	for _, withdrawn := range []struct {
		name       string
		permission func(*world) permission
	}{{"topic", (*world).readTopic}, {"group", (*world).readGroup}} {
		t.Run(withdrawn.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grant(t, w.consumes()...)
			w.grant(t, w.describeTopic())
			cfg, lines := w.consumerConfig(), &logLines{}
			cfg.Logger = slog.New(lines)
			handle, handled := received()
			consumer := startConsumer(t, cfg, handle)
			w.publish(t, "first")
			await(t, "the first message is handled", handled)

			w.withdraw(t, withdrawn.permission(w))
			w.publish(t, "second")
			eventually(t, "the consumer logs that it is refused", func() bool { return lines.about(kafka.ErrAuthorization) > 0 })
			w.grant(t, withdrawn.permission(w))
			for await(t, "the second message is handled", handled) != "second" { // the first may come again
			}
			eventually(t, "it is committed", func() bool { return w.committed(t) == 2 })
			if !lines.name(w.topic) {
				t.Error("no warning or error names what is refused")
			}
			consumer.cancel()
			if err := consumer.wait(t); err != nil {
				t.Errorf("Start: %v", err)
			}
		})
	}
}

// TestADeadLetterThatMayNotBeWrittenWaits: its record stays uncommitted, its verdict is kept, and it is written once it
// may be. The handler does not run again.
func TestADeadLetterThatMayNotBeWrittenWaits(t *testing.T) {
	t.Parallel()
	for _, before := range []struct {
		name    string
		letters int // written before the permission is withdrawn
	}{{"as the first", 0}, {"as the second", 1}} {
		t.Run(before.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.grant(t, w.consumes()...)
			w.grant(t, w.describeDLQ())
			cfg, lines := w.consumerConfig(), &logLines{}
			cfg.Logger = slog.New(lines)
			var calls atomic.Int64
			consumer := startConsumer(t, cfg, func(ctx context.Context, msg kafka.Message[booking]) error {
				calls.Add(1)
				return poison(ctx, msg)
			})
			for range before.letters {
				w.publish(t, "letter")
			}
			done := int64(before.letters)
			consumer.awaitPartitions(t)
			eventually(t, "what comes before is committed", func() bool { return done == 0 || w.committed(t) == done })

			w.withdraw(t, w.writeDLQ())
			w.publish(t, "refused", "behind it")
			eventually(t, "the write is tried again and again", func() bool {
				return lines.about(kafka.ErrAuthorization, slog.String("dlq_topic", w.dlq)) >= 3
			})
			if at := w.committed(t); at > done {
				t.Errorf("committed %d, want no more than %d: the record is nowhere else", at, done)
			}
			if n := w.stored(t, w.dlq); n != done {
				t.Errorf("%d letters, want %d", n, done)
			}
			if n := calls.Load(); n != done+1 {
				t.Errorf("the handler ran %d times, want %d: the partition waits", n, done+1)
			}

			w.grant(t, w.writeDLQ())
			eventually(t, "both are committed", func() bool { return w.committed(t) == done+2 })
			if n := w.stored(t, w.dlq); n != done+2 {
				t.Errorf("%d letters, want %d", n, done+2)
			}
			if n := calls.Load(); n != done+2 {
				t.Errorf("the handler ran %d times, want once for each of %d records", n, done+2)
			}
			consumer.cancel()
			if err := consumer.wait(t); err != nil {
				t.Errorf("Start: %v", err)
			}
		})
	}
}

// TestTheClientCertificateIsTheUser needs a listener that requires one.
func TestTheClientCertificateIsTheUser(t *testing.T) {
	t.Parallel()
	certs := setting(t, "KAFKA_TEST_ACL_CERTS")
	w := &world{name: "permissions-" + uuid.NewString(), principal: "User:CN=client"}
	w.topic, w.dlq = w.name, "dlq-"+w.name
	w.cfg = kafka.ClientConfig{
		Brokers: listener(t, "KAFKA_TEST_ACL_TLS_BROKERS"), Logger: discard(), ConnectTimeout: accessPatience, TLS: kafka.TLSConfig{CAFile: filepath.Join(certs, "ca.pem")},
	}
	w.administrate(t)
	refuse(t, w.cfg, kafka.ErrAuthentication, "client certificate")

	w.cfg.TLS.CertFile, w.cfg.TLS.KeyFile = filepath.Join(certs, "client.pem"), filepath.Join(certs, "client-key.pem")
	_, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: w.cfg, Topic: w.topic})
	unauthorized(t, "NewProducer", err, w.topic)
	w.grant(t, w.writeTopic())
	producer, err := kafka.NewProducer[booking](kafka.ProducerConfig{ClientConfig: w.cfg, Topic: w.topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.Publish(t.Context(), kafka.Message[booking]{Value: booking{ID: "b-1"}}); err != nil {
		t.Error(err)
	}
}
