package kafka

import (
	"context"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// skipReason says why a record is done without being handled; "" if it is handled. Neither hooks nor middleware see it.
type skipReason string

const (
	skipFinished   skipReason = "an earlier owner of the partition has finished it"
	skipMarker     skipReason = "it is a transaction's marker"
	skipMark       skipReason = "it is a mark of a dead letter topic"
	skipOtherGroup skipReason = "it was sent back from a dead letter topic for another group"
	// Another group's retry topic may have the same name: what is a-b and c to one is a and b-c to the other.
	skipOthersRetry skipReason = "another group retries it later"
)

// skips returns why the group does not handle a record. A publisher can forge all of these headers.
func (c *consumer) skips(r *kgo.Record) skipReason {
	if r.Attrs.IsControl() {
		return skipMarker
	}
	for _, h := range r.Headers {
		if !strings.HasPrefix(h.Key, dlqPrefix) {
			continue
		}
		switch {
		case h.Key == HeaderDLQRedriven, h.Key == HeaderDLQUnparked:
			if len(r.Value) == 0 { // no mark has one
				return skipMark
			}
			return ""
		case h.Key == HeaderDLQRedriveGroup:
			if string(h.Value) != c.cfg.Group {
				return skipOtherGroup
			}
			return ""
		case h.Key == HeaderDLQGroup && c.tier.delay > 0 && string(h.Value) != c.cfg.Group:
			return skipOthersRetry
		}
	}
	return ""
}

// skip is done with a record that is not handled.
func (p *partition) skip(t *task) {
	if t.skip != skipFinished && t.skip != skipMarker && p.c.log.Enabled(context.Background(), slog.LevelDebug) {
		p.log(slog.LevelDebug, "record skipped", t.record, slog.String("reason", string(t.skip)))
	}
	p.finish(t, true)
}
