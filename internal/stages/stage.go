package main

import (
	"regexp"
	"strings"
	"time"
)

// mode is how much of the table runs.
type mode string

const (
	modeCI    mode = "ci"    // what a change must pass; a part of what is large, and a deadline
	modeProve mode = "prove" // everything, whole; hours
)

// need is what a stage cannot run without.
type need string

const (
	needNothing  need = ""
	needClusters need = "clusters" // of our own, which a test may break; see brokers.go
	needBroker   need = "broker"   // our clusters, or else Docker or KAFKA_BROKERS
	needDocker   need = "Docker"
	needPromtool need = "promtool"
)

// stage is a row of the table: commands that run one after another until one fails.
type stage struct {
	name     string
	estimate time.Duration // on a quiet machine with two cores, once everything is compiled
	optional bool          // the runner skips or stops it when time runs short
	needs    need
	commands []command

	// once marks a stage whose time says little about the machine's speed: it is long the first time, and short when its
	// results are cached.
	once bool
	// key matches the lines of the output that go into the summary of a long run.
	key *regexp.Regexp
	// unavailable matches the output of a failure that another party caused: the stage counts as skipped.
	unavailable *regexp.Regexp
}

// command is one process of a stage.
type command struct {
	args  []string
	env   []string      // added to the runner's own, and shown
	limit time.Duration // after which the command fails; 0: the command limits itself
}

// run returns a command whose arguments hold no spaces.
func run(line string, more ...string) command {
	return command{args: append(strings.Fields(line), more...)}
}

// limited returns c with a limit.
func (c command) limited(d time.Duration) command { c.limit = d; return c }

// with returns c with an environment variable.
func (c command) with(variable string) command { c.env = append(c.env, variable); return c }

// String is the command as a shell takes it.
func (c command) String() string {
	var words []string
	for _, variable := range c.env {
		name, value, _ := strings.Cut(variable, "=")
		words = append(words, name+"="+quote(value))
	}
	for _, argument := range c.args {
		words = append(words, quote(argument))
	}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

func quote(word string) string {
	if plainWord.MatchString(word) || word == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// state is how a stage ended.
type state string

const (
	passed      state = "passed"
	failed      state = "failed"
	skipped     state = "skipped"
	cutShort    state = "cut short" // stopped at the deadline; what had run had not failed
	interrupted state = "interrupted"
)

// result is what a run of a stage led to.
type result struct {
	Name    string   `json:"name"`
	State   state    `json:"state"`
	Why     string   `json:"why,omitempty"` // unless it passed
	Seconds float64  `json:"seconds"`
	Commit  string   `json:"commit"`
	Keys    []string `json:"keys,omitempty"`
	Digest  string   `json:"digest,omitempty"` // of a failure: the last lines that say what failed
}

func (r result) took() time.Duration { return time.Duration(r.Seconds * float64(time.Second)) }
