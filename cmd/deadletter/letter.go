package main

import (
	"fmt"
	"strconv"

	"github.com/skeji/kafka/deadletter"
)

// letterJSON is a letter as a line of JSON. What the letter does not say is absent.
type letterJSON struct {
	Topic     string           `json:"topic"`
	Partition int32            `json:"partition"`
	Offset    int64            `json:"offset"`
	Written   string           `json:"written"`
	State     deadletter.State `json:"state"`
	Writer    string           `json:"writer,omitempty"` // whose headers these are
	Source    *sourceJSON      `json:"source,omitempty"`
	Group     string           `json:"group,omitempty"`
	Class     string           `json:"class,omitempty"`
	Error     string           `json:"error,omitempty"`
	Attempts  *int             `json:"attempts,omitempty"` // 0 for a letter that was parked
	FailedAt  string           `json:"failedAt,omitempty"`
	Redrives  int              `json:"redrives,omitempty"`
	Cut       int              `json:"headersCut,omitempty"`
	Trouble   string           `json:"unreadable,omitempty"`
	Unsealed  bool             `json:"unsealed,omitempty"` // by no key of KAFKA_CONTROL_KEY
	Pointer   bool             `json:"pointer,omitempty"`  // the record itself is not in the letter
	Left      string           `json:"left,omitempty"`     // why redrive leaves it

	// peek's alone. A record without a key or a value, a tombstone, has neither of the two.
	Key         *string      `json:"key,omitempty"`
	KeyBase64   string       `json:"keyBase64,omitempty"`
	Value       *string      `json:"value,omitempty"`
	ValueBase64 string       `json:"valueBase64,omitempty"`
	Headers     []headerJSON `json:"headers,omitempty"`
}

// sourceJSON is a record's first place.
type sourceJSON struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"` // -1, as the offset, if it never had one
	Offset    int64  `json:"offset"`
	Timestamp string `json:"timestamp,omitempty"`
}

type headerJSON struct {
	Key         string  `json:"key"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 string  `json:"valueBase64,omitempty"`
}

// newLetterJSON has what is known of a letter but for its content.
func newLetterJSON(l deadletter.Letter) letterJSON {
	j := letterJSON{
		Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, Written: optional(l.Timestamp), State: stateOf(l),
		Writer: string(l.Dialect), Group: l.Origin.Group, Class: string(l.Origin.Class), Error: l.Origin.Message,
		Pointer: l.Pointer, Unsealed: l.Unsealed, FailedAt: optional(l.Origin.FailedAt), Redrives: l.Origin.Redrives, Cut: l.Origin.HeadersCut,
	}
	if l.Origin.Topic != "" {
		j.Source = &sourceJSON{l.Origin.Topic, l.Origin.Partition, l.Origin.Offset, optional(l.Origin.Timestamp)}
	}
	if n, ok := tries(l); ok {
		j.Attempts = &n
	}
	if l.Err != nil {
		j.Trouble = l.Err.Error()
	}
	return j
}

func (j *letterJSON) addContent(l deadletter.Letter) {
	key, value := newContent(l.Key), newContent(l.Value)
	j.Key, j.KeyBase64 = key.Text, key.Base64
	j.Value, j.ValueBase64 = value.Text, value.Base64
	for _, h := range l.Headers {
		header := newContent(h.Value)
		j.Headers = append(j.Headers, headerJSON{h.Key, header.Text, header.Base64})
	}
}

func stateOf(l deadletter.Letter) deadletter.State {
	if l.Redriven {
		return deadletter.Redriven
	}
	return deadletter.Pending
}

// stateText is stateOf for a person, who is to see what may be forged.
func stateText(l deadletter.Letter) string {
	if l.Unsealed {
		return string(stateOf(l)) + " (not sealed)"
	}
	return string(stateOf(l))
}

// place is where a letter is, as the library names places.
func place(l deadletter.Letter) string {
	return fmt.Sprintf("%s-%d offset %d", l.Topic, l.Partition, l.Offset)
}

// origin is where the record was first, in printable letters.
func origin(l deadletter.Letter) string {
	switch {
	case l.Origin.Topic == "":
		return "-"
	case l.Origin.Offset < 0:
		return printable(l.Origin.Topic)
	}
	return printable(fmt.Sprintf("%s-%d offset %d", l.Origin.Topic, l.Origin.Partition, l.Origin.Offset))
}

// tries is how often the record was tried, as far as the letter says: those of Spring and Connect don't.
func tries(l deadletter.Letter) (n int, ok bool) {
	for _, h := range l.Headers {
		ok = ok || h.Key == deadletter.HeaderDeliveryCount
	}
	return l.Origin.Attempts, ok && l.Dialect == deadletter.DialectKafka
}

// triesText is tries for a table.
func triesText(l deadletter.Letter) string {
	if n, ok := tries(l); ok {
		return strconv.Itoa(n)
	}
	return "-"
}

// failure is the error's text, or why there is none.
func failure(l deadletter.Letter) string {
	if l.Origin.Message == "" && l.Err != nil {
		return l.Err.Error()
	}
	return l.Origin.Message
}
