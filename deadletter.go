package kafka

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/recordheader"
)

// This file is what becomes of a record that is given up.

// giveUp puts the record into the dead letter topic, or a retry topic, and returns what became of it: OutcomeLeft if the
// partition stops before that is stored. Should middleware around that end the goroutine, another one goes on with the same
// verdict.
func (p *partition) giveUp(t *task, dlq *sink) Outcome {
	t.exited = true
	outcome := p.putAway(t, dlq)
	t.exited = false
	return outcome
}

// putAway is giveUp: while it fails, the verdict is kept and only the write is repeated, until the brokers take it or the
// partition stops.
func (p *partition) putAway(t *task, dlq *sink) Outcome {
	p.tasks.keepApart(t)
	r, letter := p.letterOf(t, dlq)
	p.tasks.now(t, ActivityDeadLetter)
	if !p.paceHops(t, dlq, letter.hops) {
		return OutcomeLeft
	}
	for attempt := 1; ; attempt++ {
		out := &sentLetter{record: r}
		stored, err := dlq.write(letterContext{p.ctx, t.ctx, out}, r, letter, func(waiting time.Duration) {
			p.log(slog.LevelError, "dead letter topic neither stores nor refuses a record; its partition waits", r,
				slog.String("dlq_topic", dlq.name), slog.Duration("waiting", waiting))
		})
		if err == nil {
			return p.putAwayAs(t, dlq, stored, out.stored.Load())
		}
		switch {
		case p.ctx.Err() != nil:
			return OutcomeLeft
		case isUnfit(err) && dlq == p.route.retries && p.route.deadLetters != nil: // which may take it, or a stub of it
			return p.putAway(t, p.route.deadLetters)
		case isUnfit(err) && letter.ValueSHA256 == "" && dlq == p.route.deadLetters && p.c.cfg.Oversize == OversizeStub:
			p.logStub(t, dlq, err)
			r, letter = stub(r, letter)
			continue
		case isUnfit(err):
			err = unfitError(err)
		}
		p.tasks.refused(t, fmt.Errorf("dead letter topic %s refuses it: %w", dlq.name, err))
		p.log(slog.LevelError, "dead letter topic refuses a record; its partition waits", r,
			slog.String("dlq_topic", dlq.name), slog.Int("attempt", attempt), slog.Any("error", err))
		if !wait(p.pauseAfter(err, attempt), p.stop) {
			return OutcomeLeft
		}
	}
}

// putAwayAs returns what became of a record that is stored as a letter, and parks its key.
func (p *partition) putAwayAs(t *task, dlq *sink, stored *Record, letter *kgo.Record) Outcome {
	if dlq == p.route.retries {
		p.logPutOff(t, stored)
		return OutcomePutOff
	}
	p.logDeadLetter(t, stored)
	if !p.parkKey(t, letter) {
		return OutcomeLeft
	}
	return OutcomeDeadLettered
}

// letterOf returns the record, within the limits of headers, and what its letter says of it.
func (p *partition) letterOf(t *task, dlq *sink) (*kgo.Record, DeadLetter) {
	r, v := t.record, t.verdict
	letter := DeadLetter{
		Topic: p.topic, Partition: p.id, Offset: r.Offset, Timestamp: timeOf(r), Group: p.c.cfg.Group,
		Attempts: t.attempt + p.attemptsBefore(r), Class: v.class, Message: v.text, FailedAt: time.Now(),
		parked: p.parkedAs(r), due: p.dueTime(dlq),
	}
	letter.hops = p.hops(r, dlq)
	first, returned := p.firstPlace(r)
	r, letter.HeadersCut = p.c.cfg.headerLimits().cut(r)
	if returned {
		letter.from(first)
		if v.class == ClassParked && letter.Redrives > 0 {
			letter.Redrives-- // it was not tried
		}
	}
	return r, letter
}

func (p *partition) logDeadLetter(t *task, stored *Record) {
	r, v := t.record, t.verdict
	attrs := []slog.Attr{
		slog.String("dlq_topic", p.route.deadLetters.name), slog.Int("dlq_partition", int(stored.Partition)),
		slog.Int64("dlq_offset", stored.Offset), slog.String("class", string(v.class)), slog.Int("attempts", t.attempt),
		slog.String("error", v.text),
	}
	attrs = append(attrs, recordheader.IDs(r.Headers, HeaderCorrelationID, HeaderConversationID)...)
	if v.stack != nil {
		attrs = append(attrs, slog.String("stack", string(v.stack)))
	}
	p.logSparsely(slog.LevelError, "record sent to dead letter topic", r, attrs...)
}
