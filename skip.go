package kafka

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
)

// SkipReason says why a record is done without being handled.
type SkipReason string

const (
	// SkippedMark is a mark of a dead letter topic, about letters that were sent back or handled: it is no message.
	SkippedMark SkipReason = "mark"
	// SkippedOtherGroup is a record that was sent back from a dead letter topic for another group, or that another group
	// retries later through a topic of the same name.
	SkippedOtherGroup SkipReason = "other_group"

	skippedFinished SkipReason = "finished" // by an earlier owner of the partition
	skippedMarker   SkipReason = "marker"   // of a transaction
)

// skips returns why the group does not handle a record; "" if it does. Whoever may write to the topic can forge the
// headers that say so, unless there is a control key.
func (p *partition) skips(r *kgo.Record) SkipReason {
	switch {
	case r.Attrs.IsControl():
		return skippedMarker
	case len(r.Headers) == 0 || !isBound(r):
		return ""
	case p.route.isRetryTopic(): // another group's retry topic may have the same name: what is a-b and c to one is a and b-c to the other
		if group, ok := lastHeader(r.Headers, dlqheader.Group); ok && group != p.c.cfg.Group {
			return SkippedOtherGroup
		}
		if _, mark := lastHeader(r.Headers, dlqheader.Redriven); mark && len(r.Value) == 0 {
			return SkippedMark
		}
		return ""
	case p.c.cfg.SkipNothing:
		return ""
	}
	for _, h := range r.Headers {
		switch h.Key {
		case dlqheader.Redriven, dlqheader.Unparked:
			if len(r.Value) == 0 { // no mark has one
				return SkippedMark
			}
			return ""
		case dlqheader.RedriveGroup:
			if string(h.Value) != p.c.cfg.Group {
				return SkippedOtherGroup
			}
			return ""
		}
	}
	return ""
}

// skip is done with a record that is not handled.
func (p *partition) skip(t *task) {
	if t.skip == SkippedMark || t.skip == SkippedOtherGroup {
		p.logSparsely(slog.LevelInfo, "record skipped", t.record, slog.String("reason", string(t.skip)))
		p.c.hooks.skipped(t.record, t.skip)
	}
	p.finish(t, true)
}
