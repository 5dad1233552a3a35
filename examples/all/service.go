package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// service is one of the three, as a process.
type service struct {
	name    string
	process *exec.Cmd
	log     string        // a file
	ended   chan struct{} // closed once err says how it ended
	err     error
}

// start starts a program of the folder, which gets its log, too.
func start(folder, name, broker string) (*service, error) {
	program := filepath.Join(folder, name)
	file, err := os.Create(program + ".log")
	if err != nil {
		return nil, err
	}
	defer file.Close() // the process has its own
	s := &service{name: name, process: exec.Command(program), log: file.Name(), ended: make(chan struct{})}
	s.process.Stderr = file
	s.process.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KAFKA_") })
	s.process.Env = append(s.process.Env, "KAFKA_BROKERS="+broker, "HTTP_ADDRESS=127.0.0.1:0", "PROBES_ADDRESS=127.0.0.1:0")
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		s.err = s.process.Wait()
		close(s.ended)
	}()
	return s, nil
}

// address returns where the service serves what the variable is for, or "" if it does not yet.
func (s *service) address(variable string) string {
	log, _ := os.ReadFile(s.log)
	line := regexp.MustCompile(`serving variable=` + variable + ` address=(\S+)`).FindSubmatch(log)
	if line == nil {
		return ""
	}
	return string(line[1])
}

// ready waits until the service says that it is ready, as Kubernetes would.
func (s *service) ready(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if probes := s.address("PROBES_ADDRESS"); probes != "" {
			if answer, err := http.Get("http://" + probes + "/readyz"); err == nil {
				answer.Body.Close()
				if answer.StatusCode == http.StatusOK {
					return nil
				}
			}
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("%s ended: %w: see %s", s.name, s.err, s.log)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: see %s", s.name, context.Cause(ctx), s.log)
		}
	}
}

// end asks the service to end, as Kubernetes would, and waits until it has.
func (s *service) end(ctx context.Context) error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.ended:
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w: see %s", s.name, context.Cause(ctx), s.log)
	}
	if s.err != nil {
		return fmt.Errorf("%s ended: %w: see %s", s.name, s.err, s.log)
	}
	return nil
}

func (s *service) kill() {
	_ = s.process.Process.Kill() // which does nothing if it has ended
	<-s.ended
}
