package deadletter

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Letter is a record of a dead letter topic.
type Letter struct {
	// Record is the letter as it is stored: its topic is the dead letter topic, its timestamp is when it was written. Key and value
	// are those of the record that failed. Don't write into it.
	*kgo.Record
	// Origin says where the record came from and why it failed, as far as the letter's headers do. What they don't say is zero;
	// Partition and Offset are then -1.
	Origin kafka.DeadLetter
	// Dialect is whose headers these are.
	Dialect Dialect
	// Redriven says that a redrive has sent the letter back. Otherwise it is pending.
	Redriven bool
	// Err is why the letter can't be sent back to where it came from: its headers don't say where that is. It wraps
	// [ErrUnreadable] and names the letter.
	Err error
}

// Dialect is whose headers a letter has.
type Dialect string

const (
	DialectKafka   Dialect = "kafka"   // this library's, and Kafka's own for share groups (KIP-1191): __dlq.errors.
	DialectSpring  Dialect = "spring"  // Spring Kafka's: kafka_dlt-
	DialectConnect Dialect = "connect" // Kafka Connect's: __connect.errors.
)

// ErrUnreadable is a record of a dead letter topic whose headers don't say where it came from.
var ErrUnreadable = errors.New("deadletter: no headers that say where it came from")
