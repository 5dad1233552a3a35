package kafka

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestHeaderLimitsAreExact(t *testing.T) {
	limits := headerLimits{count: 2, bytes: 10}
	for _, test := range []struct {
		headers []kgo.RecordHeader
		ok      bool
	}{
		{nil, true}, {headers("a", "1234", "b", "1234"), true}, {headers("a", "1234", "b", "12345"), false},
		{headers("", "", "", ""), true}, {headers("", "", "", "", "", ""), false},
	} {
		if err := limits.check(test.headers); (err == nil) != test.ok || err != nil && !errors.Is(err, ErrHeaderLimit) {
			t.Errorf("%q: %v", test.headers, err)
		}
	}
	if err := limits.keep(nil)(t.Context(), &Record{Record: &kgo.Record{Headers: headers("a", "1234567890")}}); ClassOf(err) != ClassPermanent {
		t.Errorf("%v is %s", err, ClassOf(err))
	}
}
