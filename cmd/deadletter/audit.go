package main

import (
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/user"

	"github.com/skeji/kafka/deadletter"
)

// auditFlags adds the flags that say who changes something, and why, and returns where they go.
func auditFlags(flags *flag.FlagSet) *deadletter.Audit {
	audit := deadletter.Audit{By: whoami()}
	textFlag(flags, "by", &audit.By)
	textFlag(flags, "reason", &audit.Reason)
	return &audit
}

// whoami is the user of this process, where it runs, and who has become that user.
func whoami() string {
	name := fmt.Sprint("uid ", os.Getuid())
	if u, err := user.Current(); err == nil {
		name = cmp.Or(u.Username, name)
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" {
		name = sudo + " as " + name
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// auditLog writes to standard error, with the questions and errors: what is beside it on a terminal, or kept of a
// pipeline.
func (s streams) auditLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
