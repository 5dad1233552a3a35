// Package dlqheader names the headers about dead letters. Package deadletter exports the names.
package dlqheader

import "github.com/skeji/kafka/internal/seal"

// Prefix begins all of them.
const Prefix = seal.Prefix

// Headers that a dead letter has beside those of its record, as UTF-8 text. The first six are those of Kafka's own
// KIP-1191.
const (
	Topic         = Prefix + "topic"          // of the record's first place
	Partition     = Prefix + "partition"      // of the record's first place, decimal
	Offset        = Prefix + "offset"         // of the record's first place, decimal
	Group         = Prefix + "group"          // whose handler failed
	DeliveryCount = Prefix + "delivery.count" // how often it was tried, decimal
	Message       = Prefix + "message"        // the error's text, up to 1 KiB
	Class         = Prefix + "class"          // transient, permanent or parked
	Timestamp     = Prefix + "timestamp"      // the record's own, RFC 3339
	FailedAt      = Prefix + "failed.at"      // RFC 3339
	WrittenTo     = Prefix + "written.to"     // the topic that these headers were written for: they count in no other
	Due           = Prefix + "due"            // of a record in a retry topic: when it is tried again, RFC 3339
	RedriveCount  = Prefix + "redrive.count"  // how often it was sent back, and not parked again, decimal
	HeadersCut    = Prefix + "headers.cut"    // how many of the record's headers were above the limit and left out, decimal
	Hops          = Prefix + "hops"           // of a letter whose record was a letter: in how many dead letter topics it was by now, decimal
	Parked        = Prefix + "parked"         // its key is parked: topic, partition and offset of the record's first place there, and group
	Unparked      = Prefix + "unparked"       // of a mark, which is no letter: the one that parks its key no more, likewise
	Seal          = seal.Header               // that all of these headers, key, value and topic are as the library wrote them
)

// Headers of a letter that does not have its record's value, or not its key.
const (
	ValueBytes  = Prefix + "value.bytes"  // of a stub: how many its value has, decimal
	ValueSHA256 = Prefix + "value.sha256" // of a stub: the checksum of its value, hexadecimal
	KeyAbsent   = Prefix + "key.absent"   // its record has no key: the letter has one, for a compacted topic
)

// Headers of a record that was sent back from a dead letter topic, and of records in that topic that are no letters.
const (
	RedriveGroup    = Prefix + "redrive.group"    // sent back for: consumers of other groups skip it
	LetterPartition = Prefix + "letter.partition" // of the letter that was sent back, decimal
	LetterOffset    = Prefix + "letter.offset"    // of the letter that was sent back, decimal
	Redriven        = Prefix + "redriven"         // a mark of package deadletter: which letters were sent back
)
