package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/topics"
)

// cluster is the brokers, and what this run has made there.
type cluster struct {
	brokers []string
	client  *kgo.Client
	admin   *kadm.Client
	maker   *kafka.Client // of topics
	prefix  string        // of all names
	made    int
	topics  []string
	groups  []string
	filled  map[string]string // topics by what they hold
}

func connect(ctx context.Context, brokers []string, prefix string) (*cluster, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MaxBufferedRecords(inFlight))
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("KAFKA_BROKERS: %w", err)
	}
	maker, err := kafka.NewClient(kafka.ClientConfig{Brokers: brokers, Logger: warnings})
	if err != nil {
		client.Close()
		return nil, err
	}
	c := &cluster{
		brokers: brokers, client: client, admin: kadm.NewClient(client), maker: maker, prefix: prefix,
		filled: map[string]string{},
	}
	group := c.newGroup() // a new cluster makes the topic of the groups' offsets for whoever asks first
	return c, untilNil(ctx, readyPatience, func(ctx context.Context) error {
		_, err := c.admin.FetchOffsets(ctx, group)
		return err
	})
}

// about says what the brokers are, for the report.
func (c *cluster) about(ctx context.Context) (string, error) {
	versions, err := c.admin.ApiVersions(ctx)
	if err != nil {
		return "", err
	}
	for _, v := range versions {
		return fmt.Sprintf("%d broker(s), Kafka %s", len(versions), v.VersionGuess()), v.Err
	}
	return "", errors.New("no brokers")
}

func (c *cluster) name(kind string) string {
	c.made++
	return fmt.Sprintf("%s-%s-%03d", c.prefix, kind, c.made)
}

// newTopic returns when every broker knows the topic and its leaders serve it. Otherwise whoever comes first would meet an
// error, and some clients wait for seconds then.
func (c *cluster) newTopic(ctx context.Context, kind string, partitions int) (string, error) {
	topic := c.name(kind)
	c.topics = append(c.topics, topic)
	if err := topics.Ensure(ctx, c.maker, topics.New(topic, int32(partitions))); err != nil {
		return "", err
	}
	return topic, untilNil(ctx, readyPatience, func(ctx context.Context) error {
		ends, err := c.admin.ListEndOffsets(ctx, topic)
		return errors.Join(err, ends.Error())
	})
}

const (
	readyPatience = 10 * time.Second
	askAgain      = 50 * time.Millisecond
)

// untilNil asks again until the answer is no error.
func untilNil(ctx context.Context, patience time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", patience, err)
		}
	}
}

func (c *cluster) newGroup() string {
	group := c.name("group")
	c.groups = append(c.groups, group)
	return group
}

// topicWith returns a topic that holds the batch, and makes it if there is none. Reading it back, to check it, brings it into the
// page cache and warms the broker up.
func (c *cluster) topicWith(ctx context.Context, want batch) (string, error) {
	id := fmt.Sprintf("%s-%d-%d", want.Keys, want.Records, want.Partitions)
	if topic, has := c.filled[id]; has {
		return topic, nil
	}
	topic, err := c.newTopic(ctx, "filled", want.Partitions)
	if err != nil {
		return "", err
	}
	customer := want.Keys.sequence()
	var failed firstError
	for i := range want.Records {
		o := newOrder(i, customer(i), fixedTime)
		value, err := json.Marshal(o)
		if err != nil {
			return "", err
		}
		c.client.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(o.Customer), Value: value}, func(_ *kgo.Record, err error) { failed.note(err) })
	}
	if err := errors.Join(c.client.Flush(ctx), failed.get()); err != nil {
		return "", fmt.Errorf("fill topic %s: %w", topic, err)
	}
	if err := c.verify(ctx, topic, want); err != nil {
		return "", err
	}
	c.filled[id] = topic
	return topic, nil
}

// verify reads the topic and says whether it holds the batch, each record once.
func (c *cluster) verify(ctx context.Context, topic string, want batch) error {
	ends, err := c.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	var stored int64
	ends.Each(func(end kadm.ListedOffset) { stored += end.Offset })
	if err := ends.Error(); err != nil {
		return err
	}
	if stored != int64(want.Records) {
		return fmt.Errorf("topic %s holds %d records, not %d", topic, stored, want.Records)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	t := newTally(want, 0)
	for t.count.Load() < stored {
		fetches := client.PollRecords(ctx, pollRecords)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read topic %s: %w", topic, err)
		}
		for record := range fetches.RecordsAll() {
			var o order
			if err := json.Unmarshal(record.Value, &o); err != nil {
				return fmt.Errorf("read topic %s: %w", topic, err)
			}
			t.add(o)
		}
	}
	if err := t.check(); err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	return nil
}

const commitPatience = 15 * time.Second // commits are due every second

// awaitCommitted returns once the group has committed all that the topic holds.
func awaitCommitted(ctx context.Context, brokers []string, group, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err := errors.Join(err, ends.Error()); err != nil {
		return err
	}
	return untilNil(ctx, commitPatience, func(ctx context.Context) error {
		committed, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			return err
		}
		missing := 0
		ends.Each(func(end kadm.ListedOffset) {
			if at, has := committed.Lookup(topic, end.Partition); end.Offset > 0 && (!has || at.At != end.Offset) {
				missing++
			}
		})
		if missing > 0 {
			return fmt.Errorf("all records were handled, but %d partitions are not committed to their end", missing)
		}
		return nil
	})
}

// close deletes what this run has made. Deleting in between would have the broker clear up during the next measurement.
func (c *cluster) close() error {
	defer c.client.Close()
	defer c.maker.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // after an interrupt, too
	defer cancel()
	_, groups := c.admin.DeleteGroups(ctx, c.groups...) // those of contenders that failed may still have members
	deleted, err := c.admin.DeleteTopics(ctx, c.topics...)
	return errors.Join(groups, err, deleted.Error())
}
