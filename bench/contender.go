package main

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

const (
	partitions     = 12
	commitInterval = time.Second // everybody's, to leave the crash of each the same number of records to handle again
	baseline       = "kgo-partitions"
	inFlight       = 50_000 // messages that may wait to be acknowledged: kgo's default, and this library's
)

// contender is one way to use Kafka, in the form that its documentation shows, with what makes it fast.
type contender struct {
	name      string
	module    string   // whose version the report prints
	workloads []string // that it takes part in
	lanes     int      // records that it handles side by side
	consuming string   // its settings, for the report
	producing string

	// consume handles every record of the topic, decoded, and commits what is handled, until ctx ends.
	consume func(ctx context.Context, c consuming) error
	// newPublisher returns what stores messages with all in-sync replicas' acknowledgement.
	newPublisher func(p producing) (publisher, error)
}

// consuming is what a contender is to consume. The group is new: it begins at the beginning.
type consuming struct {
	brokers []string
	topic   string
	group   string
	handle  func(order)
	fail    func(error) // ends the measurement
}

// record decodes and handles a record's value, as all but this library do.
func (c consuming) record(value []byte) error {
	var o order
	if err := json.Unmarshal(value, &o); err != nil {
		c.fail(err)
		return err
	}
	c.handle(o)
	return nil
}

type producing struct {
	brokers []string
	topic   string
	mode    mode
}

// mode is what a publisher is to be good at.
type mode string

const (
	throughput mode = "throughput" // publish returns once the message is buffered
	latency    mode = "latency"    // likewise, and it is not to wait for others
	blocking   mode = "blocking"   // publish returns once the message is stored; called from many goroutines
)

type publisher interface {
	publish(ctx context.Context, o order) error
	// flush waits until everything published is stored, and returns the first failure.
	flush(ctx context.Context) error
	close()
}

// firstError keeps the first failure of many.
type firstError struct{ err atomic.Pointer[error] }

func (f *firstError) note(err error) {
	if err != nil {
		f.err.CompareAndSwap(nil, &err)
	}
}

func (f *firstError) get() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// contenders are all there are, in the report's order.
func contenders() []contender {
	list := []contender{library, libraryByKey, libraryV2, kgoPartitions, kgoPoll, kgoHeaders, watermillRouter, kafkaGo, saramaGroup}
	return append(list, confluentContenders()...)
}

func findContender(name string) (contender, bool) {
	list := contenders()
	i := slices.IndexFunc(list, func(c contender) bool { return c.name == name })
	if i < 0 {
		return contender{}, false
	}
	return list[i], true
}

// version is of the module that was built in.
func (c contender) version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range info.Deps {
		if module.Path != c.module {
			continue
		}
		if module.Replace != nil {
			return "this tree"
		}
		return module.Version
	}
	return "unknown"
}
