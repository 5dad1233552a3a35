package platform

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/skeji/kafka"
)

// Serve listens on the address that the variable holds, or else on the other one, and serves until the server is closed.
func Serve(variable, otherwise string, handler http.Handler) (*http.Server, error) {
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv(variable), otherwise))
	if err != nil {
		return nil, err
	}
	slog.Info("serving", "variable", variable, "address", listener.Addr().String())
	server := &http.Server{Handler: handler, ReadTimeout: 5 * time.Second}
	go func() { // ends with Close or Shutdown
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("serving ended", "variable", variable, "error", err)
		}
	}()
	return server, nil
}

// ServeProbes answers Kubernetes, at /livez and /readyz, operators, at /healthz, and Prometheus, at /metrics, on PROBES_ADDRESS. A service without
// consumers is live and ready as long as it answers.
func ServeProbes(consumers ...kafka.HealthReporter) (*http.Server, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.Handle("GET /healthz", kafka.HealthDetails(consumers...))
	mux.Handle("/", kafka.HealthHandler(consumers...))
	return Serve("PROBES_ADDRESS", ":8081", mux)
}
