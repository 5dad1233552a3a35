package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
)

func silent() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// service is a consumer and a producer that share a registry, on an in-process broker.
type service struct {
	registry *prometheus.Registry
	broker   string
	options  []middleware.MetricsOption
	producer *kafka.Producer[int]
}

func newService(t *testing.T, options ...middleware.MetricsOption) *service {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders", "dlq-orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	s := &service{registry: prometheus.NewPedanticRegistry(), broker: cluster.ListenAddrs()[0]}
	s.options = append([]middleware.MetricsOption{middleware.WithRegisterer(s.registry)}, options...)
	cfg := kafka.NewProducerConfig("orders", s.broker)
	cfg.Logger = silent()
	s.producer, err = kafka.NewProducer[int](cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.producer.Close() })
	s.producer.Use(middleware.MetricsProducerMiddleware(s.options...))
	return s
}

// consume runs a consumer until stop is called.
func (s *service) consume(t *testing.T, handle kafka.Handler[int], change func(*kafka.ConsumerConfig)) (stop func()) {
	t.Helper()
	cfg := kafka.NewConsumerConfig("orders", "billing", s.broker)
	cfg.Logger, cfg.RetryBackoff = silent(), time.Nanosecond
	if change != nil {
		change(&cfg)
	}
	consumer, err := kafka.NewConsumer(cfg, handle)
	if err != nil {
		t.Fatal(err)
	}
	consumer.Use(middleware.MetricsConsumerMiddleware(s.options...))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-ended
		_ = consumer.Close()
	}
	t.Cleanup(stop)
	return stop
}

func (s *service) publish(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if err := s.producer.Publish(t.Context(), kafka.NewMessage[int]().WithKey("MARK-key").WithHeader("MARK-name", "MARK-value").WithValue(i).Build()); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *service) gather(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*dto.MetricFamily{}
	for _, family := range families {
		all[family.GetName()] = family
	}
	return all
}

// everything makes the service do all that is measured, and returns what is scraped while it runs.
func (s *service) everything(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	s.publish(t, 20)
	stalled, letters := make(chan struct{}), make(chan struct{})
	s.consume(t, func(ctx context.Context, msg kafka.Message[int]) error {
		switch {
		case msg.Value == 3 && msg.Attempt < 3:
			return errors.New("MARK-error")
		case msg.Value == 4:
			return kafka.NewPermanentError("MARK-error", nil)
		case msg.Value == 5:
			return kafka.NewBusinessError("MARK-error", nil)
		case msg.Value == 19:
			close(letters)
			<-ctx.Done()
			<-stalled
		}
		return nil
	}, func(cfg *kafka.ConsumerConfig) {
		cfg.StallTimeout, cfg.DrainTimeout, cfg.CommitInterval = 20*time.Millisecond, time.Millisecond, 100*time.Millisecond
	})
	t.Cleanup(func() { close(stalled) }) // before the consumer's
	<-letters
	for {
		all := s.gather(t)
		if all["messaging_kafka_consumer_stalled_offset"] != nil && all["messaging_kafka_consumer_lag_records"] != nil &&
			all["messaging_kafka_consumer_commits_total"].Metric[0].Counter.GetValue() > 0 {
			return all
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// kprom's own names, which are not ours to change.
var kpromNames = map[string]bool{"kafka_client_buffered_fetch_records_total": true, "kafka_client_buffered_produce_records_total": true}

func TestMetricsPassTheLinter(t *testing.T) {
	t.Parallel()
	s := newService(t)
	families := slices.Collect(maps.Values(s.everything(t)))
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		if !kpromNames[problem.Metric] {
			t.Errorf("%s: %s", problem.Metric, problem.Text)
		}
	}
	if len(families) < 30 {
		t.Errorf("only %d families were looked at", len(families))
	}
}

// A key or an offset as a label would make a series for each record.
func TestLabelsAreFewAndHoldNoPayload(t *testing.T) {
	t.Parallel()
	s := newService(t)
	allowed := map[string]bool{
		"messaging_system": true, "messaging_operation_name": true, "messaging_operation_type": true,
		"messaging_destination_name": true, "messaging_destination_partition_id": true, "messaging_consumer_group_name": true,
		"error_type": true, "outcome": true, "reason": true, "event": true,
		"client_id": true, "client": true, "node_id": true, "topic": true, // kprom's
	}
	for name, family := range s.everything(t) {
		for _, metric := range family.Metric {
			for _, label := range metric.Label {
				if !allowed[label.GetName()] || strings.Contains(label.String(), "MARK") {
					t.Errorf("%s has the label %v", name, label)
				}
			}
		}
	}
}

// onlyInTrouble are there once it happens; TestMetricsTellWhatHappened has seen the first.
var onlyInTrouble = map[string]bool{
	"messaging_kafka_consumer_dead_letter_failures_total": true,
	"kafka_client_connect_errors_total":                   true,
	"kafka_client_disconnects_total":                      true,
	"kafka_client_read_errors_total":                      true,
	"kafka_client_write_errors_total":                     true,
	"kafka_client_request_throttled_seconds":              true,
}

// docs/metrics.md is what operators read: it has every name, each with its labels, and no other.
func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (\\w+) \\| ([^|]*) \\|").FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = row[2] + " " + strings.TrimSpace(row[3])
	}
	short := strings.NewReplacer("messaging_destination_name", "topic", "messaging_consumer_group_name", "group", "messaging_destination_partition_id", "partition")
	all := newService(t).everything(t)
	for name, family := range all {
		labels := map[string]bool{}
		for _, metric := range family.Metric {
			for _, label := range metric.Label {
				labels[short.Replace(label.GetName())] = true
			}
		}
		for constant := range strings.FieldsSeq("messaging_system messaging_operation_name messaging_operation_type") {
			delete(labels, constant)
		}
		want := strings.ToLower(family.GetType().String()) + " " + strings.Join(slices.Sorted(maps.Keys(labels)), ", ")
		if documented[name] != want {
			t.Errorf("docs/metrics.md says of %s %q, want %q", name, documented[name], want)
		}
		delete(documented, name)
	}
	for name := range documented {
		if !onlyInTrouble[name] {
			t.Errorf("docs/metrics.md has %s, which no service has", name)
		}
	}
}

func TestMetricsCanBeUsedTwiceAndByMany(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.publish(t, 10)
	var stops []func()
	for range 2 { // two members of one group in one process
		stops = append(stops, s.consume(t, func(context.Context, kafka.Message[int]) error { return nil }, nil))
	}
	assigned := func() float64 {
		return value(s.gather(t)["messaging_kafka_consumer_assigned_partitions"])
	}
	clients := func() (names []string) {
		for _, metric := range s.gather(t)["kafka_client_buffered_fetch_records_total"].Metric {
			for _, label := range metric.Label {
				if label.GetName() == "client" {
					names = append(names, label.GetValue())
				}
			}
		}
		return names
	}
	want := []string{"consumer-0", "consumer-1", "producer-0", "producer-1", "producer-2"}
	for !slices.Equal(clients(), want) || assigned() != 2 { // of two partitions: the members' sum
		time.Sleep(5 * time.Millisecond)
	}
	for _, stop := range stops {
		stop()
	}
	if got, want := clients(), []string{"producer-0"}; !slices.Equal(got, want) { // the consumers' are gone
		t.Errorf("clients %v, want %v", got, want)
	}
	s.consume(t, func(context.Context, kafka.Message[int]) error { return nil }, nil) // names come back
	for assigned() != 2 {
		time.Sleep(5 * time.Millisecond)
	}
	if got, want := clients(), []string{"consumer-0", "producer-0", "producer-1"}; !slices.Equal(got, want) {
		t.Errorf("clients %v, want %v", got, want)
	}
}

// Producers on one client would count its bytes twice.
func TestASharedClientIsMeasuredOnce(t *testing.T) {
	t.Parallel()
	s := newService(t)
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: []string{s.broker}, Logger: silent()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for range 3 {
		producer, err := kafka.NewProducer[int](kafka.ProducerConfig{Client: client, Topic: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		producer.Use(middleware.MetricsProducerMiddleware(s.options...))
		if err := producer.Publish(t.Context(), kafka.Message[int]{}); err != nil {
			t.Fatal(err)
		}
	}
	all := s.gather(t)
	if n := len(all["kafka_client_buffered_produce_records_total"].Metric); n != 2 {
		t.Errorf("%d clients, want 2", n)
	}
	if n := value(all["messaging_client_sent_messages_total"]); n != 3 {
		t.Errorf("%v messages sent, want 3", n)
	}
}

func TestClientMetricsCanBeLeftOut(t *testing.T) {
	t.Parallel()
	s := newService(t, middleware.WithoutClientMetrics())
	for name := range s.everything(t) {
		if strings.HasPrefix(name, "kafka_client_") {
			t.Errorf("%s is there", name)
		}
	}
}

// Disabled, what only observes is inactive, and what acts stays.
func TestDisabledMiddlewareIsWhatObserves(t *testing.T) {
	t.Parallel()
	info, sending := kafka.ConsumerInfo{DisableMiddleware: true}, kafka.ProducerInfo{DisableMiddleware: true}
	registry := prometheus.NewPedanticRegistry()
	for name, plugin := range map[string]kafka.ConsumerPlugin{
		"logging": middleware.LoggingConsumerMiddleware(), "metrics": middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(registry)),
	} {
		if around, hooks := plugin.ForConsumer(info); around != nil || !reflect.ValueOf(hooks).IsZero() {
			t.Errorf("%s of a consumer is active", name)
		}
	}
	for name, plugin := range map[string]kafka.ProducerPlugin{
		"logging": middleware.LoggingProducerMiddleware(), "metrics": middleware.MetricsProducerMiddleware(middleware.WithRegisterer(registry)),
	} {
		if around, hooks := plugin.ForProducer(sending); around != nil || !reflect.ValueOf(hooks).IsZero() {
			t.Errorf("%s of a producer is active", name)
		}
	}
	for name, plugin := range map[string]kafka.ConsumerPlugin{
		"timeout": middleware.TimeoutConsumerMiddleware(time.Second), "recovery": middleware.RecoveryConsumerMiddleware(),
	} {
		if around, _ := plugin.ForConsumer(info); around == nil {
			t.Errorf("%s is inactive", name)
		}
	}
}

func TestDisabledMiddlewareRegistersNothing(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.registry = prometheus.NewPedanticRegistry()
	s.options = []middleware.MetricsOption{middleware.WithRegisterer(s.registry)}
	done := make(chan struct{}, 1)
	s.consume(t, func(context.Context, kafka.Message[int]) error {
		done <- struct{}{}
		return nil
	}, func(cfg *kafka.ConsumerConfig) { cfg.DisableMiddleware = true })
	s.publish(t, 1)
	<-done
	if all := s.gather(t); len(all) != 0 {
		t.Errorf("%d families are there", len(all))
	}
}

func TestANameThatOthersHoldIsSaid(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "messaging_kafka_consumer_retries_total"}))
	defer func() {
		if said := fmt.Sprint(recover()); !strings.Contains(said, "messaging_kafka_consumer_retries_total") {
			t.Errorf("it panicked with %q", said)
		}
	}()
	middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(registry)).ForConsumer(kafka.ConsumerInfo{})
}

// Where a prefix or labels are wrapped around the registry, it is the same registry.
func TestWrappedRegisterersWork(t *testing.T) {
	registry := prometheus.NewRegistry()
	for range 2 {
		wrapped := prometheus.WrapRegistererWith(prometheus.Labels{"service": "billing"}, registry)
		middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(wrapped)).ForConsumer(kafka.ConsumerInfo{
			Topic: "orders", Group: "billing", Health: func() kafka.Health { return kafka.Health{} },
		})
	}
	families, err := registry.Gather()
	if err != nil || len(families) == 0 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	for _, metric := range families[0].Metric {
		if !strings.Contains(metric.String(), "service") {
			t.Errorf("%v lacks the label", metric)
		}
	}
}

// A consumer that failed stays visible as not live until another takes its place.
func TestAFailedConsumerIsNotLive(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.publish(t, 1)
	fail := func(context.Context, kafka.Message[int]) error { return errors.New("no") }
	stop := s.consume(t, fail, func(cfg *kafka.ConsumerConfig) { cfg.DisableDeadLetters, cfg.MaxRetries = true, kafka.NoRetries })
	live := func() float64 {
		family := s.gather(t)["messaging_kafka_consumer_live"]
		if len(family.GetMetric()) != 1 {
			t.Fatalf("%d series, want 1", len(family.GetMetric()))
		}
		return value(family)
	}
	for live() != 0 {
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	if live() != 0 || value(s.gather(t)["messaging_kafka_consumer_ready"]) != 0 {
		t.Error("it is live again after Close")
	}
	s.consume(t, func(context.Context, kafka.Message[int]) error { return nil }, nil)
	for live() != 1 {
		time.Sleep(5 * time.Millisecond)
	}
}

func value(family *dto.MetricFamily) (sum float64) {
	for _, metric := range family.GetMetric() {
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	}
	return sum
}

// In steady state metrics cost time and no memory.
func TestMetricsAllocateNothingForARecord(t *testing.T) {
	options := middleware.WithRegisterer(prometheus.NewRegistry())
	around, hooks := middleware.MetricsConsumerMiddleware(options).ForConsumer(kafka.ConsumerInfo{
		Topic: "orders", Group: "billing", DLQTopic: "dlq-orders", Health: func() kafka.Health { return kafka.Health{} },
	})
	failing := errors.New("away")
	var outcome error
	handle := around(func(context.Context, *kafka.Record) error { return outcome })
	r := &kafka.Record{Record: &kgo.Record{Topic: "orders"}, Group: "billing", Attempt: 1}
	ctx := t.Context()
	for name, end := range map[string]kafka.Settlement{
		"handled": {Outcome: kafka.OutcomeHandled, Attempts: 1}, "retried": {Outcome: kafka.OutcomeHandled, Attempts: 2},
	} {
		if n := testing.AllocsPerRun(1000, func() {
			_ = handle(ctx, r)
			hooks.RecordSettled(ctx, r.Record, end)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	outcome = failing
	if n := testing.AllocsPerRun(1000, func() {
		_ = handle(ctx, r)
		hooks.RetryScheduled(ctx, r.Record, kafka.Retry{})
	}); n > 1 { // asking an error for its class
		t.Errorf("a failed attempt: %v allocations", n)
	}
	_, publishing := middleware.MetricsProducerMiddleware(options).ForProducer(kafka.ProducerInfo{Topic: "orders"})
	if n := testing.AllocsPerRun(1000, func() {
		publishing.Publishing(r)
		publishing.Published(r, time.Millisecond, nil)
	}); n != 0 {
		t.Errorf("publish: %v allocations", n)
	}
}

// hostileError panics when it is asked.
type hostileError struct{ error }

func (hostileError) Unwrap() error { panic("no") }

// Hooks run where nothing contains a panic.
func TestAnErrorThatPanicsIsCountedAsAPanic(t *testing.T) {
	registry := prometheus.NewRegistry()
	_, hooks := middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(registry)).ForConsumer(kafka.ConsumerInfo{
		Topic: "orders", Health: func() kafka.Health { return kafka.Health{} },
	})
	hooks.RecordSettled(t.Context(), &kgo.Record{Topic: "orders"}, kafka.Settlement{Outcome: kafka.OutcomeDeadLettered, Err: hostileError{}})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.Metric {
			if family.GetName() == "messaging_kafka_consumer_records_total" && strings.Contains(metric.String(), "panic") != (metric.Counter.GetValue() == 1) {
				t.Errorf("counted %v", metric)
			}
		}
	}
}

// stub is a consumer whose health is what the test says.
func stub(registry *prometheus.Registry, group string, more ...string) *kafka.Health {
	h := &kafka.Health{State: kafka.StateRunning}
	topics := append([]string{"orders"}, more...)
	middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(registry)).ForConsumer(kafka.ConsumerInfo{
		Topic: strings.Join(topics, ","), Topics: topics, Group: group, Health: func() kafka.Health { return *h },
	})
	return h
}

// A consumer of several topics that fails counts until one comes that reads some of them.
func TestGaugesOfConsumersOfSeveralTopics(t *testing.T) {
	s := &service{registry: prometheus.NewRegistry()}
	lives := func() (sum float64) {
		family := s.gather(t)["messaging_kafka_consumer_live"]
		for _, metric := range family.GetMetric() {
			sum += metric.GetGauge().GetValue()
		}
		return sum / float64(len(family.GetMetric()))
	}
	failed := stub(s.registry, "billing", "refunds")
	failed.Partitions = []kafka.PartitionHealth{{Topic: "orders", Lag: 1}, {Topic: "refunds", Lag: 2}}
	if lag := s.gather(t)["messaging_kafka_consumer_lag_records"].GetMetric(); len(lag) != 2 || lives() != 1 {
		t.Errorf("lags are %v, live %v; want one of each topic, live", lag, lives())
	}
	failed.State, failed.NotLive, failed.Partitions = kafka.StateEnded, "poison", nil
	if live := lives(); live != 0 {
		t.Errorf("live is %v after the failure", live)
	}
	stub(s.registry, "billing") // reads one of them
	if live := lives(); live != 1 {
		t.Errorf("live is %v once another one reads a topic", live)
	}
}

func TestGaugesOfSeveralConsumers(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := &service{registry: registry}
	want := func(gauge string, want float64) {
		t.Helper()
		family := s.gather(t)["messaging_kafka_consumer_"+gauge]
		if len(family.GetMetric()) != 1 || value(family) != want {
			t.Errorf("%s: %v, want one of %v", gauge, family.GetMetric(), want)
		}
	}
	first, second := stub(registry, "billing"), stub(registry, "billing")
	// One topic's name in two clusters: what is worse must show.
	first.Partitions = []kafka.PartitionHealth{{Lag: 1000, QueuedRecords: 5, LastProgress: time.Unix(100, 0), Offset: -1}}
	second.Partitions = []kafka.PartitionHealth{{Lag: 0, QueuedRecords: 1, LastProgress: time.Unix(200, 0), Offset: -1}}
	want("lag_records", 1000)
	want("queued_records", 6)
	want("last_progress_timestamp_seconds", 100)
	want("assigned_partitions", 2)
	// One fails beside another, which goes on, and then ends.
	first.State, first.NotLive, first.NotReady, first.Partitions = kafka.StateEnded, "poison", "ended", nil
	want("live", 0)
	want("lag_records", 0)
	second.State, second.NotReady, second.Partitions = kafka.StateEnded, "ended", nil
	want("live", 0)
	stub(registry, "billing") // takes its place
	want("live", 1)
	want("ready", 1)
}

func TestUseThatComesTooLateMeasuresNothing(t *testing.T) {
	t.Parallel()
	s := newService(t)
	cfg := kafka.NewProducerConfig("orders", s.broker)
	cfg.Logger = silent()
	for range 3 {
		producer, err := kafka.NewProducer[int](cfg)
		if err != nil {
			t.Fatal(err)
		}
		_ = producer.Close()
		producer.Use(middleware.MetricsProducerMiddleware(s.options...))
	}
	if n := len(s.gather(t)["kafka_client_buffered_produce_records_total"].Metric); n != 1 {
		t.Errorf("%d clients, want 1: the service's own", n)
	}
}
