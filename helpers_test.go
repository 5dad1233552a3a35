package kafka_test

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/skeji/kafka"
)

var (
	headers    = kafka.Headers
	lastHeader = kafka.LastHeader
	wait       = kafka.Wait
)

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func parseDeadLetter(headers []kgo.RecordHeader) (kafka.DeadLetter, bool) {
	return kafka.Message[any]{Headers: headers}.DeadLetter()
}
