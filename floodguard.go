package kafka

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// This file judges whether so many records go to the dead letter topic that not they are to blame, and what the consumer may do
// then. It knows no partitions: heldback.go does what it says.

// FloodState is what the flood guard makes of the dead letters.
type FloodState string

const (
	FloodNone    FloodState = ""        // no flood
	FloodWarned  FloodState = "warned"  // a flood, and records are handled all the same
	FloodPaused  FloodState = "paused"  // no attempt begins until the pause is over
	FloodProbing FloodState = "probing" // the pause is over: a few records are tried at a time
)

// Flood is what the flood guard says when its state changes.
type Flood struct {
	State   FloodState    // from now on
	Letters int           // of the latest Records, as many were given up when the flood was noticed
	Records int           // see Letters
	Pause   time.Duration // how long it lasts; only when it begins
}

const (
	floodProbes   = 5                // tried at a time while it is not known whether it helps; fewer once some have failed
	floodPauseMax = 10 * time.Minute // to what pauses grow, unless the first is longer: who has mended the cause waits for no longer
)

// floodGuard counts dead letters. One letter alone says nothing, so that it remembers the latest of them, and how many records had
// been settled before each: when they are Share of all that was settled meanwhile, and that was within Window, it is a flood.
// Nothing is done for a record that goes well, but to look at closed.
type floodGuard struct {
	cfg    FloodGuardConfig
	closed atomic.Bool // paused or probing: ask before each attempt

	mu      sync.Mutex
	state   FloodState
	latest  []letterMark  // cfg.Letters at most, the oldest first
	flood   Flood         // as it was noticed
	since   time.Time     // when the state began
	pauses  int           // one after another
	round   int           // of probes
	begun   int           // probes of this round under way
	passed  int           // probes of this round that went well
	failed  int           // and those that did not
	changed chan struct{} // closed and replaced when a probe may begin, or all
	untold  []Flood       // changes that nobody was told of yet
	telling bool          // somebody tells them
}

type letterMark struct {
	at      time.Time
	settled int64 // how many records were, in all
}

// newFloodGuard returns nil if there is nothing to guard.
func newFloodGuard(cfg FloodGuardConfig, dlqTopic string) *floodGuard {
	if cfg.Mode == FloodGuardOff || dlqTopic == "" {
		return nil
	}
	return &floodGuard{cfg: cfg, changed: make(chan struct{})}
}

// letter is told of each record that is given up. If withheld, its letter is not to be written: the record is tried again when the
// guard lets it.
func (g *floodGuard) letter(settled int64, now time.Time) (withheld bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed.Load() {
		return true // it was in hand when the pause began
	}
	if len(g.latest) == g.cfg.Letters {
		g.latest = append(g.latest[:0], g.latest[1:]...)
	}
	g.latest = append(g.latest, letterMark{now, settled})
	g.judge(settled, now)
	return g.closed.Load()
}

// lookAgain is for floods that end without another letter, and without enough records to try.
func (g *floodGuard) lookAgain(settled int64, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	lasting := now.Sub(g.since)
	switch {
	case g.state == FloodWarned:
		g.judge(settled, now)
	case g.state == FloodPaused && lasting >= g.flood.Pause:
		g.beginProbing(now)
	case g.state == FloodProbing && lasting > g.cfg.Window && g.begun == 0:
		g.open(now) // the topic is quiet, or its partitions are other members' now
	}
}

// judge is called with g.mu held, and open.
func (g *floodGuard) judge(settled int64, now time.Time) {
	flood := len(g.latest) == g.cfg.Letters && now.Sub(g.latest[0].at) <= g.cfg.Window
	records := g.cfg.Letters
	if flood { // workers count their records after they have asked about the letter
		records = max(records, int(settled-g.latest[0].settled)+1)
		flood = float64(g.cfg.Letters) >= g.cfg.Share*float64(records)
	}
	switch {
	case flood && g.cfg.Mode == FloodGuardPause:
		g.flood = Flood{Letters: g.cfg.Letters, Records: records}
		if now.Sub(g.since) > g.cfg.Window {
			g.pauses = 0 // the last one has helped
		}
		g.pause(now)
	case flood && g.state == FloodNone:
		g.flood = Flood{Letters: g.cfg.Letters, Records: records}
		g.become(FloodWarned, now)
	case !flood && g.state == FloodWarned:
		g.become(FloodNone, now)
	}
}

// pause begins one that is twice as long as the one before. The caller holds g.mu.
func (g *floodGuard) pause(now time.Time) {
	g.latest = nil // what is given up later is counted anew
	g.flood.Pause = max(g.cfg.Pause, floodPauseMax)
	if g.cfg.Pause <= g.flood.Pause>>g.pauses {
		g.flood.Pause = g.cfg.Pause << g.pauses
	}
	g.pauses++
	g.closed.Store(true)
	g.become(FloodPaused, now)
}

// beginProbing is called with g.mu held.
func (g *floodGuard) beginProbing(now time.Time) {
	g.round++
	g.begun, g.passed, g.failed = 0, 0, 0
	g.become(FloodProbing, now)
}

// open lets everything go on. The caller holds g.mu.
func (g *floodGuard) open(now time.Time) {
	g.closed.Store(false)
	g.become(FloodNone, now)
	g.callWaiting()
}

// callWaiting is called with g.mu held.
func (g *floodGuard) callWaiting() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// become is called with g.mu held.
func (g *floodGuard) become(state FloodState, now time.Time) {
	g.state, g.since = state, now
	change := g.flood
	change.State = state
	if state != FloodPaused {
		change.Pause = 0
	}
	g.untold = append(g.untold, change)
}

// tell calls each for what nobody was told of yet, in the order in which it came, and under no lock. Who comes while another one tells
// leaves it to that one.
func (g *floodGuard) tell(each func(Flood)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.telling {
		return
	}
	g.telling = true
	for len(g.untold) > 0 {
		change := g.untold[0]
		g.untold = g.untold[1:]
		g.mu.Unlock()
		each(change)
		g.mu.Lock()
	}
	g.telling = false
}

// ask tells whether an attempt may begin: as a probe, if round is not 0. Otherwise it is to ask again when changed is closed, or
// after a wait, if that is not 0.
func (g *floodGuard) ask(now time.Time) (may bool, round int, changed <-chan struct{}, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == FloodPaused {
		if wait = g.since.Add(g.flood.Pause).Sub(now); wait > 0 {
			return false, 0, g.changed, wait
		}
		g.beginProbing(now)
	}
	if g.state != FloodProbing {
		return true, 0, nil, 0
	}
	if g.begun+g.failed >= floodProbes { // each may cost a letter
		return false, 0, g.changed, 0
	}
	g.begun++
	return true, g.round, nil, 0
}

// probed is told how a probe ended; one that has ended as neither says nothing. The first probes that decide do so, since one may hang.
func (g *floodGuard) probed(round int, passed, failed bool, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != FloodProbing || round != g.round {
		return // an earlier one's
	}
	g.begun--
	if passed {
		g.passed++
	}
	if failed {
		g.failed++
	}
	most := int(math.Ceil(g.cfg.Share * floodProbes)) // so many failures are a flood
	switch {
	case g.failed >= most:
		g.pause(now)
	case g.passed > floodProbes-most:
		g.open(now)
		return
	}
	g.callWaiting()
}

// health returns the state, what is wrong and why nothing is done; "" for nothing. A nil guard has nothing to say.
func (g *floodGuard) health() (state FloodState, problem string) {
	if g == nil {
		return FloodNone, ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	since := g.since.UTC().Format(time.RFC3339)
	switch g.state {
	case FloodWarned:
		problem = fmt.Sprintf("flood of dead letters since %s: %d of %d records", since, g.flood.Letters, g.flood.Records)
	case FloodPaused:
		problem = fmt.Sprintf("paused at %s for %v by a flood of dead letters: %d of %d records", since, g.flood.Pause, g.flood.Letters, g.flood.Records)
	case FloodProbing:
		problem = fmt.Sprintf("a flood of dead letters, %d of %d records: a few are tried at a time since %s", g.flood.Letters, g.flood.Records, since)
	}
	return g.state, problem
}
