package engine

import (
	"errors"
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	plain := Policy{MaxRetries: 2, DeadLetters: true}
	later := Policy{MaxRetries: 2, RetryTopic: true, DeadLetters: true}
	none := Policy{MaxRetries: 2}
	for _, c := range []struct {
		name    string
		policy  Policy
		failure Failure
		attempt int
		want    Action
		last    bool
	}{
		{"success at first", plain, NoFailure, 1, Done, false},
		{"success at last", none, NoFailure, 3, Done, true},
		{"rejected at first", plain, Rejected, 1, Reject, false},
		{"rejected without a dead letter topic", none, Rejected, 3, Reject, true},
		{"transient, first attempt", plain, Transient, 1, Retry, false},
		{"transient, last retry left", plain, Transient, 2, Retry, false},
		{"transient, retries used up", plain, Transient, 3, DeadLetter, true},
		{"transient, retries left and a retry topic", later, Transient, 2, Retry, false},
		{"transient, retries used up, a retry topic", later, Transient, 3, RetryLater, false},
		{"transient, retries used up, nowhere to go", none, Transient, 3, Stop, true},
		{"permanent at first", plain, Permanent, 1, DeadLetter, false},
		{"permanent, a retry topic", later, Permanent, 1, DeadLetter, false},
		{"permanent, nowhere to go", none, Permanent, 1, Stop, false},
		{"no retries at all", Policy{DeadLetters: true}, Transient, 1, DeadLetter, true},
	} {
		if got := c.policy.Decide(c.failure, c.attempt); got != c.want {
			t.Errorf("%s: action %d, want %d", c.name, got, c.want)
		}
		if got := c.policy.Last(c.attempt); got != c.last {
			t.Errorf("%s: last attempt %t, want %t", c.name, got, c.last)
		}
	}
}

func TestNamedOutcomes(t *testing.T) {
	away := errors.New("away")
	o, why := Named(map[int]error{1: away}, 3)
	if why != "" || o.Of(0) != nil || o.Of(1) != away || o.Of(2) != nil {
		t.Errorf("%+v, %q", o, why)
	}
	if _, why := Named(nil, 3); !strings.Contains(why, "names no message") {
		t.Errorf("an empty list: %q", why)
	}
	if FailureOf("business") != Rejected || FailureOf("transient") != Transient || FailureOf("permanent") != Permanent || FailureOf("parked") != Permanent {
		t.Error("classes and failures differ")
	}
	if all := (Outcomes{All: away}); all.Of(7) != away {
		t.Error("an error about all is not of each")
	}
	for text, named := range map[string]map[int]error{
		"names no message": {1: nil}, "message 3 of a batch of 3": {3: away}, "message -1 of a batch of 3": {-1: away},
	} {
		if _, why := Named(named, 3); !strings.Contains(why, text) {
			t.Errorf("%v: %q, want %q", named, why, text)
		}
	}
}
