package topics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

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
// every partition of the topics. One topic's failure does not stop the others; the error joins one for each, with its
// name, and errors.Is finds [kafka.ErrAuthorization] and, in mode check, [kafka.ErrTopicMissing] in it. The plan says what
// was done; it is nil only if nothing was tried. If ctx has no deadline, Apply takes at most a minute.
//
// It logs a line for each topic that it made or altered, and a warning for each that differs or could not be compared.
func (l List) Apply(ctx context.Context, client *kafka.Client, mode Mode) (*Plan, error) {
	plan, err := l.run(ctx, client, mode, false)
	if plan == nil {
		return nil, err
	}
	plan.log(ctx, client.Logger())
	return plan, errors.Join(plan.Err(), err)
}

// run is both Plan and Apply.
func (l List) run(ctx context.Context, client *kafka.Client, mode Mode, dry bool) (*Plan, error) {
	mode, err := ParseMode(string(mode))
	if err != nil {
		return nil, err
	}
	plan := &Plan{Mode: mode, Applied: !dry}
	if mode == Off {
		return plan, nil
	}
	wanted, err := l.merged()
	if err != nil {
		return nil, err
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	r := &run{
		admin: kadm.NewClient(client.KGO()), client: client, mode: mode, dry: dry,
		declared: wanted.byName(), made: map[string]found{}, changes: map[string]Change{},
	}
	cluster, err := r.admin.BrokerMetadata(ctx)
	if err != nil {
		return nil, fmt.Errorf("topics: ask the cluster: %w", err)
	}
	plan.Cluster, plan.Brokers = cluster.Cluster, len(cluster.Brokers)

	var plain, derived List
	for _, topic := range wanted {
		if topic.lettersOf == nil {
			plain = append(plain, topic)
		} else {
			derived = append(derived, topic) // after what they derive from
		}
	}
	err = r.settle(ctx, plain)
	if err == nil {
		err = r.settle(ctx, derived)
	}
	for _, topic := range wanted {
		if change, judged := r.changes[topic.Name]; judged {
			plan.Topics = append(plan.Topics, change)
		}
	}
	if err == nil && !dry {
		err = awaitLeaders(ctx, client.KGO(), plan.partitions())
	}
	return plan, err
}

func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, defaultTimeout, fmt.Errorf("topics: not done within %v", defaultTimeout))
}

// run is one call of Plan or Apply.
type run struct {
	admin    *kadm.Client
	client   *kafka.Client
	mode     Mode
	dry      bool // only ask the brokers to validate
	declared map[string]Topic
	made     map[string]found // what creations were answered with: brokers may not know of them yet
	changes  map[string]Change
}

// settle reads, judges and carries out, and does so again for the topics that another process changed meanwhile, until
// there are none.
func (r *run) settle(ctx context.Context, wanted List) error {
	for wait := newBackoff(); len(wanted) > 0; {
		state, err := r.survey(ctx, wanted)
		if err != nil {
			return err
		}
		for _, topic := range wanted {
			if topic.lettersOf != nil {
				topic = topic.derive(state, r.declared)
			}
			r.changes[topic.Name] = judge(topic, state[topic.Name], r.mode)
		}
		again, err := r.carryOut(ctx, wanted)
		if err != nil {
			return err
		}
		wanted = slices.DeleteFunc(slices.Clone(wanted), func(t Topic) bool { return again[t.Name] == nil })
		if len(wanted) > 0 && !wait.sleep(ctx) {
			for _, topic := range wanted {
				r.changes[topic.Name] = r.changes[topic.Name].failed(fmt.Errorf("%w: %w", context.Cause(ctx), again[topic.Name]))
			}
			return nil
		}
	}
	return nil
}

// survey reads what is there of the wanted topics and of those that they derive from.
func (r *run) survey(ctx context.Context, wanted List) (map[string]found, error) {
	keys := map[string][]string{}
	for _, topic := range wanted {
		keys[topic.Name] = union(keys[topic.Name], slices.Collect(maps.Keys(topic.Config)))
		if topic.lettersOf != nil {
			keys[topic.Name] = union(keys[topic.Name], []string{cleanupKey, retentionKey, maxBytesKey, minISRKey})
		}
		for _, source := range topic.lettersOf {
			keys[source] = union(keys[source], []string{retentionKey, maxBytesKey})
		}
	}
	state, err := survey(ctx, r.client.KGO(), keys)
	for name, made := range r.made {
		if f, asked := state[name]; asked && !f.exists {
			state[name] = made
		}
	}
	return state, err
}

// partitions returns how many partitions brokers must know, by topic.
func (p *Plan) partitions() map[string]int32 {
	all := map[string]int32{}
	for _, c := range p.Topics {
		if c.exists || c.Action == ActionCreate {
			all[c.Topic] = c.Partitions
		}
	}
	return all
}

func (p *Plan) log(ctx context.Context, log *slog.Logger) {
	for _, c := range p.Topics {
		topic := slog.String("topic", c.Topic)
		switch c.Action {
		case ActionCreate:
			log.LogAttrs(ctx, slog.LevelInfo, "topic created", topic,
				slog.Int("partitions", int(c.Partitions)), slog.Int("replication_factor", int(c.ReplicationFactor)))
		case ActionAlter:
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
