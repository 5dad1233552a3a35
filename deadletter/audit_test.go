package deadletter_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// A run that is bound to a dry run sends what that one showed, and nothing that came later or could not be sent then.
func TestARunIsBoundToWhatADryRunShowed(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1), set(letter(1, 2), deadletter.HeaderGroup, "not-yet"))
	shown := p.redrive(deadletter.RedriveOptions{DryRun: true})
	if shown.Sent != 2 || shown.Left[deadletter.LeftGroup] != 1 || shown.Selection == nil {
		t.Fatalf("%+v", shown)
	}
	p.write(letter(0, 3), letter(2, 4))
	p.join("not-yet")
	result := p.redrive(deadletter.RedriveOptions{Only: shown.Selection})
	if result.Sent != 2 || result.Filtered != 3 || result.Selection != nil {
		t.Errorf("%+v", result)
	}
	if got := p.sentValues(); !slices.Equal(got, []string{"0/0", "0/1"}) {
		t.Errorf("sent %q", got)
	}
	// A limit takes none in place of those that were sent meanwhile.
	shown = p.redrive(deadletter.RedriveOptions{DryRun: true, Max: 1})
	p.redrive(deadletter.RedriveOptions{Max: 1})
	if result := p.redrive(deadletter.RedriveOptions{Max: 1, Only: shown.Selection}); result.Sent != 0 {
		t.Errorf("another letter was sent than the one that was shown: %+v", result)
	}
}

// makeAgain deletes the dead letter topic, and makes it anew with these letters.
func (p *place) makeAgain() {
	p.t.Helper()
	admin := kadm.NewClient(p.raw)
	if _, err := admin.DeleteTopic(p.context(), dlq); err != nil {
		p.t.Fatal(err)
	}
	if _, err := admin.CreateTopic(p.context(), 3, 1, nil, dlq); err != nil {
		p.t.Fatal(err)
	}
	if err := p.dial().ProduceSync(p.context(), letter(0, 0), letter(0, 1)).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
}

// What was shown of a topic says nothing of one that was made again under its name.
func TestNothingIsDoneToATopicThatWasMadeAgain(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	shown := p.redrive(deadletter.RedriveOptions{DryRun: true})
	plan, err := deadletter.PlanPurge(p.context(), p.client, dlq, deadletter.PurgeOptions{})
	if err != nil || plan.Letters != 2 {
		t.Fatalf("%+v, %v", plan, err)
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	p.makeAgain()
	if _, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{Only: shown.Selection}); !errors.Is(err, kafka.ErrTopicMissing) {
		t.Errorf("redrive: %v", err)
	}
	if err := plan.Do(p.context(), p.client); !errors.Is(err, kafka.ErrTopicMissing) {
		t.Errorf("purge: %v", err)
	}
	var read deadletter.Purge
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if err := read.Do(p.context(), p.client); !errors.Is(err, kafka.ErrTopicMissing) {
		t.Errorf("purge that was read from JSON: %v", err)
	}
	if got := p.list(deadletter.Filter{}); len(got) != 2 {
		t.Errorf("pending %q, want both letters of the new topic", got)
	}
}

// Who changes a dead letter topic, why, and how much is a line before and one after; who only looks leaves none.
func TestChangesLeaveAnAuditLine(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	var log bytes.Buffer
	audit := deadletter.Audit{By: "alice", Reason: "INC-17\nforged", Logger: slog.New(slog.NewJSONHandler(&log, nil))}
	lines := func() (all []map[string]any) {
		for line := range strings.Lines(log.String()) {
			var one map[string]any
			if err := json.Unmarshal([]byte(line), &one); err != nil {
				t.Fatal(err)
			}
			all = append(all, one)
		}
		log.Reset()
		return all
	}
	filter := deadletter.Filter{Key: "key-0/0", Classes: []string{"transient"}}
	p.redrive(deadletter.RedriveOptions{Filter: filter, DryRun: true, Audit: audit})
	if got := lines(); len(got) != 0 {
		t.Errorf("a dry run: %v", got)
	}
	p.redrive(deadletter.RedriveOptions{Filter: filter, Audit: audit})
	got := lines()
	if len(got) != 2 {
		t.Fatalf("a redrive: %v", got)
	}
	for _, line := range got {
		if line["dlq_topic"] != dlq || line["by"] != "alice" || line["reason"] != audit.Reason {
			t.Errorf("%v", line)
		}
	}
	if got[0]["filter"] == nil || got[1]["sent"] != 1.0 || got[1]["filtered"] != 1.0 || got[1]["complete"] != true {
		t.Errorf("%v", got)
	}
	take := p.refuse(source, 0)
	_, _ = deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{Audit: audit})
	take()
	if got := lines(); len(got) != 2 || got[1]["error"] == nil || got[1]["sent"] != 0.0 || got[1]["level"] != "WARN" {
		t.Errorf("a redrive that failed: %v", got)
	}
	plan, err := deadletter.PlanPurge(p.context(), p.client, dlq, deadletter.PurgeOptions{Audit: audit})
	if err != nil || len(lines()) != 0 {
		t.Errorf("%+v, %v", plan, err)
	}
	if err := plan.Do(p.context(), p.client); err != nil {
		t.Fatal(err)
	}
	if got := lines(); len(got) != 2 || got[0]["by"] != "alice" || got[1]["letters"] != 2.0 || got[1]["pending"] != 1.0 {
		t.Errorf("a purge: %v", got)
	}
}

// A record's key may be personal data, which no log line has.
func TestAuditLinesHaveNoKeys(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0))
	var log bytes.Buffer
	p.redrive(deadletter.RedriveOptions{
		Filter: deadletter.Filter{Key: "key-0/0"}, Audit: deadletter.Audit{Logger: slog.New(slog.NewTextHandler(&log, nil))},
	})
	if strings.Contains(log.String(), "key-0/0") || !strings.Contains(log.String(), "key") {
		t.Errorf("%s", log.String())
	}
}
