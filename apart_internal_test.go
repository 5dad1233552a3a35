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
	s := newScheduler(2, nil, func() int { return 0 }, func() {})
	first := s.begin(task{record: &kgo.Record{Offset: 0}, lane: lane, keyed: true}, time.Now())
	var fetched []*kgo.Record
	for i := range records {
		r := &kgo.Record{Offset: int64(i + 1), Value: []byte("value")}
		fetched = append(fetched, r)
		s.lanes.waiting[lane] = append(s.lanes.waiting[lane], waiting{record: r})
	}
	s.keepApart(first)
	var copies []*kgo.Record
	for i, w := range s.lanes.waiting[lane] {
		if copies = append(copies, w.record); w.record == fetched[i] || &w.record.Value[0] == &fetched[i].Value[0] {
			t.Errorf("the record at offset %d is not a copy", w.record.Offset)
		}
	}
	for i, settled := 0, first; i < records; i++ {
		s.release(settled, time.Now())
		settled = s.due[len(s.due)-1]
		s.keepApart(settled)
		for j, w := range s.lanes.waiting[lane] {
			if w.record != copies[i+1+j] {
				t.Errorf("the record at offset %d was copied again", w.record.Offset)
			}
		}
	}
	s.release(s.due[len(s.due)-1], time.Now())
	if _, busy := s.lanes.waiting[lane]; busy || len(s.lanes.apart) > 0 {
		t.Errorf("lanes %v, apart %v after the last record", s.lanes.waiting, s.lanes.apart)
	}
}
