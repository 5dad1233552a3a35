package topics

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/skeji/kafka"
)

// defaultTimeout bounds a call whose context has no deadline: a service that can't have its topics had better say so.
const defaultTimeout = time.Minute

// Plan says what [List.Apply] would do in the mode, and changes nothing: the brokers are asked to validate what they would
// be asked to do, so that it shows permissions, wrong settings and names that collide with topics outside the list. The
// error is about the list or the cluster as a whole; [Plan.Err] has what is wrong with single topics. If ctx has no
// deadline, it takes at most a minute.
func (l List) Plan(ctx context.Context, client *kafka.Client, mode Mode) (*Plan, error) {
	return l.run(ctx, client, mode, true)
}

// Apply makes the cluster what the list says, as far as the mode allows, and returns when every broker knows a leader for
// every partition of the topics, those that it found as they should be too. One topic's failure does not stop the others;
// the error joins one for each, with its name, and errors.Is finds [kafka.ErrAuthorization] and, in mode check,
// [kafka.ErrTopicMissing] in it. The plan says what was done; it is nil only if nothing was tried. If ctx has no deadline,
// Apply takes at most a minute, which is also how long a partition that has lost its leader is waited for.
//
// It logs a line for each topic that it made or altered, and a warning for each that differs or could not be compared.
func (l List) Apply(ctx context.Context, client *kafka.Client, mode Mode) (*Plan, error) {
	plan, err := l.run(ctx, client, mode, false)
	if plan == nil {
		return nil, err
	}
	if client != nil { // mode off needs none
		plan.log(ctx, client.Logger())
	}
	return plan, plan.Err()
}

// run is both Plan and Apply.
func (l List) run(ctx context.Context, client *kafka.Client, mode Mode, dry bool) (*Plan, error) {
	mode, err := ParseMode(string(mode))
	if err != nil {
		return nil, err
	}
	if mode == Off {
		return &Plan{Mode: Off, Topics: []Change{}}, nil
	}
	wanted, err := l.merged()
	if err != nil {
		return nil, err
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	r := &run{
		admin: kadm.NewClient(client.KGO()), client: client, mode: mode, dry: dry, declared: wanted.byName(),
		known: map[string]found{}, changes: map[string]Change{}, carried: map[string][]Difference{}, looked: map[string]bool{},
	}
	cluster, err := r.admin.BrokerMetadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("topics: ask the cluster: %w", err)
	}
	r.settle(ctx, wanted)
	if !dry {
		r.awaitBrokers(ctx)
	}
	plan := &Plan{Mode: mode, Applied: !dry, Cluster: cluster.Cluster, Brokers: len(cluster.Brokers), Topics: []Change{}}
	for _, topic := range wanted {
		plan.Topics = append(plan.Topics, r.changes[topic.Name])
	}
	return plan, nil
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, defaultTimeout, fmt.Errorf("not done within %v", defaultTimeout))
}

// run is one call of Plan or Apply.
type run struct {
	admin    *kadm.Client
	client   *kafka.Client
	mode     Mode
	dry      bool // only ask the brokers to validate
	declared map[string]Topic

	known   map[string]found        // settled topics as they are now or, in a dry run, would be
	changes map[string]Change       // of every topic that was judged
	carried map[string][]Difference // what was changed before a topic had to be looked at again
	looked  map[string]bool         // topics whose missing sources were looked for a second time
}

// settle reads, judges and carries out, and does so again for the topics that another process changed meanwhile or that the
// brokers could not answer for, until there are none. A topic that is derived from others is due once they are settled: a
// topic that has to wait holds up nothing but what is derived from it.
func (r *run) settle(ctx context.Context, pending List) {
	for wait := newBackoff(); len(pending) > 0; {
		due := due(pending)
		again := r.round(ctx, due)
		pending = remaining(pending, due, again)
		if len(again) > 0 && !wait.sleep(ctx) {
			for _, topic := range pending {
				why := again[topic.Name]
				if why == nil {
					why = fmt.Errorf("waits for %v", topic.lettersOf)
				}
				r.changes[topic.Name] = judged(topic, found{}).failed(fmt.Errorf("%w: %w", context.Cause(ctx), why))
			}
			return
		}
	}
}

// due returns the topics whose sources are not pending; where all wait for each other, all of them.
func due(pending List) List {
	waiting := pending.byName()
	free := slices.DeleteFunc(slices.Clone(pending), func(t Topic) bool {
		return slices.ContainsFunc(t.lettersOf, func(source string) bool {
			_, waits := waiting[source]
			return waits
		})
	})
	if len(free) == 0 {
		return pending
	}
	return free
}

// remaining returns what is pending after a round of what was due.
func remaining(pending, due List, again map[string]error) List {
	tried := due.byName()
	return slices.DeleteFunc(slices.Clone(pending), func(t Topic) bool {
		_, was := tried[t.Name]
		return was && again[t.Name] == nil
	})
}

// round does what is due once, and returns why single topics have to be looked at again.
func (r *run) round(ctx context.Context, due List) (again map[string]error) {
	again = map[string]error{}
	state, err := r.survey(ctx, due)
	if err != nil {
		for _, topic := range due {
			r.changes[topic.Name] = judged(topic, found{}).failed(err)
		}
		return again
	}
	for _, topic := range due {
		var warnings []string
		if topic.lettersOf != nil {
			if why := r.unsure(topic, state); why != nil {
				again[topic.Name] = why
				continue
			}
			topic, warnings = topic.derive(state, r.declared)
		}
		c := judge(topic, state[topic.Name], r.mode)
		c.Warnings = append(c.Warnings, warnings...)
		if carried := r.carried[topic.Name]; carried != nil {
			c.Differences = append(slices.Clone(carried), c.Differences...)
			c.conclude()
		}
		if kerr.IsRetriable(c.Err) {
			again[topic.Name] = c.Err
		}
		r.changes[topic.Name] = c
	}
	r.carryOut(ctx, due, again)
	for _, topic := range due {
		if again[topic.Name] == nil {
			r.known[topic.Name] = r.changes[topic.Name].becomes(state[topic.Name])
		}
	}
	return again
}

// unsure returns why a derived topic's sources can't be judged by yet. A broker may not have heard of one that was just made.
func (r *run) unsure(topic Topic, state map[string]found) error {
	for _, source := range topic.lettersOf {
		f := state[source]
		if kerr.IsRetriable(f.err) {
			return f.err
		}
		if _, listed := r.declared[source]; !listed && !f.exists && !f.hidden && !r.looked[topic.Name] {
			r.looked[topic.Name] = true
			return fmt.Errorf("its source %s: %w", source, kafka.ErrTopicMissing)
		}
	}
	return nil
}

// survey reads what is there of the topics and of those that they derive from. What is known of a settled topic is newer than
// what some broker says.
func (r *run) survey(ctx context.Context, due List) (map[string]found, error) {
	letterKeys := []string{retentionKey, maxBytesKey}
	keys := map[string][]string{}
	for _, topic := range due {
		// Those of a source, too: another topic may derive from this one.
		keys[topic.Name] = union(keys[topic.Name], union(letterKeys, slices.Collect(maps.Keys(topic.Config))))
		if topic.lettersOf != nil {
			keys[topic.Name] = union(keys[topic.Name], []string{cleanupKey, minISRKey})
		}
		for _, source := range topic.lettersOf {
			keys[source] = union(keys[source], letterKeys)
		}
	}
	state, err := survey(ctx, r.client.KGO(), keys, r.declared)
	for name, known := range r.known {
		if _, asked := state[name]; asked && known.exists {
			state[name] = known
		}
	}
	return state, err
}

// becomes returns the topic as it is after the change. In a dry run, it is not yet.
func (c Change) becomes(f found) found {
	switch {
	case c.made != nil:
		return *c.made
	case c.Action != ActionAlter:
		return f
	}
	f.config = maps.Clone(f.config)
	for _, d := range c.Differences {
		switch {
		case d.Verdict != VerdictChanged:
		case d.What == partitionsWord:
			f.partitions = c.declared.Partitions
		default:
			f.config[d.What] = d.Declared
		}
	}
	return f
}

func (p *Plan) log(ctx context.Context, log *slog.Logger) {
	for _, c := range p.Topics {
		topic := slog.String("topic", c.Topic)
		switch {
		case c.Err != nil && c.Action == ActionNone: // which is returned
		case c.Action == ActionCreate:
			log.LogAttrs(ctx, slog.LevelInfo, "topic created", topic,
				slog.Int("partitions", int(c.Partitions)), slog.Int("replication_factor", int(c.ReplicationFactor)))
		case c.Action == ActionAlter:
			log.LogAttrs(ctx, slog.LevelInfo, "topic altered", topic, slog.Any("differences", c.texts(VerdictChanged)))
		}
		if kept := append(c.texts(VerdictKept), c.texts(VerdictUnknown)...); len(kept) > 0 {
			log.LogAttrs(ctx, slog.LevelWarn, "topic is not as declared, or can't be compared", topic, slog.Any("differences", kept))
		}
		for _, warning := range c.Warnings {
			log.LogAttrs(ctx, slog.LevelWarn, "topic is hardly as meant", topic, slog.String("warning", warning))
		}
	}
}
