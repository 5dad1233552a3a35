package kafka

import (
	"context"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// foreign tells whether a record is not for this group: it was sent back from a dead letter topic for another one, or is a mark in a
// dead letter topic, and no message at all. Whoever publishes could say so too, but he need not publish what nobody is to handle.
func (c *consumer) foreign(r *kgo.Record) bool {
	for _, h := range r.Headers {
		if !strings.HasPrefix(h.Key, dlqPrefix) {
			continue
		}
		switch h.Key {
		case HeaderDLQRedriven, HeaderDLQUnparked:
			return len(r.Value) == 0 // no mark has one
		case HeaderDLQRedriveGroup:
			return string(h.Value) != c.cfg.Group
		case HeaderDLQGroup: // another group's retry topic may have the same name: what is a-b and c to one is a and b-c to the other
			if c.tier.delay > 0 && string(h.Value) != c.cfg.Group {
				return true
			}
		}
	}
	return false
}

// passOver is done with a record that is not for this group, or that an earlier owner of the partition has settled. Neither is begun:
// hooks and middleware don't see it.
func (p *partition) passOver(t *task) {
	if t.foreign && p.c.log.Enabled(context.Background(), slog.LevelDebug) {
		p.log(slog.LevelDebug, "record passed over: it is not for this group", t.record)
	}
	p.finish(t, true)
}
