package middleware

import (
	"context"
	"hash/maphash"
	"log/slog"
	"strconv"

	"github.com/skeji/kafka"
)

// Logger returns the logger for a handler's own lines about its record. With LoggingConsumerMiddleware they have the record's
// topic, partition and offset, group and attempt, correlation and conversation ids, and a hash of its key. Without it, or with
// DisableMiddleware, it is slog.Default(). In a handler of batches they have the topic and partition, the first and the last offset, how
// many messages there are, and the group.
//
//	middleware.Logger(ctx).Info("seat taken", "seat", seat)
func Logger(ctx context.Context) *slog.Logger {
	own, ok := ctx.Value(handlerLogKey{}).(*handlerLog)
	if !ok {
		return slog.Default()
	}
	return slog.New(own.logger.Handler().WithAttrs(own.attrs()))
}

type handlerLogKey struct{}

// handlerLog is a handler's context that knows what a logger would say. It makes one when it is asked for: most handlers log
// nothing.
type handlerLog struct {
	context.Context
	logging
	records []*kafka.Record // one, or those of a batch
}

func (h *handlerLog) attrs() []slog.Attr {
	first, last := h.records[0], h.records[len(h.records)-1]
	if first == last {
		return h.about(first)
	}
	return []slog.Attr{
		slog.String("topic", first.Topic), slog.Int("partition", int(first.Partition)), slog.Int64("first_offset", first.Offset),
		slog.Int64("last_offset", last.Offset), slog.Int("messages", len(h.records)), slog.String("group", first.Group),
	}
}

func (h *handlerLog) Value(key any) any {
	if key == (handlerLogKey{}) {
		return h
	}
	return h.Context.Value(key)
}

var processSeed = maphash.MakeSeed()

// processHash tells one key from another, in lines of one process. Keys are phone numbers and names: of a hash that anybody
// can compute, they are soon guessed.
func processHash(key []byte) string {
	return strconv.FormatUint(maphash.Bytes(processSeed, key), 16)
}
