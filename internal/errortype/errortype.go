// Package errortype has short names for errors, for OpenTelemetry's attribute error.type and the label made of it. They are few:
// a name for each text would be a series for each record.
package errortype

import (
	"context"
	"errors"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Names beside the classes and the brokers' own.
const (
	Decode = "decode"
	Panic  = "panic"
	Other  = "_OTHER" // OpenTelemetry's word
)

// OfAttempt names the error of an attempt at a record: its class, or what is wrong with the record or the handler itself. The
// error's methods are the user's: one that panics is named for that.
func OfAttempt(err error) (name string) {
	if err == nil {
		return ""
	}
	defer func() {
		if recover() != nil {
			name = Panic
		}
	}()
	class := kafka.ClassOf(err)
	if class != kafka.ClassPermanent {
		return string(class)
	}
	if panicked, ok := errors.AsType[*kafka.PanicError](err); ok && panicked != nil {
		return Panic
	}
	if decode, ok := errors.AsType[*kafka.DecodeError](err); ok && decode != nil {
		return Decode
	}
	return string(class)
}

// words are names for errors that brokers have none for.
var words = []struct {
	err  error
	name string
}{
	{kafka.ErrClosed, "closed"}, {kafka.ErrAuthentication, "authentication"}, {kafka.ErrUnreachable, "unreachable"},
	{kgo.ErrRecordTimeout, "delivery_timeout"}, {context.DeadlineExceeded, "deadline_exceeded"}, {context.Canceled, "canceled"},
}

// OfBrokers names the error of a publish or a commit: the brokers' own name for it, one of a few words, or Other.
func OfBrokers(err error) string {
	if err == nil {
		return ""
	}
	if protocol, ok := errors.AsType[*kerr.Error](err); ok {
		return protocol.Message
	}
	for _, word := range words {
		if errors.Is(err, word.err) {
			return word.name
		}
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return "unreachable"
	}
	return Other
}
