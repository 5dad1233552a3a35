package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// deadletterCommand is the command as a program, and the brokers that it is to ask.
type deadletterCommand struct {
	path  string
	seeds []string
}

func buildDeadletterCommand(t *testing.T, seeds []string) deadletterCommand {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deadletter")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	build.Dir = filepath.Join("..", "cmd", "deadletter")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	return deadletterCommand{path, seeds}
}

// commandCall is a process of the command.
type commandCall struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// start starts it; it is killed at the test's end, if it runs then.
func (c deadletterCommand) start(t *testing.T, args ...string) *commandCall {
	t.Helper()
	started := &commandCall{Cmd: exec.CommandContext(t.Context(), c.path, args...)}
	started.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KAFKA_") })
	started.Env = append(started.Env, "KAFKA_BROKERS="+strings.Join(c.seeds, ","))
	started.Stdout, started.Stderr = &started.stdout, &started.stderr
	if err := started.Start(); err != nil {
		t.Fatal(err)
	}
	return started
}

// ends waits for the process, wants the exit code, and returns the last line of its JSON.
func (c *commandCall) ends(t *testing.T, code int) (last map[string]any) {
	t.Helper()
	_ = c.Wait() // which says no more than the code
	if got := c.ProcessState.ExitCode(); got != code {
		t.Fatalf("%v: exit %d, want %d\n%s%s", c.Args[1:], got, code, c.stdout.String(), c.stderr.String())
	}
	for line := range bytes.Lines(c.stdout.Bytes()) {
		if err := json.Unmarshal(line, &last); err != nil {
			t.Fatalf("%v: %v\n%s", c.Args[1:], err, line)
		}
	}
	return last
}

// brokenShop is a service of orders that fails until it is repaired.
type brokenShop struct {
	mu       sync.Mutex
	repaired bool
	handled  map[string][]int // by key
}

// handle fails in three ways until the service is repaired.
func (s *brokenShop) handle(_ context.Context, msg kafka.Message[[]byte]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var order int
	if _, err := fmt.Sscanf(string(msg.Value), `{"order":%d`, &order); err != nil {
		return err
	}
	if s.repaired {
		s.handled[msg.Key] = append(s.handled[msg.Key], order)
		return nil
	}
	switch order % 3 {
	case 0:
		return kafka.NewTransientError(fmt.Sprintf("save order %d", order), errors.New("database timed out"))
	case 1:
		return kafka.NewPermanentError(fmt.Sprintf("order %d has no customer", order), nil)
	}
	return msg.DecodeValue(&struct{}{}) // these are no JSON
}

// Letters of three kinds are counted by what went wrong, and sent back by processes of which one is refused, one is interrupted and
// one is killed. What it claims: all come back, each key's in their order, and twice only those that the last one says.
func TestTheDeadLetterCommandBringsLettersBack(t *testing.T) {
	notShort(t)
	t.Parallel()
	const orders, keys = 450, 7
	command := buildDeadletterCommand(t, brokers(t))
	topic := "command-" + uuid.NewString()
	group, dlq := topic+"-group", "dlq-"+topic
	broker := kafkatest.Connect(t, kafka.ClientConfig{Brokers: command.seeds}, topic)
	service := &brokenShop{handled: map[string][]int{}}
	cfg := broker.ConsumerConfig(topic, group)
	cfg.Concurrency = 20
	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), service.handle)
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, consumer)
	var msgs []kafka.Message[[]byte]
	for order := range orders {
		end := "}"
		if order%3 == 2 {
			end = " no JSON"
		}
		msgs = append(msgs, kafka.NewMessage[[]byte]().WithKey(fmt.Sprint("customer-", order%keys)).WithValue(fmt.Appendf(nil, `{"order":%d%s`, order, end)).Build())
	}
	kafkatest.Publish(t, broker, topic, msgs...)
	client := connect(t, kafka.ClientConfig{Brokers: command.seeds})
	admin := kadm.NewClient(client.KGO())
	settled := func() {
		t.Helper()
		eventually(t, "the service is done with all orders", func() bool { return done(t, admin, group, topic) })
	}
	published := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " orders are published"), func() bool { return countOf(t, t.Context(), client, topic) >= int64(n) })
	}
	settled()

	counted := command.start(t, "stats", dlq, "--by", "error", "-o", "json")
	counted.ends(t, 0)
	for _, text := range []string{"save order #: database timed out", "order # has no customer"} {
		want := fmt.Sprintf(`"value":%q,"letters":%d`, text, orders/3)
		if !strings.Contains(counted.stdout.String(), want) {
			t.Errorf("stats lacks %s:\n%s", want, counted.stdout.String())
		}
	}

	service.mu.Lock()
	service.repaired = true
	service.mu.Unlock()
	interrupted := command.start(t, "redrive", dlq, "--yes", "--rate", "100", "-o", "json")
	published(orders + 100)
	command.start(t, "redrive", dlq, "--yes").ends(t, 4) // not two at once
	_ = interrupted.Process.Signal(syscall.SIGINT)
	first := interrupted.ends(t, 3)

	killed := command.start(t, "redrive", dlq, "--yes", "--rate", "100", "-o", "json")
	published(orders + int(first["sent"].(float64)) + 100)
	_ = killed.Process.Kill()
	_ = killed.Wait()
	last := command.start(t, "redrive", dlq, "--yes", "--wait", "2m", "-o", "json").ends(t, 0)
	settled()

	repeated := len(kafkatest.Published[[]byte](t, broker, topic)) - 2*orders
	t.Logf("interrupted after %v, killed, then %v sent; %d were sent twice, %v at most by the command's word", first["sent"], last["sent"], repeated, last["repeated"])
	if repeated < 0 || float64(repeated) > last["repeated"].(float64) {
		t.Errorf("%d were sent twice, %v at most by the command's word", repeated, last["repeated"])
	}
	service.mu.Lock()
	defer service.mu.Unlock()
	for key, handled := range service.handled {
		next := 0 // of the key's orders, in their order, each for the first time
		fmt.Sscanf(key, "customer-%d", &next)
		seen := map[int]bool{}
		for _, order := range handled {
			if !seen[order] && order != next {
				t.Fatalf("%s: order %d came in place of %d", key, order, next)
			}
			if !seen[order] {
				seen[order], next = true, next+keys
			}
		}
		if next < orders {
			t.Errorf("%s: order %d never came back", key, next)
		}
	}
	if len(service.handled) != keys {
		t.Errorf("orders of %d keys are handled, want %d", len(service.handled), keys)
	}
	purged := command.start(t, "purge", dlq, "--redriven", "--yes", "-o", "json").ends(t, 0)
	if purged["letters"] != float64(orders) || purged["pending"] != 0.0 || purged["deleted"] != true {
		t.Errorf("purge: %v", purged)
	}
}
