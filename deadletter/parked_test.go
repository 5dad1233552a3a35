package deadletter_test

import (
	"slices"
	"testing"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/kafkatest"
)

// runParking runs a consumer that parks keys.
func (p *place) runParking(s *seen) (stop func()) {
	p.t.Helper()
	cfg := p.broker.ConsumerConfig(source, group)
	cfg.ParkKeys = true
	consumer, err := kafka.NewConsumer(cfg, s.handle)
	if err != nil {
		p.t.Fatal(err)
	}
	return kafkatest.Run(p.t, consumer)
}

// A parked key's records come back in their order, and the key is free: what is published then is handled behind them.
func TestParkedKeysComeBackInOrder(t *testing.T) { withAndWithoutKey(t, parkedKeysComeBackInOrder) }

func parkedKeysComeBackInOrder(t *testing.T, p *place) {
	s := &seen{broken: true}
	p.runParking(s)
	publish := func(values ...string) {
		for _, value := range values {
			kafkatest.Publish(t, p.broker, source, kafka.NewMessage[string]().WithKey("k").WithValue(value).Build())
		}
	}
	publish("a", "b", "c", "d")
	kafkatest.AwaitDone(t, p.broker, source, group)
	stats, err := deadletter.ReadStats(p.context(), p.client, dlq, deadletter.Filter{})
	if err != nil || stats.Letters != 4 || len(stats.ByClass) != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	s.breaks(false)
	publish("e") // still parked
	kafkatest.AwaitDone(t, p.broker, source, group)
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 5 {
		t.Errorf("%+v", result)
	}
	kafkatest.AwaitDone(t, p.broker, source, group)
	publish("f")
	kafkatest.AwaitDone(t, p.broker, source, group)
	if got := s.got(); !slices.Equal(got, []string{"a", "b", "c", "d", "e", "f"}) {
		t.Errorf("handled %q", got)
	}
	if got := p.list(deadletter.Filter{}); len(got) != 0 {
		t.Errorf("pending %q", got)
	}
	stats, err = deadletter.ReadStats(p.context(), p.client, dlq, deadletter.Filter{State: deadletter.All})
	if err != nil || stats.Letters != 5 || stats.Redriven != 5 {
		t.Errorf("%+v, %v", stats, err)
	}
}

// What went back keeps its key parked until it is handled: a purge before that would let the key's later records overtake it.
func TestPurgeOfWhatWentBackKeepsTheOrderOfParkedKeys(t *testing.T) {
	withAndWithoutKey(t, purgeOfWhatWentBackKeepsTheOrderOfParkedKeys)
}

func purgeOfWhatWentBackKeepsTheOrderOfParkedKeys(t *testing.T, p *place) {
	s := &seen{broken: true}
	publish := func(value string) {
		kafkatest.Publish(t, p.broker, source, kafka.NewMessage[string]().WithKey("k").WithValue(value).Build())
	}
	purge := func() int64 {
		plan, err := deadletter.PlanPurge(p.context(), p.client, dlq, deadletter.PurgeOptions{Redriven: true})
		if err == nil {
			err = plan.Do(p.context(), p.client)
		}
		if err != nil {
			t.Fatal(err)
		}
		return plan.Letters
	}
	stop := p.runParking(s)
	publish("a")
	publish("b")
	kafkatest.AwaitDone(t, p.broker, source, group)
	stop()
	publish("c") // before what goes back
	p.redrive(deadletter.RedriveOptions{})
	if n := purge(); n != 0 {
		t.Errorf("%d letters are purged while they park their key", n)
	}
	s.breaks(false)
	p.runParking(s)
	kafkatest.AwaitDone(t, p.broker, source, group) // c is parked
	p.redrive(deadletter.RedriveOptions{})
	kafkatest.AwaitDone(t, p.broker, source, group)
	if got := s.got(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("handled %q", got)
	}
	if n := purge(); n != 3 {
		t.Errorf("%d letters are purged once all are handled, want 3", n)
	}
}

// A record that was sent to another topic than its first, and failed there: sent there again, it is the very letter that parks its key.
func TestALetterThatIsSentElsewhereDoesNotParkItself(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := &seen{broken: true}
	p.runParking(s)
	kafkatest.Publish(t, p.broker, source, kafka.NewMessage[string]().WithKey("k").WithValue("a").
		WithHeader(deadletter.HeaderTopic, "payments").WithHeader(deadletter.HeaderPartition, "0").WithHeader(deadletter.HeaderOffset, "7").Build())
	kafkatest.AwaitDone(t, p.broker, source, group)
	s.breaks(false)
	for range 3 {
		p.redrive(deadletter.RedriveOptions{To: source, MaxRedrives: -1})
		kafkatest.AwaitDone(t, p.broker, source, group)
	}
	if got := s.got(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("handled %q", got)
	}
}

// A record that is parked again was not tried: it does not come closer to the hop limit, which ends what fails each time.
func TestParkedLettersThatComeBackDoNotCountAsTried(t *testing.T) {
	withAndWithoutKey(t, func(t *testing.T, p *place) {
		s := &seen{broken: true}
		p.runParking(s)
		for _, value := range []string{"fails", "waits"} {
			kafkatest.Publish(t, p.broker, source, kafka.NewMessage[string]().WithKey("k").WithValue(value).Build())
		}
		kafkatest.AwaitDone(t, p.broker, source, group)
		for range 2 {
			if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 2 {
				t.Fatalf("%+v", result)
			}
			kafkatest.AwaitDone(t, p.broker, source, group)
		}
		letters := map[kafka.Class]int{}
		for letter, err := range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			letters[letter.Origin.Class] = letter.Origin.Redrives
		}
		if len(letters) != 2 || letters[kafka.ClassParked] != 0 {
			t.Errorf("redrives by class: %v; want 0 of what was never tried", letters)
		}
		for class, n := range letters {
			if class != kafka.ClassParked && n != 2 {
				t.Errorf("%s came back %d times, want 2", class, n)
			}
		}
	})
}
