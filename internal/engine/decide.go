package engine

import "fmt"

// Failure is how an attempt ended.
type Failure int

const (
	NoFailure Failure = iota // the handler returned nil
	Transient                // another attempt may go well
	Permanent                // no attempt will go well
	Rejected                 // by a business rule: the record is done
)

// FailureOf returns the failure that an error of a class is.
func FailureOf(class string) Failure {
	switch class {
	case "business":
		return Rejected
	case "transient":
		return Transient
	}
	return Permanent
}

// Policy is what a consumer does about failures.
type Policy struct {
	MaxRetries  int  // attempts after the first
	RetryTopic  bool // what has used up its retries is tried again later, from another topic
	DeadLetters bool // what has failed for good is stored in a dead letter topic
}

// Action is what follows from an attempt.
type Action int

const (
	Done       Action = iota // the record is handled
	Reject                   // the record is done, and was rejected
	Retry                    // another attempt follows, after a wait
	RetryLater               // the record is stored in the retry topic
	DeadLetter               // the record is stored in the dead letter topic
	Stop                     // the record can't be given up: consuming ends
)

// Decide returns what follows from the latest attempt at a record, the first being 1.
func (p Policy) Decide(failure Failure, attempt int) Action {
	switch {
	case failure == NoFailure:
		return Done
	case failure == Rejected:
		return Reject
	case failure == Transient && attempt <= p.MaxRetries:
		return Retry
	case failure == Transient && p.RetryTopic:
		return RetryLater
	case p.DeadLetters:
		return DeadLetter
	}
	return Stop
}

// Last reports whether a transient failure of an attempt is final.
func (p Policy) Last(attempt int) bool {
	return attempt > p.MaxRetries && !p.RetryTopic
}

// Outcomes is what a handler of a batch said of its messages.
type Outcomes struct {
	All   error         // of every message, unless Named is set
	Named map[int]error // of single messages, by index; the others are handled. nil: All counts
}

// Of returns the outcome of the message at an index.
func (o Outcomes) Of(i int) error {
	if o.Named != nil {
		return o.Named[i]
	}
	return o.All
}

// Named returns the outcomes of n messages of which a handler named those that failed. No failure at all, and an index
// that there is not, are mistakes of the handler: it may have rolled back what it did for the others. why is the
// reason, and "" if there is none.
func Named(named map[int]error, n int) (o Outcomes, why string) {
	failed := false
	for i, err := range named {
		if i < 0 || i >= n {
			return Outcomes{}, fmt.Sprintf("the handler names message %d of a batch of %d", i, n)
		}
		failed = failed || err != nil
	}
	if !failed {
		return Outcomes{}, "the handler returned a BatchError that names no message, as an error: return its Err(), which is nil then"
	}
	return Outcomes{Named: named}, ""
}
