package kafka

import (
	"errors"
	"fmt"
	"time"
)

// Class says what the consumer does with a record whose handler returned an error.
type Class string

const (
	// ClassTransient errors are retried in place, then dead-lettered. Errors of no class are transient.
	ClassTransient Class = "transient"
	// ClassPermanent errors go to the dead letter topic at once.
	ClassPermanent Class = "permanent"
	// ClassBusiness errors are an outcome, not a failure: no retry, no dead letter.
	ClassBusiness Class = "business"
	// ClassParked is of records that were not handled: a dead letter of their key comes before them. See ConsumerConfig.ParkKeys.
	ClassParked Class = "parked"
)

// Errors that [errors.Is] finds in what this package returns.
var (
	// ErrClosed: the client, producer or consumer was closed before the call.
	ErrClosed = errors.New("closed")
	// ErrStarted: Start was called a second time. A consumer runs once; make a new one.
	ErrStarted = errors.New("already started")
	// ErrOutcomeUnknown: Publish's context ended while the message was on its way. It may be stored or not; with the
	// same message id sent again, receivers can tell.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrTombstone: the record's value is nil. Set ConsumerConfig.HandleTombstones to receive such records.
	ErrTombstone = errors.New("nil value (tombstone)")
	// ErrTopicMissing: the topic does not exist, or the credentials may not see it.
	ErrTopicMissing = errors.New("topic does not exist")
	// ErrUnreachable: no broker answered.
	ErrUnreachable = errors.New("no broker reachable")
	// ErrAuthentication: the brokers refused the credentials or the client certificate, or the credentials were not sent, since
	// anybody on the way could have read them; see SASLConfig.AllowPlaintext.
	ErrAuthentication = errors.New("authentication failed")
	// ErrAuthorization: the credentials are good but lack a permission (an ACL).
	ErrAuthorization = errors.New("not authorized")
	// ErrDrainTimeout is the cause of a handler's cancelled context when ConsumerConfig.DrainTimeout ran out, and of
	// Start's error when records were left unfinished for that reason. They are redelivered.
	ErrDrainTimeout = errors.New("drain timeout")
	// ErrPartitionLost is the cause of a handler's cancelled context when the group gave its partition away without
	// asking, after a session timeout for example. The record is redelivered to the new owner.
	ErrPartitionLost = errors.New("partition lost")
	// ErrNoReply: a request's time was over before its reply came. The request may have been handled all the same.
	ErrNoReply = errors.New("no reply in time")
	// ErrCorrelationID: a request has the correlation id of another one that waits for its reply.
	ErrCorrelationID = errors.New("correlation id already waits for a reply")
	// ErrExpired: a request's deadline was over before it was handled. Nobody waits for its reply, so that it is a business error.
	ErrExpired = errors.New("the request's deadline is over")
	// ErrReplyAddress: a request wants its reply where Respond may not write, or where that can't be read. It is permanent.
	ErrReplyAddress = errors.New("reply address")
)

// failure is what the three error classes share.
type failure struct {
	Message string // what was attempted, for people
	Err     error  // the cause; may be nil
}

func (f *failure) Error() string {
	switch {
	case f.Err == nil:
		return f.Message
	case f.Message == "":
		return f.Err.Error()
	}
	return f.Message + ": " + f.Err.Error()
}

func (f *failure) Unwrap() error { return f.Err }

// TransientError is an error that may go away: the record is retried.
type TransientError struct {
	failure
	// RetryAfter, if positive, is how long to wait before the next attempt, in place of the computed backoff.
	RetryAfter time.Duration
}

// PermanentError is an error that no retry mends: the record goes to the dead letter topic at once.
type PermanentError struct{ failure }

// BusinessError is a result that the business rules foresee, such as a declined card: the record is done.
type BusinessError struct{ failure }

// NewTransientError says that err, met while doing what message says, may go away. Either may be empty.
func NewTransientError(message string, err error) *TransientError {
	return &TransientError{failure: failure{message, err}}
}

// NewPermanentError says that err, met while doing what message says, will never go away. Either may be empty.
func NewPermanentError(message string, err error) *PermanentError {
	return &PermanentError{failure{message, err}}
}

// NewBusinessError says that err is a foreseen outcome: the record counts as handled. Either may be empty.
func NewBusinessError(message string, err error) *BusinessError {
	return &BusinessError{failure{message, err}}
}

// WithRetryAfter sets how long to wait before the next attempt, for example from a server's Retry-After header.
func (e *TransientError) WithRetryAfter(d time.Duration) *TransientError {
	e.RetryAfter = d
	return e
}

// DecodeError is a value that its codec can't read. It is permanent. Its text never holds the value, so that it can be
// logged; the codec's own error is reached through Unwrap.
type DecodeError struct {
	Reason string // what is wrong, without the value
	Err    error  // the codec's own error; may be nil
}

func (e *DecodeError) Error() string { return "decode value: " + e.Reason }
func (e *DecodeError) Unwrap() error { return e.Err }

// PanicError is a panic in a handler or codec, contained. It is permanent.
type PanicError struct {
	Value any    // what was passed to panic; nil if the handler called runtime.Goexit
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string {
	if e.Value == nil {
		return "handler ended its goroutine (runtime.Goexit)"
	}
	return fmt.Sprintf("handler panicked: %v", e.Value)
}

// Unwrap returns the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// RecordError names the record that could not be settled, and why. Start returns it when a record failed for good and
// there is no dead letter topic to put it in.
type RecordError struct {
	Topic     string // where the record is
	Partition int32  // where the record is
	Offset    int64  // where the record is
	Attempts  int    // how often the handler was called with it
	Err       error  // the last attempt's
}

func (e *RecordError) Error() string {
	times := "1 attempt"
	if e.Attempts != 1 {
		times = fmt.Sprintf("%d attempts", e.Attempts)
	}
	return fmt.Sprintf("kafka: handle %s-%d offset %d: gave up after %s: %v (no dead letter topic takes it: DisableDeadLetters is set)",
		e.Topic, e.Partition, e.Offset, times, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

// PublishError is a message that was not, or may not have been, stored by the brokers.
type PublishError struct {
	Topic     string // where it was to go
	MessageID string // its message-id header
	Err       error  // why; see ErrOutcomeUnknown, and kerr for what the brokers say
}

func (e *PublishError) Error() string {
	return fmt.Sprintf("kafka: publish to %s, message %s: %v", e.Topic, e.MessageID, e.Err)
}

func (e *PublishError) Unwrap() error { return e.Err }

// RequestError is a request without a good reply.
type RequestError struct {
	Topic         string        // where the request was to go
	CorrelationID string        // its correlation-id header
	After         time.Duration // since Request was called
	Err           error         // why: ErrNoReply, a RemoteError, a PublishError, a DecodeError, ErrClosed
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("kafka: request to %s, correlation id %s, after %v: %v", e.Topic, e.CorrelationID, e.After.Round(time.Millisecond), e.Err)
}

func (e *RequestError) Unwrap() error { return e.Err }

// RemoteError is the responder's error, as its reply tells it. ClassOf finds its class.
type RemoteError struct {
	Class   Class  // the responder's
	Message string // the text of the responder's error, shortened to 1 KiB
}

func (e *RemoteError) Error() string { return "the responder says: " + e.Message }
func (e *RemoteError) class() Class  { return e.Class }

// ClassOf returns the class that decides what becomes of a record whose handler returned err, and "" for nil. The
// outermost class wins; among joined errors at the same depth transient beats permanent, which beats business, so that
// nothing is given up while some part of it may still succeed.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if class, _ := classify(err); class != "" {
		return class
	}
	return ClassTransient
}

func (*TransientError) class() Class { return ClassTransient }
func (*PermanentError) class() Class { return ClassPermanent }
func (*BusinessError) class() Class  { return ClassBusiness }
func (*DecodeError) class() Class    { return ClassPermanent }
func (*PanicError) class() Class     { return ClassPermanent }

var classRank = map[Class]int{ClassTransient: 3, ClassPermanent: 2, ClassBusiness: 1, "": 0}

// classify returns the shallowest class in err's tree and the depth it stands at.
func classify(err error) (class Class, depth int) {
	for ; err != nil; depth++ {
		switch e := err.(type) {
		case interface{ class() Class }:
			return e.class(), depth
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			best := 0
			for _, child := range e.Unwrap() {
				c, d := classify(child)
				if c == "" {
					continue
				}
				if class == "" || d < best || d == best && classRank[c] > classRank[class] {
					class, best = c, d
				}
			}
			return class, depth + 1 + best
		default:
			return "", depth
		}
	}
	return "", depth
}
