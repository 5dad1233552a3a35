package kafka_test

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
	"github.com/skeji/kafka/internal/recordheader"
)

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func lastHeader(list []kgo.RecordHeader, name string) (value string, ok bool) {
	bytes, ok := recordheader.Last(list, name)
	return string(bytes), ok
}

func parseDeadLetter(headers []kgo.RecordHeader) (kafka.DeadLetter, bool) {
	return kafka.Message[any]{Headers: headers}.DeadLetter()
}

// wait sleeps, and returns false if stop closed before the time was over.
func wait(d time.Duration, stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	case <-time.After(d):
		return true
	}
}
