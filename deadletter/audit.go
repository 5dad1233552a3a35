package deadletter

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// Audit says who changes a dead letter topic, and why. Both are logged, with what is done and how many letters it was,
// before anything is changed and after it.
type Audit struct {
	By     string       // who: a person, or a job. Default: the client's id
	Reason string       // why: a ticket, for example
	Logger *slog.Logger // where the lines go, at level Info, or Warn after a failure. Default: the client's logger
}

// line logs one line.
func (a Audit) line(ctx context.Context, client *kafka.Client, text, topic string, err error, attrs ...slog.Attr) {
	log := cmp.Or(a.Logger, client.Logger())
	id, _ := client.KGO().OptValue(kgo.ClientID).(string)
	all := []slog.Attr{slog.String("dlq_topic", topic), slog.String("by", cmp.Or(a.By, id)), slog.String("reason", a.Reason)}
	all = append(all, attrs...)
	level := slog.LevelInfo
	if err != nil {
		level = slog.LevelWarn
		all = append(all, slog.Any("error", err))
	}
	log.LogAttrs(context.WithoutCancel(ctx), level, text, all...)
}

// auditAttrs are what a run is to do.
func (o RedriveOptions) auditAttrs() []slog.Attr {
	attrs := []slog.Attr{slog.Any("filter", o.Filter)}
	if o.Only != nil {
		attrs = append(attrs, slog.Int64("selected", o.Only.count()))
	}
	if o.To != "" {
		attrs = append(attrs, slog.String("to", o.To))
	}
	if len(o.Destinations) > 0 {
		attrs = append(attrs, slog.String("destinations", strings.Join(o.Destinations, ",")))
	}
	if o.Group != "" {
		attrs = append(attrs, slog.String("for_group", o.Group))
	}
	if o.Max > 0 {
		attrs = append(attrs, slog.Int64("max", o.Max))
	}
	if o.Unsealed {
		attrs = append(attrs, slog.Bool("unsealed", true))
	}
	return append(attrs, slog.Bool("transactions", !o.NoTransactions))
}

// auditAttrs are what a run has done.
func (r Result) auditAttrs() []slog.Attr {
	return []slog.Attr{
		slog.Int64("sent", r.Sent), slog.Any("sent_to", r.Sources), slog.Any("sent_for", r.Groups), slog.Any("left", r.Left),
		slog.Int64("filtered", r.Filtered), slog.Int64("repeated_at_most", r.Repeated), slog.Int64("deleted", r.Deleted),
		slog.Bool("complete", r.Complete),
	}
}

// LogValue is the filter for a log line: what is set, without the key, which may be personal data.
func (f Filter) LogValue() slog.Value {
	var attrs []slog.Attr
	add := func(name, text string) {
		if text != "" {
			attrs = append(attrs, slog.String(name, text))
		}
	}
	add("classes", strings.Join(f.Classes, ","))
	add("sources", strings.Join(f.Sources, ","))
	add("groups", strings.Join(f.Groups, ","))
	if f.Key != "" {
		add("key", "(one)")
	}
	add("error", f.Error)
	for name, moment := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !moment.IsZero() {
			add(name, moment.UTC().Format(time.RFC3339Nano))
		}
	}
	if len(f.Partitions) > 0 {
		attrs = append(attrs, slog.Any("partitions", f.Partitions))
	}
	if f.FromOffset > 0 {
		attrs = append(attrs, slog.Int64("from_offset", f.FromOffset))
	}
	return slog.GroupValue(attrs...)
}
