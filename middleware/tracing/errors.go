package tracing

import (
	"errors"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/errortype"
)

const maxTextBytes = 1024 // of an error's text: as much as a dead letter has of it

// verdict is an attempt's error as a span shows it.
type verdict struct {
	class kafka.Class
	kind  string // for error.type
	text  string
	stack []byte // of a panic
}

// judge asks the error everything that is recorded. The error's methods are the user's and may panic, which is for the consumer
// to judge and not for the middleware to cause.
func judge(err error) (v verdict) {
	v.text, v.kind = textOf(err), errortype.OfAttempt(err)
	defer func() {
		if recover() != nil {
			v.class = kafka.ClassPermanent
		}
	}()
	v.class = kafka.ClassOf(err)
	if panicked, ok := errors.AsType[*kafka.PanicError](err); ok && panicked != nil && v.kind == errortype.Panic {
		v.stack = panicked.Stack
	}
	return v
}

// publishError is a publish's error: for error.type, the brokers' own name for it, or one of a few words. Of an error that is
// neither only the type is told: a codec's text may repeat the value.
func publishError(err error) (kind, text string) {
	if kind = errortype.OfBrokers(err); kind != errortype.Other {
		return kind, textOf(err)
	}
	cause := err
	for inner := errors.Unwrap(cause); inner != nil; inner = errors.Unwrap(cause) {
		cause = inner
	}
	return kind, fmt.Sprintf("%T, whose text is left out: it may repeat the value", cause)
}

// fail makes the span one of an error.
func fail(span trace.Span, err error, kind, text string, stack []byte) {
	attrs := []attribute.KeyValue{semconv.ExceptionType(fmt.Sprintf("%T", err)), semconv.ExceptionMessage(text)}
	if stack != nil {
		attrs = append(attrs, semconv.ExceptionStacktrace(clean(string(stack))))
	}
	span.SetStatus(codes.Error, text)
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(attrs...)) // not RecordError, which takes any text for good
}

// textOf returns the error's text, shortened. It survives an Error method that panics.
func textOf(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("%T, whose text can't be had", err)
		}
	}()
	text = err.Error()
	return clean(text[:min(len(text), maxTextBytes)])
}

// clean makes text UTF-8: an attribute that is not can cost an exporter the whole batch.
func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
