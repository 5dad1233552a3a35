package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// However many records of a key wait one after another, each is copied once: what stands behind them is not copied again by each. Once
// none is left, those that follow are not copied.
func TestRecordsBehindOthersAreCopiedOnce(t *testing.T) {
	const lane, records = 7, 5
	p := &partition{c: &consumer{cfg: ConsumerConfig{Concurrency: 2}}, lanes: map[uint64][]waiting{}}
	first := p.begin(task{record: &kgo.Record{Offset: 0}, lane: lane, keyed: true}, time.Now())
	var fetched []*kgo.Record
	for i := range records {
		r := &kgo.Record{Offset: int64(i + 1), Value: []byte("value")}
		fetched = append(fetched, r)
		p.lanes[lane] = append(p.lanes[lane], waiting{record: r})
	}
	p.keepApart(first)
	var copies []*kgo.Record
	for i, w := range p.lanes[lane] {
		if copies = append(copies, w.record); w.record == fetched[i] || &w.record.Value[0] == &fetched[i].Value[0] {
			t.Errorf("the record at offset %d is not a copy", w.record.Offset)
		}
	}
	for i, settled := 0, first; i < records; i++ {
		p.release(settled, time.Now())
		settled = p.due[len(p.due)-1]
		p.keepApart(settled)
		for j, w := range p.lanes[lane] {
			if w.record != copies[i+1+j] {
				t.Errorf("the record at offset %d was copied again", w.record.Offset)
			}
		}
	}
	p.release(p.due[len(p.due)-1], time.Now())
	if _, busy := p.lanes[lane]; busy || len(p.apart) > 0 {
		t.Errorf("lanes %v, apart %v after the last record", p.lanes, p.apart)
	}
}
