// Bench compares this library with other ways to use Kafka from Go, side by side on one broker. README.md says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == childFlag {
		childMain(os.Args[2])
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := mainError(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	brokers    []string
	workloads  []workload
	contenders []contender
	rounds     int
}

func mainError(ctx context.Context) error {
	names := flag.String("workloads", "", "comma-separated; default all: "+strings.Join(workloadNames(), ", ")+"; slow stands for all of its kind")
	rivals := flag.String("contenders", "", "comma-separated; default all: "+strings.Join(contenderNames(), ", "))
	records := flag.Int("records", 1_000_000, "records in each measurement, or fewer where a workload takes long")
	rounds := flag.Int("rounds", 3, "rounds; medians are reported")
	plotFile := flag.String("plot", "", "write the plot to this file, as SVG")
	outFile := flag.String("out", "", "write the report to this file, too, as Markdown")
	flag.Parse()

	o := options{rounds: *rounds}
	brokers := os.Getenv("KAFKA_BROKERS")
	if brokers == "" {
		return errors.New("KAFKA_BROKERS is not set: it names the broker, as 127.0.0.1:9092")
	}
	o.brokers = strings.Split(brokers, ",")
	if flag.NArg() > 0 || *rounds < 1 || *records < customers {
		return fmt.Errorf("there are only flags, at least 1 round, and at least %d records, one for each key", customers)
	}
	var err error
	if o.workloads, err = choose(*names, workloads(*records), func(w workload, name string) bool { return w.name == name || w.family == name }); err != nil {
		return fmt.Errorf("-workloads: %w", err)
	}
	if o.contenders, err = choose(*rivals, contenders(), func(c contender, name string) bool { return c.name == name }); err != nil {
		return fmt.Errorf("-contenders: %w", err)
	}

	report, panels, runErr := run(ctx, o)
	fmt.Print(report)
	if *outFile != "" {
		runErr = errors.Join(runErr, os.WriteFile(*outFile, []byte(report), 0o644))
	}
	if *plotFile != "" {
		runErr = errors.Join(runErr, os.WriteFile(*plotFile, []byte(plot(panels)), 0o644))
	}
	return runErr
}

// choose returns those of all that the comma-separated names mean, in the order of all. No names mean all.
func choose[T any](names string, all []T, is func(T, string) bool) ([]T, error) {
	if names == "" {
		return all, nil
	}
	wanted := strings.Split(names, ",")
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(each T) bool { return is(each, name) }) {
			return nil, fmt.Errorf("there is no %q", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(each T) bool {
		return !slices.ContainsFunc(wanted, func(name string) bool { return is(each, name) })
	}), nil
}

func workloadNames() []string {
	var names []string
	for _, w := range workloads(customers) {
		names = append(names, w.name)
	}
	return names
}

func contenderNames() []string {
	var names []string
	for _, c := range contenders() {
		names = append(names, c.name)
	}
	return names
}
