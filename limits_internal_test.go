package kafka

import (
	"context"
	"errors"
	"runtime"
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

// Headers above the limits are not copied for the handler that will not see them: a batch of some KB can have a million.
func TestHeadersAreLimitedBeforeTheyAreCopied(t *testing.T) {
	const many = 1 << 20
	cfg := ConsumerConfig{Topic: "orders", Group: "group"}.withDefaults()
	for name, middleware := range map[string][]ConsumerMiddleware{"no middleware": nil, "middleware": {func(next HandlerFunc) HandlerFunc { return next }}} {
		p := &partition{c: &consumer{cfg: cfg, middleware: middleware}, route: new(route)}
		for record, want := range map[*kgo.Record]error{
			{Headers: make([]kgo.RecordHeader, many)}: ErrHeaderLimit, {Headers: make([]kgo.RecordHeader, cfg.MaxHeaders)}: nil,
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			seen := p.copyOf(&task{record: record, attempt: 1})
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 4<<20 || len(seen.Headers) > cfg.MaxHeaders {
				t.Errorf("%s: a record of %d headers takes %d bytes more, and %d of them are seen", name, len(record.Headers), took, len(seen.Headers))
			}
			handled := false
			err := cfg.headerLimits().keep(func(context.Context, *Record) error { handled = true; return nil })(t.Context(), seen)
			if !errors.Is(err, want) || handled != (want == nil) {
				t.Errorf("%s: %d headers: %v, handled %t", name, len(record.Headers), err, handled)
			}
		}
	}
}
