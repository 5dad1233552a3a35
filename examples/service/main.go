// Service is the shape of a service: it makes sure of its topics, consumes orders, publishes an invoice for each, and ends
// on SIGTERM with everything finished and committed. Where the cluster is, and the rest, it has from KAFKA_ variables. Its
// metrics and its health are on port 8080.
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/middleware"
	"github.com/skeji/kafka/topics"
)

// Order is what comes in.
type Order struct {
	ID    string `json:"id"`
	Cents int64  `json:"cents"`
}

// Invoice is what goes out.
type Invoice struct {
	OrderID string `json:"order_id"`
	Cents   int64  `json:"cents"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("service ended", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg, err := kafka.NewConsumerConfigFromEnv("orders", "billing")
	if err != nil {
		return err
	}
	client, err := kafka.NewClient(cfg.ClientConfig)
	if err != nil {
		return err
	}
	defer client.Close()
	list := topics.List{topics.New("orders", 6), topics.New("invoices", 6)}.WithDeadLetters(cfg)
	if err := topics.Ensure(ctx, client, list...); err != nil {
		return err
	}

	invoicesCfg, err := kafka.NewProducerConfigFromEnv("invoices")
	if err != nil {
		return err
	}
	invoicesCfg.Client = client // shared by all producers
	invoices, err := kafka.NewProducer[Invoice](invoicesCfg)
	if err != nil {
		return err
	}
	defer invoices.Close()
	invoices.Use(middleware.LoggingProducerMiddleware(), middleware.MetricsProducerMiddleware())

	consumer, err := kafka.NewConsumer(cfg, func(ctx context.Context, msg kafka.Message[Order]) error {
		if msg.Value.ID == "" {
			return kafka.NewPermanentError("an order without an id", nil) // to the dead letter topic
		}
		return invoices.Publish(ctx, kafka.NewMessage[Invoice]().
			WithMessageID("invoice-of-"+msg.Value.ID). // the same at each attempt: receivers can tell
			WithKey(msg.Value.ID).
			WithValue(Invoice{OrderID: msg.Value.ID, Cents: msg.Value.Cents}).
			WithCorrelationID(msg.GetCorrelationID()).
			Build()) // an error: tried again
	})
	if err != nil {
		return err
	}
	defer consumer.Close()
	consumer.Use(middleware.LoggingConsumerMiddleware(), middleware.MetricsConsumerMiddleware())
	defer serve(consumer).Close()
	return consumer.Start(ctx)
}

var address = ":8080"

// serve answers Prometheus, at /metrics, Kubernetes, at /livez and /readyz, and operators, at /healthz.
func serve(consumers ...kafka.HealthReporter) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	mux.Handle("GET /healthz", kafka.HealthDetails(consumers...))
	mux.Handle("/", kafka.HealthHandler(consumers...))
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { // ends with Close
		if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("no metrics and no probes", "error", err)
		}
	}()
	return server
}
