package middleware

import (
	"context"
	"time"

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
	hooks := m.hooks(info)
	if c.options.clientMetrics {
		hooks.Client = func(client *kgo.Client) kgo.Hook { return m.clients.hook(client, info.ClientID) }
	}
	return m.aroundAttempt(info.Topic, info.Group), hooks
}

func (m *metrics) aroundAttempt(topic, group string) kafka.ConsumerMiddleware {
	// What comes with every record is looked up once.
	consumed, handled := m.consumed.WithLabelValues(topic, group), m.process.WithLabelValues(topic, group, "")
	decodeErrors := m.decodeErrors.WithLabelValues(topic, group)
	return func(next kafka.HandlerFunc) kafka.HandlerFunc {
		return func(ctx context.Context, r *kafka.Record) (err error) {
			if r.Attempt == 1 {
				consumed.Inc()
			}
			began, returned := time.Now(), false
			defer func() { // whatever becomes of the goroutine
				seconds := time.Since(began).Seconds()
				switch kind := errortype.OfAttempt(err); {
				case !returned:
					m.process.WithLabelValues(topic, group, errortype.Panic).Observe(seconds)
				case err == nil:
					handled.Observe(seconds)
				default:
					m.process.WithLabelValues(topic, group, kind).Observe(seconds)
					if kind == errortype.Decode {
						decodeErrors.Inc()
					}
				}
			}()
			err = next(ctx, r)
			returned = true
			return err
		}
	}
}

// hooks counts what goes on beside the handler.
func (m *metrics) hooks(info kafka.ConsumerInfo) kafka.ConsumerHooks {
	topic, group := info.Topic, info.Group
	ok := m.records.WithLabelValues(topic, group, outcomeOK, "")
	retried := m.records.WithLabelValues(topic, group, outcomeRetried, "")
	for _, kind := range []string{string(kafka.ClassTransient), string(kafka.ClassPermanent), errortype.Decode, errortype.Panic} {
		m.records.WithLabelValues(topic, group, outcomeDeadLettered, kind) // a rate sees the first only if there was a 0
	}
	for _, reason := range []kafka.SkipReason{kafka.SkippedMark, kafka.SkippedOtherGroup} {
		m.skipped.WithLabelValues(topic, group, string(reason))
	}
	retries, committed := m.retries.WithLabelValues(topic, group), m.commits.WithLabelValues(topic, group, "")
	pauses, rewinds, stalls := m.pauses.WithLabelValues(topic, group), m.rewinds.WithLabelValues(topic, group), m.stalls.WithLabelValues(topic, group)
	floods := m.floods.WithLabelValues(topic, group)
	rebalance := func(event string) func([]int32) {
		counter := m.rebalances.WithLabelValues(topic, group, event)
		return func([]int32) { counter.Inc() }
	}
	return kafka.ConsumerHooks{
		RecordSkipped: func(_ *kgo.Record, reason kafka.SkipReason) {
			m.skipped.WithLabelValues(topic, group, string(reason)).Inc()
		},
		RetryScheduled: func(context.Context, *kgo.Record, kafka.Retry) { retries.Inc() },
		RecordSettled: func(_ context.Context, _ *kgo.Record, s kafka.Settlement) {
			switch s.Outcome {
			case kafka.OutcomeHandled:
				if s.Attempts > 1 {
					retried.Inc()
				} else {
					ok.Inc()
				}
			case kafka.OutcomeRejected:
				m.records.WithLabelValues(topic, group, outcomeBusiness, "").Inc()
			case kafka.OutcomeDeadLettered:
				m.records.WithLabelValues(topic, group, outcomeDeadLettered, errortype.OfAttempt(s.Err)).Inc()
			case kafka.OutcomePutOff:
				m.records.WithLabelValues(topic, group, outcomePutOff, "").Inc()
			case kafka.OutcomeLeft:
				m.records.WithLabelValues(topic, group, outcomeLeft, "").Inc()
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
		FetchingPaused:  func(int32) { pauses.Inc() },
		FetchingRewound: func(int32, int64, int64) { rewinds.Inc() },
		Stalled:         func(kafka.Stall) { stalls.Inc() },
		FloodChanged: func(f kafka.Flood) {
			if f.State == kafka.FloodWarned || f.State == kafka.FloodPaused {
				floods.Inc()
			}
		},
	}
}
