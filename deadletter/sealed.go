package deadletter

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/recordheader"
)

// believed says whose headers count, where the client has a control key.
type believed struct {
	client   *kafka.Client // has the key, or none: then all headers count
	unsealed bool          // those that the key has not sealed count, too
}

func (b believed) counts(r *kgo.Record) bool { return b.unsealed || b.client.TrustsHeaders(r) }

// isMark tells whether a record is no letter, as it says itself.
func (b believed) isMark(r *kgo.Record) bool { return isMark(r) && b.counts(r) }

// letter reads any other record.
func (b believed) letter(r *kgo.Record) Letter {
	letter := newLetter(r)
	letter.Unsealed = !b.client.TrustsHeaders(r)
	return letter
}

// leaves tells whether a letter is not to go back, nor to be deleted as one that did, since it may be forged.
func (b believed) leaves(letter Letter) bool { return letter.Unsealed && !b.unsealed }

// hasKey tells whether the client has a control key: then it seals.
func (b believed) hasKey() bool {
	r := &kgo.Record{Headers: []kgo.RecordHeader{{Key: HeaderWrittenTo}}}
	b.client.SealHeaders(r)
	return len(r.Headers) > 1
}

// tellLackOfKey warns, once, when sealed letters are sent back by who has no key: what is sent back has no seal.
func (r *run) tellLackOfKey(ctx context.Context, letter Letter) {
	if _, sealed := recordheader.Last(letter.Headers, HeaderSeal); !sealed || r.keyless || r.reader.believed.hasKey() {
		return
	}
	r.keyless = true
	r.reader.believed.client.Logger().LogAttrs(ctx, slog.LevelWarn, "letters are sealed, and this client has no ControlKey "+
		"(KAFKA_CONTROL_KEY, KAFKA_CONTROL_KEY_FILE): consumers that have it take what is sent back for ordinary records, in every group; "+
		"set the key", slog.String("dlq_topic", r.reader.topic))
}
