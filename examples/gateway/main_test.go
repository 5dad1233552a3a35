package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

func TestMessagesAreAcceptedOnceTheyAreStored(t *testing.T) {
	const body = `{"user_phone":"+15550100","text":"book a table"}`
	for _, test := range []struct {
		name, body, conversation string
		err                      error
		status                   int
		published                int
	}{
		{"good", body, "", nil, http.StatusAccepted, 1},
		{"not acknowledged", body, "", kafka.ErrOutcomeUnknown, http.StatusServiceUnavailable, 1},
		{"of a conversation", body, "talk-1", nil, http.StatusAccepted, 1},
		{"of a conversation whose id is too long", body, strings.Repeat("k", 129), nil, http.StatusBadRequest, 0},
		{"no JSON", `user_phone`, "", nil, http.StatusBadRequest, 0},
		{"no phone", `{"text":"book a table"}`, "", nil, http.StatusBadRequest, 0},
		{"no text", `{"user_phone":"+15550100"}`, "", nil, http.StatusBadRequest, 0},
		{"too large", `{"text":"` + strings.Repeat("x", maxBodyBytes) + `"}`, "", nil, http.StatusRequestEntityTooLarge, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var published []kafka.Message[request]
			handler := accept(func(_ context.Context, msg kafka.Message[request]) error {
				published = append(published, msg)
				return test.err
			})
			asked := httptest.NewRequest(http.MethodPost, "/messages", strings.NewReader(test.body))
			asked.Header.Set("Conversation-Id", test.conversation)
			answer := httptest.NewRecorder()
			handler(answer, asked)
			if answer.Code != test.status || len(published) != test.published {
				t.Fatalf("status %d, %d messages, want %d and %d: %s", answer.Code, len(published), test.status, test.published, answer.Body)
			}
			if again := answer.Header().Get("Retry-After"); (again != "") != (test.status == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After %q with status %d", again, answer.Code)
			}
			if test.status == http.StatusAccepted {
				id, msg := correlationID(t, answer.Body), published[0]
				if id == "" || msg.GetCorrelationID() != id || msg.GetMessageID() != id || msg.GetConversationID() != cmp.Or(test.conversation, id) {
					t.Errorf("answered with %q, message %s of %s and %s", id, msg.GetMessageID(), msg.GetCorrelationID(), msg.GetConversationID())
				}
				if msg.Key != "+15550100" || msg.GetSource() != "gateway" {
					t.Errorf("key %q, source %q", msg.Key, msg.GetSource())
				}
			}
		})
	}
}

func TestOnlyARequestThatIsSentAgainHasItsId(t *testing.T) {
	handler := accept(func(context.Context, kafka.Message[request]) error { return nil })
	ask := func(key, phone string) string {
		asked := httptest.NewRequest(http.MethodPost, "/messages", strings.NewReader(`{"user_phone":"`+phone+`","text":"book a table"}`))
		asked.Header.Set("Idempotency-Key", key)
		answer := httptest.NewRecorder()
		handler(answer, asked)
		return correlationID(t, answer.Body)
	}
	first := ask("key-1", "+15550100")
	if again := ask("key-1", "+15550100"); again != first {
		t.Errorf("sent again, it is %s, and was %s", again, first)
	}
	if other := ask("key-1", "+15550101"); other == first {
		t.Error("another user with the same key gets the same id")
	}
	if one, two := ask("", "+15550100"), ask("", "+15550100"); one == two {
		t.Error("without a key, two requests are one")
	}
}

func correlationID(t *testing.T, body io.Reader) string {
	t.Helper()
	var answer struct {
		CorrelationID string `json:"correlation_id"`
	}
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.CorrelationID
}

func TestRequestsInHandAreAnsweredAtTheEnd(t *testing.T) {
	broker := kafkatest.Start(t)
	broker.Env(t)
	t.Setenv("PROBES_ADDRESS", "127.0.0.1:0")
	t.Setenv("HTTP_ADDRESS", "127.0.0.1:0")
	address := logged(t)
	ctx, sigterm := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	var gateway string
	select {
	case gateway = <-address:
	case err := <-ended:
		t.Fatal(err)
	}

	conn, err := net.Dial("tcp", gateway)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const body = `{"user_phone":"+15550100","text":"book a table"}`
	fmt.Fprintf(conn, "POST /messages HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	answers := bufio.NewReader(conn)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // the handler reads the body
		t.Fatalf("%q: %v", line, err)
	}
	if _, err := answers.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	sigterm()
	for { // until it takes no more
		more, err := net.Dial("tcp", gateway)
		if err != nil {
			break
		}
		more.Close()
	}
	fmt.Fprint(conn, body)
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusAccepted {
		t.Errorf("answered %s", answer.Status)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if said := kafkatest.Published[request](t, broker, "gw-to-scrub-layer"); len(said) != 1 || said[0].Value.Text != "book a table" {
		t.Errorf("published %+v", said)
	}
}

// logged finds the gateway's address in its log.
func logged(t *testing.T) <-chan string {
	t.Helper()
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	address := make(chan string, 1)
	slog.SetDefault(slog.New(slog.NewTextHandler(lines(func(line string) {
		if found := regexp.MustCompile(`variable=HTTP_ADDRESS address=(\S+)`).FindStringSubmatch(line); found != nil {
			address <- found[1]
		}
	}), nil)))
	return address
}

// lines is a writer of a log's lines.
type lines func(string)

func (l lines) Write(line []byte) (int, error) {
	l(string(line))
	return len(line), nil
}
