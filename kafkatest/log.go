package kafkatest

import (
	"io"
	"sync"
)

// testLog is a test's output until the test ends. A client's last goroutines may outlive its Close by a moment.
type testLog struct {
	mu   sync.Mutex
	out  io.Writer
	over bool
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return len(line), nil
	}
	return l.out.Write(line)
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}
