package deadletter_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/deadletter"
)

// Of two letters that fail, one that was not sent and a later one that was not marked, the first says where the next run begins.
func TestARefusedLetterBeforeOnesThatCannotBeMarkedStaysPending(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	first := letter(1, 1)
	first.Partition = 0
	p.write(first, letter(0, 0))
	for partition := range int32(2) {
		if err := p.cluster.MoveTopicPartition(source, partition, partition); err != nil {
			t.Fatal(err)
		}
	}
	takeLetters, takeMarks := p.refuse(source, 1), p.refuse(dlq, 0)
	result, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{})
	if err == nil || result.Sent != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	takeLetters()
	takeMarks()
	if got := p.list(deadletter.Filter{}); len(got) != 2 {
		t.Errorf("pending %q", got)
	}
}

// A broker answers a client that is above its quota with nothing, but for how long to wait.
func TestThrottledReadsGoOn(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1))
	n := 0
	p.cluster.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		p.cluster.KeepControl()
		if n++; n%2 == 0 {
			return nil, nil, false
		}
		response := request.ResponseKind().(*kmsg.FetchResponse)
		response.ThrottleMillis = 10
		return response, nil, true
	})
	if got := p.list(deadletter.Filter{}); len(got) != 2 {
		t.Errorf("listed %q", got)
	}
}

// A broker may have nothing yet of what is before the end, where old records are stored elsewhere.
func TestAnEmptyAnswerIsNoEnd(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(0, 1), letter(0, 2))
	n := 0
	p.cluster.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		p.cluster.KeepControl()
		fetch := request.(*kmsg.FetchRequest)
		asked := fetch.Topics[0].Partitions[0]
		if asked.Partition != 0 {
			return nil, nil, false
		}
		if n++; n != 2 {
			return nil, nil, false
		}
		response := fetch.ResponseKind().(*kmsg.FetchResponse)
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = fetch.Topics[0].Topic, fetch.Topics[0].TopicID
		partition := kmsg.NewFetchResponseTopicPartition()
		partition.Partition, partition.HighWatermark, partition.LastStableOffset = asked.Partition, 3, 3
		topic.Partitions = append(topic.Partitions, partition)
		response.Topics = append(response.Topics, topic)
		return response, nil, true
	})
	if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 3 {
		t.Errorf("%+v", result)
	}
}

// Wait is for another run. The coordinator may take longer to let the only one in.
func TestAShortWaitIsForOthersNotForTheGroup(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, p *place) {
		p.write(letter(0, 0))
		p.cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
			p.cluster.SleepControl(func() { time.Sleep(time.Second) })
			return nil, nil, false
		})
		opts := deadletter.RedriveOptions{Wait: 200 * time.Millisecond}
		if result, err := deadletter.Redrive(p.context(), p.client, dlq, opts); err != nil {
			t.Errorf("%+v %v", result, err)
		}
	})
}

// Brokers that die before they answer leave open what they have stored. A run that is asked to end does so all the same.
func TestACancelledRunEndsThoughBrokersDoNotAnswer(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, p *place) {
		p.write(letter(0, 0), letter(0, 1))
		ctx, cancel := context.WithCancel(p.context())
		var cut atomic.Bool
		cut.Store(true)
		p.cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			p.cluster.KeepControl()
			if !cut.Load() {
				return nil, nil, false
			}
			cancel()
			return nil, errors.New("cut"), true
		})
		failed := make(chan error, 1)
		go func() {
			_, err := deadletter.Redrive(ctx, p.client, dlq, deadletter.RedriveOptions{})
			failed <- err
		}()
		select {
		case err := <-failed:
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		case <-p.context().Done():
			t.Fatal("it doesn't end")
		}
		cut.Store(false)
		if result := p.redrive(deadletter.RedriveOptions{}); result.Sent != 2 || result.Repeated != 2 {
			t.Errorf("%+v", result)
		}
	})
}

// The letters of a topic that was made again are others: what is known of the old ones says nothing of them.
func TestATopicThatIsMadeAgainEndsTheRun(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.write(letter(0, 0), letter(1, 0), letter(1, 1))
	admin := kadm.NewClient(p.raw)
	_, err := deadletter.Redrive(p.context(), p.client, dlq, deadletter.RedriveOptions{DryRun: true, Transform: func(l deadletter.Letter, _ *kgo.Record) error {
		if l.Partition == 1 {
			t.Errorf("it goes on with offset %d", l.Offset)
			return nil
		}
		if _, err := admin.DeleteTopic(p.context(), dlq); err != nil {
			t.Error(err)
		}
		if _, err := admin.CreateTopic(p.context(), 3, 1, nil, dlq); err != nil {
			t.Error(err)
		}
		other := p.dial() // which knows nothing of the old one
		if err := other.ProduceSync(p.context(), letter(1, 7)).FirstErr(); err != nil {
			t.Error(err)
		}
		return nil
	}})
	if !errors.Is(err, kafka.ErrTopicMissing) {
		t.Error(err)
	}
}

func TestOptionsThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()
	for _, opts := range []deadletter.RedriveOptions{{Max: -1}, {Rate: -1}, {Rate: math.NaN()}, {Wait: -1}} {
		if _, err := deadletter.Redrive(t.Context(), nil, dlq, opts); err == nil {
			t.Errorf("%+v is taken", opts)
		}
	}
}
