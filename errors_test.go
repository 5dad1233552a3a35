package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

var (
	transientError = NewTransientError("save", errors.New("connection reset"))
	permanentError = NewPermanentError("parse", errors.New("no such seat"))
	businessError  = NewBusinessError("charge", errors.New("card declined"))
)

// embedding is how users make error types of their own that have a class.
type embedding struct{ *PermanentError }

func TestOutermostClassWins(t *testing.T) {
	plain := errors.New("plain")
	for name, test := range map[string]struct {
		err  error
		want Class
	}{
		"nil":                        {nil, ""},
		"unclassified":               {plain, ClassTransient},
		"unclassified, wrapped":      {fmt.Errorf("a: %w", fmt.Errorf("b: %w", plain)), ClassTransient},
		"unclassified, joined":       {errors.Join(plain, io.EOF), ClassTransient},
		"transient":                  {transientError, ClassTransient},
		"permanent":                  {permanentError, ClassPermanent},
		"business":                   {businessError, ClassBusiness},
		"without message and cause":  {NewBusinessError("", nil), ClassBusiness},
		"wrapped":                    {fmt.Errorf("a: %w", permanentError), ClassPermanent},
		"wrapped five times":         {fmt.Errorf("a: %w", fmt.Errorf("b: %w", fmt.Errorf("c: %w", fmt.Errorf("d: %w", fmt.Errorf("e: %w", businessError))))), ClassBusiness},
		"permanent over transient":   {NewPermanentError("give up", transientError), ClassPermanent},
		"transient over permanent":   {NewTransientError("once more", permanentError), ClassTransient},
		"transient over business":    {NewTransientError("once more", fmt.Errorf("a: %w", businessError)), ClassTransient},
		"business over transient":    {fmt.Errorf("a: %w", NewBusinessError("expected", transientError)), ClassBusiness},
		"business over decode error": {NewBusinessError("ignore it", &DecodeError{Reason: "bad"}), ClassBusiness},
		"decode error":               {fmt.Errorf("a: %w", &DecodeError{Reason: "bad", Err: transientError}), ClassPermanent},
		"panic with an error":        {&PanicError{Value: transientError}, ClassPermanent},
		"embedded":                   {fmt.Errorf("a: %w", embedding{permanentError}), ClassPermanent},
		"record error":               {&RecordError{Err: businessError}, ClassBusiness},
		"publish error":              {&PublishError{Err: fmt.Errorf("a: %w", permanentError)}, ClassPermanent},
		"publish error, unknown":     {&PublishError{Err: ErrOutcomeUnknown}, ClassTransient},
		"connect error":              {&ConnectError{kind: ErrUnreachable, Err: io.EOF}, ClassTransient},
		"context ended":              {context.Canceled, ClassTransient},

		"joined with nil and plain":         {errors.Join(nil, plain, permanentError), ClassPermanent},
		"wrapped twice at once":             {fmt.Errorf("%w: %w", io.EOF, businessError), ClassBusiness},
		"joined, the shallower wins":        {errors.Join(fmt.Errorf("a: %w", transientError), businessError), ClassBusiness},
		"joined, the shallower wins, later": {errors.Join(businessError, fmt.Errorf("a: %w", transientError)), ClassBusiness},
		"joined twice, the shallower wins":  {errors.Join(errors.Join(transientError), permanentError), ClassPermanent},
		"joined, deep against deeper": {errors.Join(
			fmt.Errorf("a: %w", fmt.Errorf("b: %w", transientError)),
			fmt.Errorf("a: %w", errors.Join(plain, businessError)),
			fmt.Errorf("a: %w", permanentError)), ClassPermanent},
		"a class over a join":             {NewBusinessError("expected", errors.Join(transientError, permanentError)), ClassBusiness},
		"a wrap over a join over a class": {fmt.Errorf("a: %w", errors.Join(plain, NewPermanentError("x", businessError))), ClassPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ClassOf(test.err); got != test.want {
				t.Errorf("ClassOf(%v) = %q, want %q", test.err, got, test.want)
			}
		})
	}
}

func TestTiesGoToWhatMayStillSucceed(t *testing.T) {
	for _, test := range []struct {
		errs []error
		want Class
	}{
		{[]error{transientError, permanentError}, ClassTransient},
		{[]error{transientError, businessError}, ClassTransient},
		{[]error{permanentError, businessError}, ClassPermanent},
		{[]error{businessError, permanentError, transientError}, ClassTransient},
		{[]error{businessError, businessError}, ClassBusiness},
		{[]error{businessError, &DecodeError{}}, ClassPermanent},
	} {
		reversed := make([]error, len(test.errs))
		wrapped := make([]error, len(test.errs))
		for i, err := range test.errs {
			reversed[len(test.errs)-1-i] = err
			wrapped[i] = fmt.Errorf("a: %w", errors.Join(err)) // equally deep
		}
		for _, errs := range [][]error{test.errs, reversed, wrapped} {
			if got := ClassOf(errors.Join(errs...)); got != test.want {
				t.Errorf("ClassOf(join of %v) = %q, want %q", errs, got, test.want)
			}
		}
	}
}

// A nil pointer returned as an error is not nil. Its type still says its class, and nothing panics.
func TestTypedNilErrorsHaveTheirClass(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Class
	}{
		{(*TransientError)(nil), ClassTransient},
		{(*PermanentError)(nil), ClassPermanent},
		{(*BusinessError)(nil), ClassBusiness},
		{(*DecodeError)(nil), ClassPermanent},
		{(*PanicError)(nil), ClassPermanent},
		{embedding{nil}, ClassPermanent},
	} {
		t.Run(fmt.Sprintf("%T", test.err), func(t *testing.T) {
			if got := ClassOf(test.err); got != test.want {
				t.Errorf("ClassOf is %q, want %q", got, test.want)
			}
			if got := ClassOf(errors.Join(fmt.Errorf("a: %w", businessError), test.err)); got != test.want {
				t.Errorf("ClassOf of it in a join is %q, want %q", got, test.want)
			}
		})
	}
}

func TestRetryAfterIsReachedThroughWraps(t *testing.T) {
	const delay = 7 * time.Second
	slow := NewTransientError("call", errors.New("429")).WithRetryAfter(delay)
	for name, test := range map[string]struct {
		err  error
		want time.Duration
	}{
		"bare":               {slow, delay},
		"wrapped":            {fmt.Errorf("a: %w", fmt.Errorf("b: %w", slow)), delay},
		"joined":             {errors.Join(io.EOF, slow), delay},
		"joined and wrapped": {fmt.Errorf("a: %w", errors.Join(io.EOF, fmt.Errorf("b: %w", slow))), delay},
		"publish error":      {&PublishError{Err: slow}, delay},
		"an inner delay":     {NewTransientError("outer", fmt.Errorf("a: %w", slow)), delay},
		"two levels down":    {NewTransientError("a", NewTransientError("b", slow)), delay},
		"the outer delay":    {NewTransientError("outer", slow).WithRetryAfter(time.Second), time.Second},
		"set as a field":     {&TransientError{RetryAfter: delay}, delay},
		"none":               {transientError, 0},
		"unclassified":       {io.EOF, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(test.err)
			if v.after != test.want || v.class != ClassTransient {
				t.Fatalf("judge says wait %v for class %s, want %v for transient", v.after, v.class, test.want)
			}
			p := &partition{c: &consumer{cfg: ConsumerConfig{RetryBackoff: 1, RetryBackoffMax: 1}}}
			if got := p.delay(&task{attempt: 1, verdict: v}); test.want > 0 && got != test.want || test.want == 0 && got > 1 {
				t.Errorf("the worker waits %v, want %v or the backoff of at most 1ns", got, test.want)
			}
		})
	}
}

func TestErrorTextsSayWhereWhatAndWhy(t *testing.T) {
	declined := errors.New("card declined")
	for _, test := range []struct {
		err  error
		want string
	}{
		{NewTransientError("charge", declined), "charge: card declined"},
		{NewPermanentError("charge", declined), "charge: card declined"},
		{NewBusinessError("charge", declined), "charge: card declined"},
		{NewBusinessError("card declined", nil), "card declined"},
		{NewPermanentError("", declined), "card declined"},
		{NewTransientError("", nil), ""},
		{&DecodeError{Reason: "invalid JSON at byte 3, in 8 bytes", Err: declined}, "decode value: invalid JSON at byte 3, in 8 bytes"},
		{&PanicError{Value: "boom", Stack: []byte("goroutine 1")}, "handler panicked: boom"},
		{&PanicError{Value: declined}, "handler panicked: card declined"},
		{&PanicError{}, "handler ended its goroutine (runtime.Goexit)"},
		{&RecordError{Topic: "orders", Partition: 3, Offset: 42, Attempts: 4, Err: declined}, "kafka: handle orders-3 offset 42: gave up after 4 attempts: card declined (no dead letter topic takes it: DisableDeadLetters is set)"},
		{&RecordError{Topic: "orders", Attempts: 1, Err: declined}, "kafka: handle orders-0 offset 0: gave up after 1 attempt: card declined (no dead letter topic takes it: DisableDeadLetters is set)"},
		{&PublishError{Topic: "orders", MessageID: "id-1", Err: fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Canceled)}, "kafka: publish to orders, message id-1: outcome unknown: context canceled"},
		{&ConnectError{Broker: "kafka-1:9092", Hint: "is it up?", Err: io.EOF, kind: ErrUnreachable}, "kafka: connect to kafka-1:9092: no broker reachable: is it up? (EOF)"},
		{&ConnectError{Broker: "kafka-1:9092", Hint: "check the password", Err: io.EOF, kind: ErrAuthentication}, "kafka: connect to kafka-1:9092: authentication failed: check the password (EOF)"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("%T says %q, want %q", test.err, got, test.want)
		}
	}
}

// Unwrap reaches all that Error prints.
func TestUnwrapReachesEveryCause(t *testing.T) {
	cause := errors.New("the cause")
	for _, err := range []error{
		NewTransientError("m", cause),
		NewPermanentError("m", cause),
		NewBusinessError("m", cause),
		&DecodeError{Reason: "r", Err: cause},
		&PanicError{Value: cause},
		&RecordError{Err: cause},
		&PublishError{Err: cause},
		&ConnectError{Err: cause, kind: ErrUnreachable},
		embedding{NewPermanentError("m", cause)},
	} {
		for _, outer := range []error{err, fmt.Errorf("a: %w", err), errors.Join(io.EOF, err), NewBusinessError("m", fmt.Errorf("a: %w", err))} {
			if !errors.Is(outer, cause) {
				t.Errorf("errors.Is does not find the cause in %T within %T", err, outer)
			}
		}
	}
	if err := (&PanicError{Value: "not an error"}).Unwrap(); err != nil {
		t.Errorf("a panic without an error unwraps to %v", err)
	}
}

func TestErrorsAsFindsEveryType(t *testing.T) {
	finds[*TransientError](t, NewTransientError("m", nil))
	finds[*PermanentError](t, NewPermanentError("m", nil))
	finds[*BusinessError](t, NewBusinessError("m", nil))
	finds[*DecodeError](t, &DecodeError{})
	finds[*PanicError](t, &PanicError{})
	finds[*RecordError](t, &RecordError{Err: io.EOF})
	finds[*PublishError](t, &PublishError{Err: io.EOF})
	finds[*ConnectError](t, &ConnectError{Err: io.EOF, kind: ErrUnreachable})
}

func finds[E interface {
	error
	comparable
}](t *testing.T, err E) {
	t.Helper()
	for _, outer := range []error{
		err, fmt.Errorf("a: %w", err), errors.Join(io.EOF, err), NewBusinessError("", err), NewTransientError("", err),
		NewPermanentError("", err), &DecodeError{Err: err}, &PanicError{Value: err}, &RecordError{Err: err},
		&PublishError{Err: err}, &ConnectError{Err: err, kind: ErrUnreachable},
		fmt.Errorf("a: %w", errors.Join(io.EOF, fmt.Errorf("%w: %w", ErrClosed, err))),
	} {
		if _, ok := errors.AsType[E](outer); !ok {
			t.Errorf("errors.As does not find %T in %T", err, outer)
		}
	}
}

func TestErrorsIsFindsEverySentinelAndNoOther(t *testing.T) {
	sentinels := []error{
		ErrClosed, ErrStarted, ErrOutcomeUnknown, ErrTombstone, ErrTopicMissing, ErrUnreachable, ErrAuthentication,
		ErrAuthorization, ErrDrainTimeout, ErrPartitionLost,
	}
	for i, sentinel := range sentinels {
		if text := sentinel.Error(); text == "" || strings.HasPrefix(text, "kafka") || text != strings.TrimSpace(text) {
			t.Errorf("sentinel %d reads %q: it stands within other texts", i, text)
		}
		for _, err := range []error{
			sentinel, fmt.Errorf("a: %w", sentinel), errors.Join(io.EOF, sentinel), &PublishError{Err: sentinel},
			&RecordError{Err: sentinel}, &DecodeError{Err: sentinel}, NewTransientError("m", sentinel),
			&ConnectError{Err: io.EOF, kind: sentinel},
		} {
			for j, other := range sentinels {
				if got := errors.Is(err, other); got != (i == j) {
					t.Errorf("errors.Is(%T of %q, %q) = %t", err, sentinel, other, got)
				}
			}
		}
	}
}

func TestJudgeKeepsThePanicsStack(t *testing.T) {
	err := fmt.Errorf("a: %w", &PanicError{Value: "boom", Stack: []byte("goroutine 1")})
	if v := judge(err); string(v.stack) != "goroutine 1" || v.class != ClassPermanent || v.text != "a: handler panicked: boom" || v.err != err {
		t.Errorf("judge says %+v", v)
	}
	if v := judge(nil); v.err != nil || v.class != "" || v.text != "" {
		t.Errorf("judge of nil says %+v", v)
	}
}
