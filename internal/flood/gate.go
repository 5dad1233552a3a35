// Package flood thins out log lines that come by the thousand, and counts those that it keeps back.
package flood

import (
	"regexp"
	"strings"
	"sync"
	"time"
)

// What a gate lets through by default. A person reads no more than that, and nothing else needs it.
const (
	First = 100
	Every = 100
	Per   = time.Second
)

// maxKinds bounds what a gate remembers, should kinds be many after all.
const maxKinds = 100

// Gate lets the first lines of each kind through in each period, then every so many. Its fields are not to change once it
// is used. It is safe for concurrent use.
type Gate struct {
	First int           // lines of a kind that pass in each period
	Every int           // of those that come after them, one of so many passes; 0 for none
	Per   time.Duration // the period

	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	began    time.Time // of the period
	lines    int       // in the period
	withheld int       // since the last line that passed
}

// New returns a gate with the defaults.
func New() *Gate { return &Gate{First: First, Every: Every, Per: Per} }

// Quiet returns a gate for lines that repeat themselves: one of each kind passes in ten seconds.
func Quiet() *Gate { return &Gate{First: 1, Per: 10 * time.Second} }

// Allow is Pass for those who don't tell how many were kept back.
func (g *Gate) Allow(name string) bool {
	_, ok := g.Pass(name)
	return ok
}

// localAddress is a connection's own end in an error of package net. Its port is another one for each connection.
var localAddress = regexp.MustCompile(`\S+->`)

// Pass tells whether a line of this kind may be written, and how many were kept back before it. The name may be an error's text.
func (g *Gate) Pass(name string) (withheld int, ok bool) {
	now := time.Now()
	if strings.Contains(name, "->") {
		name = localAddress.ReplaceAllString(name, "")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	k := g.kinds[name]
	if k == nil {
		if g.kinds == nil || len(g.kinds) >= maxKinds {
			g.kinds = map[string]*kind{}
		}
		k = &kind{}
		g.kinds[name] = k
	}
	if now.Sub(k.began) >= g.Per {
		k.began, k.lines = now, 0
	}
	k.lines++
	over := k.lines - g.First
	if over > 0 && (g.Every <= 0 || over%g.Every != 0) {
		k.withheld++
		return 0, false
	}
	withheld, k.withheld = k.withheld, 0
	return withheld, true
}
