// Gateway takes what users say and passes it on: POST /messages with {"user_phone":"+15550100","text":"book a table"}.
//
// 202 means that the message is stored, 503 that nobody knows: send it again with its Idempotency-Key, and it happens once.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/examples/internal/platform"
	"github.com/skeji/kafka/middleware"
)

type request struct {
	UserPhone string `json:"user_phone"`
	Text      string `json:"text"`
}

const (
	maxBodyBytes    = 64 << 10         // far below what brokers take
	publishTimeout  = 5 * time.Second  // shorter than clients wait
	shutdownTimeout = 10 * time.Second // longer than a request takes
)

func main() { platform.Main(run) }

func run(ctx context.Context) error {
	cfg, err := kafka.NewProducerConfigFromEnv("gw-to-scrub-layer")
	if err != nil {
		return err
	}
	cfg.DeliveryTimeout = publishTimeout // what was answered with 503 shall not be stored minutes later
	if cfg.Client, err = platform.Connect(ctx, cfg.ClientConfig, platform.Topics(cfg.Topic)); err != nil {
		return err
	}
	defer cfg.Client.Close()
	requests, err := kafka.NewProducer[request](cfg)
	if err != nil {
		return err
	}
	defer requests.Close()
	requests.Use(middleware.LoggingProducerMiddleware(), middleware.MetricsProducerMiddleware())
	probes, err := platform.ServeProbes()
	if err != nil {
		return err
	}
	defer probes.Close()
	mux := http.NewServeMux()
	mux.Handle("POST /messages", accept(requests.Publish))
	server, err := platform.Serve("HTTP_ADDRESS", ":8080", mux)
	if err != nil {
		return err
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	return server.Shutdown(ctx) // requests in hand get their answers
}

// accept publishes the messages of requests.
func accept(publish func(context.Context, kafka.Message[request]) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
			return
		}
		// The same request sent again with its key has the same id, and no other request has it.
		id := uuid.NewSHA1(uuid.Nil, append([]byte(cmp.Or(r.Header.Get("Idempotency-Key"), uuid.NewString())+"\n"), body...)).String()
		conversation := cmp.Or(r.Header.Get("Conversation-Id"), id)
		var said request
		if err != nil || json.Unmarshal(body, &said) != nil || said.UserPhone == "" || said.Text == "" || len(conversation) > 128 {
			http.Error(w, `want {"user_phone":"...","text":"..."}, and a Conversation-Id of at most 128 bytes, if any`, http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), publishTimeout)
		defer cancel()
		err = publish(ctx, kafka.NewMessage[request]().
			WithMessageID(id). // the ids of what follows are made of it
			WithKey(said.UserPhone).WithValue(said).WithEventType("message.received").
			WithCorrelationID(id).WithConversationID(conversation).WithSource("gateway").Build())
		if err != nil { // and logged, by the middleware
			w.Header().Set("Retry-After", "1")
			http.Error(w, "not acknowledged: send it again, with its Idempotency-Key", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_ = json.NewEncoder(w).Encode(map[string]string{"correlation_id": id}) // to a client that may be gone
	}
}
