package main

import (
	"cmp"
	"log/slog"

	"github.com/skeji/kafka"
)

// connect makes a client of the variables that services have. Its warnings go to standard error.
func connect(s streams) (*kafka.Client, error) {
	cfg, err := kafka.NewClientConfigFromEnv()
	if err != nil {
		return nil, usageError{err}
	}
	cfg.ClientID = cmp.Or(cfg.ClientID, "deadletter")
	cfg.Logger = slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return kafka.NewClient(cfg)
}
