package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// Letters fail, members come and go, and letters are sent back at random: of each key nothing is handled before what comes before it.
func TestParkedKeysKeepTheirOrderWhateverHappens(t *testing.T) {
	t.Parallel()
	seeds := uint64(6)
	if kafka.Long() {
		seeds = 30
	}
	for seed := range seeds {
		inParkingLot(t, func(t *testing.T, l *parkingLot) { l.anything(rand.New(rand.NewPCG(seed, 1))) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func (l *parkingLot) anything(random *rand.Rand) {
	const keys, rounds = 3, 12
	cfg := l.config()
	cfg.Concurrency = 1 + 3*random.IntN(2)
	cfg.CommitInterval = time.Minute // so that a member that ends badly has committed little
	next := map[string]int{}         // what was handled, by key
	broken, calls := true, 0
	failures := rand.New(rand.NewPCG(random.Uint64(), 2)) // l.mu guards it
	handle := func(ctx context.Context, msg kafka.Message[numbered]) error {
		time.Sleep(time.Second) // a member may end meanwhile
		l.mu.Lock()
		defer l.mu.Unlock()
		calls++
		if broken && failures.IntN(3) == 0 {
			return kafka.NewPermanentError("never", nil)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if msg.Value.N > next[msg.Key] {
			l.t.Errorf("%s %d is handled before %d", msg.Key, msg.Value.N, next[msg.Key])
		}
		next[msg.Key] = max(next[msg.Key], msg.Value.N+1)
		return nil
	}
	published := map[string]int{}
	_, stop := l.start(cfg, handle)
	sent := 0
	for range rounds {
		var records []string
		for range random.IntN(5) {
			key := fmt.Sprint("k", random.IntN(keys))
			records = append(records, fmt.Sprint(key, " ", published[key]))
			published[key]++
		}
		if len(records) > 0 {
			l.publish(records...)
		}
		time.Sleep(time.Duration(random.IntN(10)) * time.Second)
		if letters, _ := l.stored(); random.IntN(2) == 0 { // all that are new or, after a crash of who sends them, some once more
			from := max(0, sent-random.IntN(3))
			sent = len(letters)
			l.sendBack(letters[from:]...)
		}
		switch random.IntN(4) {
		case 0: // a rolling deployment
			_ = stop()
			_, stop = l.start(cfg, handle)
		case 1: // a member that is thrown out, with records in hand
			l.cluster.ControlKey(int16(kmsg.Heartbeat), func(request kmsg.Request) (kmsg.Response, error, bool) {
				response := request.ResponseKind().(*kmsg.HeartbeatResponse)
				response.ErrorCode = kerr.UnknownMemberID.Code
				return response, nil, true
			})
		}
	}
	l.mu.Lock()
	broken = false
	l.mu.Unlock()
	for range 4 * rounds {
		time.Sleep(2 * time.Minute)
		letters, _ := l.stored()
		if len(letters) == sent {
			break
		}
		l.sendBack(letters[sent:]...)
		sent = len(letters)
	}
	time.Sleep(2 * time.Minute)
	if err := stop(); err != nil {
		l.t.Errorf("Start returned %v", err)
	}
	for key, n := range published {
		if next[key] != n {
			l.t.Errorf("%s: %d handled, want %d", key, next[key], n)
		}
	}
	if calls == 0 {
		l.t.Error("nothing was handled")
	}
}
