package topics

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/skeji/kafka"
)

const partitionsWord = "partitions"

// found is what the cluster says of a topic.
type found struct {
	exists     bool
	hidden     bool // it may not be seen: whether it exists is not known
	partitions int32
	replicas   int16
	leaderless []int32           // partitions
	config     map[string]string // the settings in force, those that were asked for
	configErr  error             // why there are none
	err        error             // anything else
}

// judge says what becomes of a topic in a mode. It alone decides; whoever calls it only carries out.
func judge(t Topic, f found, mode Mode) Change {
	c := judged(t, f)
	switch {
	case f.err != nil:
		return c.failed(f.err)
	case f.hidden && mode == Check:
		return c.failed(fmt.Errorf("can't be checked: DESCRIBE is not granted: %w", kafka.ErrAuthorization))
	case f.hidden:
		c.Action, c.hidden = ActionCreate, true // the broker knows whether it exists
	case !f.exists && mode == Check:
		return c.failed(fmt.Errorf("%w: mode check makes none", kafka.ErrTopicMissing))
	case !f.exists:
		c.Action = ActionCreate
	default:
		c.Partitions, c.ReplicationFactor = f.partitions, f.replicas
		c.compare(t, f, mode)
		c.conclude()
	}
	c.warn()
	return c
}

// judged is a change of nothing yet.
func judged(t Topic, f found) Change {
	return Change{
		Topic: t.Name, Action: ActionNone, DeadLettersOf: t.lettersOf, Partitions: t.Partitions,
		ReplicationFactor: t.ReplicationFactor, Config: maps.Clone(t.Config), declared: t, exists: f.exists,
	}
}

// compare notes each difference and what the mode makes of it.
func (c *Change) compare(t Topic, f found, mode Mode) {
	note := func(what string, has, wanted any, mend string) { // mend is why it can't be mended; "" if it can
		d := Difference{What: what, Cluster: fmt.Sprint(has), Declared: fmt.Sprint(wanted), Verdict: VerdictKept, Why: mend}
		switch {
		case mode == Check:
			d.Verdict, d.Why = VerdictRefused, "mode check changes nothing"
		case mode == Create:
			d.Why = "mode create alters no topic"
		case mend == "":
			d.Verdict = VerdictChanged
		default:
			d.Verdict = VerdictRefused
		}
		c.Differences = append(c.Differences, d)
	}

	derived := t.lettersOf != nil // then any number of partitions and replicas will do
	switch has := f.partitions; {
	case derived || t.Partitions == 0 || has == t.Partitions:
	case has > t.Partitions:
		note(partitionsWord, has, t.Partitions, fmt.Sprintf("Kafka can't take partitions away: declare %d", has))
	case t.AllowGrow:
		note(partitionsWord, has, t.Partitions, "")
	default:
		note(partitionsWord, has, t.Partitions,
			fmt.Sprintf("more partitions move keys and break their order: set allowGrow to accept that, or declare %d", has))
	}
	if !derived && t.ReplicationFactor != 0 && f.replicas != t.ReplicationFactor {
		note("replication factor", f.replicas, t.ReplicationFactor,
			fmt.Sprintf("replicas are moved by a reassignment (kafka-reassign-partitions): do that, or declare %d; if one is under way, wait for its end", f.replicas))
	}
	if f.configErr != nil && len(t.Config) > 0 {
		cause := fmt.Errorf("not verified: %w", f.configErr)
		d := Difference{What: "settings", Verdict: VerdictUnknown, Why: cause.Error(), err: cause}
		if mode != Create {
			d.Verdict = VerdictRefused
		}
		c.Differences, c.Config = append(c.Differences, d), nil
		return
	}
	c.Config = make(map[string]string, len(t.Config))
	for _, key := range slices.Sorted(maps.Keys(t.Config)) {
		has, known := f.config[key]
		wanted := t.Config[key]
		switch {
		case !known:
			note(key, "unknown to the brokers", wanted, "")
			continue
		case !derived && !sameValue(has, wanted), derived && !suffices(key, has, wanted):
			note(key, cmp.Or(has, `""`), wanted, "")
		}
		c.Config[key] = has
	}
}

// conclude draws from the differences what is done, and what is wrong.
func (c *Change) conclude() {
	c.Action, c.Err = ActionNone, c.refusals()
	if slices.ContainsFunc(c.Differences, func(d Difference) bool { return d.Verdict == VerdictChanged }) {
		c.Action = ActionAlter
	}
}

// warn notes what works and is hardly meant.
func (c *Change) warn() {
	replicas := int64(c.ReplicationFactor)
	isr := number(cmp.Or(c.Config[minISRKey], c.declared.Config[minISRKey]), 0)
	c.Warnings = slices.DeleteFunc(c.Warnings, func(w string) bool { return strings.HasPrefix(w, minISRKey) }) // of less knowledge
	switch {
	case replicas > 0 && isr > replicas:
		c.Warnings = append(c.Warnings, fmt.Sprintf(
			"%s is %d and the replication factor %d: brokers then count the replicas there are", minISRKey, isr, replicas))
	case replicas > 1 && isr == replicas:
		c.Warnings = append(c.Warnings, fmt.Sprintf(
			"%s equals the replication factor, %d: one broker away stops all writes", minISRKey, isr))
	}
}

// unverified turns a creation into what it is when the topic turns out to exist and may not be seen.
func (c *Change) unverified(mode Mode) {
	cause := fmt.Errorf("exists, not verified: DESCRIBE is not granted: %w", kafka.ErrAuthorization)
	d := Difference{What: "topic", Verdict: VerdictUnknown, Why: cause.Error(), err: cause}
	if mode == Reconcile {
		d.Verdict = VerdictRefused
	}
	c.Differences = append(c.Differences, d)
	c.Partitions, c.ReplicationFactor, c.Config = 0, 0, nil // which are those declared
	c.conclude()
}

func (c Change) failed(err error) Change {
	c.Action, c.Err = ActionNone, err
	return c
}

// sameValue compares two texts as a broker means them. It prints numbers, booleans and lists in its own way.
func sameValue(a, b string) bool {
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if a == b || isBool(a) && strings.EqualFold(a, b) {
		return true
	}
	if x, err := strconv.ParseInt(a, 10, 64); err == nil {
		if y, err := strconv.ParseInt(b, 10, 64); err == nil {
			return x == y
		}
	}
	if decimal.MatchString(a) && decimal.MatchString(b) { // a double, as brokers keep it
		x, errX := strconv.ParseFloat(a, 64)
		y, errY := strconv.ParseFloat(b, 64)
		return errX == nil && errY == nil && x == y
	}
	return (strings.Contains(a, ",") || strings.Contains(b, ",")) && slices.Equal(items(a), items(b))
}

var decimal = regexp.MustCompile(`^[-+]?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$`)

func isBool(text string) bool {
	return strings.EqualFold(text, "true") || strings.EqualFold(text, "false")
}

// items returns a list's items, each once: brokers don't mind their order.
func items(list string) []string {
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return union(all, nil)
}

// refusals is what the mode does not put up with, on one line.
func (c Change) refusals() (all error) {
	for _, d := range c.Differences {
		if d.Verdict != VerdictRefused {
			continue
		}
		err := fmt.Errorf("%s: %s on the cluster, %s declared: %s", d.What, d.Cluster, d.Declared, d.Why)
		if d.err != nil {
			err = fmt.Errorf("%s: %w", d.What, d.err)
		}
		all = alongside(all, err)
	}
	return all
}

// alongside joins what is wrong with one topic, on one line.
func alongside(earlier, err error) error {
	if earlier == nil {
		return err
	}
	return fmt.Errorf("%w; %w", earlier, err)
}
