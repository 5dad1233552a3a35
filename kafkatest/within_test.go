package kafkatest

import (
	"testing"
	"time"
)

// The test binary's own deadline would end all tests with a dump of goroutines.
func TestWaitsEndBeforeTheTestBinaryDoes(t *testing.T) {
	soon := time.Now().Add(10 * time.Second)
	ctx, cancel := (&Broker{}).within(timedTest{t, soon})
	defer cancel()
	if until, _ := ctx.Deadline(); !until.Equal(soon.Add(-reserve)) {
		t.Errorf("a wait may last until %v, want a second before %v", until, soon)
	}
	ctx, cancel = (&Broker{}).within(timedTest{t, time.Now().Add(time.Hour)})
	defer cancel()
	if until, _ := ctx.Deadline(); until.After(time.Now().Add(patience)) {
		t.Errorf("a wait may last until %v, want 30 s", until)
	}
}

// timedTest has a deadline of its own.
type timedTest struct {
	testing.TB
	deadline time.Time
}

func (t timedTest) Deadline() (time.Time, bool) { return t.deadline, true }
