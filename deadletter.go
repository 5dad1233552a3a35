package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/recordheader"
	"github.com/skeji/kafka/internal/seal"
)

const (
	deadLetterMessageBytes = 1024 // of the error's text: enough to read, little beside a record's limit
	maxRedriveCount        = 1000 // what a header may claim
	deadLetterTimeFormat   = "2006-01-02T15:04:05.000Z07:00"
)

// DeadLetter says where a dead letter came from and why it failed.
type DeadLetter struct {
	// Topic, Partition and Offset are the record's first place, kept when a letter is sent back and fails again. Partition
	// and Offset are -1 for a message that a producer could not store.
	Topic     string
	Partition int32     // see Topic
	Offset    int64     // see Topic
	Timestamp time.Time // the record's own, zero if it has none; the letter's timestamp is when it was written

	Group    string    // whose handler failed
	Attempts int       // how often it was tried
	Class    Class     // ClassTransient, ClassPermanent or ClassParked
	Message  string    // the error's text, shortened to 1 KiB
	FailedAt time.Time // when it was given up
	Redrives int       // how often it was sent back and tried; what is parked again is not tried

	HeadersCut int // how many of the record's headers are left out, since they were above ConsumerConfig's limits

	// ValueBytes and ValueSHA256, in hexadecimal, are of the record's value where the letter does not have it: it is a stub,
	// since its topic did not take the value (ConsumerConfig.Oversize). ValueSHA256 is "" otherwise.
	ValueBytes  int64
	ValueSHA256 string // see ValueBytes

	parked string    // dlqheader.Parked; "" for none
	due    time.Time // dlqheader.Due; zero for none
	hops   int       // dlqheader.Hops
}

// letterHeaders says how much of a DeadLetter goes into headers. A record at its topic's size limit may have no room.
type letterHeaders int

const (
	allHeaders letterHeaders = iota
	placeHeaders
	noHeaders
)

// from takes over the first place of a record, and how often it was sent back.
func (d *DeadLetter) from(first DeadLetter) {
	d.Topic, d.Partition, d.Offset = first.Topic, first.Partition, first.Offset
	d.Timestamp, d.Redrives = first.Timestamp, first.Redrives
	d.HeadersCut += first.HeadersCut
}

// newDeadLetter returns the record to write: key, value and headers as they were, and ours in place of older ones. Its
// timestamp is its own, since retention counts from it.
func newDeadLetter(dlqTopic string, r *kgo.Record, letter DeadLetter, which letterHeaders) *kgo.Record {
	headers := slices.Clone(r.Headers)
	headers = slices.DeleteFunc(headers, func(h kgo.RecordHeader) bool { return strings.HasPrefix(h.Key, dlqheader.Prefix) })
	add := func(name, value string) {
		headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	add(dlqheader.Topic, letter.Topic)
	add(dlqheader.WrittenTo, dlqTopic)
	if letter.Partition >= 0 {
		add(dlqheader.Partition, strconv.Itoa(int(letter.Partition)))
		add(dlqheader.Offset, strconv.FormatInt(letter.Offset, 10))
	}
	if letter.Redrives > 0 {
		add(dlqheader.RedriveCount, strconv.Itoa(letter.Redrives))
	}
	if letter.HeadersCut > 0 {
		add(dlqheader.HeadersCut, strconv.Itoa(letter.HeadersCut))
	}
	if letter.Group != "" {
		add(dlqheader.Group, letter.Group)
	}
	if letter.hops > 0 {
		add(dlqheader.Hops, strconv.Itoa(letter.hops))
	}
	if letter.parked != "" {
		add(dlqheader.Parked, letter.parked)
	}
	if !letter.due.IsZero() {
		add(dlqheader.Due, formatTime(letter.due))
	}
	letter.addStub(add)
	add(dlqheader.DeliveryCount, strconv.Itoa(letter.Attempts))
	add(dlqheader.Class, string(letter.Class))
	add(dlqheader.Message, shorten(letter.Message, deadLetterMessageBytes))
	if text := formatTime(letter.Timestamp); text != "" {
		add(dlqheader.Timestamp, text)
	}
	add(dlqheader.FailedAt, letter.FailedAt.UTC().Format(deadLetterTimeFormat))
	return &kgo.Record{Topic: dlqTopic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: shed(headers, which)}
}

// shed returns the headers without those of ours that are not to be kept.
func shed(headers []kgo.RecordHeader, keep letterHeaders) []kgo.RecordHeader {
	kept := make([]kgo.RecordHeader, 0, len(headers))
	for _, h := range headers {
		place := h.Key == dlqheader.Topic || h.Key == dlqheader.Partition || h.Key == dlqheader.Offset || h.Key == dlqheader.RedriveCount || h.Key == dlqheader.Parked ||
			h.Key == dlqheader.WrittenTo || h.Key == dlqheader.Due || h.Key == dlqheader.KeyAbsent || h.Key == dlqheader.Hops
		if keep == allHeaders || keep == placeHeaders && place || !strings.HasPrefix(h.Key, dlqheader.Prefix) {
			kept = append(kept, h)
		}
	}
	return kept
}

// parseDeadLetter reads the headers of a letter; false if they don't name its place. They may be forged: what does not
// parse is left out, counts are clamped.
func parseDeadLetter(headers []kgo.RecordHeader) (DeadLetter, bool) {
	text := func(name string) string {
		value, _ := lastHeader(headers, name)
		return value
	}
	number := func(name string, bits int) int64 {
		n, err := strconv.ParseInt(text(name), 10, bits)
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	letter := DeadLetter{
		ValueBytes:  max(0, number(dlqheader.ValueBytes, 64)),
		ValueSHA256: text(dlqheader.ValueSHA256),
		Topic:       text(dlqheader.Topic),
		Partition:   int32(number(dlqheader.Partition, 32)),
		Offset:      number(dlqheader.Offset, 64),
		Group:       text(dlqheader.Group),
		Attempts:    int(max(0, number(dlqheader.DeliveryCount, 32))),
		Class:       Class(text(dlqheader.Class)),
		Message:     text(dlqheader.Message),
		HeadersCut:  int(max(0, number(dlqheader.HeadersCut, 32))),
		Redrives:    int(min(max(0, number(dlqheader.RedriveCount, 32)), maxRedriveCount)),
	}
	var faults faults
	faults.checkTopic("topic", letter.Topic)
	placeless := text(dlqheader.Partition) == "" && text(dlqheader.Offset) == ""
	if len(faults) > 0 || !placeless && (letter.Partition < 0 || letter.Offset < 0) {
		return DeadLetter{}, false
	}
	letter.Timestamp, letter.FailedAt = parseTime(text(dlqheader.Timestamp)), parseTime(text(dlqheader.FailedAt))
	return letter, true
}

// formatTime returns "" for a time that no record has, before 1970, and for what RFC 3339 has no text for: a year of more than four
// digits comes of microseconds taken for milliseconds, for example.
func formatTime(t time.Time) string {
	if t = t.UTC(); t.Year() < 1970 || t.Year() > 9999 {
		return ""
	}
	return t.Format(deadLetterTimeFormat)
}

func parseTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || formatTime(t) == "" {
		return time.Time{}
	}
	return t
}

// shorten cuts text to at most limit bytes of valid UTF-8.
func shorten(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	const mark = "…"
	cut := limit - len(mark)
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}

// deadLetterTopic writes the letters of one consumer.
type deadLetterTopic struct {
	name   string
	client *Client
	send   PublishFunc // the hooks' middleware around store
	// One letter at a time per partition of the topic: then a batch holds one letter, and a refusal for its size is
	// about that letter.
	slots []chan struct{}
}

func newDeadLetterTopic(name string, partitions int32, client *Client, maxBytes int32, hooks consumerHooks) *deadLetterTopic {
	client.limits.Store(name, maxBytes)
	var around []ProducerMiddleware
	for _, h := range hooks {
		if h.DeadLetters != nil {
			around = append(around, h.DeadLetters)
		}
	}
	d := &deadLetterTopic{name: name, client: client, slots: make([]chan struct{}, max(1, partitions))}
	d.send = chain(d.store, around)
	for i := range d.slots {
		d.slots[i] = make(chan struct{}, 1)
	}
	return d
}

// partitionOf returns the partition that takes the letters of one of the source's.
func (d *deadLetterTopic) partitionOf(source int32) int32 { return source % int32(len(d.slots)) }

// write returns the letter once the brokers have stored it. It calls overdue when they have neither stored nor refused it for
// longer than DeliveryTimeout, which does not end that: they may have stored it, with too few replicas for example, so that
// franz-go repeats it until they say.
func (d *deadLetterTopic) write(ctx context.Context, r *kgo.Record, letter DeadLetter, overdue func(time.Duration)) (*Record, error) {
	slot := d.slots[d.partitionOf(r.Partition)]
	select {
	case slot <- struct{}{}:
		defer func() { <-slot }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	limit := d.client.cfg.DeliveryTimeout
	limit = max(limit, limit+limit/8) // what ends at its time is told as a refusal; the longest of times has no later one
	alarm := time.AfterFunc(limit, func() { overdue(limit) })
	defer alarm.Stop()
	stored := make(chan error, 1)
	sent := &Record{Record: newDeadLetter(d.name, r, letter, allHeaders), Group: letter.Group, Attempt: letter.Attempts}
	d.attempt(ctx, sent, func(err error) {
		select {
		case stored <- err:
		default: // middleware says so twice
		}
	})
	select {
	case err := <-stored:
		return sent, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// attempt sends the letter through the hooks' middleware, whose panics are a failure to store it.
func (d *deadLetterTopic) attempt(ctx context.Context, letter *Record, done func(error)) {
	defer func() {
		if value := recover(); value != nil {
			done(&PanicError{Value: value, Stack: debug.Stack()})
		}
	}()
	d.send(ctx, letter, done)
}

// store is the innermost PublishFunc. A letter that is too large with our headers is written with fewer, at last with its
// record's own alone; the value is never touched. It waits for the brokers, since the worker does so anyway.
func (d *deadLetterTopic) store(ctx context.Context, r *Record, done func(error)) {
	for which := allHeaders; ; which++ {
		letter := *r.Record
		letter.Headers = shed(r.Headers, which)
		out, _ := ctx.Value(sentLetterKey{}).(*sentLetter)
		if out != nil && which == noHeaders { // what middleware has added may be too much
			letter.Headers = shed(out.record.Headers, which)
		}
		letter.Headers = d.client.seals.Seal(&letter, seal.ToTopic) // as it is stored: middleware may have changed it
		stored := make(chan error, 1)
		d.client.produce(ctx, &letter, func(err error) { stored <- err })
		var err error
		select {
		case err = <-stored:
		case <-ctx.Done():
			done(context.Cause(ctx))
			return
		}
		if errors.Is(err, kerr.InvalidRecord) && r.Key == nil { // a compacted topic takes no record without a key
			r.Record = withKey(r.Record)
			which-- // again, with as many headers
			continue
		}
		if which == noHeaders || !errors.Is(err, kerr.MessageTooLarge) {
			if err == nil {
				r.Partition, r.Offset, r.Timestamp = letter.Partition, letter.Offset, letter.Timestamp
				if out != nil {
					out.stored.Store(&letter)
				}
			}
			done(err)
			return
		}
	}
}

// letterContext is the partition's context with the values of the record's: a hook's deadline is for attempts, not for the
// letter. store finds what it needs in it.
type letterContext struct {
	context.Context
	values context.Context
	out    *sentLetter
}

// sentLetter is a letter's record, and the letter as it was stored: middleware in between may pass on another.
type sentLetter struct {
	record *kgo.Record
	stored atomic.Pointer[kgo.Record] // nil if middleware says that it is and it is not
}

type sentLetterKey struct{}

func (c letterContext) Value(key any) any {
	if key == (sentLetterKey{}) {
		return c.out
	}
	return c.values.Value(key)
}

// giveUp puts the record into the dead letter topic, or a retry topic, and returns what became of it: OutcomeLeft if the
// partition stops before that is stored. Should middleware around that end the goroutine, another one goes on with the same
// verdict.
func (p *partition) giveUp(t *task, dlq *deadLetterTopic) Outcome {
	t.exited = true
	outcome := p.putAway(t, dlq)
	t.exited = false
	return outcome
}

// putAway is giveUp: while it fails, the verdict is kept and only the write is repeated, until the brokers take it or the
// partition stops.
func (p *partition) putAway(t *task, dlq *deadLetterTopic) Outcome {
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
func (p *partition) putAwayAs(t *task, dlq *deadLetterTopic, stored *Record, letter *kgo.Record) Outcome {
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
func (p *partition) letterOf(t *task, dlq *deadLetterTopic) (*kgo.Record, DeadLetter) {
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
