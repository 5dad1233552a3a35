package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

const (
	commandsTopic = "pipeline-executor-to-bookings"
	repliesTopic  = "bookings-to-pipeline-executor"

	askers, asksOfOne = 20, 20
	// After a kill the group waits for the dead member's SessionTimeout, 45 s, and so do the users.
	replyPatience = 2 * time.Minute
)

// Users ask the gateway by HTTP and wait for the reply, while each of the services is killed once and started again. What it
// claims: each request, sent until it is accepted, gets one reply of its own and no other. Its messages may be on a topic twice,
// since a crash redelivers; then they are the same, with the same message id, by which everybody can tell.
func TestTheExampleServicesAnswerEachRequestOnce(t *testing.T) {
	notShort(t)
	t.Parallel()
	seeds := brokers(t)
	names := []string{"gateway", "pipeline-executor", "bookings"}
	folder := buildExamples(t, names...)
	running, all := map[string]*program{}, []*program{}
	begin := func(name string) {
		running[name] = startProgram(t, folder, name, seeds)
		all = append(all, running[name])
	}
	for _, name := range names {
		begin(name)
	}
	for _, name := range names {
		eventually(t, name+" is ready", func() bool { return running[name].ready(t.Context()) })
	}
	client := connect(t, kafka.ClientConfig{Brokers: seeds})
	admin := kadm.NewClient(client.KGO())
	lettersBefore := letters(t, admin)
	heard := overhear(t, admin, seeds)

	var door doorplate
	door.change(running["gateway"].address("HTTP_ADDRESS"))
	users := &crowd{heard: heard, door: &door, answered: make(chan string, askers*asksOfOne)}
	begun := time.Now()
	for i := range askers {
		go users.ask(t.Context(), i)
	}
	for i := range askers * asksOfOne {
		if fault := <-users.answered; fault != "" {
			t.Error(fault)
		}
		switch i { // they go on asking
		case 100:
			running["gateway"].kill()
			begin("gateway")
			eventually(t, "the gateway is ready again", func() bool { return running["gateway"].address("HTTP_ADDRESS") != "" })
			door.change(running["gateway"].address("HTTP_ADDRESS"))
		case 200:
			running["bookings"].kill()
			running["pipeline-executor"].kill()
			begin("bookings")
			begin("pipeline-executor")
		}
	}
	took := time.Since(begun)

	for group, topic := range map[string]string{
		"pipeline-executor-consumer-group": "gw-to-scrub-layer", "bookings-service-consumer-group": commandsTopic,
		"pipeline-executor-responses-consumer-group": repliesTopic,
	} {
		eventually(t, group+" is done", func() bool { return done(t, admin, group, topic) })
	}
	for _, name := range names {
		running[name].terminate(t)
	}
	if after := letters(t, admin); !maps.Equal(after, lettersBefore) {
		t.Errorf("dead letters: %v, before %v", after, lettersBefore)
	}
	heard.judge(t, users.ids)
	twice := answers(t, all, users.ids)
	t.Logf("%d requests in %v, sent %d times: %d commands, %d replies; %d answered by both executors, each of them once", len(users.ids), took.Round(time.Second),
		users.sent, heard.count(commandsTopic), heard.count(repliesTopic), twice)
}

// doorplate says where the gateway is, as a Service of Kubernetes would.
type doorplate struct {
	mu      sync.Mutex
	address string
}

func (d *doorplate) change(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.address = address
}

func (d *doorplate) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.address
}

// crowd is users who ask, one request after another, and wait for the reply.
type crowd struct {
	heard    *overheard
	door     *doorplate
	answered chan string // a fault, or "", for each request, with room for all

	mu   sync.Mutex
	ids  []string
	sent int
}

// ask is one user, whose goroutine ends with the last request, or the test.
func (c *crowd) ask(ctx context.Context, user int) {
	for n := range asksOfOne {
		c.answered <- c.one(ctx, fmt.Sprintf("+1555%07d", user), n%10 == 9)
	}
}

// one is a request from the first try to the reply. It returns what is wrong with that.
func (c *crowd) one(ctx context.Context, phone string, withheld bool) (fault string) {
	ctx, cancel := context.WithTimeout(ctx, replyPatience)
	defer cancel()
	if withheld {
		phone = "withheld"
	}
	key, id, tries := uuid.NewString(), "", 0
	for ; id == ""; id = post(ctx, c.door.read(), key, phone) {
		if tries++; tries > 1 {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Sprintf("the request with the key %s is not accepted after %d tries", key, tries)
			}
		}
	}
	reply := c.heard.await(id)
	c.mu.Lock()
	c.ids, c.sent = append(c.ids, id), c.sent+tries
	c.mu.Unlock()
	select {
	case value := <-reply:
		if confirmed := strings.Contains(value, "booking-command-of-"+id); confirmed == withheld {
			return fmt.Sprintf("request %s, phone %s, is answered with %s", id, phone, value)
		}
		return ""
	case <-ctx.Done():
		return fmt.Sprintf("request %s has no reply after %v", id, replyPatience)
	}
}

// post returns the correlation id of an accepted request. "" means that nobody knows what became of it.
func post(ctx context.Context, gateway, key, phone string) (id string) {
	body := fmt.Sprintf(`{"user_phone":%q,"text":"book a table"}`, phone)
	asked, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+gateway+"/messages", strings.NewReader(body))
	if err != nil {
		return ""
	}
	asked.Header.Set("Idempotency-Key", key)
	answer, err := http.DefaultClient.Do(asked)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	var accepted struct {
		CorrelationID string `json:"correlation_id"`
	}
	if answer.StatusCode != http.StatusAccepted || json.NewDecoder(answer.Body).Decode(&accepted) != nil {
		return ""
	}
	return accepted.CorrelationID
}

// overheard is what two topics got since the test began, by correlation id.
type overheard struct {
	mu      sync.Mutex
	said    map[string]map[string][]*kgo.Record // topic, correlation id
	waiting map[string]chan string
}

// overhear reads commands and replies from now on, without a group. Its goroutine ends with the client, at the test's end.
func overhear(t *testing.T, admin *kadm.Client, seeds []string) *overheard {
	t.Helper()
	ends, err := admin.ListEndOffsets(t.Context(), commandsTopic, repliesTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumePartitions(ends.KOffsets()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	o := &overheard{waiting: map[string]chan string{}, said: map[string]map[string][]*kgo.Record{
		commandsTopic: {}, repliesTopic: {},
	}}
	go func() {
		for {
			fetches := client.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(o.hear)
		}
	}()
	return o
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func (o *overheard) hear(r *kgo.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := header(r, kafka.HeaderCorrelationID)
	before := o.said[r.Topic][id]
	o.said[r.Topic][id] = append(before, r)
	if waiting := o.waiting[id]; r.Topic == repliesTopic && len(before) == 0 && waiting != nil {
		waiting <- string(r.Value) // which has room for the one
	}
}

// await returns where the first reply to a request is, or will be.
func (o *overheard) await(id string) <-chan string {
	o.mu.Lock()
	defer o.mu.Unlock()
	reply := make(chan string, 1)
	if there := o.said[repliesTopic][id]; len(there) > 0 {
		reply <- string(there[0].Value)
	} else {
		o.waiting[id] = reply
	}
	return reply
}

// judge wants for each request a command and a reply of its own, and whatever came more than once the same each time.
func (o *overheard) judge(t *testing.T, ids []string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for topic, prefix := range map[string]string{commandsTopic: "command-of-", repliesTopic: "reply-to-command-of-"} {
		if len(o.said[topic]) != len(ids) {
			t.Errorf("%s is about %d requests, want %d", topic, len(o.said[topic]), len(ids))
		}
		for _, id := range ids {
			all := o.said[topic][id]
			if len(all) == 0 {
				t.Errorf("nothing about request %s in %s", id, topic)
			}
			for _, r := range all {
				if got := header(r, kafka.HeaderMessageID); got != prefix+id || !bytes.Equal(r.Value, all[0].Value) || !bytes.Equal(r.Key, all[0].Key) {
					t.Errorf("%s has the message %s with the value %s about request %s, and first %s", topic, got, r.Value, id, all[0].Value)
				}
			}
		}
	}
}

func (o *overheard) count(topic string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, all := range o.said[topic] {
		n += len(all)
	}
	return n
}

// answers reads in the executors' logs how often they answered each request: at least once, and no process twice. It returns how
// many requests were answered by two, one of which was killed and took what it knew along.
func answers(t *testing.T, all []*program, ids []string) (twice int) {
	t.Helper()
	by := map[string]int{}
	line := regexp.MustCompile(`answer to the user correlation_id=(\S+)`)
	for _, p := range all {
		once := map[string]bool{}
		for _, found := range line.FindAllStringSubmatch(p.log.String(), -1) {
			id := found[1]
			if once[id] {
				t.Errorf("one process answered request %s twice", id)
			}
			once[id] = true
			by[id]++
		}
	}
	for _, id := range ids {
		if by[id] == 0 {
			t.Errorf("request %s is not answered", id)
		}
		if by[id] > 1 {
			twice++
		}
	}
	return twice
}

// done tells whether the group has committed all of the topic.
func done(t *testing.T, admin *kadm.Client, group, topic string) bool {
	t.Helper()
	lags, err := admin.Lag(t.Context(), group)
	if err == nil {
		err = lags.Error()
	}
	if err != nil {
		t.Log(err)
		return false
	}
	lag := int64(0)
	for _, of := range lags[group].Lag[topic] {
		lag += of.Lag
	}
	return lag == 0 && len(lags[group].Lag[topic]) > 0
}

// letters returns the end offsets of the dead letter topics.
func letters(t *testing.T, admin *kadm.Client) map[string]int64 {
	t.Helper()
	ends, err := admin.ListEndOffsets(t.Context(), "dlq-domain-services", "dlq-pipeline-executor")
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) { all[o.Topic] += o.Offset })
	return all
}
