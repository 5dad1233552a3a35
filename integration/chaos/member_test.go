package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/integration/internal/cluster"
)

// What a record asks of its handler. Its value says so, so that every member does the same with it.
type order struct {
	Key string `json:"key"`
	Seq int    `json:"seq"`
	Do  do     `json:"do"`
}

type do string

const (
	succeed    do = "succeed"
	retryOnce  do = "retry once"
	retryTwice do = "retry twice"
	exhaust    do = "exhaust"    // every attempt fails: a dead letter
	fail       do = "fail"       // a permanent error: a dead letter
	reject     do = "reject"     // a business error
	crash      do = "panic"      // a dead letter
	exit       do = "goexit"     // a dead letter
	beSlow     do = "be slow"    // for as long as hundreds of others
	beLong     do = "be long"    // for an hour, unless the context ends
	beDeaf     do = "be deaf"    // for an hour, whatever the context says
	beGarbage  do = "be garbage" // no JSON at all: a dead letter
	backOff    do = "back off"   // for an hour
	maxRetries    = 3
)

// dead tells whether the record ends as a dead letter.
func (d do) dead() bool {
	return d == exhaust || d == fail || d == crash || d == exit || d == beGarbage
}

// task is a member's config, which it has from its environment.
type task struct {
	Name        string
	Brokers     []string
	Topic       string
	Group       string
	Protocol    string
	Concurrency int
	Notes, Log  string        // files
	Drain       time.Duration // DrainTimeout
	Work        time.Duration // of most handlers
	Slow        time.Duration // of slow ones
	Do          do            // if set, with every record, whatever that asks for
}

const taskVariable = "CHAOS_MEMBER"

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(taskVariable); ok {
		os.Exit(beMember(text))
	}
	cluster.RunSideBySide(5)
	os.Exit(m.Run())
}

// sessionTimeout is every member's.
const sessionTimeout = 8 * time.Second

// beMember is a consumer's process. It ends at SIGTERM, with 0 if all went well.
func beMember(text string) int {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	log, err := os.OpenFile(t.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	logger := slog.New(slog.NewTextHandler(log, nil))
	notes, err := newNotes(t.Notes)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	go func() { // until the process ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(2) // the test is gone: nobody else would ever end this
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		time.AfterFunc(t.Drain+5*time.Second, func() { // something holds it up: read on if it ends with an error
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
		})
	})
	for {
		err := consume(ctx, t, logger, notes)
		if _, door := errors.AsType[*kafka.ConnectError](err); door || errors.Is(err, kafka.ErrUnreachable) {
			logger.Warn("refused at the door; starting again", "error", err)
			select { // as whoever runs it would
			case <-time.After(500 * time.Millisecond):
				continue
			case <-ctx.Done():
				return 0
			}
		}
		if err != nil {
			notes.excuse("ended with an error")
			logger.Error("ended", "error", err)
			fmt.Fprintln(os.Stderr, t.Name, "ended:", err)
			return 1
		}
		return 0
	}
}

func consume(ctx context.Context, t task, logger *slog.Logger, notes *notes) error {
	cfg := kafka.NewConsumerConfig(t.Topic, t.Group, t.Brokers...)
	cfg.Logger, cfg.ClientID = logger, t.Name
	cfg.MaxRetries, cfg.RetryBackoff, cfg.RetryBackoffMax = maxRetries, 20*time.Millisecond, 100*time.Millisecond
	cfg.DrainTimeout, cfg.SessionTimeout, cfg.RebalanceTimeout = t.Drain, sessionTimeout, 2*sessionTimeout
	cfg.CommitInterval = 500 * time.Millisecond
	cfg.GroupProtocol, cfg.Concurrency = kafka.GroupProtocol(t.Protocol), t.Concurrency
	consumer, err := kafka.NewConsumer(cfg, t.handle)
	if err != nil {
		return err
	}
	defer consumer.Close()
	consumer.Use(notes.middleware(), kafka.ConsumerHooks{
		PartitionsLost: func(string, []int32) { notes.excuse("partitions lost") },
		OffsetsCommitted: func(err error) {
			if err != nil {
				notes.excuse("a commit failed")
			}
		},
		RecordSettled: func(_ context.Context, r *kgo.Record, s kafka.Settlement) {
			if s.Outcome == kafka.OutcomeLeft {
				notes.write(noteLetGo, place(r))
			}
		},
	})
	return consumer.Start(ctx)
}

func (t task) handle(ctx context.Context, msg kafka.Message[order]) error {
	what := cmp.Or(t.Do, msg.Value.Do)
	switch what {
	case retryOnce, retryTwice, exhaust:
		if times := map[do]int{retryOnce: 1, retryTwice: 2, exhaust: maxRetries + 1}[what]; msg.Attempt <= times {
			return errors.New("not yet")
		}
	case backOff:
		return kafka.NewTransientError("busy", nil).WithRetryAfter(time.Hour)
	case fail:
		return kafka.NewPermanentError("never", nil)
	case reject:
		return kafka.NewBusinessError("declined", nil)
	case crash:
		panic("bad luck")
	case exit:
		runtime.Goexit()
	case beSlow:
		return rest(ctx, t.Slow)
	case beLong:
		return rest(ctx, time.Hour)
	case beDeaf:
		time.Sleep(time.Hour)
		return nil
	}
	return rest(ctx, t.Work)
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// notes is a member's file of what it does. Each note is one write, made before what it tells of can have consequences: the
// end of an attempt is noted before its offset can be committed.
type notes struct {
	mu   sync.Mutex
	file *os.File
}

func newNotes(path string) (*notes, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &notes{file: file}, err
}

// The kinds of notes.
const (
	noteBegan  = 'b' // partition, offset
	noteFailed = 'f' // partition, offset
	noteFinal  = 'd' // partition, offset
	noteLetGo  = 'l' // partition, offset: after either, and the record is not done
	noteExcuse = 'x' // a text
)

func (n *notes) write(kind byte, about string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, err := fmt.Fprintf(n.file, "%c %d %s\n", kind, time.Now().UnixNano(), about)
	if err != nil {
		panic(err) // the run is worth nothing
	}
}

func (n *notes) excuse(why string) { n.write(noteExcuse, why) }

func place(r *kgo.Record) string { return fmt.Sprint(r.Partition, " ", r.Offset) }

// middleware notes every attempt, at records that can't be decoded too.
func (n *notes) middleware() kafka.ConsumerMiddleware {
	return func(next kafka.HandlerFunc) kafka.HandlerFunc {
		return func(ctx context.Context, r *kafka.Record) (err error) {
			at := place(r.Record)
			n.write(noteBegan, at)
			exited := true
			defer func() {
				class := kafka.ClassOf(err)
				taken := ctx.Err() != nil
				switch {
				case taken && (err != nil || exited), class == kafka.ClassTransient && r.Attempt <= maxRetries:
					n.write(noteFailed, at)
				default:
					if taken { // in vain, perhaps
						n.excuse("a handler outlasted its context")
					}
					n.write(noteFinal, at)
				}
			}()
			err = next(ctx, r)
			exited = false
			return err
		}
	}
}
