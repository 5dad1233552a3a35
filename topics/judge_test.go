package topics

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/skeji/kafka"
)

// TestJudgement is the table of the package's page, cell by cell: what is found, and what each mode makes of it.
func TestJudgement(t *testing.T) {
	declared := New("orders", 6).WithReplicationFactor(3).WithConfig("retention.ms", "1000")
	same := found{exists: true, partitions: 6, replicas: 3, config: map[string]string{"retention.ms": "1000"}}
	with := func(change func(*found)) found {
		f := same
		change(&f)
		return f
	}
	longer := with(func(f *found) { f.config = map[string]string{"retention.ms": "2000"} })
	fewer := with(func(f *found) { f.partitions = 3 })

	type cell struct {
		action  Action
		verdict Verdict // of the one difference; "" for none
		err     error   // what errors.Is finds; anyError for any
	}
	anyError := errors.New("any")
	kept := cell{ActionNone, VerdictKept, nil}
	refused := cell{ActionNone, VerdictRefused, anyError}
	for _, test := range []struct {
		name                     string
		topic                    Topic
		found                    found
		check, create, reconcile cell
	}{
		{"in sync", declared, same, cell{ActionNone, "", nil}, cell{ActionNone, "", nil}, cell{ActionNone, "", nil}},
		{"missing", declared, found{}, cell{ActionNone, "", kafka.ErrTopicMissing}, cell{ActionCreate, "", nil}, cell{ActionCreate, "", nil}},
		{"setting differs", declared, longer, refused, kept, cell{ActionAlter, VerdictChanged, nil}},
		{"setting unset", declared, with(func(f *found) { f.config = nil }), refused, kept, cell{ActionAlter, VerdictChanged, nil}},
		{"fewer partitions", declared, fewer, refused, kept, refused},
		{"fewer partitions, AllowGrow", declared.WithAllowGrow(), fewer, refused, kept, cell{ActionAlter, VerdictChanged, nil}},
		{"more partitions", declared.WithAllowGrow(), with(func(f *found) { f.partitions = 9 }), refused, kept, refused},
		{"other replication factor", declared, with(func(f *found) { f.replicas = 1 }), refused, kept, refused},
		{"nothing declared", Topic{Name: "orders"}, longer, cell{ActionNone, "", nil}, cell{ActionNone, "", nil}, cell{ActionNone, "", nil}},
		{
			"may not be seen", declared, found{hidden: true},
			cell{ActionNone, "", kafka.ErrAuthorization}, cell{ActionCreate, "", nil}, cell{ActionCreate, "", nil},
		},
		{
			"settings may not be seen", declared, with(func(f *found) { f.config, f.configErr = nil, kafka.ErrAuthorization }),
			cell{ActionNone, VerdictRefused, kafka.ErrAuthorization}, cell{ActionNone, VerdictUnknown, nil}, cell{ActionNone, VerdictRefused, kafka.ErrAuthorization},
		},
		{
			"cluster error", declared, found{err: kerr.UnknownServerError},
			cell{ActionNone, "", kerr.UnknownServerError}, cell{ActionNone, "", kerr.UnknownServerError}, cell{ActionNone, "", kerr.UnknownServerError},
		},
	} {
		for mode, want := range map[Mode]cell{Check: test.check, Create: test.create, Reconcile: test.reconcile} {
			t.Run(fmt.Sprintf("%s/%s", test.name, mode), func(t *testing.T) {
				c := judge(test.topic, test.found, mode)
				verdict := Verdict("")
				if len(c.Differences) > 0 {
					verdict = c.Differences[0].Verdict
				}
				if c.Action != want.action || verdict != want.verdict || len(c.Differences) > 1 {
					t.Errorf("action %q, differences %+v; want %q, %q", c.Action, c.Differences, want.action, want.verdict)
				}
				if want.err == anyError && c.Err == nil || want.err != anyError && !errors.Is(c.Err, want.err) {
					t.Errorf("error %v, want %v", c.Err, want.err)
				}
			})
		}
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	declared := New("orders", 6).WithReplicationFactor(3)
	for _, test := range []struct {
		found found
		want  string
	}{
		{found{exists: true, partitions: 3, replicas: 3}, "partitions: 3 on the cluster, 6 declared: more partitions move keys and break their order: set allowGrow to accept that, or declare 3"},
		{found{exists: true, partitions: 12, replicas: 3}, "partitions: 12 on the cluster, 6 declared: Kafka can't take partitions away: declare 12"},
		{found{exists: true, partitions: 6, replicas: 2}, "replication factor: 2 on the cluster, 3 declared: replicas are moved by a reassignment (kafka-reassign-partitions): do that, or declare 2; if one is under way, wait for its end"},
	} {
		if c := judge(declared, test.found, Reconcile); c.Err == nil || c.Err.Error() != test.want {
			t.Errorf("%v\nwant %s", c.Err, test.want)
		}
	}
	both := judge(declared, found{exists: true, partitions: 12, replicas: 2}, Reconcile)
	if text := fmt.Sprint(both.Err); strings.Contains(text, "\n") || !strings.Contains(text, "declare 12; replication factor") {
		t.Errorf("two refusals of one topic are not one line: %s", text)
	}
}

// What a broker prints is not what was declared, and means the same.
func TestBrokersEchoesAreNoDrift(t *testing.T) {
	for _, same := range [][2]string{
		{"0.50", "0.5"}, {"1", "1.0"}, {"FALSE", "false"}, {"delete,compact", "compact, delete"}, {"604800000", " 604800000"},
		{"5e-1", "0.5"}, {"0.30000000000000001", "0.3"}, {"1.0E-4", "0.0001"}, {"delete,delete", "delete"}, {"007", "7"},
		{"", ""}, {"producer", "producer"}, {"0,1", "0,1"}, {"-1", "-1"},
	} {
		if !sameValue(same[0], same[1]) || !sameValue(same[1], same[0]) {
			t.Errorf("%q and %q are told apart", same[0], same[1])
		}
	}
	for _, other := range [][2]string{
		{"9007199254740993", "9007199254740992"}, {"0.5", "0.05"}, {"true", "false"}, {"delete", "compact"}, {"Zstd", "zstd"},
		{"delete,compact", "delete"}, {"1", ""}, {"1e999999999", "1"}, {"0x10", "16"}, {"1/2", "0.5"},
		{"inf", "infinity"}, {"1_000", "1000"},
	} {
		if sameValue(other[0], other[1]) {
			t.Errorf("%q and %q are taken for the same", other[0], other[1])
		}
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		topic Topic
		found found
		want  string
	}{
		{New("a", 1).WithReplicationFactor(3).WithConfig("min.insync.replicas", "2"), found{}, ""},
		{New("a", 1).WithReplicationFactor(3).WithConfig("min.insync.replicas", "3"), found{}, "one broker away stops all writes"},
		{New("a", 1).WithConfig("min.insync.replicas", "2"), found{exists: true, partitions: 1, replicas: 1, config: map[string]string{"min.insync.replicas": "2"}}, "brokers then count the replicas there are"},
		{New("a", 1).WithReplicationFactor(1).WithConfig("min.insync.replicas", "1"), found{}, ""},
	} {
		c := judge(test.topic, test.found, Create)
		if text := strings.Join(c.Warnings, "\n"); test.want == "" && text != "" || !strings.Contains(text, test.want) {
			t.Errorf("warnings %q, want %q", text, test.want)
		}
	}
}

func TestDeadLetterTopicsFollowTheirSources(t *testing.T) {
	consumer := func(topic, dlq string) kafka.ConsumerConfig {
		cfg := kafka.NewConsumerConfig(topic, "group")
		cfg.DLQTopic, cfg.DisableDeadLetters = dlq, dlq == "none"
		return cfg
	}
	const day = "86400000"
	for _, test := range []struct {
		name  string
		list  List
		found map[string]found
		want  Topic
	}{
		{
			"from the list",
			List{New("orders", 6).WithReplicationFactor(3).WithConfig("min.insync.replicas", "2").WithConfig("retention.ms", day)},
			nil,
			New("dlq", 6).WithReplicationFactor(3).WithConfig("min.insync.replicas", "2").WithConfig("cleanup.policy", "delete").
				WithConfig("retention.ms", "1209600000").WithConfig("max.message.bytes", "2097176"),
		},
		{
			"from the cluster, which wins",
			List{New("orders", 6).WithConfig("retention.ms", day).WithConfig("max.message.bytes", "100")},
			map[string]found{"orders": {exists: true, partitions: 12, replicas: 2, config: map[string]string{"retention.ms": "864000000", "max.message.bytes": "5000000"}}},
			New("dlq", 12).WithReplicationFactor(2).WithConfig("cleanup.policy", "delete").
				WithConfig("retention.ms", "1728000000").WithConfig("max.message.bytes", "10000000"),
		},
		{
			"kept for ever", List{New("orders", 1).WithRetention(-1)}, nil,
			New("dlq", 1).WithConfig("cleanup.policy", "delete").WithConfig("retention.ms", "-1").WithConfig("max.message.bytes", "2097176"),
		},
		{
			"of nothing known", nil, nil,
			New("dlq", 0).WithConfig("cleanup.policy", "delete").WithConfig("retention.ms", "1209600000").WithConfig("max.message.bytes", "2097176"),
		},
		{
			"kept for longer than can be doubled", List{New("orders", 1).WithConfig("retention.ms", "9223372036854775807")}, nil,
			New("dlq", 1).WithConfig("cleanup.policy", "delete").WithConfig("retention.ms", "9223372036854775806").WithConfig("max.message.bytes", "2097176"),
		},
		{
			"of the largest limit", List{New("orders", 1).WithConfig("max.message.bytes", "2000000000")}, nil,
			New("dlq", 1).WithConfig("cleanup.policy", "delete").WithConfig("retention.ms", "1209600000").WithConfig("max.message.bytes", "2147483647"),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			list, err := test.list.WithDeadLetters(consumer("orders", "dlq")).merged()
			if err != nil {
				t.Fatal(err)
			}
			derived, _ := list[len(list)-1].derive(test.found, list.byName())
			if derived.lettersOf = nil; !reflect.DeepEqual(derived, test.want) {
				t.Errorf("derived %+v\nwant    %+v", derived, test.want)
			}
		})
	}

	// One topic for the letters of many.
	shared, err := List{New("a", 3), New("b", 7).WithReplicationFactor(2)}.
		WithDeadLetters(consumer("a", "dlq"), consumer("b", "dlq"), consumer("a", "dlq"), consumer("c", "none")).Resolve()
	if err != nil || len(shared) != 3 || shared[2].Name != "dlq" || shared[2].Partitions != 7 || shared[2].ReplicationFactor != 2 {
		t.Errorf("shared: %+v, %v", shared, err)
	}

	// A config without a name has the default.
	if list, err := (List{New("a", 3)}).WithDeadLetters(kafka.ConsumerConfig{Topic: "a"}).Resolve(); err != nil || len(list) != 2 || list[1].Name != "dlq-a" {
		t.Errorf("a zero config: %+v, %v", list, err)
	}

	// What the user declares wins, wherever it stands.
	own := New("dlq", 1).WithRetention(-1)
	for _, list := range []List{
		{New("a", 3), own, Topic{Name: "dlq", lettersOf: []string{"a"}}},
		{New("a", 3), Topic{Name: "dlq", lettersOf: []string{"a"}}, own},
	} {
		if resolved, err := list.Resolve(); err != nil || len(resolved) != 2 || !resolved[1].equal(own) {
			t.Errorf("the declared dead letter topic does not win: %+v, %v", resolved, err)
		}
	}
}

// An existing dead letter topic has to be fit for its purpose, not equal.
func TestExistingDeadLetterTopicsNeedOnlySuffice(t *testing.T) {
	dlq, _ := Topic{Name: "dlq", lettersOf: []string{"orders"}}.derive(nil, map[string]Topic{"orders": New("orders", 6).WithReplicationFactor(3)})
	for _, test := range []struct {
		config  map[string]string
		differs string
	}{
		{map[string]string{"cleanup.policy": "delete", "retention.ms": "1209600000", "max.message.bytes": "2097176"}, ""},
		{map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "9999999"}, ""},
		{map[string]string{"cleanup.policy": "delete", "retention.ms": "604800000", "max.message.bytes": "1048588"}, ""}, // Kafka's defaults
		{map[string]string{"cleanup.policy": "delete", "retention.ms": "604799999", "max.message.bytes": "2097176"}, "retention.ms"},
		{map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "max.message.bytes": "1048587"}, "max.message.bytes"},
		{map[string]string{"cleanup.policy": "compact", "retention.ms": "-1", "max.message.bytes": "2097176"}, "cleanup.policy"},
	} {
		c := judge(dlq, found{exists: true, partitions: 1, replicas: 1, config: test.config}, Create)
		var names strings.Builder
		for _, d := range c.Differences {
			names.WriteString(d.What)
		}
		if names.String() != test.differs {
			t.Errorf("%v: differs in %q, want %q", test.config, names.String(), test.differs)
		}
	}
}
