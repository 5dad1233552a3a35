package deadletter

import (
	"context"
	"errors"
	"time"

	"github.com/skeji/kafka"
)

// PurgeOptions says up to where letters are deleted. A log is deleted from its beginning on: there is no purge by class or key. The zero
// value means all that is there.
type PurgeOptions struct {
	Before     time.Time // up to the first letter that was written then or later
	Redriven   bool      // up to the first letter that is pending
	Partitions []int32   // only of these
}

// Purge is a deletion that is planned: what it would delete has been counted. It is JSON, too.
type Purge struct {
	Topic   string          `json:"topic"`
	UpTo    map[int32]int64 `json:"upTo"`    // by partition: the first offset that stays
	Letters int64           `json:"letters"` // that are deleted
	Pending int64           `json:"pending"` // of them: never sent back, and lost then
	Oldest  time.Time       `json:"oldest"`  // of them, as written
	Newest  time.Time       `json:"newest"`  // of them, as written
}

// PlanPurge counts what would be deleted, and deletes nothing.
func PlanPurge(ctx context.Context, client *kafka.Client, topic string, opts PurgeOptions) (Purge, error) {
	return Purge{}, errors.New("not built")
}

// Do deletes what was counted and nothing else. It needs DELETE on the topic. Where it fails for some partitions, the error names them.
func (p Purge) Do(ctx context.Context, client *kafka.Client) error { return errors.New("not built") }
