package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	terminationGrace = 15 * time.Second // between SIGTERM and SIGKILL: tests that hold containers remove them
	outputGrace      = 5 * time.Second  // for output that a process outside the group still holds open
)

var errLimit = errors.New("the command did not end in time")

// execute runs c in the folder dir and the environment env, see environ, with its output going to out. When ctx ends,
// or c's limit, it stops the command's process group. No process of the group outlives the call.
func (c command) execute(ctx context.Context, dir string, env []string, out io.Writer) error {
	if c.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("%w: %v", errLimit, c.limit))
		defer cancel()
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reader.Close()
	// No exec.CommandContext: that would kill the leader of the group and leave the others.
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(environ(env), c.env...)
	cmd.Stdout, cmd.Stderr = writer, writer
	ownGroup(cmd)
	err = cmd.Start()
	writer.Close() // the command has its own copy
	if err != nil {
		return err
	}

	copied := make(chan struct{})
	go func() { // ends when the last process of the group closes the pipe, or with reader.Close below
		defer close(copied)
		_, _ = io.Copy(out, reader)
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the command

	select {
	case err = <-ended:
	case <-ctx.Done():
		terminate(cmd)
		select {
		case <-ended:
		case <-time.After(terminationGrace):
			kill(cmd)
			<-ended
		}
		err = context.Cause(ctx)
	}
	kill(cmd) // what the command left behind
	select {
	case <-copied:
	case <-time.After(outputGrace):
		reader.Close()
		<-copied
	}
	return err
}

// environ is the runner's own environment with the variables of env; one without a value is removed.
func environ(env []string) []string {
	named := func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.ContainsFunc(env, func(v string) bool { return v == name || strings.HasPrefix(v, name+"=") })
	}
	all := slices.DeleteFunc(os.Environ(), named)
	for _, variable := range env {
		if strings.Contains(variable, "=") {
			all = append(all, variable)
		}
	}
	return all
}
