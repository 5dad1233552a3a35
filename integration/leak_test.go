package integration

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
	"github.com/skeji/kafka/topics"
)

// The marks have characters that every encoding treats in its own way. Each is unlike anything else that is printed.
const (
	markedPassword = `p4ss/+&?=% "w0rd"-MARK`
	markedKey      = `k3y/+&?=% "MARK"`
	markedValue    = `v4lue/+&?=% "MARK"`
	markedHeader   = `h34der/+&?=% "MARK"`
)

// unescape takes out what quoting puts in, as often as it was done: an error in a quoted text in a log line of JSON.
func unescape(text string) string { return strings.ReplaceAll(text, `\`, "") }

// forms are the ways in which a mark could be printed, unescaped.
func forms(mark string) map[string]string {
	inJSON, _ := json.Marshal(mark)
	decimals := strings.Trim(fmt.Sprint([]byte(mark)), "[]")
	list := map[string]string{
		"as it is": mark, "as JSON": unescape(strings.Trim(string(inJSON), `"`)),
		"in hex": hex.EncodeToString([]byte(mark)), "in HEX": strings.ToUpper(hex.EncodeToString([]byte(mark))),
		"as bytes": decimals, "as a list of bytes": strings.ReplaceAll(decimals, " ", ","),
		"as a path": url.PathEscape(mark), "as a query": url.QueryEscape(mark),
	}
	for before := range 3 { // as part of a longer text, such as PLAIN's message
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := encoding.EncodeToString(append(make([]byte, before), mark...))
			list[fmt.Sprintf("in %s, %d bytes in", name, before)] = text[(before*8+5)/6 : len(text)-1] // what the neighbours don't change
		}
	}
	return list
}

// capture keeps everything that is logged or returned.
type capture struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.Write(p)
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// keep notes an error, which there must be, in every way that it could be printed.
func (c *capture) keep(t *testing.T, what string, err error, want error) {
	t.Helper()
	if want == nil && err == nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s returned %v, want an error (%v)", what, err, want)
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		fmt.Fprintf(c, "%v\n%+v\n%#v\n%q\n", cause, cause, cause, cause)
	}
	c.logger().Error(what, "error", err)
}

func (c *capture) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(-100), AddSource: true} // franz-go's debug lines are below Debug
	return slog.New(slog.NewMultiHandler(slog.NewJSONHandler(c, options), slog.NewTextHandler(c, options)))
}

// wantNone fails for each form of each mark that was captured.
func (c *capture) wantNone(t *testing.T, marks ...string) {
	t.Helper()
	text := unescape(c.String())
	for _, mark := range marks {
		for name, form := range forms(mark) {
			if at := strings.Index(text, form); at >= 0 {
				t.Errorf("%q is printed %s: …%s…", mark, name, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
}

func TestTheSearchForMarksFindsThem(t *testing.T) {
	mark := markedPassword
	inJSON, _ := json.Marshal(map[string]any{"a": []string{mark}})
	for _, text := range []string{
		mark, "x" + mark + "x", fmt.Sprintf("%q", mark), fmt.Sprintf("%q", fmt.Sprintf("a %q", mark)), string(inJSON), fmt.Sprintf("%x", mark), fmt.Sprintf("%X", mark),
		fmt.Sprint([]byte(mark)), url.QueryEscape("a=" + mark), "/" + url.PathEscape(mark),
		base64.StdEncoding.EncodeToString([]byte(mark)), base64.StdEncoding.EncodeToString([]byte("\x00app\x00" + mark)),
		base64.URLEncoding.EncodeToString([]byte("n" + mark + "nn")), base64.RawURLEncoding.EncodeToString([]byte("nn" + mark + "n")),
	} {
		found := false
		for _, form := range forms(mark) {
			found = found || strings.Contains(unescape(text), form)
		}
		if !found {
			t.Errorf("not found in %s", text)
		}
	}
}

// Promise 9: with every logger at its most talkative, no secret, no key, no value and no header is printed.
func TestSecretsAndPayloadsAreNowherePrinted(t *testing.T) {
	admin := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_PLAINTEXT_BROKERS"), Logger: discard(), ConnectTimeout: accessPatience}
	for _, way := range []struct {
		mechanism string
		overTLS   bool
	}{{"PLAIN", true}, {"SCRAM-SHA-256", false}, {"SCRAM-SHA-512", true}} {
		t.Run(fmt.Sprintf("%s, TLS %v", way.mechanism, way.overTLS), func(t *testing.T) {
			all := &capture{}
			before := slog.Default()
			slog.SetDefault(all.logger())
			defer slog.SetDefault(before)

			cfg := kafka.ClientConfig{
				Brokers: listener(t, "KAFKA_TEST_SASL_BROKERS"), Logger: all.logger(), ConnectTimeout: accessPatience,
			}
			if way.overTLS {
				cfg.Brokers, cfg.TLS = listener(t, "KAFKA_TEST_SASL_TLS_BROKERS"), trusted(t)
			}
			password := markedPassword
			if way.mechanism == "PLAIN" { // its users are in the brokers' config
				password = saslPassword
				cfg.SASL = credentials(way.mechanism, saslUser, password)
			} else {
				cfg.SASL = credentials(way.mechanism, newUser(t, admin, way.mechanism), password)
			}
			fmt.Fprintf(all, "%v %+v %#v %q\n", cfg, cfg, cfg, cfg)
			all.logger().Info("config", "config", cfg, "pointer", &cfg, "sasl", cfg.SASL)

			messages(t, cfg, all)
			refusals(t, cfg, all)

			for _, line := range []string{"SASLAuthenticate", "Produce", "Fetch", "dlq_topic=", "duration="} {
				if !strings.Contains(all.String(), line) {
					t.Errorf("nothing about %q is printed: the test proves nothing", line)
				}
			}
			all.wantNone(t, password, markedPassword, markedKey, markedValue, markedHeader)
			t.Logf("searched %d bytes", len(all.String()))
		})
	}
}

// newUser makes a user with the marked password.
func newUser(t *testing.T, admin kafka.ClientConfig, mechanism string) string {
	t.Helper()
	client, err := kafka.NewClient(admin)
	if err != nil {
		t.Fatal(err)
	}
	name, kind := "leak-"+uuid.NewString(), map[string]kadm.ScramMechanism{
		"SCRAM-SHA-256": kadm.ScramSha256, "SCRAM-SHA-512": kadm.ScramSha512,
	}[mechanism]
	made, err := kadm.NewClient(client.KGO()).AlterUserSCRAMs(t.Context(), nil,
		[]kadm.UpsertSCRAM{{User: name, Mechanism: kind, Iterations: 4096, Password: markedPassword}})
	if err := errors.Join(err, made.Error()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = kadm.NewClient(client.KGO()).AlterUserSCRAMs(context.Background(), []kadm.DeleteSCRAM{{User: name, Mechanism: kind}}, nil)
		_ = client.Close()
	})
	sasl := listener(t, "KAFKA_TEST_SASL_BROKERS")
	eventually(t, "the broker knows the user", func() bool {
		client, err := kafka.NewClient(kafka.ClientConfig{Brokers: sasl, ConnectTimeout: accessPatience, SASL: credentials(mechanism, name, markedPassword)})
		if err != nil {
			return false
		}
		_ = client.Close()
		return true
	})
	return name
}

// note is a value with a mark in it.
type note struct {
	Text string    `json:"text"`
	Do   string    `json:"do"`
	At   time.Time `json:"at,omitzero"` // whose errors repeat what they can't read
}

// tellingCodec repeats the value in its errors, as codecs do.
type tellingCodec struct {
	kafka.Codec[note]
	decodes *int // by the one worker of the one partition
}

func (c tellingCodec) Decode(data []byte, value *note) error {
	err := c.Codec.Decode(data, value)
	if err == nil {
		return nil
	}
	switch *c.decodes++; *c.decodes % 3 {
	case 0:
		return fmt.Errorf("can't decode %s: %w", data, err)
	case 1:
		return fmt.Errorf("can't decode %s", data)
	}
	return err
}

// messages publishes marked messages, and handles them with every outcome there is.
func messages(t *testing.T, cfg kafka.ClientConfig, all *capture) {
	t.Helper()
	topic := "leak-" + uuid.NewString()
	client, err := kafka.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	eventually(t, "the topics are made", func() bool {
		return topics.Ensure(t.Context(), client,
			topics.Topic{Name: topic, Partitions: 1, Config: map[string]string{"max.message.bytes": "20000"}},
			topics.Topic{Name: "dlq-" + topic, Partitions: 1}) == nil
	})
	t.Cleanup(func() { // with a client of its own: this one's log is searched
		admin, err := kafka.NewClient(kafka.ClientConfig{Brokers: cfg.Brokers, ConnectTimeout: accessPatience, TLS: cfg.TLS, SASL: credentials("PLAIN", saslUser, saslPassword)})
		if err == nil {
			_, _ = kadm.NewClient(admin.KGO()).DeleteTopics(context.Background(), topic, "dlq-"+topic)
			_ = admin.Close()
		}
	})
	producer, err := kafka.NewProducer[note](kafka.ProducerConfig{Client: client, Topic: topic, DLQTopic: "dlq-" + topic})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	metrics := middleware.WithRegisterer(registry)
	producer.Use(middleware.LoggingProducerMiddleware(), middleware.MetricsProducerMiddleware(metrics))
	message := func(do string) kafka.Message[note] {
		return kafka.NewMessage[note]().WithKey(markedKey).WithValue(note{Text: markedValue, Do: do}).WithHeader("marked", markedHeader).Build()
	}
	outcomes := []string{"", "transient", "permanent", "business", "panic", "unclassified"}
	for _, do := range outcomes {
		if err := producer.Publish(t.Context(), message(do)); err != nil {
			t.Fatal(err)
		}
	}
	large := message("")
	large.Value.Text = strings.Repeat(markedValue, 2000)
	all.keep(t, "Publish, too large", producer.Publish(t.Context(), large), nil)
	all.keep(t, "Publish, tombstone without key", producer.Publish(t.Context(), kafka.Message[note]{Tombstone: true, Value: note{Text: markedValue}}), nil)
	ended, end := context.WithCancel(t.Context())
	end()
	all.keep(t, "Publish, ended context", producer.Publish(ended, message("")), context.Canceled)
	inJSON, _ := json.Marshal(markedValue)
	var undecodable []string
	for _, value := range []string{markedValue, `{"text":` + string(inJSON), `{"text":{"a":` + string(inJSON) + `}}`, `{"at":` + string(inJSON) + `}`} {
		undecodable = append(undecodable, value, value, value) // one for each way in which the codec tells
	}
	for _, value := range undecodable {
		record := &kgo.Record{Topic: topic, Key: []byte(markedKey), Value: []byte(value), Headers: []kgo.RecordHeader{{Key: "marked", Value: []byte(markedHeader)}}}
		if err := client.KGO().ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Close(); err != nil {
		t.Error(err)
	}
	all.keep(t, "Publish after Close", producer.Publish(t.Context(), message("")), kafka.ErrClosed)

	consumerCfg := kafka.NewConsumerConfig(topic, topic)
	consumerCfg.ClientConfig = cfg
	consumerCfg.RetryBackoff, consumerCfg.RetryBackoffMax = time.Millisecond, 10*time.Millisecond
	consumerCfg.CommitInterval = 100 * time.Millisecond
	consumerCfg.StallTimeout = 50 * time.Millisecond
	fmt.Fprintf(all, "%v %+v %#v\n", consumerCfg, consumerCfg, consumerCfg)
	consumer, err := kafka.NewConsumerWithCodec(consumerCfg, tellingCodec{kafka.JSON[note](), new(int)}, func(ctx context.Context, msg kafka.Message[note]) error {
		middleware.Logger(ctx).Info("the handler's own line")
		switch msg.Value.Do {
		case "":
			time.Sleep(2 * consumerCfg.StallTimeout)
		case "transient":
			return kafka.NewTransientError("try", errors.New("down"))
		case "permanent":
			return kafka.NewPermanentError("try", errors.New("never"))
		case "business":
			return kafka.NewBusinessError("declined", nil)
		case "panic":
			var values []string
			_ = values[len(msg.Value.Text)]
		case "unclassified":
			return errors.New("some error")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	consumer.Use(middleware.LoggingConsumerMiddleware(middleware.WithSampling(0, 0, 0)), middleware.MetricsConsumerMiddleware(metrics),
		middleware.RecoveryConsumerMiddleware(), middleware.TimeoutConsumerMiddleware(time.Minute))
	probes := kafka.HealthDetails(consumer)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- consumer.Start(ctx) }() // ends with cancel
	defer consumer.Close()
	admin := kadm.NewClient(client.KGO())
	eventually(t, "everything is committed", func() bool {
		offsets, err := admin.FetchOffsetsForTopics(t.Context(), topic, topic)
		offset, _ := offsets.Lookup(topic, 0) // the first group of a cluster waits for its coordinator
		return err == nil && offset.At == int64(len(outcomes)+len(undecodable))
	})
	answer := httptest.NewRecorder()
	probes.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	families, err := registry.Gather()
	if err != nil {
		t.Error(err)
	}
	fmt.Fprintln(all, answer.Body, families)
	cancel()
	if err := await(t, "Start returns", result); err != nil {
		t.Errorf("Start: %v", err)
	}
	for _, want := range []string{"the handler's own line", "running=", "component=franz-go", "key_hash", "messaging_kafka_consumer_records_total", "last_progress"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("the search proves nothing: %q was not printed", want)
		}
	}

	// Dead letters hold key, value and headers, and what the library adds holds neither.
	letters, err := kgo.NewClient(kgo.SeedBrokers(listener(t, "KAFKA_TEST_PLAINTEXT_BROKERS")...), kgo.ConsumeTopics("dlq-"+topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer letters.Close()
	reading, stop := context.WithTimeout(t.Context(), accessPatience)
	defer stop()
	for n, want := 0, 1+4+len(undecodable); n < want; { // 1 was too large, 4 failed
		fetches := letters.PollFetches(reading)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d letters, want %d: %v", n, want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			for _, header := range r.Headers {
				if strings.HasPrefix(header.Key, "__dlq.") {
					fmt.Fprintf(all, "letter's %s: %s\n", header.Key, header.Value)
				}
			}
		})
	}
}

// refusals meets every closed door with the marked password in hand.
func refusals(t *testing.T, cfg kafka.ClientConfig, all *capture) {
	t.Helper()
	bad := cfg
	bad.SASL.Password = kafka.NewSecret(markedPassword)
	bad.SASL.Username = "nobody"
	elsewhere := bad
	elsewhere.Brokers = listener(t, "KAFKA_TEST_PLAINTEXT_BROKERS")
	elsewhere.TLS = kafka.TLSConfig{}
	silent := bad
	silent.Brokers, silent.ConnectTimeout = []string{listen(t).Addr().String()}, 100*time.Millisecond
	distrustful := bad
	distrustful.Brokers, distrustful.TLS = listener(t, "KAFKA_TEST_SASL_TLS_BROKERS"), kafka.TLSConfig{CAFile: newAuthority(t).file}
	invalid := bad
	invalid.Compression, invalid.SASL.Mechanism = "?", "?"
	for _, door := range []struct {
		what string
		cfg  kafka.ClientConfig
		want error
	}{
		{"wrong credentials", bad, kafka.ErrAuthentication}, {"no SASL there", elsewhere, kafka.ErrAuthentication},
		{"no answer", silent, kafka.ErrUnreachable}, {"another authority", distrustful, kafka.ErrUnreachable}, {"invalid", invalid, nil},
	} {
		for _, constructor := range constructors {
			_, err := constructor.open(door.cfg)
			all.keep(t, constructor.name+", "+door.what, err, door.want)
		}
	}
}

// TestDeletedUsersEndStart is the watchdog on real brokers, and what it prints: they keep connections that were made with
// good credentials, so these are cut.
func TestDeletedUsersEndStart(t *testing.T) {
	t.Parallel()
	admin := kafka.ClientConfig{Brokers: listener(t, "KAFKA_TEST_PLAINTEXT_BROKERS"), Logger: discard(), ConnectTimeout: accessPatience}
	all := &capture{}
	var mu sync.Mutex
	var connections []net.Conn
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			connections = append(connections, conn)
		}
		return conn, err
	}
	user := newUser(t, admin, "SCRAM-SHA-512")
	topic := "leak-" + uuid.NewString()
	makeTopic(t, admin, topic)
	cfg := kafka.NewConsumerConfig(topic, topic)
	cfg.ClientConfig = kafka.ClientConfig{
		Brokers: listener(t, "KAFKA_TEST_SASL_BROKERS"), SASL: credentials("SCRAM-SHA-512", user, markedPassword),
		Logger: all.logger(), ConnectTimeout: accessPatience,
		Options: []kgo.Opt{kgo.WithLogger(kgo.BasicLogger(all, kgo.LogLevelDebug, nil)), kgo.Dialer(dial)},
	}
	cfg.AuthFailureTimeout = 2 * time.Second
	consumer := startConsumer(t, cfg, func(context.Context, kafka.Message[booking]) error { return nil })
	consumer.awaitPartitions(t)

	client, err := kafka.NewClient(admin)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client.KGO()).AlterUserSCRAMs(t.Context(), []kadm.DeleteSCRAM{{User: user, Mechanism: kadm.ScramSha512}}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broker forgets the user", func() bool {
		client, err := kafka.NewClient(kafka.ClientConfig{Brokers: cfg.Brokers, ConnectTimeout: accessPatience, SASL: cfg.SASL, Logger: discard()})
		if err == nil {
			_ = client.Close()
		}
		return errors.Is(err, kafka.ErrAuthentication)
	})
	mu.Lock()
	for _, conn := range connections {
		_ = conn.Close()
	}
	mu.Unlock()
	all.keep(t, "Start", consumer.wait(t), kafka.ErrAuthentication)
	all.wantNone(t, markedPassword)
}
