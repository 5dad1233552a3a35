package middleware

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skeji/kafka"
)

// consumerGauges are what consumers say of themselves when they are scraped. In between they cost nothing.
type consumerGauges struct {
	mu        sync.Mutex
	added     int // how many there were ever
	consumers []*observed
}

type observed struct {
	kafka.ConsumerInfo
	number int // from 1, in the order of Use
	failed int // how many there were when its failure was first seen; 0: it has not failed
}

func (g *consumerGauges) add(info kafka.ConsumerInfo) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.added++
	g.consumers = append(g.consumers, &observed{ConsumerInfo: info, number: g.added})
}

// membership is what the members of one group in this process share: all have the same labels.
type membership struct{ topic, group string }

// gauges are the sums over a membership's consumers.
type gauges struct {
	live, ready              bool
	flooded, halted          bool
	inHand, assigned, paused int
	partitions               map[int32]kafka.PartitionHealth
}

func gaugeDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("messaging_kafka_consumer_"+name, help, append([]string{labelTopic, labelGroup}, labels...), nil)
}

var (
	liveDesc     = gaugeDesc("live", "1, or 0 if the process should be restarted.")
	readyDesc    = gaugeDesc("ready", "1 if the consumer is a member of its group, and not paused by its flood guard.")
	haltedDesc   = gaugeDesc("paused", "1 while no attempt begins, since the service asks for that; Health says why.")
	floodedDesc  = gaugeDesc("flooded", "1 while there is a flood of dead letters.")
	inHandDesc   = gaugeDesc("in_flight_records", "Records in hand: being handled, waiting for a retry, or on their way to the dead letter topic.")
	assignedDesc = gaugeDesc("assigned_partitions", "Partitions assigned to this process.")
	pausedDesc   = gaugeDesc("paused_partitions", "Partitions that fetch nothing until their queue is shorter.")

	lagDesc      = gaugeDesc("lag_records", "Offsets between the next record to settle and the partition's end.", labelPartition)
	queuedDesc   = gaugeDesc("queued_records", "Records fetched and waiting.", labelPartition)
	bytesDesc    = gaugeDesc("queued_bytes", "What the records waiting and in hand count against MaxQueuedBytes.", labelPartition)
	progressDesc = gaugeDesc("last_progress_timestamp_seconds", "When a record was last settled, or the partition assigned, in Unix time.", labelPartition)
	stalledDesc  = gaugeDesc("stalled_seconds", "How long an attempt has been running that was named because it takes too long.", labelPartition)
	stuckDesc    = gaugeDesc("stuck", "1 while nothing more of the partition is handled or fetched, for a reason that lasts; Health says which.", labelPartition)
	offsetDesc   = gaugeDesc("stalled_offset", "The offset of that attempt's record.", labelPartition)
)

func (g *consumerGauges) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		liveDesc, readyDesc, floodedDesc, haltedDesc, inHandDesc, assignedDesc, pausedDesc, lagDesc, queuedDesc, bytesDesc, progressDesc, stuckDesc, stalledDesc, offsetDesc,
	} {
		descs <- desc
	}
}

func (g *consumerGauges) Collect(out chan<- prometheus.Metric) {
	for who, sum := range g.sums() {
		send := func(desc *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{who.topic, who.group}, labels...)...)
		}
		send(liveDesc, boolean(sum.live))
		send(readyDesc, boolean(sum.ready))
		send(floodedDesc, boolean(sum.flooded))
		send(haltedDesc, boolean(sum.halted))
		send(inHandDesc, float64(sum.inHand))
		send(assignedDesc, float64(sum.assigned))
		send(pausedDesc, float64(sum.paused))
		for id, p := range sum.partitions {
			partition := strconv.Itoa(int(id))
			if p.Lag >= 0 {
				send(lagDesc, float64(p.Lag), partition)
			}
			send(queuedDesc, float64(p.QueuedRecords), partition)
			send(bytesDesc, float64(p.QueuedBytes), partition)
			send(progressDesc, float64(p.LastProgress.UnixMilli())/1000, partition)
			send(stuckDesc, boolean(p.Stuck != ""), partition)
			if p.Stalled {
				send(stalledDesc, time.Since(p.Since).Seconds(), partition)
				send(offsetDesc, float64(p.Offset), partition)
			}
		}
	}
}

// sums asks all consumers. One that has ended counts no more, unless it ended with an error and none has come since.
func (g *consumerGauges) sums() map[membership]*gauges {
	g.mu.Lock()
	defer g.mu.Unlock()
	sums, latest := map[membership]*gauges{}, map[membership]int{}
	for _, consumer := range g.consumers {
		for _, topic := range consumer.topics() {
			latest[membership{topic, consumer.Group}] = consumer.number
		}
	}
	g.consumers = slices.DeleteFunc(g.consumers, func(consumer *observed) (gone bool) {
		h := consumer.Health()
		if h.State == kafka.StateEnded {
			if consumer.failed == 0 && !h.Live() {
				consumer.failed = g.added
			}
			replaced := func(topic string) bool { return latest[membership{topic, consumer.Group}] > consumer.failed }
			if consumer.failed == 0 || slices.ContainsFunc(consumer.topics(), replaced) {
				return true
			}
		}
		for _, topic := range consumer.topics() {
			who := membership{topic, consumer.Group}
			if sums[who] == nil {
				sums[who] = &gauges{live: true, ready: true, partitions: map[int32]kafka.PartitionHealth{}}
			}
			sums[who].add(h, topic)
		}
		return false
	})
	return sums
}

// topics are those that the consumer reads: its own, and retry topics.
func (o *observed) topics() []string {
	if len(o.Topics) == 0 {
		return []string{o.Topic}
	}
	return o.Topics
}

// add adds what a consumer says of itself, and of its partitions of the topic.
func (s *gauges) add(h kafka.Health, topic string) {
	s.live, s.ready, s.flooded = s.live && h.Live(), s.ready && h.Ready(), s.flooded || h.Flood != kafka.FloodNone
	s.halted = s.halted || h.Paused != ""
	for _, p := range h.Partitions {
		if cmp.Or(p.Topic, h.Topic, topic) != topic {
			continue
		}
		s.assigned++
		s.inHand += p.RecordsInHand
		if p.Paused {
			s.paused++
		}
		if other, twice := s.partitions[p.Partition]; twice { // of another cluster: what is worse is shown
			p.Lag, p.QueuedRecords, p.QueuedBytes = max(p.Lag, other.Lag), p.QueuedRecords+other.QueuedRecords, p.QueuedBytes+other.QueuedBytes
			if other.Stalled && !p.Stalled {
				p.Stalled, p.Since, p.Offset = true, other.Since, other.Offset
			}
			p.Stuck = cmp.Or(p.Stuck, other.Stuck)
			if other.LastProgress.Before(p.LastProgress) {
				p.LastProgress = other.LastProgress
			}
		}
		s.partitions[p.Partition] = p
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
