// Deadletter says why letters are in a dead letter topic, sends them back to where they came from, and deletes what is done with.
//
//	deadletter ls                                            which dead letter topics there are
//	deadletter stats   dlq-orders                            why the letters are there
//	deadletter peek    dlq-orders --class permanent          some of them, whole
//	deadletter redrive dlq-orders --class transient          back to their topics
//	deadletter purge   dlq-orders --redriven                 delete those that went back
//
// "deadletter -h" tells the rest, and each subcommand has a -h of its own. It is package deadletter of this library, for people and
// for pipelines: data goes to standard output, as a table or as JSON Lines; questions, progress and errors go to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/internal/variable"
)

const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitPartly  = 3
	exitRefused = 4
)

var (
	// errPartly is work that is done as far as it could be; what is left has been told.
	errPartly = errors.New("some letters are left")
	// errRefused is work that was not begun: nobody said yes.
	errRefused = errors.New("nothing is changed")
)

// subcommand does one thing to dead letters. It defines its flags, and returns what to do once they are parsed.
type subcommand struct {
	help string
	make func(flags *flag.FlagSet) action
}

// action gets what is left beside the flags.
type action func(ctx context.Context, s streams, rest []string) error

var subcommands = map[string]subcommand{
	"ls":      {lsHelp, ls},
	"stats":   {statsHelp, stats},
	"peek":    {peekHelp, peek},
	"redrive": {redriveHelp, redrive},
	"purge":   {purgeHelp, purge},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second Ctrl-C ends it at once
	os.Exit(run(ctx, os.Args[1:], streams{
		in: os.Stdin, inTerminal: isTerminal(os.Stdin),
		out: os.Stdout, outTerminal: isTerminal(os.Stdout),
		err: &console{w: os.Stderr, terminal: isTerminal(os.Stderr)},
	}))
}

// run is the command, from its arguments to its exit code.
func run(ctx context.Context, args []string, s streams) int {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	switch name {
	case "-h", "-help", "--help", "help":
		return tellHelp(s.out, args)
	case "":
		fmt.Fprint(s.err, help)
		return exitUsage
	}
	chosen, ok := subcommands[name]
	if !ok {
		fmt.Fprintf(s.err, "deadletter: %q is none of ls, stats, peek, redrive and purge: deadletter -h tells what they do\n", printable(name))
		return exitUsage
	}
	err := chosen.run(ctx, s, args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(s.out, chosen.help)
		return exitDone
	}
	if err != nil && !errors.Is(err, errPartly) { // which has been told with the result
		for line := range strings.SplitSeq(err.Error(), "\n") { // several mistakes are a line each
			fmt.Fprintf(s.err, "deadletter %s: %s\n", name, printable(variable.ForCommand(line)))
		}
	}
	code := exitCode(err)
	if code == exitUsage {
		fmt.Fprintf(s.err, "deadletter %s -h tells how it goes\n", name)
	}
	return code
}

func (c subcommand) run(ctx context.Context, s streams, args []string) error {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are told by run, and the help is a text of ours
	do := c.make(flags)
	rest, err := parse(flags, args)
	if err != nil {
		return err
	}
	return do(ctx, s, rest)
}

// tellHelp is for "deadletter help redrive" as well as for "deadletter -h".
func tellHelp(w io.Writer, args []string) int {
	if len(args) > 0 {
		if chosen, ok := subcommands[args[0]]; ok {
			fmt.Fprint(w, chosen.help)
			return exitDone
		}
	}
	fmt.Fprint(w, help)
	return exitDone
}

// isMistake tells whether the library has found a mistake in the arguments, and has changed nothing.
func isMistake(err error) bool {
	return errors.Is(err, deadletter.ErrDestination) || errors.Is(err, deadletter.ErrGroup) || errors.Is(err, deadletter.ErrNotDeadLetters)
}

func exitCode(err error) int {
	_, usage := errors.AsType[usageError](err)
	switch {
	case err == nil:
		return exitDone
	case usage, isMistake(err):
		return exitUsage
	case errors.Is(err, errPartly):
		return exitPartly
	case errors.Is(err, errRefused), errors.Is(err, deadletter.ErrRunning):
		return exitRefused
	}
	return exitFailed
}
