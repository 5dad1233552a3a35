package kafka_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/kafkatest"
)

// part is a runner that returns what it is told to, and writes down what is called.
type part struct {
	name   string
	calls  *calls
	ends   error         // of Start, without waiting for its context
	early  bool          // Start returns at once
	stops  error         // of Start, at its context's end
	closes error         // of Close
	after  time.Duration // its context's end
}

type calls struct {
	sync.Mutex
	all []string
}

func (c *calls) add(what string) {
	c.Lock()
	defer c.Unlock()
	c.all = append(c.all, what)
}

func (p part) Start(ctx context.Context) error {
	defer p.calls.add("end " + p.name)
	if p.early || p.ends != nil {
		return p.ends
	}
	<-ctx.Done()
	time.Sleep(p.after)
	return p.stops
}

func (p part) Close() error {
	p.calls.add("close " + p.name)
	return p.closes
}

var (
	errStart = errors.New("start")
	errStop  = errors.New("stop")
	errClose = errors.New("close")
)

func TestRunEndsAllWhenOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		err := kafka.Run(t.Context(),
			part{name: "a", calls: &c, stops: errStop}, part{name: "b", calls: &c, ends: errStart}, part{name: "c", calls: &c, closes: errClose})
		for _, want := range []error{errStart, errStop, errClose} {
			if !errors.Is(err, want) {
				t.Errorf("%v, want %v in it", err, want)
			}
		}
		if got := c.all[3:]; !slices.Equal(got, []string{"close a", "close b", "close c"}) {
			t.Errorf("after all have ended: %q", c.all)
		}
	})
}

// A runner that ends well has done its work. Others go on until the context ends, and are closed only then.
func TestRunGoesOnWhenOneEndsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		err := kafka.Run(ctx, part{name: "early", calls: &c, early: true}, part{name: "late", calls: &c, after: time.Minute})
		if err != nil || time.Since(began) != time.Hour+time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if want := []string{"end early", "end late", "close early", "close late"}; !slices.Equal(c.all, want) {
			t.Errorf("%q, want %q", c.all, want)
		}
	})
}

func TestConsumeTakesItsSettingsFromTheEnvironment(t *testing.T) {
	broker := kafkatest.Start(t, "orders", "dlq-orders")
	broker.Env(t)
	kafkatest.Publish(t, broker, "orders", kafka.NewMessage[int]().WithValue(7).Build())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got, settled int
	err := kafka.Consume(ctx, "orders", "group", func(_ context.Context, msg kafka.Message[int]) error {
		got = msg.Value
		return nil
	}, kafka.ConsumerHooks{RecordSettled: func(context.Context, *kgo.Record, kafka.Settlement) { settled++; cancel() }})
	if err != nil || got != 7 || settled != 1 {
		t.Errorf("handled %d, %d settled: %v", got, settled, err)
	}
	t.Setenv("KAFKA_CONSUMER_MAX_RETRIES", "many")
	if err := kafka.Consume(t.Context(), "orders", "group", func(context.Context, kafka.Message[int]) error { return nil }); err == nil || !strings.Contains(err.Error(), "KAFKA_CONSUMER_MAX_RETRIES") {
		t.Errorf("an environment that makes no sense: %v", err)
	}
}

// Plugins of a constructor do what those of Use do.
func TestConstructorsTakePlugins(t *testing.T) {
	broker := kafkatest.Start(t, "orders", "dlq-orders", "replies")
	var c calls
	around := kafka.ProducerMiddleware(func(next kafka.PublishFunc) kafka.PublishFunc {
		return func(ctx context.Context, r *kafka.Record, done func(error)) {
			c.add("publish to " + r.Topic)
			next(ctx, r, done)
		}
	})
	told := kafka.ProducerHooks{Publishing: func(r *kafka.Record) { c.add("publishing to " + r.Topic) }}
	producer, err := kafka.NewProducer[int](broker.ProducerConfig("orders"), around, told)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.Publish(t.Context(), kafka.NewMessage[int]().WithValue(1).Build()); err != nil {
		t.Fatal(err)
	}
	requests := kafka.NewRequesterConfig("orders", "replies", broker.Brokers()...)
	requests.RequestTimeout = time.Millisecond
	requester, err := kafka.NewRequester[int, int](requests, around)
	if err != nil {
		t.Fatal(err)
	}
	defer requester.Close()
	_, _ = requester.Request(t.Context(), kafka.NewMessage[int]().WithValue(2).Build()) // nobody answers
	handled := kafka.ConsumerMiddleware(func(next kafka.HandlerFunc) kafka.HandlerFunc {
		return func(ctx context.Context, r *kafka.Record) error {
			c.add("consumed")
			return next(ctx, r)
		}
	})
	cfg := broker.ConsumerConfig("orders", "one")
	consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[int]) error { return nil }, handled)
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, consumer)
	kafkatest.AwaitDone(t, broker, "orders", "one")
	cfg.Group = "batches"
	batches, err := kafka.NewBatchConsumer(cfg, func(context.Context, []kafka.Message[int]) error { return nil }, kafka.BatchMiddleware(func(next kafka.BatchFunc) kafka.BatchFunc {
		return func(ctx context.Context, records []*kafka.Record) error {
			c.add("consumed in a batch")
			return next(ctx, records)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	kafkatest.Run(t, batches)
	kafkatest.AwaitDone(t, broker, "orders", "batches")
	c.Lock()
	defer c.Unlock()
	for _, want := range []string{"publishing to orders", "publish to orders", "consumed", "consumed in a batch"} {
		if !slices.Contains(c.all, want) {
			t.Errorf("%q, want %q among them", c.all, want)
		}
	}
	if n := len(slices.DeleteFunc(slices.Clone(c.all), func(s string) bool { return s != "publish to orders" })); n != 2 {
		t.Errorf("the middleware saw %d publishes, want the message and the request", n)
	}
}
