package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// confirm returns nil if the person at the terminal says yes.
func confirm(ctx context.Context, s streams, question string) error {
	if !s.inTerminal {
		return fmt.Errorf("%w: %s Nobody is there to ask, since standard input is no terminal: --yes says yes", errRefused, question)
	}
	fmt.Fprintf(s.err, "%s [y/N] ", question)
	answers := make(chan string, 1)
	go func() { // ends with the answer, or with the process: nothing else ends a read from a terminal
		answer, _ := bufio.NewReader(s.in).ReadString('\n')
		answers <- answer
	}()
	select {
	case answer := <-answers:
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		}
		return errRefused
	case <-ctx.Done():
		fmt.Fprintln(s.err)
		return errRefused
	}
}
