package kafka_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/skeji/kafka"
)

// deleteTopic deletes a topic, as an administrator would.
func (b *bubble) deleteTopic(name string) {
	b.t.Helper()
	client := b.raw()
	defer client.Close()
	request := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = new(name)
	request.Topics, request.TopicNames = append(request.Topics, topic), []string{name}
	response, err := request.RequestWith(b.t.Context(), client)
	if err != nil || response.Topics[0].ErrorCode != 0 {
		b.t.Fatal(err, response)
	}
	// A real broker waits as ever before it answers a fetch of several topics of which one is gone. This one does not, and
	// with no pause virtual time stands still.
	b.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		time.Sleep(100 * time.Millisecond)
		return nil, nil, false
	})
}

func (b *bubble) createTopic(name string) {
	b.t.Helper()
	if err := b.cluster.CreateTopic(name, 2, nil); err != nil {
		b.t.Fatal(err)
	}
}

// A topic that was made again is another topic. franz-go never consumes it; Start must not seem to.
func TestATopicMadeAgainEndsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 5)
		consumer, err := kafka.NewConsumer(b.consumer(), func(context.Context, kafka.Message[numbered]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close()
		ended := make(chan error, 1)
		go func() { ended <- consumer.Start(t.Context()) }()
		time.Sleep(time.Minute)
		b.deleteTopic("orders")
		b.createTopic("orders")
		select {
		case err := <-ended:
			if !errors.Is(err, kafka.ErrTopicMissing) {
				t.Errorf("Start returned %v, want ErrTopicMissing", err)
			}
		case <-time.After(time.Hour):
			t.Errorf("Start goes on:\n%s", b.log.String())
		}
	})
}

// A dead letter topic may be deleted and made again: what waits for it is written, without a restart.
// Before commits named topics by id, an offset could get into the group of another topic of that name.
func TestATopicMadeAgainAtTheEndBeginsAtItsStart(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 10)
		cfg := b.consumer()
		cfg.CommitInterval = time.Hour
		handled := make(chan int64, 100)
		handle := func(_ context.Context, msg kafka.Message[numbered]) error {
			handled <- msg.Offset
			return nil
		}
		_, stop := b.start(cfg, handle)
		time.Sleep(2 * time.Second)
		b.deleteTopic("orders")
		time.AfterFunc(1050*time.Millisecond, func() { b.createTopic("orders") })
		_ = stop()
		time.Sleep(10 * time.Second)
		b.seed(0, 20)
		_, stop = b.start(cfg, handle)
		time.Sleep(time.Minute)
		if err := stop(); err != nil || len(handled) != 30 {
			t.Errorf("Start returned %v; %d of both topics' 30 records were handled", err, len(handled))
		}
	}, kfake.MaxVersions(kversion.V3_9_0()))
}

func TestADeadLetterTopicMadeAgainTakesLetters(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		b.seed(0, 3)
		gone := make(chan struct{})
		var bad atomic.Int32
		_, stop := b.start(b.consumer(), func(_ context.Context, msg kafka.Message[numbered]) error {
			if msg.Offset == 1 {
				<-gone
			}
			bad.Add(1)
			return kafka.NewPermanentError("never", nil)
		})
		time.Sleep(time.Minute)
		b.deleteTopic("dlq-orders")
		close(gone)
		time.Sleep(aLongTime)
		if at := b.committed(0); at != 1 {
			t.Errorf("committed %d without a letter", at)
		}
		b.createTopic("dlq-orders")
		time.Sleep(aLongTime)
		if err := stop(); err != nil || b.letters() != 2 || b.committed(0) != 3 || bad.Load() != 3 {
			t.Errorf("Start returned %v; %d letters, committed %d, %d attempts; want 2, 3, 3", err, b.letters(), b.committed(0), bad.Load())
		}
	})
}

// What is acknowledged is stored, though thousands of messages were on their way when the topic was made again: to forget the
// new topic, too, would begin to count from 0 where the brokers have counted already.
func TestOnlyATopicThatIsGoneIsForgotten(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer := b.newProducer(b.producer())
		msg := kafka.Message[numbered]{Key: "k", Value: numbered{1}}
		if err := producer.Publish(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		b.deleteTopic("orders")
		b.createTopic("orders")
		for range 1000 {
			producer.PublishAsync(t.Context(), msg, func(kafka.Message[numbered], error) {
				time.Sleep(time.Millisecond) // a callback that logs
			})
		}
		var acknowledged atomic.Int64
		for range 300 {
			time.Sleep(10 * time.Millisecond)
			producer.PublishAsync(t.Context(), msg, func(_ kafka.Message[numbered], err error) {
				if err == nil {
					acknowledged.Add(1)
				}
			})
		}
		time.Sleep(time.Minute)
		if n := acknowledged.Load(); n == 0 || n > b.stored() {
			t.Errorf("%d messages acknowledged, %d stored", n, b.stored())
		}

		before := b.stored()
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.UnknownTopicID, Count: 40}) // which is a lie
		for range 20 {
			if producer.Publish(t.Context(), msg) == nil {
				before++
			}
		}
		if after := b.stored(); after < before {
			t.Errorf("%d messages stored, %d acknowledged", after, before)
		}
	})
}

func TestATopicMadeAgainIsPublishedTo(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		producer := b.newProducer(b.producer())
		publish := func() error {
			return producer.Publish(t.Context(), kafka.Message[numbered]{Key: "k", Value: numbered{1}})
		}
		if err := publish(); err != nil {
			t.Fatal(err)
		}
		b.deleteTopic("orders")
		if err := publish(); !errors.Is(err, kafka.ErrTopicMissing) {
			t.Errorf("without the topic Publish returned %v, want ErrTopicMissing", err)
		}
		b.createTopic("orders")
		time.Sleep(time.Minute)
		if err := publish(); err != nil { // which may be the one that finds out
			t.Log(err)
		}
		time.Sleep(time.Minute)
		if err := publish(); err != nil {
			t.Errorf("the topic is back, and Publish returned %v", err)
		}
	})
}
