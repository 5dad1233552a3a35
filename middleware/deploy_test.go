package middleware_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// elsewhere are metrics that other programs have.
var elsewhere = map[string]bool{"kafka_exporter": true, "kafka_consumergroup_lag": true}

// A dashboard that asks for a name that is not there shows nothing, and an alert never fires.
func TestDashboardAndAlertsAskForWhatIsThere(t *testing.T) {
	t.Parallel()
	all := newService(t).everything(t)
	values := map[string]map[string]bool{ // what these labels can be
		"outcome": set("ok", "retried", "business", "dead_lettered", "left"), "event": set("assigned", "revoked", "lost"),
	}
	labels := map[string]bool{"client": true, "client_id": true}
	for _, family := range all {
		for _, metric := range family.Metric {
			for _, label := range metric.Label {
				labels[label.GetName()] = true
			}
		}
	}
	word := regexp.MustCompile(`\b(?:messaging|kafka)_[a-z0-9_]+`)
	matcher := regexp.MustCompile(`\b(outcome|event|error_type)\s*(?:=|!=|=~|!~)\s*\\?["']([^"'\\]*)`)
	for _, path := range []string{"../deploy/grafana/kafka.json", "../deploy/prometheus/alerts.yaml", "../deploy/prometheus/alerts_test.yaml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		asked := map[string]bool{}
		for _, name := range word.FindAllString(string(text), -1) {
			asked[name] = true
		}
		for name := range asked {
			if !labels[name] && !there(all, name) && !onlyInTrouble[name] && !elsewhere[name] {
				t.Errorf("%s asks for %s, which no service has", path, name)
			}
		}
		for _, match := range matcher.FindAllStringSubmatch(string(text), -1) {
			for value := range strings.SplitSeq(match[2], "|") {
				if known := values[match[1]]; known != nil && value != "" && !known[value] {
					t.Errorf("%s asks for %s=%q", path, match[1], value)
				}
			}
		}
		if len(asked) < 15 {
			t.Errorf("%s asks for %d names only: is it read?", path, len(asked))
		}
	}
}

// there tells whether a metric, or a part of a histogram, has that name.
func there(all map[string]*dto.MetricFamily, name string) bool {
	if all[name] != nil {
		return true
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		base, ok := strings.CutSuffix(name, part)
		if ok && (all[base].GetType() == dto.MetricType_HISTOGRAM && all[base] != nil || onlyInTrouble[base]) {
			return true
		}
	}
	return false
}

func TestTheDashboardCanBeImported(t *testing.T) {
	text, err := os.ReadFile("../deploy/grafana/kafka.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title         string
		UID           string
		SchemaVersion int
		Panels        []struct {
			ID          int
			Type        string
			Title       string
			Description string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, panel := range board.Panels {
		if ids[panel.ID] {
			t.Errorf("panel %q has the id of another", panel.Title)
		}
		ids[panel.ID] = true
		if panel.Type == "row" {
			continue
		}
		if panel.Description == "" || len(panel.Targets) == 0 {
			t.Errorf("panel %q says nothing, or asks for nothing", panel.Title)
		}
	}
	if board.Title == "" || board.UID == "" || board.SchemaVersion == 0 || len(ids) < 20 {
		t.Errorf("%q, %q, version %d, %d panels", board.Title, board.UID, board.SchemaVersion, len(ids))
	}
}

func set(values ...string) map[string]bool {
	s := map[string]bool{}
	for _, value := range values {
		s[value] = true
	}
	return s
}
