package kafka

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	stallChecks    = 4                // in each StallTimeout
	lagAge         = 10 * time.Second // how old a partition's known end may be while somebody asks for it
	lagAskedLately = time.Minute      // how long after a question somebody counts as asking; scrapes come every 15 s to 1 min
)

// watchStalls names handlers that don't return, and says when a restart would be better. It runs until Start is about to
// return.
func (c *consumer) watchStalls(ctx context.Context) {
	live := true
	ticker := time.NewTicker(max(c.cfg.StallTimeout/stallChecks, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, p := range c.assignedNow() {
			if stall, ok := p.stall(c.cfg.StallTimeout); ok {
				c.log.LogAttrs(ctx, slog.LevelWarn, "handler is still running", slog.String("topic", stall.Topic),
					slog.Int("partition", int(stall.Partition)), slog.Int64("offset", stall.Offset), slog.String("group", c.cfg.Group),
					slog.Int("attempt", stall.Attempt), slog.Duration("running", stall.For))
				c.hooks.stalled(stall)
			}
		}
		h, _ := c.snapshot()
		if live != h.Live() {
			if live = h.Live(); live {
				c.log.LogAttrs(ctx, slog.LevelInfo, "live again", slog.String("topic", h.Topic), slog.String("group", h.Group))
			} else { // the probe's answer is read by nobody
				c.log.LogAttrs(ctx, slog.LevelError, "not live: the process should be restarted", slog.String("topic", h.Topic),
					slog.String("group", h.Group), slog.String("reason", h.NotLive))
			}
		}
	}
}

// watchLag asks the brokers for the ends of partitions in which nothing is fetched, as long as somebody wants to know. It
// runs until Start is about to return.
func (c *consumer) watchLag(ctx context.Context, client *kgo.Client) {
	ticker := time.NewTicker(lagAge / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if time.Since(time.Unix(0, c.healthAsked.Load())) > lagAskedLately {
			continue
		}
		var stale []*partition
		for _, p := range c.assignedNow() {
			if p.lagIsOld(lagAge) {
				stale = append(stale, p)
			}
		}
		if len(stale) > 0 {
			c.askForEnds(ctx, client, stale)
		}
	}
}

// askForEnds says nothing if it fails: lag is then as old as it looks, and what is wrong shows in the fetches.
func (c *consumer) askForEnds(ctx context.Context, client *kgo.Client, stale []*partition) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	admin := kadm.NewClient(c.client.kgo)
	ends, err := admin.ListEndOffsets(ctx, c.cfg.Topic)
	if err != nil {
		return
	}
	committed := client.CommittedOffsets()[c.cfg.Topic]
	var starts kadm.ListedOffsets // where partitions begin in which nothing is committed
	for _, p := range stale {
		end, ok := ends.Lookup(p.topic, p.id)
		if !ok || end.Err != nil {
			continue
		}
		position := int64(-1)
		if at, ok := committed[p.id]; ok && at.Offset >= 0 {
			position = at.Offset
		} else if c.cfg.AutoOffsetReset == "latest" {
			position = end.Offset
		} else {
			if starts == nil {
				if starts, err = admin.ListStartOffsets(ctx, c.cfg.Topic); err != nil {
					return
				}
			}
			if start, ok := starts.Lookup(p.topic, p.id); ok && start.Err == nil {
				position = start.Offset
			}
		}
		p.learnEnd(end.Offset, position)
	}
}

// assignedNow returns the assigned partitions of the moment.
func (c *consumer) assignedNow() []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	partitions := make([]*partition, 0, len(c.partitions))
	for _, p := range c.partitions {
		partitions = append(partitions, p)
	}
	return partitions
}
