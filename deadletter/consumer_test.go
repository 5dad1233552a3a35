package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
	"github.com/skeji/kafka/kafkatest"
)

// seen is what a handler has got.
type seen struct {
	mu     sync.Mutex
	values []string
	broken bool // it fails for good
}

func (s *seen) handle(_ context.Context, msg kafka.Message[string]) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return kafka.NewPermanentError("save", errors.New("broken "+fmt.Sprint(len(s.values))))
	}
	s.values = append(s.values, msg.Value)
	return nil
}

func (s *seen) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.values)
}

func (s *seen) breaks(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// What one group could not handle comes back for this group alone, also where records go through lanes or in batches.
func TestOtherGroupsPassOverWhatIsSentBack(t *testing.T) {
	withAndWithoutKey(t, otherGroupsPassOverWhatIsSentBack)
}

func otherGroupsPassOverWhatIsSentBack(t *testing.T, p *place) {
	run := func(group string, s *seen, change func(*kafka.ConsumerConfig)) {
		cfg := p.broker.ConsumerConfig(source, group)
		change(&cfg)
		consumer, err := kafka.NewConsumer(cfg, s.handle)
		if err != nil {
			t.Fatal(err)
		}
		kafkatest.Run(t, consumer)
	}
	fails, one, lanes, batches := &seen{broken: true}, &seen{}, &seen{}, &seen{}
	run(group, fails, func(*kafka.ConsumerConfig) {})
	run("one", one, func(*kafka.ConsumerConfig) {})
	run("lanes", lanes, func(cfg *kafka.ConsumerConfig) { cfg.Concurrency = 4 })
	batch, err := kafka.NewBatchConsumer(p.broker.ConsumerConfig(source, "batches"), func(ctx context.Context, msgs []kafka.Message[string]) error {
		for _, msg := range msgs {
			if err := batches.handle(ctx, msg); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, batch)

	want := []string{"a", "b", "c"}
	for _, value := range want {
		kafkatest.Publish(t, p.broker, source, kafka.NewMessage[string]().WithKey("k").WithValue(value).Build())
	}
	kafkatest.AwaitPublished[string](t, p.broker, dlq, len(want))
	fails.breaks(false)
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != int64(len(want)) {
		t.Errorf("%+v", result)
	}
	for _, g := range []string{group, "one", "lanes", "batches"} {
		kafkatest.AwaitDone(t, p.broker, source, g)
	}
	for name, s := range map[string]*seen{group: fails, "one": one, "lanes": lanes, "batches": batches} {
		if got := s.got(); !slices.Equal(got, want) {
			t.Errorf("%s has handled %q, want %q", name, got, want)
		}
	}
}

// A letter that fails again has its first place, its latest error, and one redrive more; at the limit it stays.
func TestALetterThatComesBack(t *testing.T) { withAndWithoutKey(t, aLetterThatComesBack) }

func aLetterThatComesBack(t *testing.T, p *place) {
	s := &seen{broken: true}
	consumer, err := kafka.NewConsumer(p.broker.ConsumerConfig(source, group), s.handle)
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, consumer)
	kafkatest.Publish(t, p.broker, source, kafka.NewMessage[string]().WithKey("k").WithValue("a").WithHeader("mine", "x").Build())
	first := kafkatest.AwaitPublished[string](t, p.broker, dlq, 1)[0]
	origin, _ := first.DeadLetter()
	for redrives := 1; redrives <= 3; redrives++ {
		p.redrive(deadletter.RedriveOptions{})
		kafkatest.AwaitDone(t, p.broker, source, group)
		var pending []deadletter.Letter
		for letter, err := range deadletter.List(p.context(), p.client, dlq, deadletter.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			pending = append(pending, letter)
		}
		if len(pending) != 1 {
			t.Fatalf("%d letters pending after %d redrives", len(pending), redrives)
		}
		got := pending[0].Origin
		if got.Redrives != redrives || got.Topic != source || got.Partition != origin.Partition || got.Offset != origin.Offset ||
			!got.Timestamp.Equal(origin.Timestamp) || got.Group != group {
			t.Errorf("after %d redrives: %+v, first %+v", redrives, got, origin)
		}
		if again := first.Headers; len(pending[0].Headers) != len(again)+1 {
			t.Errorf("headers grow: %q", pending[0].Headers)
		}
	}
	result := p.redrive(deadletter.RedriveOptions{})
	if result.Sent != 0 || result.Left[deadletter.LeftHopLimit] != 1 {
		t.Errorf("at the limit: %+v", result)
	}
	if result := p.redrive(deadletter.RedriveOptions{MaxRedrives: 4}); result.Sent != 1 {
		t.Errorf("with a higher limit: %+v", result)
	}
}

// Who consumes a dead letter topic sees letters, not marks.
func TestAConsumerOfLettersPassesOverMarks(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1), &kgo.Record{Topic: dlq, Key: []byte("k"), Headers: []kgo.RecordHeader{header(deadletter.HeaderUnparked, "0"), header(deadletter.HeaderWrittenTo, dlq)}})
	p.redrive(deadletter.RedriveOptions{})
	s := &seen{}
	consumer, err := kafka.NewConsumer(p.broker.ConsumerConfig(dlq, "watcher"), s.handle)
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, consumer)
	kafkatest.AwaitDone(t, p.broker, dlq, "watcher")
	if got := s.got(); !slices.Equal(got, []string{"0/0", "0/1"}) {
		t.Errorf("handled %q", got)
	}
	stats, err := deadletter.ReadStats(p.context(), p.client, dlq, deadletter.Filter{State: deadletter.All})
	if err != nil || stats.Marks != 2 || stats.Letters != 2 || stats.Redriven != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
}
