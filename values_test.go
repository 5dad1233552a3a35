package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

// loose is a value whose parts a decoder could fill again.
type loose struct {
	Name  string         `json:"name"`
	Tags  map[string]int `json:"tags"`
	Items []string       `json:"items"`
	Any   any            `json:"any"`
}

// A value is decoded where the one before it was. That may not show in either of them.
func TestValuesHaveNothingInCommon(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const first = `{"name":"a","tags":{"x":1},"items":["1","2"],"any":{"y":2}}`
		for _, value := range []string{first, `{"name":"b","tags":{"z":3},"items":["3", 4]}`, `{"tags":{"z":4},"any":{"v":5}}`, `{"items":["6"]}`} {
			b.produce(&kgo.Record{Topic: "orders", Key: []byte("k"), Value: []byte(value)})
		}
		var got []loose
		consumer, err := kafka.NewConsumer(b.consumer(), func(_ context.Context, msg kafka.Message[loose]) error {
			got = append(got, msg.Value)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		stop := b.run(consumer)
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Error(err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		want := `[` + first + `,{"name":"","tags":{"z":4},"items":null,"any":{"v":5}},{"name":"","tags":null,"items":["6"],"any":null}]`
		if string(text) != want || b.letters() != 1 {
			t.Errorf("%d letters, and handled\n%s, want\n%s", b.letters(), text, want)
		}
	})
}

// Middleware may call the handler twice at once, to have the faster answer.
func TestMiddlewareMayCallTheHandlerTwiceAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, b *bubble) {
		const records = 50
		b.seed(0, records)
		var mu sync.Mutex
		handled := map[int]int{}
		consumer, err := kafka.NewConsumer(b.consumer(), func(_ context.Context, msg kafka.Message[numbered]) error {
			mu.Lock()
			defer mu.Unlock()
			handled[msg.Value.N]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		consumer.Use(kafka.ConsumerMiddleware(func(next kafka.HandlerFunc) kafka.HandlerFunc {
			return func(ctx context.Context, r *kafka.Record) error {
				var both sync.WaitGroup
				var errs [2]error
				for i := range errs {
					both.Go(func() { errs[i] = next(ctx, r) })
				}
				both.Wait()
				return errors.Join(errs[:]...)
			}
		}))
		stop := b.run(consumer)
		time.Sleep(aLongTime)
		if err := stop(); err != nil {
			t.Error(err)
		}
		for n, times := range handled {
			if times != 2 {
				t.Errorf("%d was handled %d times, want 2", n, times)
			}
		}
		if len(handled) != records {
			t.Errorf("%d values, want %d", len(handled), records)
		}
	})
}
