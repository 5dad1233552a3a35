// Plants puts bugs into the library, one at a time, and runs the test that must catch each. It shows that the tests
// would find such bugs. It prints a Markdown table to its standard output and progress to its standard error, and exits
// with 1 if a bug was not caught.
//
//	go run ./internal/plants                                                # all: some minutes
//	go run ./internal/plants -run 'handover|lost'                           # those whose name matches
//	go run ./internal/plants -pick 3 -seed "$(git rev-parse HEAD)"          # three, chosen by the commit
//	go run ./internal/plants -touched "$(git diff --name-only origin/main)" # those in functions of changed files
//	go run ./internal/plants -list                                          # the table, without running anything
//
// -pick and -touched together select the plants that either selects; -run then keeps those whose name matches. The
// tests of this package check that each plant still finds its place.
package main

import (
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// options are the command line's.
type options struct {
	names    string
	pick     int
	seed     string
	touched  string
	list     bool
	parallel int
	narrowed bool // -pick or -touched was given: an empty list of touched files selects nothing
}

func main() {
	var o options
	flag.StringVar(&o.names, "run", "", "only plants whose name matches this regular expression")
	flag.IntVar(&o.pick, "pick", 0, "so many plants, chosen by -seed")
	flag.StringVar(&o.seed, "seed", "", "any text, such as a commit hash: the same text chooses the same plants")
	flag.StringVar(&o.touched, "touched", "",
		"plants in functions of these files, separated by commas or white space, relative to the module's root")
	flag.BoolVar(&o.list, "list", false, "print the table and run nothing")
	flag.IntVar(&o.parallel, "parallel", 2, "how many plants to try at a time")
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { o.narrowed = o.narrowed || f.Name == "pick" || f.Name == "touched" })
	if err := run(o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "plants:", err)
		os.Exit(1)
	}
}

func run(o options, table, progress io.Writer) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	l, err := load(root)
	if err != nil {
		return err
	}
	files := map[string]string{}
	for _, p := range plants {
		if files[p.name], _, err = l.apply(p); err != nil {
			return err
		}
	}
	chosen, err := choose(o, files)
	if err != nil {
		return err
	}
	if o.list {
		fmt.Fprint(table, "| The library … | Promise | Function | Caught by |\n|---|---|---|---|\n")
		for _, p := range chosen {
			fmt.Fprintf(table, "| %s | %s | %s | %s |\n", p.name, p.promise, p.function, p.catcher())
		}
		return nil
	}
	results := tryAll(chosen, o.parallel, func(p plant) result { return p.try(root, l) }, progress)
	return report(results, table)
}

// moduleRoot is the directory of go.mod.
func moduleRoot() (string, error) {
	output, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	path := strings.TrimSpace(string(output))
	if filepath.Base(path) != "go.mod" {
		return "", errors.New("run it inside the module")
	}
	return filepath.Dir(path), nil
}

// choose returns the plants that the options select, in the order of the table. files holds the file of each plant, by
// name.
func choose(o options, files map[string]string) ([]plant, error) {
	if o.pick > 0 && o.seed == "" {
		return nil, errors.New("-pick needs -seed")
	}
	name, err := regexp.Compile(o.names)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	hash := fnv.New64a()
	_, _ = io.WriteString(hash, o.seed)
	order := rand.New(rand.NewPCG(hash.Sum64(), 0)).Perm(len(plants))
	picked := order[:min(max(0, o.pick), len(order))]
	touched := strings.FieldsFunc(o.touched, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	var chosen []plant
	for i, p := range plants {
		selected := !o.narrowed || slices.Contains(picked, i) || slices.Contains(touched, files[p.name])
		if selected && name.MatchString(p.name) {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// tryAll tries the plants, some at a time: building takes most of the time.
func tryAll(chosen []plant, parallel int, try func(plant) result, progress io.Writer) []result {
	results := make([]result, len(chosen))
	var mu sync.Mutex // guards progress
	var running sync.WaitGroup
	slots := make(chan struct{}, max(1, parallel))
	for i, p := range chosen {
		slots <- struct{}{}
		running.Go(func() { // ends with its child, which has a timeout; tryAll waits for it
			r := try(p)
			<-slots
			results[i] = r
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(progress, "%-72s %-15s %5.0f s  %s\n", p.name, p.promise, r.elapsed.Seconds(), r.verdict())
			if r.err != nil {
				fmt.Fprintln(progress, r.err)
			}
		})
	}
	running.Wait()
	return results
}

func (r result) verdict() string {
	if r.err != nil {
		return "NOT CAUGHT"
	}
	return r.caught
}

// report prints the table of results. Its error says how many plants were not caught.
func report(results []result, table io.Writer) error {
	missed := 0
	fmt.Fprint(table, "| The library … | Promise | Caught by | Seconds |\n|---|---|---|---:|\n")
	for _, r := range results {
		fmt.Fprintf(table, "| %s | %s | %s | %.0f |\n", r.name, r.promise, r.verdict(), r.elapsed.Seconds())
		if r.err != nil {
			missed++
		}
	}
	fmt.Fprintf(table, "\n%d of %d planted bugs caught\n", len(results)-missed, len(results))
	if missed > 0 {
		return fmt.Errorf("%d of %d planted bugs were not caught", missed, len(results))
	}
	return nil
}
