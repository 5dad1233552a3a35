package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// seedRetry is how long a broker that could not be reached is left alone while another one's answer is waited for.
	seedRetry = 500 * time.Millisecond
	// refusalPatience is how long the other brokers have once one refused the credentials: one of them may take these.
	refusalPatience = time.Second
)

// answer is what a seed broker said to a ping.
type answer struct {
	broker   *kgo.Broker
	seed     int // its place in the list
	address  string
	response *kmsg.MetadataResponse
	err      *ConnectError
}

// ping asks every seed broker at once and is content with the first answer, so that one dead host among them does not
// use up the time of the others. It returns the broker that answered: further questions go to it, since franz-go would
// choose any, the dead one too.
//
// It fails at once when each broker has refused, and soon after one has refused the credentials. While a broker is silent, those
// that could not be reached are asked again: they may be about to start.
func ping(ctx context.Context, client *kgo.Client, cfg ClientConfig) (answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer)
	waiting := map[int]string{}
	for i, seed := range client.SeedBrokers() {
		waiting[i] = cfg.Brokers[min(i, len(cfg.Brokers)-1)]
		go askSeed(ctx, cfg, answer{broker: seed, seed: i, address: waiting[i]}, answers) // ends with this call
	}
	failures := map[int]error{} // the latest of each
	failed := func() error {
		all := make([]error, 0, len(failures)+1)
		for _, i := range slices.Sorted(maps.Keys(failures)) {
			all = append(all, failures[i])
		}
		return errors.Join(all...)
	}
	var refused <-chan time.Time
	for {
		select {
		case got := <-answers:
			if got.err == nil {
				return got, nil
			}
			delete(waiting, got.seed)
			failures[got.seed] = got.err
			if len(waiting) == 0 {
				return answer{}, failed()
			}
			if got.err.kind == ErrAuthentication && refused == nil {
				refused = time.After(refusalPatience)
			}
		case <-refused:
			return answer{}, failed()
		case <-ctx.Done():
			silent := strings.Join(slices.Sorted(maps.Values(waiting)), ", ")
			return answer{}, errors.Join(failed(), explainConnect(cfg, silent, ctx.Err()))
		}
	}
}

// askSeed asks a broker until it answers, refuses the credentials, or ctx ends.
func askSeed(ctx context.Context, cfg ClientConfig, question answer, answers chan<- answer) {
	for {
		got := question
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{}
		response, err := request.RequestWith(ctx, got.broker)
		if got.response = response; err != nil {
			got.err = explainConnect(cfg, got.address, err)
		}
		select {
		case answers <- got:
		case <-ctx.Done():
			return
		}
		if got.err == nil || got.err.kind == ErrAuthentication {
			return
		}
		select {
		case <-time.After(seedRetry):
		case <-ctx.Done():
			return
		}
	}
}
