package deadletter

import "github.com/skeji/kafka/internal/dlqheader"

// Headers that a dead letter has beside those of its record, as UTF-8 text. The first six are those of Kafka's own
// KIP-1191.
const (
	HeaderTopic         = dlqheader.Topic         // of the record's first place
	HeaderPartition     = dlqheader.Partition     // of the record's first place, decimal
	HeaderOffset        = dlqheader.Offset        // of the record's first place, decimal
	HeaderGroup         = dlqheader.Group         // whose handler failed
	HeaderDeliveryCount = dlqheader.DeliveryCount // how often it was tried, decimal
	HeaderMessage       = dlqheader.Message       // the error's text, up to 1 KiB
	HeaderClass         = dlqheader.Class         // transient, permanent or parked
	HeaderTimestamp     = dlqheader.Timestamp     // the record's own, RFC 3339
	HeaderFailedAt      = dlqheader.FailedAt      // RFC 3339
	HeaderWrittenTo     = dlqheader.WrittenTo     // the topic that these headers were written for: they count in no other
	HeaderDue           = dlqheader.Due           // of a record in a retry topic: when it is tried again, RFC 3339
	HeaderRedriveCount  = dlqheader.RedriveCount  // how often it was sent back, and not parked again, decimal
	HeaderHeadersCut    = dlqheader.HeadersCut    // how many of the record's headers were above the limit and left out, decimal
	HeaderHops          = dlqheader.Hops          // of a letter whose record was a letter: in how many dead letter topics it was by now, decimal
	HeaderParked        = dlqheader.Parked        // its key is parked: topic, partition and offset of the record's first place there, and group
	HeaderUnparked      = dlqheader.Unparked      // of a mark, which is no letter: the one that parks its key no more, likewise
	HeaderSeal          = dlqheader.Seal          // that all of these headers, key, value and topic are as the library wrote them
)

// Headers of a letter that does not have its record's value, or not its key.
const (
	HeaderValueBytes  = dlqheader.ValueBytes  // of a stub: how many its value has, decimal
	HeaderValueSHA256 = dlqheader.ValueSHA256 // of a stub: the checksum of its value, hexadecimal
	HeaderKeyAbsent   = dlqheader.KeyAbsent   // its record has no key: the letter has one, for a compacted topic
)

// Headers of a record that was sent back from a dead letter topic, and of records in that topic that are no letters.
const (
	HeaderRedriveGroup    = dlqheader.RedriveGroup    // sent back for: consumers of other groups skip it
	HeaderLetterPartition = dlqheader.LetterPartition // of the letter that was sent back, decimal
	HeaderLetterOffset    = dlqheader.LetterOffset    // of the letter that was sent back, decimal
	HeaderRedriven        = dlqheader.Redriven        // a mark of package deadletter: which letters were sent back
)
