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
// DisableMiddleware, it is slog.Default().
//
//	middleware.Logger(ctx).Info("seat taken", "seat", seat)
func Logger(ctx context.Context) *slog.Logger {
	own, ok := ctx.Value(handlerLogKey{}).(*handlerLog)
	if !ok {
		return slog.Default()
	}
	return slog.New(own.logger.Handler().WithAttrs(own.about(own.record)))
}

type handlerLogKey struct{}

// handlerLog is a handler's context that knows what a logger would say. It makes one when it is asked for: most handlers log
// nothing.
type handlerLog struct {
	context.Context
	logging
	record *kafka.Record
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
