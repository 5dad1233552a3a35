package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/skeji/kafka"
)

// request is what a user says to the gateway.
type request struct {
	Phone string `json:"user_phone"`
	Text  string `json:"text"`
}

var requests = []request{
	{"+15550100", "book a table for two"},
	{"+15550101", "book a table by the window"},
	{"unknown", "book a table, my number is withheld"},  // is refused
	{"+15550100", "cancel my booking, I am not hungry"}, // becomes a command that bookings does not know
}

// said is what somebody said, and where.
type said struct {
	at               time.Time
	who, where, what string
	correlation      string
}

// places are the topics where a conversation goes on, in its order.
var places = []string{"gw-to-scrub-layer", "pipeline-executor-to-bookings", "bookings-to-pipeline-executor", "dlq-domain-services"}

// messagesOfOne: a message of the gateway's, a command, and a reply or a dead letter.
const messagesOfOne = 3

// converse tells the gateway all requests, listens at all places until each conversation has come to its end, and writes down
// who said what, and when.
func converse(ctx context.Context, out io.Writer, gateway, broker string) error {
	conversations := map[string][]said{}
	var order []string
	for _, r := range requests {
		asked := time.Now()
		id, err := post(ctx, gateway, r)
		if err != nil {
			return err
		}
		conversations[id] = []said{{asked, "a user", "POST /messages", fmt.Sprintf("%q from %s", r.Text, r.Phone), id}}
		order = append(order, id)
	}
	heard, err := listen(ctx, broker)
	if err != nil {
		return err
	}
	for range messagesOfOne * len(requests) {
		select {
		case s := <-heard:
			conversations[s.correlation] = append(conversations[s.correlation], s)
		case <-ctx.Done():
			return fmt.Errorf("not all conversations have come to an end: %w", context.Cause(ctx))
		}
	}
	for _, id := range order {
		fmt.Fprintf(out, "\nconversation %s\n", id)
		slices.SortStableFunc(conversations[id], func(a, b said) int { return slices.Index(places, a.where) - slices.Index(places, b.where) })
		for _, s := range conversations[id] {
			fmt.Fprintf(out, "  %s  %-17s  %-29s  %s\n", s.at.Format("15:04:05.000"), s.who, s.where, s.what)
		}
	}
	return nil
}

// post returns the correlation id.
func post(ctx context.Context, gateway string, r request) (string, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	asked, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+gateway+"/messages", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(asked)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var accepted struct {
		CorrelationID string `json:"correlation_id"`
	}
	if answer.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("the gateway answers %s", answer.Status)
	}
	err = json.NewDecoder(answer.Body).Decode(&accepted)
	return accepted.CorrelationID, err
}

// listen consumes all places until ctx ends. Its goroutines end then, too.
func listen(ctx context.Context, broker string) (<-chan said, error) {
	heard := make(chan said)
	for _, topic := range places {
		cfg := kafka.NewConsumerConfig(topic, "listener", broker)
		cfg.DisableDeadLetters = true // it only listens
		cfg.Logger = slog.New(slog.DiscardHandler)
		// As bytes: it does not care what a message is about.
		consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), func(ctx context.Context, msg kafka.Message[[]byte]) error {
			s := said{msg.Timestamp, msg.GetSource(), msg.Topic, string(msg.Value), msg.GetCorrelationID()}
			if letter, dead := msg.DeadLetter(); dead {
				s.who, s.what = strings.TrimSuffix(letter.Group, "-service-consumer-group"), "dead letter: "+letter.Message
			}
			select {
			case heard <- s:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		if err != nil {
			return nil, err
		}
		go func() {
			defer consumer.Close()
			_ = consumer.Start(ctx) // whose error shows: the conversations don't come to their end
		}()
	}
	return heard, nil
}
