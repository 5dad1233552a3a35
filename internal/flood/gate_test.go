package flood

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestAGateThinsLinesOut follows the lines of two periods: the first ones pass, then one of so many, which reports how
// many did not.
func TestAGateThinsLinesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{First: 2, Every: 3, Per: time.Second}
		pass := func(lines int) (passed string) {
			for range lines {
				if withheld, ok := g.Pass("a"); ok {
					passed += fmt.Sprint(withheld, " ")
				} else {
					passed += "- "
				}
			}
			return passed
		}
		if got, want := pass(9), "0 0 - - 2 - - 2 - "; got != want {
			t.Errorf("in the first period %s, want %s", got, want)
		}
		if _, ok := g.Pass("b"); !ok {
			t.Error("a line of another kind is withheld")
		}
		time.Sleep(time.Second - time.Nanosecond)
		if got, want := pass(1), "- "; got != want {
			t.Errorf("just before the period ends %s, want %s", got, want)
		}
		time.Sleep(time.Nanosecond)
		if got, want := pass(3), "2 0 - "; got != want {
			t.Errorf("in the second period %s, want %s", got, want)
		}
	})
}

func TestAQuietGatePassesOneLineAPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Quiet()
		for period := range 2 {
			for line := range 5 {
				if ok := g.Allow("a"); ok != (line == 0) {
					t.Errorf("period %d, line %d passes: %v", period, line, ok)
				}
			}
			time.Sleep(10 * time.Second)
		}
	})
}

// TestAGateForgetsWhenThereAreManyKinds: its memory has a limit, and lines that it has forgotten pass.
func TestAGateForgetsWhenThereAreManyKinds(t *testing.T) {
	g := &Gate{First: 1, Per: time.Hour}
	for i := range maxKinds {
		g.Allow(fmt.Sprint(i))
	}
	if g.Allow("0") {
		t.Errorf("%d kinds are not remembered", maxKinds)
	}
	if !g.Allow("one more") || len(g.kinds) != 1 || !g.Allow("0") {
		t.Errorf("%d kinds are remembered after one more than %d", len(g.kinds), maxKinds)
	}
}

// The same failure of another connection is the same kind.
func TestAGateKnowsAnErrorWhateverItsLocalPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Quiet()
		passed := 0
		for port := range 50 {
			if g.Allow(fmt.Sprintf("fetch: read tcp 10.0.0.1:%d->10.0.0.2:9092: i/o timeout", 40000+port)) {
				passed++
			}
		}
		if passed != 1 {
			t.Errorf("%d lines passed, want 1", passed)
		}
		if !g.Allow("fetch: read tcp 10.0.0.1:40000->10.0.0.3:9092: i/o timeout") {
			t.Error("the failure of another broker is withheld")
		}
	})
}
