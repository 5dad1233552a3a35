package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/kafkatest"
)

type order struct{ ID int }

// shop is a service whose orders fail in three ways, until it is repaired.
type shop struct {
	broker   *kafkatest.Broker
	repaired atomic.Bool
	handled  atomic.Int32
}

// startShop has it fail: of orders 1 to 6, the even ones for want of a database, 1 and 3 for good; 5 is handled. One more is no order.
func startShop(t *testing.T) *shop {
	t.Helper()
	broker := kafkatest.Start(t, "orders")
	broker.Env(t)
	s := &shop{broker: broker}
	consumer, err := kafka.NewConsumer(broker.ConsumerConfig("orders", "billing"), s.handle)
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, consumer)
	for id := 1; id <= 6; id++ {
		msg := kafka.NewMessage[order]().WithKey(fmt.Sprint("customer-", id)).WithValue(order{id}).WithEventType("order.created").Build()
		kafkatest.Publish(t, broker, "orders", msg)
	}
	kafkatest.Publish(t, broker, "orders", kafka.NewMessage[[]byte]().WithKey("\x1b[2J").WithValue([]byte("\x00not JSON\xff")).Build())
	kafkatest.AwaitDone(t, broker, "orders", "billing")
	return s
}

func (s *shop) handle(_ context.Context, msg kafka.Message[order]) error {
	id := msg.Value.ID
	switch {
	case s.repaired.Load() || id == 5:
		s.handled.Add(1)
		return nil
	case id%2 == 0:
		return kafka.NewTransientError(fmt.Sprintf("save order %d", id), errors.New("\x1b[31mdatabase timed out"))
	}
	return kafka.NewPermanentError(fmt.Sprintf("order %d has no customer", id), nil)
}

// lines decodes JSON Lines.
func lines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var value map[string]any
		if err := json.Unmarshal([]byte(line), &value); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, value)
	}
	return all
}

func TestLettersAreFoundUnderstoodAndSentBack(t *testing.T) {
	s := startShop(t)
	want := func(got outcome, code int, stdout, stderr []string) {
		t.Helper()
		if got.code != code {
			t.Errorf("exit %d, want %d", got.code, code)
		}
		for _, text := range stdout {
			if !strings.Contains(got.stdout, text) {
				t.Errorf("standard output lacks %q", text)
			}
		}
		for _, text := range stderr {
			if !strings.Contains(got.stderr, text) {
				t.Errorf("standard error lacks %q", text)
			}
		}
		if text := got.stdout + got.stderr; strings.ContainsAny(text, "\x1b\x00") || !utf8.ValidString(text) {
			t.Error("a terminal would obey this")
		}
		if t.Failed() {
			t.Fatalf("standard output:\n%sstandard error:\n%s", got.stdout, got.stderr)
		}
	}

	want(call(t, "ls"), exitDone, []string{"TOPIC", "dlq-orders"}, nil)
	want(call(t, "ls", "dlq-orders"), exitDone, []string{"orders-", `save order 2: \x1b[31mdatabase timed out`, "order 3 has no customer", "billing"}, nil)
	want(call(t, "stats", "dlq-orders"), exitDone, []string{"6 letters", "transient", "permanent", `save order #: \x1b[#mdatabase timed out`, "50%"}, nil)
	want(call(t, "peek", "dlq-orders", "--class", "transient", "-n", "1"), exitDone,
		[]string{`value     {"ID":`, "key       customer-", "event-type: order.created", "tried 4 times"}, []string{"the first 1; there are more"})
	want(call(t, "peek", "--key", "\x1b[2J", "dlq-orders"), exitDone, []string{`key       \x1b[2J`, "value     hex 00 6e 6f 74"}, nil)

	all := lines(t, call(t, "ls", "dlq-orders", "-o", "json").stdout)
	if len(all) != 6 || all[0]["value"] != nil || all[0]["key"] != nil {
		t.Errorf("ls: %v, want 6 letters without keys and values", all)
	}
	for _, letter := range lines(t, call(t, "peek", "dlq-orders", "--class", "permanent", "--error", "customer", "-o", "json").stdout) {
		if key, _ := letter["key"].(string); letter["class"] != "permanent" || !strings.HasPrefix(key, "customer-") {
			t.Errorf("peek: %v", letter)
		}
	}
	if counts := lines(t, call(t, "stats", "dlq-orders", "--by", "class", "-o", "json").stdout); len(counts) != 3 || counts[0]["letters"] != 6.0 || counts[1]["letters"] != 3.0 {
		t.Errorf("stats: %v", counts)
	}

	s.repaired.Store(true)
	want(call(t, "redrive", "dlq-orders", "--dry-run"), exitDone, []string{"6  would be sent", "6    to orders", "6    for group billing"}, nil)
	want(call(t, "redrive", "dlq-orders"), exitRefused, nil, []string{"--yes"})
	want(callAtTerminal(t, "n\n", "redrive", "dlq-orders"), exitRefused, nil, []string{"6 letters of dlq-orders would go back", "Send them? [y/N]"})
	want(callAtTerminal(t, "y\n", "redrive", "dlq-orders", "--class", "transient", "--max", "1"), exitDone, []string{"1  sent"}, []string{"1 letter of dlq-orders would go back"})
	want(call(t, "redrive", "dlq-orders", "--class", "transient", "--yes"), exitDone, []string{"2  sent", "3  pending, and not asked for"}, nil)
	kafkatest.AwaitDone(t, s.broker, "orders", "billing")
	if n := s.handled.Load(); n != 4 {
		t.Errorf("%d orders are handled, want 5 and those that came back", n)
	}
	// In partition 0 a letter that is pending comes first.
	want(call(t, "purge", "dlq-orders", "--redriven", "--partition", "0", "--yes"), exitDone, []string{"0  deleted"}, []string{"nothing behind it can be deleted alone"})
	want(call(t, "purge", "dlq-orders", "--redriven"), exitRefused, nil, []string{"--yes"})
	want(call(t, "redrive", "dlq-orders", "--yes", "-o", "json"), exitDone, []string{`"sent":3,"sentTo":{"orders":3},"sentFor":{"billing":3}`}, nil)
	kafkatest.AwaitDone(t, s.broker, "orders", "billing")
	want(call(t, "stats", "dlq-orders", "--state", "redriven"), exitDone, []string{"6 letters"}, nil)
	// What is no JSON has come back again: nothing repairs it.
	want(call(t, "stats", "dlq-orders"), exitDone, []string{"1 letter,", "had been sent back before"}, nil)
	want(call(t, "redrive", "dlq-orders", "--yes", "--max-redrives", "1"), exitPartly, []string{"left: hop limit"}, []string{"left, hop limit: dlq-orders-"})
	left := lines(t, call(t, "redrive", "dlq-orders", "--yes", "--max-redrives", "1", "-o", "json").stdout)
	if len(left) != 2 || left[0]["left"] != "hop limit" || left[1]["sent"] != 0.0 {
		t.Errorf("redrive: %v", left)
	}

	want(call(t, "purge", "dlq-orders", "--all", "--dry-run"), exitDone, []string{"7  would be deleted", "1  of them pending"}, nil)
	want(callAtTerminal(t, "y\n", "purge", "dlq-orders", "--all"), exitDone, []string{"7  deleted"}, []string{"1 of them are PENDING"})
	want(call(t, "ls", "dlq-orders"), exitDone, nil, []string{"no such letters are pending"})
	want(call(t, "ls", "dlq-payments"), exitFailed, nil, []string{"dlq-payments"})
}

// Two at once would send letters twice: the second one is refused. Ctrl-C ends the first one cleanly, and the next goes on.
func TestOneRedriveAtATimeAndCtrlCIsClean(t *testing.T) {
	const count = 20
	broker := kafkatest.Start(t, "orders")
	broker.Env(t)
	consumer, err := kafka.NewConsumer(broker.ConsumerConfig("orders", "billing"), func(context.Context, kafka.Message[order]) error {
		return kafka.NewPermanentError("no", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := kafkatest.Run(t, consumer)
	for id := range count {
		kafkatest.Publish(t, broker, "orders", kafka.NewMessage[order]().WithKey("one").WithValue(order{id}).Build())
	}
	kafkatest.AwaitDone(t, broker, "orders", "billing")
	stop() // what is sent back stays in the topic

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	first := make(chan outcome, 1)
	go func() { // ends with interrupt
		var stdout, stderr bytes.Buffer
		s := streams{in: strings.NewReader(""), out: &stdout, err: &console{w: &stderr}}
		code := run(ctx, []string{"redrive", "dlq-orders", "--yes", "--rate", "0.5", "-o", "json"}, s)
		first <- outcome{code, stdout.String(), stderr.String()}
	}()
	kafkatest.AwaitPublished[order](t, broker, "orders", count+1) // one has come back
	if second := call(t, "redrive", "dlq-orders", "--yes"); second.code != exitRefused || !strings.Contains(second.stderr, "another redrive is running") {
		t.Errorf("a second redrive: exit %d\n%s%s", second.code, second.stdout, second.stderr)
	}
	interrupt()
	got := <-first
	result := lines(t, got.stdout)
	if got.code != exitPartly || len(result) != 1 || !strings.Contains(got.stderr, "the same command goes on where this one was") {
		t.Fatalf("interrupted: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	sent, _ := result[0]["sent"].(float64)
	if sent < 1 || sent >= count {
		t.Errorf("interrupted amid the letters, and %v are sent", sent)
	}
	rest := lines(t, call(t, "redrive", "dlq-orders", "--yes", "-o", "json").stdout)
	if rest[0]["sent"] != count-sent || rest[0]["repeated"] != 0.0 {
		t.Errorf("after %v came %v", sent, rest)
	}
	all := kafkatest.Published[order](t, broker, "orders")
	for i, msg := range all[count:] {
		if msg.Value.ID != i {
			t.Fatalf("%d came back in place of %d", msg.Value.ID, i)
		}
	}
	if len(all) != 2*count {
		t.Errorf("%d records, want each of %d twice", len(all), count)
	}
}

// Where letters may go is not what their headers say: whoever writes to the topic writes those.
func TestLettersGoNowhereUnasked(t *testing.T) {
	broker := kafkatest.Start(t, "orders", "dlq-shared", "misfits")
	broker.Env(t)
	letter := func(source string) kafka.Message[[]byte] {
		return kafka.NewMessage[[]byte]().WithValue([]byte("{}")).WithHeader(deadletter.HeaderTopic, source).
			WithHeader(deadletter.HeaderPartition, "0").WithHeader(deadletter.HeaderOffset, "7").Build()
	}
	kafkatest.Publish(t, broker, "dlq-shared", letter("orders"), letter("salaries"), kafka.NewMessage[[]byte]().Build())
	for _, step := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"--yes", exitFailed, "unless --allow TOPIC,... says where they may go"}, // dlq-shared is named for no topic
		{"--yes --allow orders", exitPartly, "--allow TOPIC,... allows topics"},
		{"--yes --allow orders", exitPartly, "left, destination: dlq-shared-"},
		{"--yes --allow orders", exitPartly, "left, unreadable: dlq-shared-"},
		{"--yes --to orders", exitDone, ""},
		{"--yes --to payments", exitFailed, "payments"},
	} {
		if got := call(t, append([]string{"redrive", "dlq-shared"}, strings.Fields(step.args)...)...); got.code != step.code || !strings.Contains(got.stderr, step.stderr) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", step.args, got.code, step.code, step.stderr, got.stdout, got.stderr)
		}
	}
	orphan := kafka.NewMessage[[]byte]().WithHeader(deadletter.HeaderTopic, "orders").WithHeader(deadletter.HeaderGroup, "shipping").Build()
	kafkatest.Publish(t, broker, "dlq-orders", orphan)
	if got := call(t, "redrive", "dlq-orders", "--yes"); got.code != exitPartly || !strings.Contains(got.stderr, "--for GROUP") {
		t.Errorf("a letter for a group that is gone: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := call(t, "redrive", "dlq-orders", "--yes", "--for", "biling"); got.code != exitUsage || !strings.Contains(got.stderr, "is the name right?") {
		t.Errorf("--for a group that is not there: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	billing, err := kafka.NewConsumerWithCodec(broker.ConsumerConfig("orders", "billing"), kafka.Bytes(), func(context.Context, kafka.Message[[]byte]) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, billing)
	kafkatest.AwaitDone(t, broker, "orders", "billing")
	if got := call(t, "redrive", "dlq-orders", "--yes", "--for", "billing"); got.code != exitDone || !strings.Contains(got.stdout, "for group billing") {
		t.Errorf("--for: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	kafkatest.Publish(t, broker, "misfits", kafka.NewMessage[[]byte]().WithValue([]byte("{}")).Build())
	for _, args := range []string{"redrive misfits --to orders --yes", "purge misfits --all --yes"} { // it is no dead letter topic
		if got := call(t, strings.Fields(args)...); got.code != exitUsage || !strings.Contains(got.stderr, "--any-topic takes it all the same") {
			t.Errorf("%s: exit %d\n%s%s", args, got.code, got.stdout, got.stderr)
		}
	}
	if got := call(t, "stats", "misfits"); got.code != exitDone || !strings.Contains(got.stderr, "is this a dead letter topic?") {
		t.Errorf("stats: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := call(t, "redrive", "misfits", "--yes"); got.code != exitUsage || !strings.Contains(got.stderr, "--allow TOPIC") || strings.Contains(got.stderr, "Destinations") {
		t.Errorf("a topic whose name says nothing: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if all := kafkatest.Published[[]byte](t, broker, "orders"); len(all) != 4 {
		t.Errorf("%d letters are in orders, want 1 that may go there, 2 that were sent there and 1 for another group", len(all))
	}
}

// Headers that can't be read are shown as they are: one of them is the trouble.
func TestHeadersOfAnUnreadableLetterAreShown(t *testing.T) {
	broker := kafkatest.Start(t, "dlq-orders")
	broker.Env(t)
	kafkatest.Publish(t, broker, "dlq-orders", kafka.NewMessage[[]byte]().WithValue([]byte("{}")).WithHeader(deadletter.HeaderTopic, "orders").
		WithHeader(deadletter.HeaderPartition, "-5").WithHeader(deadletter.HeaderMessage, "no room").Build())
	got := call(t, "peek", "dlq-orders")
	for _, want := range []string{"TROUBLE", deadletter.HeaderPartition + ": -5", deadletter.HeaderMessage + ": no room"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("lacks %q\n%s%s", want, got.stdout, got.stderr)
		}
	}
}

func TestLongValuesAreCutUnlessFullIsAskedFor(t *testing.T) {
	broker := kafkatest.Start(t, "dlq-orders")
	broker.Env(t)
	long := strings.Repeat("long ", 1000)
	kafkatest.Publish(t, broker, "dlq-orders", kafka.NewMessage[[]byte]().WithValue([]byte(long)).Build())
	if got := call(t, "peek", "dlq-orders"); strings.Contains(got.stdout, long) || !strings.Contains(got.stdout, "5,000 bytes; --full shows all") {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := call(t, "peek", "dlq-orders", "--full"); !strings.Contains(got.stdout, long) {
		t.Errorf("--full: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// answer says yes, after something has happened while the question was read.
type answer struct{ meanwhile func() }

func (a *answer) Read(p []byte) (int, error) {
	if a.meanwhile != nil {
		a.meanwhile()
		a.meanwhile = nil
	}
	return copy(p, "y\n"), nil
}

// What is sent is what the question showed, though more letters came while it was read; who sent them, and why, is logged.
func TestTheAnswerIsAboutWhatTheQuestionShowed(t *testing.T) {
	s := startShop(t)
	later := func() {
		msg := kafka.NewMessage[order]().WithKey("later").WithValue(order{2}).Build()
		kafkatest.Publish(t, s.broker, "orders", msg)
		kafkatest.AwaitDone(t, s.broker, "orders", "billing")
	}
	got := callWith(t, streams{in: &answer{later}, inTerminal: true}, "redrive", "dlq-orders", "--class", "transient", "--by", "alice", "--reason", "INC\x1b17")
	if got.code != exitDone || !strings.Contains(got.stderr, "3 letters of dlq-orders would go back") || !strings.Contains(got.stdout, "3  sent") {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	for _, text := range []string{`msg="redrive begins" dlq_topic=dlq-orders by=alice reason="INC\x1b17"`, `msg="redrive ended"`, "sent=3", "filter.classes=transient"} {
		if !strings.Contains(got.stderr, text) {
			t.Errorf("standard error lacks %q:\n%s", text, got.stderr)
		}
	}
	kafkatest.AwaitDone(t, s.broker, "orders", "billing") // all have come back
	got = callWith(t, streams{in: &answer{later}, inTerminal: true}, "purge", "dlq-orders", "--all")
	if got.code != exitDone || !strings.Contains(got.stderr, `msg="purge of dead letters ended" dlq_topic=dlq-orders by=`) || !strings.Contains(got.stderr, " letters=10 pending=7 ") {
		t.Errorf("exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}
