package kafka

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/recordheader"
	"github.com/skeji/kafka/internal/seal"
)

// This file is ClientConfig.ControlKey. See package seal for what a seal covers.
//
// Letters, marks and records of retry topics are sealed for their topic: which partition they get is decided behind the
// seal, by the number of partitions that the topic has by then, and in another one they mean no more than in their own,
// since they name the partition that they are about. What package deadletter writes is sealed for its partition as
// well: its marks name letters by their offsets alone.

// controlKeys returns the keys of ControlKey, or nil if it is not set.
func (c ClientConfig) controlKeys() (*seal.Keys, error) {
	text := c.ControlKey.Reveal()
	if text == "" {
		return nil, nil
	}
	return seal.Parse(text)
}

// SealHeaders seals a record's headers about dead letters for the topic and the partition that it names, in place of
// any other seal (deadletter.HeaderSeal). After that neither these headers nor key or value may change. It does nothing
// without ClientConfig.ControlKey. It is for programs that write such headers by themselves, as package deadletter
// does.
func (c *Client) SealHeaders(r *kgo.Record) { r.Headers = c.seals.Seal(r, seal.ToPartition) }

// TrustsHeaders reports whether the headers about dead letters of a record count: it has a seal of
// ClientConfig.ControlKey for the topic and partition that it was read from, or there is no such key, or it has no seal
// and AcceptUnsealed is set.
func (c *Client) TrustsHeaders(r *kgo.Record) bool {
	if c.seals == nil || c.seals.Verify(r) {
		return true
	}
	_, sealed := recordheader.Last(r.Headers, dlqheader.Seal)
	return c.cfg.AcceptUnsealed && !sealed
}

// leaveOutUnsealed takes the headers about dead letters off fetched records that no key has sealed. It comes before all
// else that looks at them: whatever a record claims, it is an ordinary one then.
func (c *consumer) leaveOutUnsealed(fetches kgo.Fetches) {
	if c.client == nil || c.client.seals == nil {
		return
	}
	fetches.EachRecord(func(r *kgo.Record) {
		if r.Attrs.IsControl() || !seal.Has(r.Headers) || c.client.TrustsHeaders(r) {
			return
		}
		r.Headers = seal.Strip(r.Headers)
		const text = "headers about dead letters have no seal of ControlKey (KAFKA_CONTROL_KEY); the record is handled without them"
		if c.floods.Allow(text) {
			c.log.LogAttrs(context.Background(), slog.LevelWarn, text, slog.String("topic", r.Topic), slog.Int("partition", int(r.Partition)),
				slog.Int64("offset", r.Offset), slog.String("group", c.cfg.Group))
		}
	})
}
