// All runs the three services on a broker in this process, and shows what they say to each other: bookings that are made, one
// that is refused, and a command that nobody knows.
//
//	go run ./examples/all
//
// The services are processes of their own, built from their folders; their logs go to files.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// timeout is for what takes a second or two once the services are built.
const timeout = 8 * time.Second

func run(ctx context.Context) error {
	folder, err := os.MkdirTemp("", "kafka-example-")
	if err != nil {
		return err
	}
	if err := build(ctx, folder); err != nil {
		return err
	}
	defer func() { // the logs stay
		for _, name := range names {
			_ = os.Remove(filepath.Join(folder, name))
		}
	}()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1)) // for examples and tests alone: it keeps everything in memory
	if err != nil {
		return err
	}
	defer cluster.Close()
	broker := cluster.ListenAddrs()[0]
	fmt.Printf("a broker in this process at %s, three services, their logs in %s\n", broker, folder)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return show(ctx, os.Stdout, folder, broker)
}

// show runs the services from the first to the last word.
func show(ctx context.Context, out io.Writer, folder, broker string) error {
	running := map[string]*service{}
	for _, name := range names {
		s, err := start(folder, name, broker)
		if err != nil {
			return err
		}
		defer s.kill() // unless it has ended by then
		running[name] = s
	}
	for _, s := range running {
		if err := s.ready(ctx); err != nil {
			return err
		}
	}
	if err := converse(ctx, out, running["gateway"].address("HTTP_ADDRESS"), broker); err != nil {
		return err
	}
	for _, s := range running {
		if err := s.end(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "\nall three ended at SIGTERM, with everything finished and committed")
	return nil
}

var names = []string{"gateway", "pipeline-executor", "bookings"}

// build makes the services' programs, of the source that go run made this one of.
func build(ctx context.Context, folder string) error {
	args := []string{"build", "-ldflags=-s -w", "-o", folder} // without symbols: that is quicker
	for _, name := range names {
		args = append(args, "github.com/skeji/kafka/examples/"+name)
	}
	if output, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the services: %w\n%s", err, output)
	}
	return nil
}
