package kafka

import (
	"math"
	"slices"
	"testing"
	"time"
)

func guardOf(mode FloodGuardMode) *floodGuard {
	return newFloodGuard(FloodGuardConfig{Mode: mode}.withDefaults(), "dlq-orders")
}

// The latest letters are compared with what was settled meanwhile, however much went well before.
func TestAFloodIsAShareOfTheLatestRecords(t *testing.T) {
	began := time.Now()
	for _, test := range []struct {
		what    string
		cfg     FloodGuardConfig
		letters int
		between int64         // records that go well after each letter
		every   time.Duration // a letter
		flood   bool
	}{
		{"every record, one too few of them", FloodGuardConfig{}, 19, 0, time.Second, false},
		{"every record", FloodGuardConfig{}, 20, 0, time.Second, true},
		{"every record, some a minute", FloodGuardConfig{}, 20, 0, 20 * time.Second, true},
		{"every record, but few", FloodGuardConfig{}, 1000, 0, time.Minute, false},
		{"every second one", FloodGuardConfig{}, 20, 1, time.Second, true},
		{"every third one", FloodGuardConfig{}, 1000, 2, time.Second, false},
		{"a tenth, and that is the limit", FloodGuardConfig{Share: 0.1}, 20, 9, time.Second, true},
		{"half, and all is the limit", FloodGuardConfig{Share: 1}, 1000, 1, time.Second, false},
		{"all, and all is the limit", FloodGuardConfig{Share: 1}, 20, 0, time.Second, true},
		{"the first one", FloodGuardConfig{Letters: 1}, 1, 0, time.Second, true},
		{"a trickle in a long window", FloodGuardConfig{Window: math.MaxInt64}, 20, 0, time.Hour, true},
	} {
		test.cfg.Mode = FloodGuardWarn
		g := newFloodGuard(test.cfg.withDefaults(), "dlq-orders")
		const settledBefore = 1_000_000 // without a letter
		settled, at := int64(settledBefore), began
		changes := 0
		for range test.letters {
			if g.letter(settled, at) {
				t.Errorf("%s: a letter is withheld, and the guard only warns", test.what)
			}
			changes += len(changesOf(g))
			settled += 1 + test.between
			at = at.Add(test.every)
		}
		if state, _ := g.health(); (state == FloodWarned) != test.flood || test.flood != (changes == 1) {
			t.Errorf("%s: %q after %d changes; want a flood: %t", test.what, state, changes, test.flood)
		}
	}
}

// changesOf returns the changes since it was last called.
func changesOf(g *floodGuard) (changes []Flood) {
	g.tell(func(f Flood) { changes = append(changes, f) })
	return changes
}

// Many goroutines make changes at once; hooks hear of them in their order, one at a time, and may ask the guard about it.
func TestChangesAreToldInTheirOrder(t *testing.T) {
	g := guardOf(FloodGuardWarn)
	var order []FloodState
	tellAll := func(f Flood) {
		if len(order) == 0 {
			g.become(FloodNone, time.Now())
			g.tell(func(Flood) { t.Error("two tell at once") })
		}
		g.health()
		order = append(order, f.State)
	}
	g.become(FloodWarned, time.Now())
	g.become(FloodPaused, time.Now())
	g.tell(tellAll)
	if want := []FloodState{FloodWarned, FloodPaused, FloodNone}; !slices.Equal(order, want) {
		t.Errorf("told %v, want %v", order, want)
	}
}

// flooded returns a guard that has just paused.
func flooded(t *testing.T, cfg FloodGuardConfig, at time.Time) *floodGuard {
	t.Helper()
	cfg.Mode = FloodGuardPause
	g := newFloodGuard(cfg.withDefaults(), "dlq-orders")
	for i := range g.cfg.Letters {
		withheld, changes := g.letter(int64(i), at), changesOf(g)
		if last := i == g.cfg.Letters-1; withheld != last || (len(changes) == 1) != last {
			t.Fatalf("letter %d: withheld %t, told %v", i, withheld, changes)
		}
	}
	return g
}

// beginProbe asks for one at that time.
func beginProbe(t *testing.T, g *floodGuard, at time.Time) (round int) {
	t.Helper()
	may, round, _, wait := g.ask(at)
	if !may || round == 0 {
		t.Fatalf("no probe may begin, wait %v", wait)
	}
	return round
}

func TestPausesDoubleUntilProbesGoWell(t *testing.T) {
	at := time.Now()
	g := flooded(t, FloodGuardConfig{}, at)
	for _, pause := range []time.Duration{
		30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, floodPauseMax, floodPauseMax, floodPauseMax,
	} {
		if withheld, changes := g.letter(100, at), changesOf(g); !withheld || len(changes) > 0 {
			t.Errorf("a letter in a pause: withheld %t, told %v", withheld, changes)
		}
		if may, _, _, wait := g.ask(at.Add(pause - 1)); may || wait != 1 {
			t.Fatalf("a nanosecond before a pause of %v is over: may begin: %t, wait %v", pause, may, wait)
		}
		at = at.Add(pause)
		rounds := []int{beginProbe(t, g, at), beginProbe(t, g, at), beginProbe(t, g, at)}
		changesOf(g)
		for i, round := range rounds {
			g.probed(round, false, true, at)
			if changes := changesOf(g); (len(changes) == 1) != (i == 2) {
				t.Fatalf("failed probe %d: told %v; three of five decide", i+1, changes)
			}
		}
	}
	at = at.Add(floodPauseMax)
	for range 3 {
		g.probed(beginProbe(t, g, at), true, false, at)
	}
	if changes := changesOf(g); len(changes) != 2 || changes[1].State != FloodNone || g.closed.Load() {
		t.Errorf("three of five went well, and the guard says %+v", changes)
	}
	// The next one comes at once, so that nothing was mended; one that comes late is another.
	for i := range g.cfg.Letters {
		g.letter(int64(i), at)
	}
	if g.state != FloodPaused || g.flood.Pause != floodPauseMax {
		t.Errorf("a flood right after a pause: %s for %v, want a pause of %v", g.state, g.flood.Pause, floodPauseMax)
	}
	at = at.Add(floodPauseMax)
	for range 3 {
		g.probed(beginProbe(t, g, at), true, false, at)
	}
	at = at.Add(g.cfg.Window + 1)
	for i := range g.cfg.Letters {
		g.letter(int64(i), at)
	}
	if g.state != FloodPaused || g.flood.Pause != g.cfg.Pause {
		t.Errorf("a flood long after a pause: %s for %v, want a pause of %v", g.state, g.flood.Pause, g.cfg.Pause)
	}
}

func TestALongFirstPauseDoesNotGrow(t *testing.T) {
	g := flooded(t, FloodGuardConfig{Pause: time.Hour}, time.Now())
	if g.pause(time.Now()); g.flood.Pause != time.Hour {
		t.Errorf("the second pause lasts %v, want an hour", g.flood.Pause)
	}
}

// Five at a time; those that hang don't keep the others from deciding, and what they say in the end is about an earlier time.
func TestProbesAreFewAndTheFirstOnesDecide(t *testing.T) {
	at := time.Now()
	g := flooded(t, FloodGuardConfig{}, at)
	at = at.Add(g.cfg.Pause)
	var rounds []int
	for range floodProbes {
		rounds = append(rounds, beginProbe(t, g, at))
	}
	changesOf(g)
	may, _, changed, wait := g.ask(at)
	if may || wait != 0 {
		t.Errorf("a sixth probe may begin: %t; wait %v", may, wait)
	}
	g.probed(rounds[0], false, false, at) // its partition was taken away
	select {
	case <-changed:
	default:
		t.Error("a probe has ended, and nobody is told")
	}
	rounds[0] = beginProbe(t, g, at)
	g.probed(rounds[0], true, false, at)
	g.probed(rounds[1], true, false, at)
	if changes := changesOf(g); len(changes) > 0 {
		t.Errorf("two probes decide: %+v", changes)
	}
	g.probed(rounds[2], true, false, at)
	if changes := changesOf(g); len(changes) != 1 || changes[0].State != FloodNone {
		t.Errorf("three went well, two hang: %+v", changes)
	}
	for i := range g.cfg.Letters {
		g.letter(int64(i), at)
	}
	at = at.Add(g.flood.Pause)
	round := beginProbe(t, g, at)
	g.probed(rounds[3], false, true, at)
	g.probed(rounds[4], false, true, at)
	if g.failed != 0 || g.begun != 1 {
		t.Errorf("probes of an earlier round count: %d under way, %d failed", g.begun, g.failed)
	}
	g.probed(round, true, false, at)
	if g.state != FloodProbing {
		t.Errorf("one probe decides: %s", g.state)
	}
}

func TestAWarningEndsWithoutAnotherLetter(t *testing.T) {
	at := time.Now()
	for _, test := range []struct {
		what    string
		settled int64
		after   time.Duration
		over    bool
	}{
		{"nothing happens", 20, time.Minute, false},
		{"a few go well", 39, time.Minute, false},
		{"as many go well", 40, time.Minute, true},
		{"nothing happens for long", 20, 11 * time.Minute, true},
	} {
		g := guardOf(FloodGuardWarn)
		for i := range g.cfg.Letters {
			g.letter(int64(i), at)
		}
		g.lookAgain(test.settled, at.Add(test.after))
		if changes := changesOf(g); (changes[len(changes)-1].State == FloodNone) != test.over {
			t.Errorf("%s: %+v, want the end: %t", test.what, changes, test.over)
		}
	}
}

// A topic may be quiet after an outage, and a member's partitions may be others' by then.
func TestAPauseEndsWithoutRecordsToTry(t *testing.T) {
	at := time.Now()
	g := flooded(t, FloodGuardConfig{}, at)
	look := func(after time.Duration, want FloodState) {
		t.Helper()
		at = at.Add(after)
		if g.lookAgain(20, at); g.state != want {
			t.Errorf("%q, want %q", g.state, want)
		}
	}
	look(g.cfg.Pause-1, FloodPaused)
	look(1, FloodProbing)
	round := beginProbe(t, g, at)
	look(2*g.cfg.Window, FloodProbing) // it may yet fail
	g.probed(round, true, false, at)
	look(0, FloodNone)
	if g.closed.Load() {
		t.Error("the guard is closed")
	}
}

func TestNothingIsGuardedWithoutLetters(t *testing.T) {
	if guardOf(FloodGuardOff) != nil || newFloodGuard(FloodGuardConfig{Mode: FloodGuardPause}.withDefaults(), "") != nil {
		t.Error("there is a guard")
	}
}
