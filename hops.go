package kafka

import (
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka/internal/dlqheader"
	"github.com/skeji/kafka/internal/recordheader"
)

// This file slows letters down that go from one dead letter topic to another: two consumers that are each other's dead
// letter topic would pass one record on thousands of times a second.

// freeHops is how many dead letter topics a record may be in before its letters wait. The letters of letters are put
// aside in a second topic, rarely in a third.
const freeHops = 3

// What a letter waits, doubled with each hop.
const (
	firstHopPause = time.Second
	maxHopPause   = time.Minute
)

// hops is in how many dead letter topics a record will have been with a letter to dlq; 0 if dlq is the first. A retry
// topic passes on what its records say. Who may write to the topic can forge that, and gains that his own record waits.
func (p *partition) hops(r *kgo.Record, dlq *sink) int {
	if !isBound(r) {
		return 0
	}
	text, _ := lastHeader(r.Headers, dlqheader.Hops)
	n, _ := strconv.Atoi(text)
	// A letter without room has no more than its place; a record that was sent back says from which letter.
	if _, sentBack := recordheader.Last(r.Headers, dlqheader.LetterOffset); !sentBack && !p.route.isRetryTopic() {
		n = max(n, 1)
	}
	if n = min(max(n, 0), maxRedriveCount); n > 0 && dlq == p.route.deadLetters {
		n++
	}
	return n
}

// paceHops has the letter of a letter wait. It returns false if the partition stops meanwhile.
func (p *partition) paceHops(t *task, dlq *sink, hops int) bool {
	if hops <= freeHops || dlq != p.route.deadLetters {
		return true
	}
	pause := min(firstHopPause<<min(hops-freeHops-1, 10), maxHopPause)
	err := fmt.Errorf("the record has been in %d dead letter topics, and its letter waits %v: %s and %s seem to be each other's dead letter topic;"+
		" set DLQTopic of one of their consumers to a topic that nobody consumes (KAFKA_CONSUMER_DLQ_TOPIC)", hops-1, pause, p.topic, dlq.name)
	p.tasks.refused(t, err)
	p.logSparsely(slog.LevelError, "dead letter goes from one dead letter topic to another, and waits", t.record,
		slog.String("dlq_topic", dlq.name), slog.Int("hops", hops), slog.Duration("pause", pause), slog.Any("error", err))
	return wait(pause, p.stop)
}
