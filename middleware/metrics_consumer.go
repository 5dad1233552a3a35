package middleware

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/errortype"
)

// MetricsConsumerMiddleware counts and times what a consumer does, for Prometheus, and says how far behind it is. Names are
// those of OpenTelemetry's conventions for messaging where it has one; docs/metrics.md lists them. With it come franz-go's
// own metrics of the consumer's connections. Any number of consumers may use it, with one registerer or several.
func MetricsConsumerMiddleware(options ...MetricsOption) kafka.ConsumerPlugin {
	return consumerMetrics{newMetricsOptions(options)}
}

type consumerMetrics struct{ options metricsOptions }

// Values of the label outcome.
const (
	outcomeOK           = "ok"
	outcomeRetried      = "retried"
	outcomeBusiness     = "business"
	outcomeDeadLettered = "dead_lettered"
	outcomePutOff       = "put_off"
	outcomeLeft         = "left"
)

func (c consumerMetrics) ForConsumer(info kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	if info.DisableMiddleware {
		return nil, kafka.ConsumerHooks{}
	}
	m := metricsIn(c.options.registerer)
	m.consumers.add(info)
	series := m.seriesOf(info)
	hooks := m.hooks(info, series)
	if c.options.clientMetrics {
		hooks.Client = func(client *kgo.Client) kgo.Hook { return m.clients.hook(client, info.ClientID) }
	}
	attempts := attempts{m, series}
	hooks.Batches = attempts.aroundBatch
	return attempts.aroundAttempt, hooks
}

// consumerSeries are a consumer's series of one topic: its own, or a retry topic.
type consumerSeries struct {
	topic, group                                                          string
	consumed, decodeErrors, ok, retried, retries, pauses, rewinds, stalls prometheus.Counter
	handled                                                               prometheus.Observer
}

func (m *metrics) newConsumerSeries(topic, group string) *consumerSeries {
	for _, kind := range []string{string(kafka.ClassTransient), string(kafka.ClassPermanent), errortype.Decode, errortype.Panic} {
		m.records.WithLabelValues(topic, group, outcomeDeadLettered, kind) // a rate sees the first only if there was a 0
	}
	for _, reason := range []kafka.SkipReason{kafka.SkippedMark, kafka.SkippedOtherGroup} {
		m.skipped.WithLabelValues(topic, group, string(reason))
	}
	return &consumerSeries{
		topic: topic, group: group,
		consumed: m.consumed.WithLabelValues(topic, group), decodeErrors: m.decodeErrors.WithLabelValues(topic, group),
		ok: m.records.WithLabelValues(topic, group, outcomeOK, ""), retried: m.records.WithLabelValues(topic, group, outcomeRetried, ""),
		retries: m.retries.WithLabelValues(topic, group), pauses: m.pauses.WithLabelValues(topic, group),
		rewinds: m.rewinds.WithLabelValues(topic, group), stalls: m.stalls.WithLabelValues(topic, group),
		handled: m.process.WithLabelValues(topic, group, ""),
	}
}

// seriesOf returns a consumer's series by topic. What comes with every record is looked up once.
func (m *metrics) seriesOf(info kafka.ConsumerInfo) func(topic string) *consumerSeries {
	topics, all := (&observed{ConsumerInfo: info}).topics(), map[string]*consumerSeries{}
	for _, topic := range topics {
		all[topic] = m.newConsumerSeries(topic, info.Group)
	}
	first := all[topics[0]]
	return func(topic string) *consumerSeries { return cmp.Or(all[topic], first) } // middleware may have changed it
}

// attempts counts and times attempts.
type attempts struct {
	*metrics
	of func(topic string) *consumerSeries
}

// end notes how an attempt ended.
func (a attempts) end(topic string, seconds float64, returned bool, err error) {
	series := a.of(topic)
	switch kind := errortype.OfAttempt(err); {
	case !returned:
		a.process.WithLabelValues(series.topic, series.group, errortype.Panic).Observe(seconds)
	case err == nil:
		series.handled.Observe(seconds)
	default:
		a.process.WithLabelValues(series.topic, series.group, kind).Observe(seconds)
		if kind == errortype.Decode {
			series.decodeErrors.Inc()
		}
	}
}

func (a attempts) aroundAttempt(next kafka.HandlerFunc) kafka.HandlerFunc {
	return func(ctx context.Context, r *kafka.Record) (err error) {
		if r.Attempt == 1 {
			a.of(r.Topic).consumed.Inc()
		}
		began, returned := time.Now(), false
		defer func() { a.end(r.Topic, time.Since(began).Seconds(), returned, err) }() // whatever becomes of the goroutine
		err = next(ctx, r)
		returned = true
		return err
	}
}

// aroundBatch notes an attempt at each record, as long as the batch's. What the handler did not come to has had none.
func (a attempts) aroundBatch(next kafka.BatchFunc) kafka.BatchFunc {
	return func(ctx context.Context, records []*kafka.Record) (err error) {
		began, returned := time.Now(), false
		defer func() {
			seconds, outcome := time.Since(began).Seconds(), kafka.BatchOutcomes(err, len(records))
			for i, r := range records {
				err := outcome(i)
				if wasNotHandled(err) {
					continue
				}
				if r.Attempt == 1 {
					a.of(r.Topic).consumed.Inc()
				}
				a.end(r.Topic, seconds, returned, err)
			}
		}()
		err = next(ctx, records)
		returned = true
		return err
	}
}

// wasNotHandled survives errors whose methods panic.
func wasNotHandled(err error) (not bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, kafka.ErrNotHandled)
}

// hooks counts what goes on beside the handler.
func (m *metrics) hooks(info kafka.ConsumerInfo, of func(topic string) *consumerSeries) kafka.ConsumerHooks {
	topic, group := info.Topic, info.Group
	committed, floods := m.commits.WithLabelValues(topic, group, ""), m.floods.WithLabelValues(topic, group)
	rebalance := func(event string) func(string, []int32) {
		m.rebalances.WithLabelValues(topic, group, event)
		return func(topic string, _ []int32) { m.rebalances.WithLabelValues(topic, group, event).Inc() }
	}
	return kafka.ConsumerHooks{
		RecordSkipped: func(r *kgo.Record, reason kafka.SkipReason) {
			m.skipped.WithLabelValues(r.Topic, group, string(reason)).Inc()
		},
		RetryScheduled: func(_ context.Context, r *kgo.Record, _ kafka.Retry) { of(r.Topic).retries.Inc() },
		RecordSettled: func(_ context.Context, r *kgo.Record, s kafka.Settlement) {
			switch s.Outcome {
			case kafka.OutcomeHandled:
				if s.Attempts > 1 {
					of(r.Topic).retried.Inc()
				} else {
					of(r.Topic).ok.Inc()
				}
			case kafka.OutcomeRejected:
				m.records.WithLabelValues(r.Topic, group, outcomeBusiness, "").Inc()
			case kafka.OutcomeDeadLettered:
				m.records.WithLabelValues(r.Topic, group, outcomeDeadLettered, errortype.OfAttempt(s.Err)).Inc()
			case kafka.OutcomePutOff:
				m.records.WithLabelValues(r.Topic, group, outcomePutOff, "").Inc()
			case kafka.OutcomeLeft:
				m.records.WithLabelValues(r.Topic, group, outcomeLeft, "").Inc()
			}
		},
		DeadLetters:        m.aroundLetter(info),
		PartitionsAssigned: rebalance("assigned"), PartitionsRevoked: rebalance("revoked"), PartitionsLost: rebalance("lost"),
		OffsetsCommitted: func(err error) {
			if err == nil {
				committed.Inc()
			} else {
				m.commits.WithLabelValues(topic, group, errortype.OfBrokers(err)).Inc()
			}
		},
		FetchingPaused:  func(topic string, _ int32) { of(topic).pauses.Inc() },
		FetchingRewound: func(topic string, _ int32, _, _ int64) { of(topic).rewinds.Inc() },
		Stalled:         func(s kafka.Stall) { of(s.Topic).stalls.Inc() },
		FloodChanged: func(f kafka.Flood) {
			if f.State == kafka.FloodWarned || f.State == kafka.FloodPaused {
				floods.Inc()
			}
		},
	}
}
