//go:build synctests

package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/ledger"
)

// order says what its handler is to do, so that every member does the same with it.
type order struct {
	Key   string        `json:"key"`
	Seq   int           `json:"seq"`
	Do    do            `json:"do"`
	Takes time.Duration `json:"takes"` // each attempt
	Fails int           `json:"fails"` // attempts, before it succeeds
}

type do string

const (
	succeed do = "succeed"
	fail    do = "fail"   // a permanent error
	reject  do = "reject" // a business error
	crash   do = "panic"
	exit    do = "goexit"
	deaf    do = "deaf" // it takes its time whatever its context says
	garbage do = "garbage"

	maxRetries = 3
)

func (o order) dead() bool {
	return o.Do == fail || o.Do == crash || o.Do == exit || o.Do == garbage || o.Fails > maxRetries
}

// drawOrder draws the next message of some key, or one without a key.
func drawOrder(random *rand.Rand, keys int, next map[string]int) kafka.Message[[]byte] {
	o := order{Key: fmt.Sprint(random.IntN(keys)), Do: succeed, Takes: time.Duration(random.ExpFloat64() * float64(time.Second))}
	if random.IntN(8) == 0 {
		o.Key = ""
	}
	switch random.IntN(100) {
	case 0:
		o.Do = fail
	case 1:
		o.Do = reject
	case 2:
		o.Do = crash
	case 3:
		o.Do = exit
	case 4:
		o.Do = garbage
	case 5:
		o.Do, o.Takes = deaf, time.Duration(random.IntN(120))*time.Second
	case 6:
		o.Takes = time.Duration(random.IntN(300)) * time.Second
	case 7, 8, 9, 10, 11, 12:
		o.Fails = 1 + random.IntN(5)
	}
	o.Seq = next[o.Key]
	next[o.Key]++
	value, _ := json.Marshal(o)
	msg := kafka.NewMessage[[]byte]().WithKey(o.Key).WithHeader("order", string(value)).WithValue(value)
	if o.Do == garbage {
		msg = msg.WithValue([]byte("{"))
	}
	return msg.Build()
}

func orderOf(r *kgo.Record) (o order) {
	for _, h := range r.Headers {
		if h.Key == "order" {
			_ = json.Unmarshal(h.Value, &o)
		}
	}
	return o
}

func recordOf(r *kgo.Record) ledger.Record {
	o := orderOf(r)
	return ledger.Record{Place: ledger.Place{Partition: r.Partition, Offset: r.Offset}, Key: o.Key, Seq: o.Seq, Dead: o.dead()}
}

func handle(ctx context.Context, msg kafka.Message[order]) error {
	o := msg.Value
	if o.Do == deaf {
		time.Sleep(o.Takes)
		return nil
	}
	select {
	case <-time.After(o.Takes):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch o.Do {
	case fail:
		return kafka.NewPermanentError("never", nil)
	case reject:
		return kafka.NewBusinessError("declined", nil)
	case crash:
		panic("bad luck")
	case exit:
		runtime.Goexit()
	}
	if msg.Attempt <= o.Fails || o.dead() { // however often the flood guard has it tried
		return errors.New("not yet")
	}
	return nil
}
