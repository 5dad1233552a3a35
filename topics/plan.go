package topics

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// Plan says of each topic what would be done, or was done, and why. Print it, or encode it as JSON.
type Plan struct {
	Mode    Mode     `json:"mode"`    // that it was made in
	Cluster string   `json:"cluster"` // the cluster's id
	Brokers int      `json:"brokers"` // how many there are
	Applied bool     `json:"applied"` // done, not only planned
	Topics  []Change `json:"topics"`  // in the list's order
}

// Action is what is done with a topic as a whole.
type Action string

const (
	// ActionNone: nothing is done. The topic is as declared, or the mode keeps its differences, or it has an error.
	ActionNone Action = "none"
	// ActionCreate: the topic is missing and is made.
	ActionCreate Action = "create"
	// ActionAlter: settings are set or partitions added.
	ActionAlter Action = "alter"
)

// Change is what a plan says of one topic.
type Change struct {
	Topic  string `json:"topic"`  // its name
	Action Action `json:"action"` // what is done with it
	// Partitions, ReplicationFactor and Config are what the topic has, or will be made with. 0 means the brokers' default.
	// Of an existing topic, Config has the declared keys alone.
	Partitions        int32             `json:"partitions,omitempty"`
	ReplicationFactor int16             `json:"replicationFactor,omitempty"` // see Partitions
	Config            map[string]string `json:"config,omitempty"`            // see Partitions
	// DeadLettersOf names the topics that a derived topic takes the dead letters of.
	DeadLettersOf []string     `json:"deadLettersOf,omitempty"`
	Differences   []Difference `json:"differences,omitempty"` // in what an existing topic is not as declared
	Warnings      []string     `json:"warnings,omitempty"`    // what works and is hardly meant
	// Err is why the topic is not, or can't be made, what the mode asks for.
	Err error `json:"-"` // as "error", a text

	declared Topic
	exists   bool
	hidden   bool
	made     *found // what a creation was answered with
}

// Verdict is what becomes of a difference.
type Verdict string

const (
	// VerdictChanged: the cluster is changed to what is declared.
	VerdictChanged Verdict = "changed"
	// VerdictKept: the mode leaves it.
	VerdictKept Verdict = "kept"
	// VerdictRefused: it is an error.
	VerdictRefused Verdict = "refused"
	// VerdictUnknown: permissions don't let it be compared, and the mode puts up with that.
	VerdictUnknown Verdict = "unknown"
)

// Difference is one point in which an existing topic is not what the list says.
type Difference struct {
	What     string  `json:"what"`               // "partitions", "replication factor", a setting's name; "settings" or "topic" if unknown
	Cluster  string  `json:"cluster,omitempty"`  // what the cluster has
	Declared string  `json:"declared,omitempty"` // what the list says
	Verdict  Verdict `json:"verdict"`            // what becomes of it
	Why      string  `json:"why,omitempty"`      // the reason, unless it is changed

	err error
}

// Pending says that the cluster is not what the list says: something is to be created or altered, or differs and is kept.
// After [List.Apply], what it has done is not pending any more. What can't be compared does not count.
func (p *Plan) Pending() bool {
	return slices.ContainsFunc(p.Topics, func(c Change) bool {
		return !p.Applied && c.Action != ActionNone ||
			slices.ContainsFunc(c.Differences, func(d Difference) bool { return d.Verdict == VerdictKept })
	})
}

// Err joins an error for each topic that has one, with its name, and is nil if none has.
func (p *Plan) Err() error {
	var all []error
	for _, c := range p.Topics {
		if c.Err != nil {
			all = append(all, fmt.Errorf("topics: %s: %w", c.Topic, c.Err))
		}
	}
	return errors.Join(all...)
}

// MarshalJSON adds "error".
func (c Change) MarshalJSON() ([]byte, error) {
	type plain Change
	text := ""
	if c.Err != nil {
		text = c.Err.Error()
	}
	return json.Marshal(struct {
		plain
		Error string `json:"error,omitempty"`
	}{plain(c), text})
}

// String is a table for people: a line for each topic that is not as declared, with what is done about it, and a summary.
func (p *Plan) String() string {
	if p.Mode == Off {
		return "mode off: nobody was asked\n"
	}
	var b strings.Builder
	planned := "planned"
	if p.Applied {
		planned = "applied"
	}
	fmt.Fprintf(&b, "cluster %s, brokers: %d, mode %s, %s\n", p.Cluster, p.Brokers, p.Mode, planned)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	counts := map[string]int{}
	for _, c := range p.Topics {
		sign, word, lines := c.lines()
		counts[word]++
		for i, line := range lines {
			name := c.Topic
			if i > 0 {
				sign, name, word = "", "", ""
			}
			fmt.Fprintf(table, "%s\t%s\t%s", sign, name, word)
			if line != "" {
				fmt.Fprintf(table, "\t%s", line)
			}
			fmt.Fprintln(table)
		}
	}
	_ = table.Flush() // to a strings.Builder, which takes all
	summary := []string{}
	for _, word := range []string{wordCreate, wordAlter, wordDiffers, wordUnverified, wordError, wordSame} {
		if counts[word] > 0 {
			summary = append(summary, fmt.Sprintf("%s: %d", word, counts[word]))
		}
	}
	b.WriteString(cmp.Or(strings.Join(summary, ", "), "no topics") + "\n")
	return b.String()
}

// The words of the table.
const (
	wordCreate     = "create"
	wordAlter      = "alter"
	wordDiffers    = "differs"
	wordUnverified = "not verified"
	wordError      = "error"
	wordSame       = "in sync"
)

// lines returns what the table says of a topic; the first line stands beside its name.
func (c Change) lines() (sign, word string, lines []string) {
	sign, word = "=", wordSame
	switch {
	case c.Err != nil:
		sign, word = "!", wordError
	case c.Action == ActionCreate:
		sign, word = "+", wordCreate
	case c.Action == ActionAlter:
		sign, word = "~", wordAlter
	case slices.ContainsFunc(c.Differences, func(d Difference) bool { return d.Verdict == VerdictKept }):
		sign, word = "*", wordDiffers
	case len(c.Differences) > 0:
		sign, word = "?", wordUnverified
	}
	if c.Action == ActionCreate {
		lines = append(lines, c.spec())
	}
	for _, d := range c.Differences {
		lines = append(lines, d.line())
	}
	if c.Err != nil && c.refusals() == nil {
		lines = append(lines, strings.ReplaceAll(c.Err.Error(), "\n", "; "))
	}
	for _, warning := range c.Warnings {
		lines = append(lines, "warning: "+warning)
	}
	if len(lines) == 0 {
		lines = []string{""}
	}
	return sign, word, lines
}

func (d Difference) line() string {
	switch d.Verdict {
	case VerdictChanged:
		return fmt.Sprintf("%s: %s -> %s", d.What, d.Cluster, d.Declared)
	case VerdictUnknown:
		return fmt.Sprintf("%s: %s", d.What, d.Why)
	case VerdictRefused:
		if d.err != nil {
			return fmt.Sprintf("%s: %s", d.What, d.Why)
		}
	}
	return fmt.Sprintf("%s: %s on the cluster, %s declared (%s: %s)", d.What, d.Cluster, d.Declared, d.Verdict, d.Why)
}

// spec is what a topic is made with, on one line.
func (c Change) spec() string {
	spec := []string{"partitions=" + orDefault(c.Partitions), "replication.factor=" + orDefault(c.ReplicationFactor)}
	for _, key := range slices.Sorted(maps.Keys(c.Config)) {
		spec = append(spec, key+"="+c.Config[key])
	}
	text := strings.Join(spec, " ")
	if len(c.DeadLettersOf) > 0 {
		text += " (dead letters of " + strings.Join(c.DeadLettersOf, ", ") + ")"
	}
	return text
}

func orDefault[N int16 | int32](n N) string {
	if n <= 0 {
		return "default"
	}
	return fmt.Sprint(n)
}

// texts returns the lines of the differences with a verdict.
func (c Change) texts(verdict Verdict) (texts []string) {
	for _, d := range c.Differences {
		if d.Verdict == verdict {
			texts = append(texts, d.line())
		}
	}
	return texts
}
