package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Brokers that lost the end of a log write other records at the same offsets. What was done of the old ones is forgotten with the
// first record of a later leader.
func TestProgressOfLostRecordsIsNotToldAgain(t *testing.T) {
	p := &partition{c: &consumer{cfg: ConsumerConfig{Concurrency: 4}}, earlier: progress{[]offsetRange{{100, 200}}, 3}}
	for offset := int64(50); offset < 60; offset++ {
		epoch := int32(3)
		if offset >= 52 {
			epoch = 5
		}
		if p.doneEarlier(&kgo.Record{Offset: offset, LeaderEpoch: epoch}) {
			t.Errorf("%d is taken for done", offset)
		}
		if place := p.tracker.add(offset, epoch); offset > 52 {
			p.tracker.finish(place)
		}
	}
	if told, ok := parseProgress(p.metadata(50), 50); !ok || !told.has(53, 5) || told.has(150, 5) {
		t.Errorf("it tells %v, want 53 to 59 alone", told)
	}
}
