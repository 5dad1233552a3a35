package conformance

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
)

// RunWithAllMiddleware runs the tests with all middleware on, Consuming and Producing too, and then compares what the metrics
// say with what happened: at the handlers, at the hooks, and at the brokers.
func (s Suite) RunWithAllMiddleware(t *testing.T) {
	registry := prometheus.NewRegistry()
	s.truth = &truth{
		topics: map[string]*topicTruth{}, handlers: map[membership]*handlerTruth{}, seeds: map[string]bool{},
	}
	logger := middleware.WithLogger(slog.New(slog.DiscardHandler))
	metrics := middleware.WithRegisterer(registry)
	s.Consuming = append([]kafka.ConsumerPlugin{
		middleware.LoggingConsumerMiddleware(logger), middleware.MetricsConsumerMiddleware(metrics),
		middleware.MetricsConsumerMiddleware(middleware.WithRegisterer(prometheus.NewRegistry())), // a second one counts for itself
		middleware.RecoveryConsumerMiddleware(), middleware.TimeoutConsumerMiddleware(time.Hour),
	}, append(s.Consuming, s.truth)...)
	s.Producing = append([]kafka.ProducerPlugin{middleware.LoggingProducerMiddleware(logger), middleware.MetricsProducerMiddleware(metrics)}, s.Producing...)
	s.Run(t)
	s.truth.compare(t, gather(t, registry))
}

type membership struct{ topic, group string }

// truth is what happened, by witnesses that are not the metrics. A nil one notes nothing.
type truth struct {
	mu       sync.Mutex
	topics   map[string]*topicTruth
	handlers map[membership]*handlerTruth
	seeds    map[string]bool // topics that not only producers under test write to
}

// topicTruth is what the brokers know of a topic before it is deleted.
type topicTruth struct {
	records   int64
	committed map[string]int64 // by group: the sum over the partitions
	letters   map[string]int   // by class, if it is a dead letter topic
}

// handlerTruth is what the handlers and the hooks of a group's members saw.
type handlerTruth struct {
	records  int
	attempts map[string]int // by how they ended
	handled  map[bool]int   // at the first attempt, or later
	dlq      string
	events   map[string]int // by what the hooks report
	first    bool           // of a consumer's topics, which its commits are counted with
}

// ForConsumer puts a witness right around the handler, and others at the hooks.
func (w *truth) ForConsumer(info kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]*handlerTruth{}
	for _, topic := range info.Topics {
		who := membership{topic, info.Group}
		if w.handlers[who] == nil {
			w.handlers[who] = &handlerTruth{attempts: map[string]int{}, handled: map[bool]int{}, dlq: info.DLQTopic, events: map[string]int{}}
		}
		all[topic] = w.handlers[who]
		all[topic].first = all[topic].first || topic == info.Topic
	}
	return func(next kafka.HandlerFunc) kafka.HandlerFunc {
		return func(ctx context.Context, r *kafka.Record) error {
			seen, end := all[r.Topic], "panic" // unless it returns
			defer func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				seen.attempts[end]++
				if end == "" {
					seen.handled[r.Attempt == 1]++
				}
				if r.Attempt == 1 {
					seen.records++
				}
			}()
			err := next(ctx, r)
			end = string(kafka.ClassOf(err))
			if end == "permanent" {
				for kind, text := range map[string]string{"decode": "*kafka.DecodeError", "panic": "*kafka.PanicError"} {
					if fmt.Sprintf("%T", err) == text {
						end = kind
					}
				}
			}
			return err
		}
	}, w.hooks(all, info.Topic)
}

// hooks counts what no broker knows afterwards.
func (w *truth) hooks(seen map[string]*handlerTruth, topic string) kafka.ConsumerHooks {
	countOf := func(topic, event string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		seen[topic].events[event]++
	}
	count := func(event string) { countOf(topic, event) }
	return kafka.ConsumerHooks{
		PartitionsAssigned: func(topic string, _ []int32) { countOf(topic, "assigned") },
		PartitionsRevoked:  func(topic string, _ []int32) { countOf(topic, "revoked") },
		PartitionsLost:     func(topic string, _ []int32) { countOf(topic, "lost") },
		OffsetsCommitted: func(err error) {
			count("commits")
			if err != nil {
				count("commits failed")
			}
		},
		FetchingPaused: func(topic string, _ int32) { countOf(topic, "pauses") },
		FloodChanged: func(f kafka.Flood) {
			if f.State == kafka.FloodWarned || f.State == kafka.FloodPaused {
				count("floods")
			}
		},
		DeadLetters: func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				next(ctx, r, func(err error) {
					if err != nil {
						count("letters refused")
					}
					done(err)
				})
			}
		},
	}
}

func (w *truth) seeded(topic string) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seeds[topic] = true
	}
}

// note asks the brokers about a topic that is about to be deleted.
func (w *truth) note(t *testing.T, s Suite, topic string) {
	if w == nil {
		return
	}
	known := &topicTruth{records: s.count(t, topic), committed: map[string]int64{}, letters: map[string]int{}}
	w.mu.Lock()
	members := maps.Clone(w.handlers)
	w.mu.Unlock()
	takesLetters := false
	for who, seen := range members {
		if who.topic == topic {
			known.committed[who.group] = sum(s.committed(t, topic, who.group))
		}
		takesLetters = takesLetters || seen.dlq == topic
	}
	if takesLetters && known.records > 0 {
		for _, letter := range s.read(t, topic, int(known.records)) {
			if isMark(letter) {
				known.records-- // and nobody's to count
				continue
			}
			info, _ := kafka.Message[event]{Headers: letter.Headers}.DeadLetter()
			known.letters[string(info.Class)]++ // "" if there was no room to say so
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.topics[topic] = known
}

// compare fails for each number that differs.
func (w *truth) compare(t *testing.T, got samples) {
	const consumer = "messaging_kafka_consumer_"
	t.Helper()
	equal := func(what string, got, want float64) {
		t.Helper()
		if got != want {
			t.Errorf("%s: the metrics say %v, want %v", what, got, want)
		}
	}
	total := map[string]float64{}
	deadLettered := map[string]float64{} // by dead letter topic
	for who, seen := range w.handlers {
		say := who.topic + " in " + who.group + ": "
		equal(say+"records given to the handler", got.sum("messaging_client_consumed_messages_total", who), float64(seen.records))
		attempts := 0
		for kind, n := range seen.attempts {
			attempts += n
			equal(say+"attempts that ended as "+kind, got.sum("messaging_process_duration_seconds", who, "error_type", kind), float64(n))
		}
		equal(say+"attempts", got.sum("messaging_process_duration_seconds", who), float64(attempts))
		equal(say+"decode errors", got.sum(consumer+"decode_errors_total", who), float64(seen.attempts["decode"]))
		equal(say+"records handled at once", got.sum(consumer+"records_total", who, "outcome", "ok"), float64(seen.handled[true]))
		equal(say+"records handled after retries", got.sum(consumer+"records_total", who, "outcome", "retried"), float64(seen.handled[false]))
		equal(say+"records rejected", got.sum(consumer+"records_total", who, "outcome", "business"), float64(seen.attempts["business"]))
		left := got.sum(consumer+"records_total", who, "outcome", "left")
		retries := got.sum(consumer+"retries_total", who)
		if interrupted := retries - float64(attempts-seen.records); interrupted < 0 || interrupted > left {
			t.Errorf("%s%v retries, but %d attempts at %d records, and %v left", say, retries, attempts, seen.records, left)
		}
		settled := got.sum(consumer+"records_total", who) - left
		if topic := w.topics[who.topic]; topic != nil {
			equal(say+"records settled, against offsets committed", settled, float64(topic.committed[who.group]))
		}
		for _, event := range []string{"assigned", "revoked", "lost"} {
			equal(say+"times that partitions were "+event, got.sum(consumer+"rebalances_total", who, "event", event), float64(seen.events[event]))
		}
		commits := got.sum(consumer+"commits_total", who)
		equal(say+"commits", commits, float64(seen.events["commits"]))
		equal(say+"commits failed", commits-got.sum(consumer+"commits_total", who, "error_type", ""), float64(seen.events["commits failed"]))
		equal(say+"dead letters refused", got.sum(consumer+"dead_letter_failures_total", who), float64(seen.events["letters refused"]))
		equal(say+"floods of dead letters", got.sum(consumer+"floods_total", who), float64(seen.events["floods"]))
		equal(say+"pauses of fetching", got.sum(consumer+"pauses_total", who), float64(seen.events["pauses"]))
		if settled > 0 && commits == 0 && seen.first {
			t.Errorf("%sno commit was counted", say)
		}
		deadLettered[seen.dlq] += got.sum(consumer+"records_total", who, "outcome", "dead_lettered")
		for _, outcome := range []string{"ok", "retried", "business", "dead_lettered", "left"} {
			total[outcome] += got.sum(consumer+"records_total", who, "outcome", outcome)
		}
		total["retries"] += retries
		total["pauses"] += got.sum(consumer+"pauses_total", who)
		total["assigned"] += got.sum(consumer+"rebalances_total", who, "event", "assigned")
		total["floods"] += got.sum(consumer+"floods_total", who)
		total["rewinds"] += got.sum(consumer+"rewinds_total", who)
	}
	for topic, known := range w.topics {
		about := membership{topic: topic}
		sent := got.sum("messaging_client_sent_messages_total", about, "error_type", "")
		if letters, ok := deadLettered[topic]; ok && letters > 0 {
			equal(topic+": letters stored", letters, float64(known.records))
			equal(topic+": letters sent", sent, float64(known.records))
		} else if sent > 0 && !w.seeds[topic] {
			equal(topic+": messages sent", sent, float64(known.records))
		}
	}
	classes := map[string]float64{}
	for who, seen := range w.handlers {
		for kind, class := range map[string]string{"transient": "transient", "permanent": "permanent", "decode": "permanent", "panic": "permanent", "parked": "parked"} {
			if known := w.topics[seen.dlq]; known != nil && known.letters[""] == 0 {
				classes[seen.dlq+" "+class] += got.sum(consumer+"records_total", who, "outcome", "dead_lettered", "error_type", kind)
			}
		}
	}
	for key, n := range classes {
		topic, class, _ := strings.Cut(key, " ")
		equal(topic+": letters of class "+class, n, float64(w.topics[topic].letters[class]))
	}
	t.Logf("compared %d members of groups and %d topics: %v", len(w.handlers), len(w.topics), total)
	for _, what := range []string{"ok", "retried", "business", "dead_lettered", "left", "retries", "pauses", "assigned", "floods"} {
		if total[what] == 0 {
			t.Errorf("nothing was %s: the comparison proves nothing", what)
		}
	}
	equal("rewinds", total["rewinds"], 0)
	for _, gauge := range []string{consumer + "lag_records", consumer + "queued_records", "kafka_client_connects_total"} {
		if n := len(got[gauge].GetMetric()); n != 0 {
			t.Errorf("%d series of %s are left, and nothing runs any more", n, gauge)
		}
	}
	for _, gauge := range []string{consumer + "assigned_partitions", consumer + "in_flight_records", "messaging_kafka_producer_in_flight_messages"} {
		for _, metric := range got[gauge].GetMetric() {
			if metric.Gauge.GetValue() != 0 {
				t.Errorf("%s is still %v", gauge, metric)
			}
		}
	}
}

// samples are a registry's metrics by name.
type samples map[string]*dto.MetricFamily

func gather(t *testing.T, registry prometheus.Gatherer) samples {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := samples{}
	for _, family := range families {
		all[family.GetName()] = family
	}
	return all
}

// sum adds the values, or the counts of a histogram, of the series with this topic, group ("" for any) and labels.
func (s samples) sum(name string, who membership, labels ...string) (total float64) {
	for _, metric := range s[name].GetMetric() {
		has := map[string]string{}
		for _, label := range metric.Label {
			has[label.GetName()] = label.GetValue()
		}
		matches := has["messaging_destination_name"] == who.topic && (who.group == "" || has["messaging_consumer_group_name"] == who.group)
		for i := 0; i < len(labels); i += 2 {
			matches = matches && has[labels[i]] == labels[i+1]
		}
		if matches {
			total += metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return total
}
