package kafka_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/skeji/kafka"
)

// gate stands between the clients of a bubble and its brokers. While it is shut, the brokers refuse the password.
type gate struct {
	*bubble
	shut     atomic.Bool
	refusals atomic.Int64

	mu          sync.Mutex
	connections []net.Conn
}

// franzGo counts the lines that franz-go writes.
func franzGo(g *gate) (n int) {
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		n += g.log.count(level, "component=franz-go")
	}
	return n
}

func atGate(t *testing.T, test func(t *testing.T, g *gate)) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bubble) {
		g := &gate{bubble: b}
		b.cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(request kmsg.Request) (kmsg.Response, error, bool) {
			if !g.shut.Load() {
				return nil, nil, false
			}
			b.cluster.KeepControl()
			g.refusals.Add(1)
			response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			response.ErrorCode = kerr.SaslAuthenticationFailed.Code
			return response, nil, true
		})
		test(t, g)
	}, kfake.EnableSASL(), kfake.Superuser("PLAIN", "app", "secret"))
}

func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := g.network.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connections = append(g.connections, conn)
	return distant{conn}, nil
}

// distant is a connection on which a fetch takes a moment. If it took no time at all, a client that asks again at once
// would stop the bubble's clock. Other requests take none: franz-go holds locks while it waits for them, which stops the
// clock, too.
type distant struct{ net.Conn }

func (c distant) Write(request []byte) (int, error) {
	if len(request) > 6 && binary.BigEndian.Uint16(request[4:]) == uint16(kmsg.Fetch) { // after the length
		time.Sleep(50 * time.Millisecond)
	}
	return c.Conn.Write(request)
}

// close shuts the gate and cuts the connections that went through it.
func (g *gate) close() {
	g.shut.Store(true)
	g.cut()
}

func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, conn := range g.connections {
		_ = conn.Close()
	}
	g.connections = nil
}

func (g *gate) open() { g.shut.Store(false) }

func (g *gate) client() kafka.ClientConfig {
	cfg := g.bubble.client()
	cfg.Options = []kgo.Opt{kgo.Dialer(g.dial)}
	cfg.SASL = kafka.SASLConfig{Mechanism: "PLAIN", Username: "app", Password: kafka.NewSecret("secret")}
	return cfg
}

func (g *gate) consumer() kafka.ConsumerConfig {
	cfg := g.bubble.consumer()
	cfg.CommitInterval = time.Hour // see bubble
	cfg.ClientConfig = g.client()
	return cfg
}

// produce puts a record into orders, past the library.
func (g *gate) produce() {
	g.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(g.network.DialContext),
		kgo.SASL(plain.Auth{User: "app", Pass: "secret"}.AsMechanism()))
	if err != nil {
		g.t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(g.t.Context(), &kgo.Record{Topic: "orders", Value: []byte(`{"n":1}`)}).FirstErr(); err != nil {
		g.t.Fatal(err)
	}
}

// stored counts the records of orders.
func (g *gate) stored() int64 { return storedIn(g.cluster, "orders") }

// run starts a consumer and waits for its first message. ended yields Start's error if it ends by itself.
func (g *gate) run(cfg kafka.ConsumerConfig) (handled *atomic.Int64, ended <-chan error) {
	g.t.Helper()
	handled = new(atomic.Int64)
	consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error {
		handled.Add(1)
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- consumer.Start(context.Background()) }() // ends with Close
	g.t.Cleanup(func() { _ = consumer.Close() })
	g.produce()
	time.Sleep(10 * time.Second)
	if handled.Load() != 1 {
		g.t.Fatal("the consumer does not consume")
	}
	return handled, result
}

// endsAfter waits for Start to end by itself, at the first refusal after timeout.
func endsAfter(t *testing.T, ended <-chan error, timeout time.Duration, want error) error {
	t.Helper()
	began := time.Now()
	select {
	case err := <-ended:
		// The client tries again every few seconds, so the refusal that ends it comes soon after the timeout.
		if took := time.Since(began); took < timeout || took > timeout+kafka.RefusalGap {
			t.Errorf("Start ended %v after access was refused, want %v and little more", took, timeout)
		}
		if !errors.Is(err, want) {
			t.Errorf("Start returned %v, want %v", err, want)
		}
		return err
	case <-time.After(aLongTime):
		t.Fatal("Start goes on without access")
		return nil
	}
}

// goesOn wants a consumer to run and to handle another message.
func (g *gate) goesOn(handled *atomic.Int64, ended <-chan error) {
	g.t.Helper()
	before := handled.Load()
	g.produce()
	time.Sleep(10 * time.Second)
	if n := handled.Load(); n != before+1 {
		g.t.Errorf("%d messages handled, want %d", n, before+1)
	}
	select {
	case err := <-ended:
		g.t.Fatalf("Start returned %v", err)
	default:
	}
}

// Promise 8. The franz-go client would go on for ever, without a word.
func TestCredentialsThatTurnBadEndStart(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{kafka.DefaultAuthFailureTimeout, 3 * time.Minute} {
		t.Run(timeout.String(), func(t *testing.T) {
			atGate(t, func(t *testing.T, g *gate) {
				cfg := g.consumer()
				if timeout != kafka.DefaultAuthFailureTimeout {
					cfg.AuthFailureTimeout = timeout
				}
				_, ended := g.run(cfg)
				g.close()
				err := endsAfter(t, ended, timeout, kafka.ErrAuthentication)
				connect, ok := errors.AsType[*kafka.ConnectError](err)
				if !ok || !strings.HasSuffix(connect.Broker, ":9092") || !strings.Contains(connect.Hint, `refused user "app" with PLAIN`) {
					t.Errorf("Start returned %v, want the broker and a hint", err)
				}
			})
		})
	}
}

// An outage of the brokers' user database is no reason to end, nor do two short ones add up.
func TestCredentialsThatAreGoodAgainEndNothing(t *testing.T) {
	t.Parallel()
	atGate(t, func(t *testing.T, g *gate) {
		handled, ended := g.run(g.consumer())
		for range 3 {
			g.close()
			time.Sleep(kafka.DefaultAuthFailureTimeout * 2 / 3)
			if g.refusals.Swap(0) < 2 {
				t.Error("the test refuses nothing")
			}
			g.open()
			// Too short for a new refusal to count as a new story by its distance alone.
			time.Sleep(kafka.RefusalGap / 3)
		}
		g.goesOn(handled, ended)
		time.Sleep(aLongTime)
		g.goesOn(handled, ended)
	})
}

// What the brokers say is what Publish says, at the end of DeliveryTimeout. Later messages are none the worse for it.
func TestPublishNamesCredentialsThatTurnedBad(t *testing.T) {
	t.Parallel()
	atGate(t, func(t *testing.T, g *gate) {
		cfg := kafka.ProducerConfig{ClientConfig: g.client(), Topic: "orders"}
		cfg.DeliveryTimeout = 20 * time.Second
		producer, err := kafka.NewProducer[numbered](cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		publish := func() error { return producer.Publish(t.Context(), kafka.Message[numbered]{Value: numbered{1}}) }
		g.close()
		for range 2 {
			began := time.Now()
			err := publish()
			if took := time.Since(began); took < cfg.DeliveryTimeout || took > cfg.DeliveryTimeout+kafka.RefusalGap {
				t.Errorf("Publish failed after %v, want %v and little more", took, cfg.DeliveryTimeout)
			}
			if _, ok := errors.AsType[*kafka.PublishError](err); !ok || !errors.Is(err, kafka.ErrAuthentication) {
				t.Errorf("Publish returned %v, want a PublishError with ErrAuthentication in it", err)
			}
		}
		g.open()
		if err := publish(); err != nil {
			t.Errorf("Publish with good credentials: %v", err)
		}
		if n := g.stored(); n != 1 {
			t.Errorf("%d messages are stored, want 1", n)
		}
	})
}

// A message that was on its way when the connection broke may be stored, so franz-go does not give it up: its caller may.
func TestMessagesOnTheirWayOutlastBadCredentials(t *testing.T) {
	t.Parallel()
	atGate(t, func(t *testing.T, g *gate) {
		cfg := kafka.ProducerConfig{ClientConfig: g.client(), Topic: "orders"}
		cfg.DeliveryTimeout = 20 * time.Second
		producer, err := kafka.NewProducer[numbered](cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		if err := producer.Publish(t.Context(), kafka.Message[numbered]{Value: numbered{1}}); err != nil {
			t.Fatal(err)
		}
		g.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := producer.Publish(ctx, kafka.Message[numbered]{Value: numbered{2}}); !errors.Is(err, kafka.ErrOutcomeUnknown) || !errors.Is(err, kafka.ErrAuthentication) {
			t.Errorf("Publish returned %v, want ErrOutcomeUnknown and why", err)
		}
		g.open()
		if err := producer.Publish(t.Context(), kafka.Message[numbered]{Value: numbered{3}}); err != nil {
			t.Errorf("Publish with good credentials: %v", err)
		}
		if err := producer.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if n := g.stored(); n != 3 {
			t.Errorf("%d messages are stored, want 3", n)
		}
	})
}

// A permission that a running consumer loses is put up with for as long as bad credentials are.
func TestPermissionsThatAreWithdrawnEndStart(t *testing.T) {
	t.Parallel()
	for _, lost := range []struct {
		name  string
		fault kfake.Fault
		where string
	}{
		{"topic", kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: kerr.TopicAuthorizationFailed}, "orders"},
		{"group", kfake.Fault{
			Keys:  []kmsg.Key{kmsg.FindCoordinator, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.OffsetCommit},
			Group: "group", Err: kerr.GroupAuthorizationFailed,
		}, "group group"},
	} {
		lost.fault.Count = -1
		t.Run(lost.name, func(t *testing.T) {
			atGate(t, func(t *testing.T, g *gate) {
				_, ended := g.run(g.consumer())
				g.cluster.Fault(lost.fault)
				err := endsAfter(t, ended, kafka.DefaultAuthFailureTimeout, kafka.ErrAuthorization)
				if !strings.Contains(err.Error(), lost.where) {
					t.Errorf("Start returned %v, which does not name %s", err, lost.where)
				}
			})
		})
		t.Run(lost.name+" for a moment", func(t *testing.T) {
			atGate(t, func(t *testing.T, g *gate) {
				handled, ended := g.run(g.consumer())
				for range 2 {
					fault := g.cluster.Fault(lost.fault)
					time.Sleep(kafka.DefaultAuthFailureTimeout * 2 / 3)
					if fault.Hits() < 2 {
						t.Error("the test refuses nothing")
					}
					fault.Remove()
					time.Sleep(kafka.RefusalGap * 2) // a new story
				}
				g.goesOn(handled, ended)
			})
		})
	}
}

// Promise 8. Before the first assignment there is nothing to hope for: the permission was never there.
func TestGroupsThatMayNotBeJoinedEndStartAtOnce(t *testing.T) {
	t.Parallel()
	for _, first := range []struct {
		protocol string
		key      kmsg.Key
	}{
		{"classic", kmsg.FindCoordinator}, {"classic", kmsg.JoinGroup},
		{"consumer", kmsg.FindCoordinator}, {"consumer", kmsg.ConsumerGroupHeartbeat},
	} {
		t.Run(first.protocol+", "+first.key.Name(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{first.key}, Group: "group", Err: kerr.GroupAuthorizationFailed, Count: -1})
				cfg := b.consumer()
				cfg.GroupProtocol = kafka.GroupProtocol(first.protocol)
				consumer, err := kafka.NewConsumer(cfg, func(context.Context, kafka.Message[numbered]) error { return nil })
				if err != nil {
					t.Fatal(err)
				}
				defer consumer.Close()
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), aLongTime)
				defer cancel()
				err = consumer.Start(ctx)
				if !errors.Is(err, kafka.ErrAuthorization) || !strings.Contains(err.Error(), "group group") {
					t.Errorf("Start returned %v, want ErrAuthorization and the group's name", err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("Start took %v to say so", took)
				}
			})
		})
	}
}

// A refusal repeats many times a minute. Its log lines don't.
func TestRefusalsAreLoggedNowAndThen(t *testing.T) {
	t.Parallel()
	const lasting = 3 * time.Minute
	for _, refuse := range []struct {
		name  string
		start func(*gate) (hits func() int)
	}{
		{"credentials", func(g *gate) func() int {
			g.close()
			return func() int { return int(g.refusals.Load()) }
		}},
		{"topic", func(g *gate) func() int {
			return g.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.TopicAuthorizationFailed, Count: -1}).Hits
		}},
		{"group", func(g *gate) func() int {
			return g.cluster.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.JoinGroup, kmsg.Heartbeat, kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed, Count: -1,
			}).Hits
		}},
	} {
		t.Run(refuse.name, func(t *testing.T) {
			atGate(t, func(t *testing.T, g *gate) {
				cfg := g.consumer()
				cfg.AuthFailureTimeout = 2 * lasting
				_, ended := g.run(cfg)
				g.produce() // something to commit
				before, theirs := g.log.all(), franzGo(g)
				hits := refuse.start(g)
				time.Sleep(lasting)
				lines, refusals := g.log.count(slog.LevelError, "lasting", "error"), hits()
				t.Logf("%d refusals, %d lines about them, %d lines in all", refusals, lines, g.log.all()-before)
				if most := int(lasting/(10*time.Second)) + 1; lines > most || lines < most/3 {
					t.Errorf("%d lines in %v, want at most one each 10s, and some", lines, lasting)
				}
				if refusals < 2*lines {
					t.Error("the test proves nothing: refusals are rare")
				}
				theirs = franzGo(g) - theirs
				if most := 4 * lines; theirs > most { // each of its few texts once in as long
					t.Errorf("%d lines of franz-go's, want %d at most", theirs, most)
				}
				if all := g.log.all() - before - theirs; all > 2*lines+20 {
					t.Errorf("%d lines of ours in all: something else is repeated", all)
				}
				select {
				case err := <-ended:
					t.Errorf("Start returned %v", err)
				default:
				}
			})
		})
	}
}

// A connection that opens says nothing about a permission that is missing.
func TestNewConnectionsDontHideAMissingPermission(t *testing.T) {
	t.Parallel()
	atGate(t, func(t *testing.T, g *gate) {
		_, ended := g.run(g.consumer())
		g.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: kerr.TopicAuthorizationFailed, Count: -1})
		stop := make(chan struct{})
		defer close(stop)
		go func() { // ends with stop
			for wait(kafka.DefaultAuthFailureTimeout/3, stop) {
				g.cut()
			}
		}()
		endsAfter(t, ended, kafka.DefaultAuthFailureTimeout, kafka.ErrAuthorization)
	})
}

// The brokers answer a fetch that they forbid at once, and franz-go asks again at once.
func TestForbiddenFetchesDontHammerTheBrokers(t *testing.T) {
	t.Parallel()
	atGate(t, func(t *testing.T, g *gate) {
		handled, ended := g.run(g.consumer())
		fault := g.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "orders", Err: kerr.TopicAuthorizationFailed, Count: -1})
		const lasting = 10 * time.Second
		time.Sleep(lasting)
		fault.Remove()
		if n, most := fault.Hits(), int(lasting/kafka.FetchMaxWait)+1; n < 2 || n > most {
			t.Errorf("%d fetches in %v, want %d at most: as many as of an idle topic", n, lasting, most)
		}
		g.goesOn(handled, ended)
	})
}
