package kafkatest_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// fakeTest notes how it fails, in place of the test that it belongs to.
type fakeTest struct {
	testing.TB

	mu    sync.Mutex
	texts []string
}

func (f *fakeTest) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func (f *fakeTest) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *fakeTest) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.texts) > 0
}

func (f *fakeTest) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.texts, "\n")
}

// run runs do to its end, which may be a Fatalf.
func (f *fakeTest) run(do func(testing.TB)) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do(f)
	}()
	<-ended
}

// mustFail fails unless do fails with a text that has all parts. Waits take their 30 s: in a bubble, no time.
func mustFail(t *testing.T, do func(testing.TB), parts ...string) {
	t.Helper()
	f := &fakeTest{TB: t}
	f.run(do)
	if !f.Failed() {
		t.Errorf("it does not fail, want a text with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(f.text(), part) {
			t.Errorf("it fails with a text without %q:\n%s", part, f.text())
		}
	}
}

// outputTo is a test whose log goes elsewhere.
type outputTo struct {
	testing.TB
	out io.Writer
}

func (o outputTo) Output() io.Writer { return o.out }
