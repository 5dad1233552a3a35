package topics

import (
	"strings"
	"testing"
	"time"
)

func TestValidateReportsEveryMistakeAtOnce(t *testing.T) {
	list := List{
		New("", 1),
		New("..", 1),
		New("or ders", 1),
		New(strings.Repeat("x", 250), 1),
		New("__consumer_offsets", 1),
		New("negative", -1).WithReplicationFactor(-3),
		New("units", 1).WithConfig("retention.ms", "7d").WithConfig("segment.bytes", "1e6").WithConfig(" spaces ", "x"),
		New("isr", 1).WithReplicationFactor(2).WithConfig("min.insync.replicas", "3"),
		New("isr0", 1).WithConfig("min.insync.replicas", "0"),
		New("a.b", 1), New("a_b", 1),
		New("twice", 1), New("twice", 2),
		Topic{Name: "letters", lettersOf: []string{"b d"}},
		Topic{Name: "late", lettersOf: []string{"orders"}}, New("late", -1), // what is declared wins, and is looked at
	}
	err := list.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`topics: "": name is empty`,
		`topics: ..: name is "..": want 1 to 249`,
		`topics: or ders: name is "or ders"`,
		`name is "xxxx`,
		"topics: __consumer_offsets: this topic is Kafka's own",
		"topics: negative: partitions is -1",
		"topics: negative: replication factor is -3",
		`topics: units: retention.ms is "7d": want a whole number`,
		`topics: units: segment.bytes is "1e6"`,
		`topics: units: setting " spaces "`,
		"topics: isr: min.insync.replicas is 3, more than the replication factor of 2",
		"topics: isr0: min.insync.replicas is 0",
		"topics: a_b: collides with a.b",
		"topics: twice: declared twice",
		`topics: letters: it is to take the dead letters of a topic whose name is "b d"`,
		"topics: late: partitions is -1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 16 {
		t.Errorf("%d mistakes, want 16:\n%v", n, err)
	}
}

func TestValidateTakesWhatBrokersTake(t *testing.T) {
	list := List{
		New(strings.Repeat("x", 249), 1), New("A-z_0.9", 0), New("__heartbeat", 1),
		New("forever", 1).WithRetention(-1), New("week", 1).WithRetention(7 * 24 * time.Hour),
		New("ratio", 1).WithConfig("min.cleanable.dirty.ratio", "0.50"),
		Compacted("c", 3).WithReplicationFactor(3).WithConfig("min.insync.replicas", "2"),
		New("same", 2), New("same", 2), // two parts of a program that need the same topic
	}
	if err := list.Validate(); err != nil {
		t.Fatal(err)
	}
	if merged, _ := list.merged(); len(merged) != len(list)-1 {
		t.Errorf("%d topics, want each once: %d", len(merged), len(list)-1)
	}
}

func TestConstructorsLeaveTheirReceiverAlone(t *testing.T) {
	base := New("orders", 6).WithRetention(time.Hour)
	longer := base.WithRetention(2 * time.Hour).WithReplicationFactor(3).WithAllowGrow()
	if base.Config["retention.ms"] != "3600000" || base.ReplicationFactor != 0 || base.AllowGrow {
		t.Errorf("the topic changed: %+v", base)
	}
	if longer.Config["retention.ms"] != "7200000" || longer.ReplicationFactor != 3 || !longer.AllowGrow {
		t.Errorf("the new topic lacks something: %+v", longer)
	}
	if forever := base.WithRetention(-1); forever.Config["retention.ms"] != "-1" {
		t.Errorf("a negative retention is %q, want -1", forever.Config["retention.ms"])
	}
	if c := Compacted("c", 1); c.Config["cleanup.policy"] != "compact" {
		t.Errorf("compacted: %+v", c)
	}
}

func TestModesAreRead(t *testing.T) {
	for text, want := range map[string]Mode{"": Create, "off": Off, "check": Check, "create": Create, "reconcile": Reconcile} {
		t.Setenv("KAFKA_TOPICS_MODE", text)
		if mode, err := ModeFromEnv(); mode != want || err != nil {
			t.Errorf("%q is %q, %v; want %q", text, mode, err, want)
		}
	}
	t.Setenv("KAFKA_TOPICS_MODE", "Delete")
	if _, err := ModeFromEnv(); err == nil || !strings.Contains(err.Error(), "off, check, create or reconcile") {
		t.Errorf("an unknown mode: %v", err)
	}
}
