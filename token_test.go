package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/skeji/kafka"
)

// issuer makes the brokers of a bubble take OAUTHBEARER, and makes the tokens. They refuse as RFC 7628 says, with what
// is wrong, as JSON.
type issuer struct {
	*bubble
	mu     sync.Mutex
	good   map[string]bool // tokens that are taken
	seen   []string        // all that were shown, in order
	tokens atomic.Int64
}

// sessionLifetime is what the brokers grant. franz-go asks for another session a second before.
const sessionLifetime = 10 * time.Second

func withIssuer(t *testing.T, test func(t *testing.T, i *issuer)) {
	t.Helper()
	inBubble(t, func(t *testing.T, b *bubble) {
		i := &issuer{bubble: b, good: map[string]bool{}}
		b.cluster.ControlKey(int16(kmsg.SASLHandshake), func(request kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			response := request.ResponseKind().(*kmsg.SASLHandshakeResponse)
			if request.(*kmsg.SASLHandshakeRequest).Mechanism != "OAUTHBEARER" {
				response.ErrorCode = kerr.UnsupportedSaslMechanism.Code
			}
			return response, nil, true
		})
		b.cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(request kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			return i.judge(request.(*kmsg.SASLAuthenticateRequest)), nil, true
		})
		test(t, i)
	})
}

func (i *issuer) judge(request *kmsg.SASLAuthenticateRequest) kmsg.Response {
	i.mu.Lock()
	defer i.mu.Unlock()
	response := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	text, isToken := strings.CutPrefix(string(request.SASLAuthBytes), "n,,\x01auth=Bearer ")
	token, ends := strings.CutSuffix(text, "\x01\x01")
	if !isToken || !ends {
		i.t.Errorf("the first message is %q", request.SASLAuthBytes)
	}
	i.seen = append(i.seen, token)
	response.SessionLifetimeMillis = sessionLifetime.Milliseconds()
	if !i.good[token] {
		response.SASLAuthBytes, response.SessionLifetimeMillis = []byte(`{"status":"invalid_token"}`), 0
	}
	return response
}

// issue returns a token that no call before has returned, and takes only that one from now on.
func (i *issuer) issue(context.Context) (kafka.Secret, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	token := fmt.Sprintf("token-%d", i.tokens.Add(1))
	i.good[token] = true
	return kafka.NewSecret(token), nil
}

func (i *issuer) shown() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.seen)
}

func (i *issuer) client(token func(context.Context) (kafka.Secret, error)) kafka.ClientConfig {
	cfg := i.bubble.client()
	cfg.Logger = i.log.logger(slog.Level(-100))
	cfg.Options = []kgo.Opt{kgo.Dialer(i.dial)}
	cfg.SASL = kafka.SASLConfig{Mechanism: "OAUTHBEARER", Token: token}
	return cfg
}

func (i *issuer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := i.network.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return distant{conn}, nil
}

// run starts a consumer that notes what it handles.
func (i *issuer) run(cfg kafka.ConsumerConfig) (handled func() []int, ended <-chan error) {
	i.t.Helper()
	var mu sync.Mutex
	var got []int
	consumer, err := kafka.NewConsumer(cfg, func(_ context.Context, msg kafka.Message[numbered]) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, msg.Value.N)
		return nil
	})
	if err != nil {
		i.t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- consumer.Start(context.Background()) }() // ends with Close
	i.t.Cleanup(func() { _ = consumer.Close() })
	return func() []int {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}, result
}

func (i *issuer) consumer(token func(context.Context) (kafka.Secret, error)) kafka.ConsumerConfig {
	cfg := i.bubble.consumer()
	cfg.CommitInterval = time.Hour // see bubble
	cfg.ClientConfig = i.client(token)
	return cfg
}

// Sessions end many times while messages are under way: none is lost, handled twice, out of order or failed.
func TestSessionsAreRenewedWithNewTokens(t *testing.T) {
	t.Parallel()
	withIssuer(t, func(t *testing.T, i *issuer) {
		handled, ended := i.run(i.consumer(i.issue))
		producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{ClientConfig: i.client(i.issue), Topic: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close()
		time.Sleep(5 * time.Second)
		before := len(i.shown())
		const n = 300
		var want []int
		for k := range n { // a minute and a half
			if err := producer.Publish(t.Context(), kafka.Message[numbered]{Key: "one", Value: numbered{k}}); err != nil {
				t.Errorf("message %d: %v", k, err)
			}
			want = append(want, k)
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		if got := handled(); !slices.Equal(got, want) {
			t.Errorf("handled %d messages, want %d in order, each once: %v", len(got), n, got)
		}
		renewals := len(i.shown()) - before
		t.Logf("%d renewals", renewals)
		if renewals < 3*2 {
			t.Errorf("the test proves nothing: %d renewals", renewals)
		}
		select {
		case err := <-ended:
			t.Errorf("Start returned %v", err)
		default:
		}
		seen := i.shown()
		slices.Sort(seen)
		if n := len(seen); len(slices.Compact(seen)) != n {
			t.Error("a token was shown twice: it was not asked for again")
		}
		if i.log.contains("token-") {
			t.Error("the log has tokens")
		}
	})
}

// Promise 8: a refused token, or none, is an error at once, that says which of the two and what to look at.
func TestTokensAreRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	missing := errors.New("the token endpoint is away")
	for _, test := range []struct {
		name  string
		token func(context.Context) (kafka.Secret, error)
		want  []string
	}{
		{"refused", func(context.Context) (kafka.Secret, error) { return kafka.NewSecret(marked), nil }, []string{"the broker refused the token", "expired", "invalid_token"}},
		{"none", func(context.Context) (kafka.Secret, error) { return kafka.Secret{}, nil }, []string{"there is no token", "the token is empty"}},
		{"an error", func(context.Context) (kafka.Secret, error) { return kafka.Secret{}, missing }, []string{"there is no token", missing.Error()}},
		{"a panic", func(context.Context) (kafka.Secret, error) { panic("out of luck") }, []string{"there is no token", "out of luck"}},
		{"a field of its own", func(context.Context) (kafka.Secret, error) { return kafka.NewSecret(marked + "\x01admin=true"), nil }, []string{"there is no token", "a character at byte 11"}},
		{"a line", func(context.Context) (kafka.Secret, error) { return kafka.NewSecret(marked + "\n" + marked), nil }, []string{"a character at byte 11, of 23"}},
		{"too slow", func(ctx context.Context) (kafka.Secret, error) {
			<-ctx.Done()
			return kafka.Secret{}, ctx.Err()
		}, []string{"does SASL.Token take so long?"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			withIssuer(t, func(t *testing.T, i *issuer) {
				began := time.Now()
				cfg := i.client(test.token)
				var patience time.Duration
				if test.name == "too slow" {
					patience = kafka.TokenTimeout / 2
					cfg.ConnectTimeout = patience
				}
				_, err := kafka.NewClient(cfg)
				wantFault(t, err, test.want...)
				if kind := errors.Is(err, kafka.ErrAuthentication); kind == (test.name == "too slow") {
					t.Errorf("ErrAuthentication is %v: %v", kind, err)
				}
				if took := time.Since(began); took > patience {
					t.Errorf("it took %v, want %v", took, patience)
				}
				if test.name == "an error" && !errors.Is(err, missing) {
					t.Errorf("the cause is not in %v", err)
				}
				wantUnmarked(t, "the error", fmt.Sprintf("%v %+v", err, err))
				time.Sleep(kafka.TokenTimeout) // what is slow ends
				if i.log.contains(marked) {
					t.Error("the log has the token")
				}
			})
		})
	}
}

// The same in mid-run ends Start, after AuthFailureTimeout.
func TestTokensThatTurnBadEndStart(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"refused", "none"} {
		t.Run(how, func(t *testing.T) {
			withIssuer(t, func(t *testing.T, i *issuer) {
				var bad atomic.Bool
				handled, ended := i.run(i.consumer(func(ctx context.Context) (kafka.Secret, error) {
					switch {
					case !bad.Load():
						return i.issue(ctx)
					case how == "none":
						return kafka.Secret{}, errors.New("the token endpoint is away")
					}
					return kafka.NewSecret("expired"), nil
				}))
				i.seed(0, 1)
				time.Sleep(10 * time.Second)
				if len(handled()) != 1 {
					t.Fatal("the consumer does not consume")
				}
				bad.Store(true) // and the sessions end by themselves
				began := time.Now()
				select {
				case err := <-ended:
					if !errors.Is(err, kafka.ErrAuthentication) || !strings.Contains(err.Error(), "token") {
						t.Errorf("Start returned %v", err)
					}
					if took := time.Since(began); took < kafka.DefaultAuthFailureTimeout || took > kafka.DefaultAuthFailureTimeout+sessionLifetime+kafka.RefusalGap {
						t.Errorf("after %v", took)
					}
				case <-time.After(aLongTime):
					t.Fatal("Start goes on without a token")
				}
			})
		})
	}
}

// An outage of the token's source, or of the broker's trust in it, that is over in time costs no message.
func TestTokensThatComeBackEndNothing(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"refused", "none"} {
		t.Run(how, func(t *testing.T) {
			withIssuer(t, func(t *testing.T, i *issuer) {
				var away atomic.Bool
				token := func(ctx context.Context) (kafka.Secret, error) {
					switch {
					case !away.Load():
						return i.issue(ctx)
					case how == "none":
						return kafka.Secret{}, errors.New("the token endpoint is away")
					}
					return kafka.NewSecret("expired"), nil
				}
				handled, ended := i.run(i.consumer(token))
				producer, err := kafka.NewProducer[numbered](kafka.ProducerConfig{ClientConfig: i.client(token), Topic: "orders"})
				if err != nil {
					t.Fatal(err)
				}
				defer producer.Close()
				var want []int
				for k := range 5 {
					time.Sleep(sessionLifetime * 6 / 5)
					away.Store(true)
					time.AfterFunc(kafka.DefaultAuthFailureTimeout*2/3, func() { away.Store(false) })
					if err := producer.Publish(t.Context(), kafka.Message[numbered]{Key: "one", Value: numbered{k}}); err != nil {
						t.Errorf("message %d: %v", k, err)
					}
					want = append(want, k)
					time.Sleep(kafka.DefaultAuthFailureTimeout)
				}
				time.Sleep(2 * sessionLifetime)
				if got := handled(); !slices.Equal(got, want) {
					t.Errorf("handled %v, want %v", got, want)
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

// A token that is renewed on disk needs no restart.
func TestTokenFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	withIssuer(t, func(t *testing.T, i *issuer) {
		path := secretFile(t, "first\n")
		i.good["first"], i.good["second"] = true, true
		cfg := i.client(nil)
		cfg.SASL.TokenFile = path
		client, err := kafka.NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := os.WriteFile(path, []byte("second\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(sessionLifetime)
		if err := client.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if seen := i.shown(); seen[0] != "first" || seen[len(seen)-1] != "second" {
			t.Errorf("the tokens shown are %q", seen)
		}
		cfg.SASL.TokenFile = path + ".missing"
		_, err = kafka.NewClient(cfg)
		wantFault(t, err, "KAFKA_SASL_TOKEN_FILE", path+".missing", "no such file")
		if !errors.Is(err, kafka.ErrAuthentication) {
			t.Errorf("%v, want ErrAuthentication", err)
		}
	})
}
