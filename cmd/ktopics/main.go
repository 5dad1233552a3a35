// Ktopics checks topic lists, says what it would take to make a cluster what they say, and does it.
//
//	ktopics validate -f topics.yaml
//	ktopics plan     -f topics.yaml [-mode reconcile] [-o json]
//	ktopics apply    -f topics.yaml [-mode reconcile] [-o json]
//
// Files are in the formats of package manifest: plain YAML or Strimzi's KafkaTopic resources. Several -f are one list, and
// "-" is standard input. Resources that the Strimzi operator would leave alone are skipped, each with a line on standard error; those of
// several clusters are refused unless -cluster names one. The cluster is the one of the KAFKA_ variables, as for the library. The mode is by default that of
// KAFKA_TOPICS_MODE, or create: see package topics.
//
// The plan, or the list for validate, goes to standard output; progress, logs and errors go to standard error. Exit codes:
//
//	0  the cluster is as the list says, as far as it may be seen; the list is valid
//	1  an error
//	2  changes pending: plan found something to do, or apply left differences that only mode reconcile mends
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/variable"
	"github.com/skeji/kafka/topics"
	"github.com/skeji/kafka/topics/manifest"
)

const (
	exitInSync  = 0
	exitError   = 1
	exitPending = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the command, from its arguments to its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	code, err := do(ctx, args, stdin, stdout, stderr)
	switch printed := (errUsage{}); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return code
	case !errors.As(err, &printed):
		fmt.Fprintln(stderr, "ktopics:", variable.ForCommand(err.Error()))
	}
	return exitError
}

const usage = `usage: ktopics validate|plan|apply -f FILE [-f FILE]... [flags]

  validate  check the list alone, without a cluster
  plan      say what apply would do; the brokers are asked, and nothing changes
  apply     do it

The cluster: KAFKA_BROKERS and the other KAFKA_ variables of the library.
Exit codes: 0 in sync, 1 error, 2 changes pending.

`

func do(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int, err error) {
	flags := flag.NewFlagSet("ktopics", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	var files []string
	flags.Func("f", "`file` with topics, or - for standard input; may be repeated", func(name string) error {
		files = append(files, name)
		return nil
	})
	loader := manifest.Loader{OnSkip: func(s manifest.Skipped) {
		fmt.Fprintf(stderr, "ktopics: %s: KafkaTopic %q is skipped: %s\n", place(s), s.Resource, s.Why)
	}}
	flags.StringVar(&loader.Cluster, "cluster", "", "read only KafkaTopic resources of this cluster, their label strimzi.io/cluster, by `name`")
	output := flags.String("o", "table", "`format` of standard output: table or json")
	modeName := flags.String("mode", variable.Get("KAFKA_TOPICS_MODE"), "off, check, create or reconcile (default create)")
	timeout := flags.Duration("timeout", time.Minute, "how long plan or apply may take")

	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	if verb != "validate" && verb != "plan" && verb != "apply" {
		flags.Usage()
		if verb == "-h" || verb == "-help" || verb == "--help" {
			return exitInSync, nil
		}
		return exitError, fmt.Errorf("%q: want validate, plan or apply", verb)
	}
	if err := flags.Parse(args); err != nil {
		return exitInSync, errUsage{err}
	}
	switch {
	case flags.NArg() > 0:
		return exitError, fmt.Errorf("%q is too much: files go with -f", flags.Arg(0))
	case len(files) == 0:
		return exitError, errors.New("no file: want -f topics.yaml")
	case *output != "table" && *output != "json":
		return exitError, fmt.Errorf("-o is %q: want table or json", *output)
	}
	mode, err := topics.ParseMode(*modeName)
	if err != nil {
		return exitError, err
	}
	list, err := load(&loader, files, stdin)
	if errors.Is(err, manifest.ErrClusters) {
		err = fmt.Errorf("%w\n-cluster NAME reads those of one", err)
	}
	if err != nil {
		return exitError, err
	}
	if verb == "validate" {
		return exitInSync, validate(list, *output, stdout)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("not done within -timeout %v", *timeout))
	defer cancel()
	return change(ctx, list, mode, verb == "apply", *output, stdout, stderr)
}

// errUsage is an error that package flag has printed.
type errUsage struct{ error }

func (e errUsage) Unwrap() error { return e.error }

// place is where a resource is that is skipped.
func place(s manifest.Skipped) string {
	if s.File == "" {
		s.File = "standard input"
	}
	return fmt.Sprintf("%s, line %d", s.File, s.Line)
}

// load reads all files as one list.
func load(loader *manifest.Loader, files []string, stdin io.Reader) (list topics.List, err error) {
	var skipped error // files without any topic that is meant
	for _, name := range files {
		var part topics.List
		var fault error
		if name == "-" {
			part, fault = loader.Load(stdin)
		} else {
			part, fault = loader.LoadFile(name)
		}
		if errors.Is(fault, manifest.ErrAllSkipped) {
			skipped = errors.Join(skipped, fault)
			continue
		}
		list, err = append(list, part...), errors.Join(err, fault)
	}
	if len(list) == 0 {
		err = errors.Join(err, skipped)
	}
	return list, err
}

func validate(list topics.List, output string, stdout io.Writer) error {
	list, err := list.Resolve()
	if err != nil {
		return err
	}
	if output == "json" {
		return printJSON(stdout, list)
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TOPIC\tPARTITIONS\tREPLICATION FACTOR\tSETTINGS")
	for _, topic := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\n", topic.Name, orDefault(int(topic.Partitions)), orDefault(int(topic.ReplicationFactor)), len(topic.Config))
	}
	return table.Flush()
}

func orDefault(n int) string {
	if n == 0 {
		return "default"
	}
	return fmt.Sprint(n)
}

// change is plan and apply.
func change(ctx context.Context, list topics.List, mode topics.Mode, apply bool, output string, stdout, stderr io.Writer) (code int, err error) {
	var client *kafka.Client
	if mode != topics.Off { // which asks nobody
		cfg, err := kafka.NewClientConfigFromEnv()
		if err != nil {
			return exitError, err
		}
		cfg.ClientID = cmp.Or(cfg.ClientID, "ktopics")
		cfg.Logger = slog.New(slog.NewTextHandler(stderr, nil))
		if client, err = kafka.NewClient(cfg); err != nil {
			return exitError, err
		}
		defer client.Close()
		fmt.Fprintf(stderr, "ktopics: %d topics, mode %s, brokers %v\n", len(list), mode, cfg.Brokers)
	}
	do := list.Plan
	if apply {
		do = list.Apply
	}
	plan, err := do(ctx, client, mode)
	if plan == nil {
		return exitError, err
	}
	if !apply {
		err = errors.Join(err, plan.Err())
	}
	if output == "json" {
		err = errors.Join(err, printJSON(stdout, plan))
	} else if _, fault := fmt.Fprint(stdout, plan); fault != nil {
		err = errors.Join(err, fault)
	}
	switch {
	case err != nil:
		return exitError, err
	case plan.Pending():
		return exitPending, nil
	}
	return exitInSync, nil
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
