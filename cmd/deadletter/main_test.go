package main

import (
	"bytes"
	"flag"
	"regexp"
	"strings"
	"testing"
)

// outcome is what a call of the command left behind.
type outcome struct {
	code           int
	stdout, stderr string
}

// call runs the command as a pipeline does: no terminal anywhere.
func call(t *testing.T, args ...string) outcome {
	t.Helper()
	return callWith(t, streams{in: strings.NewReader("")}, args...)
}

// callAtTerminal runs it as a person does, who answers.
func callAtTerminal(t *testing.T, answer string, args ...string) outcome {
	t.Helper()
	return callWith(t, streams{in: strings.NewReader(answer), inTerminal: true, outTerminal: true}, args...)
}

func callWith(t *testing.T, s streams, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	s.out, s.err = &stdout, &console{w: &stderr, terminal: s.inTerminal}
	code := run(t.Context(), args, s)
	return outcome{code, stdout.String(), stderr.String()}
}

func TestMistakesSayWhatToDo(t *testing.T) {
	t.Setenv("KAFKA_BROKERS", "")
	t.Setenv("KAFKA_CONSUMER_DLQ_TOPIC", "")
	for _, test := range []struct{ args, want string }{
		{"", "deadletter stats   TOPIC"},
		{"delete", `"delete" is none of ls, stats, peek, redrive and purge`},
		{"ls", "no brokers: set KAFKA_BROKERS"},
		{"ls dlq-a dlq-b", `"dlq-b" is too much`},
		{"stats", "which dead letter topic?"},
		{"stats dlq-a --by size", "want class, error, source, group or hour"},
		{"peek dlq-a -o xml", "want table or json"},
		{"peek dlq-a --since yesterday", "want a time such as"},
		{"peek dlq-a --group billing, -n 1", "an empty name"},
		{"peek dlq-a --partition x", "want numbers of partitions"},
		{"ls dlq-a --state sent", "want pending, redriven or all"},
		{"purge", "deadletter purge dlq-orders"},
		{"peek dlq-a -n -1", "want a whole number from 0 on"},
		{"redrive dlq-a --class trasient", "want transient, permanent, parked"},
		{"redrive dlq-a --error= --yes", "which would mean everything"}, // as of a variable that a script has not set
		{"redrive dlq-a --key= --yes", "which would mean everything"},
		{"redrive dlq-a --for=", "which would mean everything"},
		{"redrive dlq-a --max 0", "want a whole number from 1 on"},
		{"redrive dlq-a --rate 0", "want a number of letters a second"},
		{"redrive dlq-a --rate -1", "want a number of letters a second"},
		{"redrive dlq-a --rate NaN", "want a number of letters a second"},
		{"redrive dlq-a --wait 5", "want how long, such as 30s"},
		{"redrive dlq-a --to orders --allow payments", "want one of the two"},
		{"redrive dlq-a --max-redrives 0", "want 1 or more, or -1"},
		{"redrive dlq-a --force", "flag provided but not defined: -force"},
		{"purge dlq-a", "Want --redriven, --before TIME or --all"},
		{"purge dlq-a --all --redriven", "want one"},
	} {
		got := call(t, strings.Fields(test.args)...)
		if got.code != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%q: exit %d, want %d and %q\n%s%s", test.args, got.code, exitUsage, test.want, got.stdout, got.stderr)
		}
	}
}

func TestHelpIsOnStandardOutput(t *testing.T) {
	for args, want := range map[string]string{
		"-h": "Step by step", "--help": "Step by step", "help": "Step by step",
		"ls -h": lsHelp, "stats --help": statsHelp, "peek -h": peekHelp, "redrive dlq-a -h": redriveHelp, "help purge": purgeHelp,
	} {
		if got := call(t, strings.Fields(args)...); got.code != exitDone || got.stderr != "" || !strings.Contains(got.stdout, want) {
			t.Errorf("%q: exit %d\n%s%s", args, got.code, got.stdout, got.stderr)
		}
	}
}

// What -h says of flags is so: none is missing, none is made up.
func TestHelpNamesEveryFlag(t *testing.T) {
	inHelp := regexp.MustCompile(`(?m)^  --?([a-z-]+) `)
	for name, sub := range subcommands {
		flags := flag.NewFlagSet(name, flag.ContinueOnError)
		sub.make(flags)
		told := map[string]bool{}
		for _, found := range inHelp.FindAllStringSubmatch(sub.help, -1) {
			if told[found[1]] = true; flags.Lookup(found[1]) == nil {
				t.Errorf("%s -h tells of --%s, which it does not take", name, found[1])
			}
		}
		flags.VisitAll(func(f *flag.Flag) {
			if !told[f.Name] {
				t.Errorf("%s -h does not tell of --%s", name, f.Name)
			}
		})
	}
}

// Lines of help are not to wrap on a common terminal.
func TestHelpIsNotTooWide(t *testing.T) {
	texts := []string{help}
	for _, sub := range subcommands {
		texts = append(texts, sub.help)
	}
	for _, text := range texts {
		for line := range strings.SplitSeq(text, "\n") {
			if len(line) > 112 {
				t.Errorf("%d characters: %s", len(line), line)
			}
		}
	}
}
