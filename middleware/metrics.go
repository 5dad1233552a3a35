package middleware

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MetricsOption changes what the metrics middleware does.
type MetricsOption func(*metricsOptions)

type metricsOptions struct {
	registerer    prometheus.Registerer
	clientMetrics bool
}

// WithRegisterer sets where the metrics are registered. Default: prometheus.DefaultRegisterer, which promhttp.Handler serves.
func WithRegisterer(registerer prometheus.Registerer) MetricsOption {
	return func(o *metricsOptions) { o.registerer = registerer }
}

// WithoutClientMetrics leaves out franz-go's own metrics, those that begin with kafka_client_.
func WithoutClientMetrics() MetricsOption {
	return func(o *metricsOptions) { o.clientMetrics = false }
}

func newMetricsOptions(options []MetricsOption) metricsOptions {
	o := metricsOptions{registerer: prometheus.DefaultRegisterer, clientMetrics: true}
	for _, option := range options {
		option(&o)
	}
	return o
}

// Labels are OpenTelemetry's attributes, as its exporter for Prometheus would write them. Topics, groups and partitions are
// few; a key or an offset is never a label.
const (
	labelSystem    = "messaging_system"
	labelOperation = "messaging_operation_name"
	labelType      = "messaging_operation_type"
	labelTopic     = "messaging_destination_name"
	labelPartition = "messaging_destination_partition_id"
	labelGroup     = "messaging_consumer_group_name"
	labelError     = "error_type"
	labelReason    = "reason"
)

// durationBuckets are those that OpenTelemetry gives for messaging; where native histograms are scraped they are not used.
var durationBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// metrics are all that one registerer has from this package, whoever uses them, however often.
type metrics struct {
	process  *prometheus.HistogramVec
	consumed *prometheus.CounterVec
	send     *prometheus.HistogramVec
	sent     *prometheus.CounterVec
	sending  *prometheus.GaugeVec

	records            *prometheus.CounterVec
	retries            *prometheus.CounterVec
	skipped            *prometheus.CounterVec
	decodeErrors       *prometheus.CounterVec
	deadLettersRefused *prometheus.CounterVec
	rebalances         *prometheus.CounterVec
	commits            *prometheus.CounterVec
	pauses             *prometheus.CounterVec
	rewinds            *prometheus.CounterVec
	stalls             *prometheus.CounterVec
	floods             *prometheus.CounterVec
	consumers          *consumerGauges
	clients            *clientMetrics
	all                []prometheus.Collector
}

func (m *metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, collector := range m.all {
		collector.Describe(descs)
	}
}

func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for _, collector := range m.all {
		collector.Collect(out)
	}
}

// metricsIn returns the registerer's metrics, registering them the first time. It panics, as MustRegister does, if others hold
// their names.
func metricsIn(registerer prometheus.Registerer) *metrics {
	m := newMetrics()
	err := registerer.Register(m)
	if registered, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if m, ok := registered.ExistingCollector.(*metrics); ok {
			return m
		}
	}
	if err == nil {
		err = registerer.Register(m.clients) // apart: what it collects has no fixed description
	}
	if err != nil {
		panic(fmt.Sprintf("middleware: register metrics: %v", err))
	}
	return m
}

func newMetrics() *metrics {
	const consumer = "messaging_kafka_consumer_"
	m := &metrics{consumers: &consumerGauges{}, clients: &clientMetrics{}}
	counter := func(name, help string, constant prometheus.Labels, labels ...string) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: constant}, labels)
		m.all = append(m.all, vec)
		return vec
	}
	operation := func(name string) prometheus.Labels {
		return prometheus.Labels{labelSystem: "kafka", labelOperation: name}
	}
	duration := func(name, help string, constant prometheus.Labels, labels ...string) *prometheus.HistogramVec {
		vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, ConstLabels: constant, Buckets: durationBuckets,
			// client_golang's recommendations: 10 % apart, and bounded.
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, labels)
		m.all = append(m.all, vec)
		return vec
	}
	m.process = duration("messaging_process_duration_seconds", "Duration of an attempt to handle a record.",
		operation("process"), labelTopic, labelGroup, labelError)
	m.consumed = counter("messaging_client_consumed_messages_total", "Records given to the handler; retries are not counted.",
		operation("process"), labelTopic, labelGroup)
	m.sent = counter("messaging_client_sent_messages_total", "Messages published, dead letters among them, by outcome.",
		operation("send"), labelTopic, labelError)
	typed := operation("send")
	typed[labelType] = "send"
	m.send = duration("messaging_client_operation_duration_seconds", "Duration of a publish, until the brokers have stored the message or it failed.",
		typed, labelTopic, labelError)
	m.sending = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "messaging_kafka_producer_in_flight_messages", Help: "Messages that are being published.",
	}, []string{labelTopic})
	m.records = counter(consumer+"records_total", "Records by what became of them: ok, retried (ok after retries), business, dead_lettered, or left, to be redelivered.", nil,
		labelTopic, labelGroup, "outcome", labelError)
	m.skipped = counter(consumer+"skipped_records_total", "Records that are done without being handled, since their headers say that they are for another group, or a mark.", nil,
		labelTopic, labelGroup, labelReason)
	m.retries = counter(consumer+"retries_total", "Attempts that failed and are followed by another.", nil, labelTopic, labelGroup)
	m.decodeErrors = counter(consumer+"decode_errors_total", "Records whose value can't be decoded.", nil, labelTopic, labelGroup)
	m.deadLettersRefused = counter(consumer+"dead_letter_failures_total", "Tries to store a dead letter that failed; its partition waits.", nil,
		labelTopic, labelGroup, labelError)
	m.rebalances = counter(consumer+"rebalances_total", "Times that partitions were assigned, revoked, or lost without being asked for.", nil,
		labelTopic, labelGroup, "event")
	m.commits = counter(consumer+"commits_total", "Offset commits, by outcome.", nil, labelTopic, labelGroup, labelError)
	m.pauses = counter(consumer+"pauses_total", "Times that fetching a partition was paused for the others' sake.", nil, labelTopic, labelGroup)
	m.rewinds = counter(consumer+"rewinds_total", "Times that records were fetched again within one assignment.", nil, labelTopic, labelGroup)
	m.stalls = counter(consumer+"stalls_total", "Times that an attempt was named because it had run for too long.", nil, labelTopic, labelGroup)
	m.floods = counter(consumer+"floods_total", "Times that the flood guard noticed a flood of dead letters, or paused for one again.", nil, labelTopic, labelGroup)
	m.all = append(m.all, m.sending, m.consumers)
	return m
}
