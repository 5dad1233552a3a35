package tracing

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/propagation"
)

var _ propagation.TextMapCarrier = &carrier{}

func header(name, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: name, Value: []byte(value)}
}

func TestTheCarrierReadsTheLastHeaderOfAName(t *testing.T) {
	c := carrier{header("traceparent", "first"), header("traceparent", "last"), header("Traceparent", "another name"),
		header("long", strings.Repeat("x", maxCarriedBytes)), header("too long", strings.Repeat("x", maxCarriedBytes+1)), header("nil", "")}
	for name, want := range map[string]string{
		"traceparent": "last", "TRACEPARENT": "", "none": "", "long": strings.Repeat("x", maxCarriedBytes), "too long": "", "nil": "",
	} {
		if got := c.Get(name); got != want {
			t.Errorf("%s is %.20q of %d bytes, want %.20q of %d", name, got, len(got), want, len(want))
		}
	}
	if keys := c.Keys(); !slices.Equal(keys, []string{"traceparent", "traceparent", "Traceparent", "long", "too long", "nil"}) {
		t.Errorf("keys %q", keys)
	}
}

func TestTheCarrierKeepsWhatWasSetLast(t *testing.T) {
	var c carrier
	c.Set("a", "1")
	c.Set("b", "2")
	c.Set("a", "3")
	if c.Get("a") != "3" || !slices.Equal(c.Keys(), []string{"b", "a"}) {
		t.Errorf("%q", c)
	}
}
