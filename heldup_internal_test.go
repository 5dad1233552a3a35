package kafka

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Direct commits and franz-go's are never under way together, whichever comes first.
func TestDirectCommitsAndPeriodicOnesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heldUpCommits
		if _, may := h.start(); may {
			t.Error("there is a direct commit while the member does not join again")
		}
		h.periodicBegins(t.Context())
		h.begin() // franz-go repeats its commit, and asks to join once it is over
		if _, may := h.start(); may {
			t.Error("there is a direct commit beside a periodic one")
		}
		h.periodicEnds()
		ended, may := h.start()
		if !may {
			t.Fatal("there is no direct commit, and nothing is under way")
		}
		if _, twice := h.start(); twice {
			t.Error("two direct commits are under way")
		}
		began := time.Now()
		time.AfterFunc(time.Minute, ended)
		h.periodicBegins(t.Context())
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("a periodic commit waited %v, want until the direct one was over", waited)
		}
		h.periodicEnds()
		if ended, may = h.start(); !may {
			t.Fatal("the member still joins again")
		}
		began = time.Now()
		time.AfterFunc(time.Minute, ended)
		h.end(t.Context())
		if _, may := h.start(); may || time.Since(began) != time.Minute {
			t.Errorf("the end came after %v; there is a direct commit after it: %t", time.Since(began), may)
		}
	})
}

// A commit that was made before a direct one, and waited since, is known by what is committed. That is forgotten where
// records are fetched again.
func TestDirectCommitsAreRemembered(t *testing.T) {
	commit := func(offset int64) *kmsg.OffsetCommitRequest {
		return &kmsg.OffsetCommitRequest{Topics: []kmsg.OffsetCommitRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 3, Offset: offset}}}}}
	}
	var h heldUpCommits
	if h.note(commit(5), nil, nil, false) || !h.note(commit(10), nil, nil, true) || h.note(commit(10), nil, nil, true) {
		t.Error("it is to be said once, and of a rebalance that takes long")
	}
	if !h.note(commit(20), nil, kerr.RebalanceInProgress, true) || h.note(commit(20), nil, kerr.RebalanceInProgress, true) {
		t.Error("a refusal is to be said once")
	}
	for offset, want := range map[int64]bool{5: true, 10: true, 11: false, 20: false} {
		if got := h.has(topicPartition{"orders", 3}, offset); got != want {
			t.Errorf("offset %d is committed: %t, want %t", offset, got, want)
		}
	}
	if h.has(topicPartition{"orders", 4}, 1) || h.has(topicPartition{"refunds", 3}, 1) {
		t.Error("another partition is committed")
	}
	h.settled()
	if !h.has(topicPartition{"orders", 3}, 10) {
		t.Error("the end of the rebalance has forgotten what is committed")
	}
	h.forget(topicPartition{"orders", 3})
	if h.has(topicPartition{"orders", 3}, 1) {
		t.Error("it is not forgotten")
	}
}
