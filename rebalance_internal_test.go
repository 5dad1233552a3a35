package kafka

import "testing"

// A partition comes and goes while a handler of its last workers still runs. Its own workers have not begun, and who comes
// next must wait for that handler, and not for them.
func TestAStragglerIsRememberedWhoeverWaitsForIt(t *testing.T) {
	straggler := make(chan struct{})
	c := &consumer{stragglers: map[topicPartition]<-chan struct{}{{"orders", 0}: straggler}}
	waiting := &partition{topic: "orders", id: 0, previous: straggler, done: make(chan struct{})}
	c.abandon([]*partition{waiting})
	if c.stragglers[topicPartition{"orders", 0}] != (<-chan struct{})(straggler) {
		t.Error("the handler that still runs is forgotten")
	}
	close(straggler)
	c.abandon([]*partition{waiting}) // its own handlers may run by now
	if c.stragglers[topicPartition{"orders", 0}] != (<-chan struct{})(waiting.done) {
		t.Error("handlers that may run are not waited for")
	}
	first := &partition{topic: "orders", id: 1, done: make(chan struct{})}
	c.abandon([]*partition{first})
	if c.stragglers[topicPartition{"orders", 1}] != (<-chan struct{})(first.done) {
		t.Error("the first straggler of a partition is not remembered")
	}
}
