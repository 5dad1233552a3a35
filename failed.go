package kafka

import (
	"context"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// This file is what constructors return beside an error: values whose methods return that error, so that a caller who
// ignores it gets it again instead of a nil dereference. They have no connections and ask no plugins.

// failedClient is the state of a Client that NewClient could not make.
type failedClient struct {
	why error

	mu  sync.Mutex
	kgo *kgo.Client // made by the first KGO
}

func newFailedClient(cfg ClientConfig, why error) *Client {
	return &Client{
		cfg: cfg.withDefaults(), log: cfg.logger(), access: &accessWatch{cfg: cfg}, buffered: newBudget(1, 1), letters: newBudget(1, 1),
		failed: &failedClient{why: why},
	}
}

// franz returns a franz-go client whose requests fail with the constructor's error.
func (f *failedClient) franz(closed bool) *kgo.Client {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kgo == nil {
		f.kgo, _ = kgo.NewClient( // these options are valid
			kgo.SeedBrokers("unusable:9092"),
			kgo.RequestRetries(0),
			kgo.Dialer(func(context.Context, string, string) (net.Conn, error) { return nil, f.why }),
		)
		if closed {
			f.kgo.Close()
		}
	}
	return f.kgo
}

func (f *failedClient) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kgo != nil {
		f.kgo.Close()
	}
}

func newFailedPublisher(cfg ProducerConfig, why error) *publisher {
	connection := cfg.ClientConfig
	if cfg.Client != nil {
		connection = cfg.Client.cfg
	}
	return &publisher{cfg: cfg, client: newFailedClient(connection, why), failed: why}
}

// newFailedConsumer returns a consumer that has ended: a process that ignores the error and serves Health is not live.
func newFailedConsumer(cfg ConsumerConfig, why error) *consumer {
	c := &consumer{
		cfg: cfg, log: cfg.logger(), client: newFailedClient(cfg.ClientConfig, why), failed: why, result: why,
		gates: newGates(cfg), membership: newMembership(), directly: new(heldUpCommits), ended: make(chan struct{}),
	}
	close(c.ended)
	return c
}

// failedCodec takes the place of a codec that is nil.
type failedCodec[T any] struct{ why error }

func (c failedCodec[T]) Encode(T) ([]byte, error)    { return nil, c.why }
func (c failedCodec[T]) Decode([]byte, *T) error     { return c.why }
func (failedCodec[T]) ContentType() (unknown string) { return "" }
