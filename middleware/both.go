package middleware

import "github.com/skeji/kafka"

// both is a plugin without hooks, for consumers of single records and of batches.
type both struct {
	attempt kafka.ConsumerMiddleware
	batch   kafka.BatchMiddleware
}

func (b both) ForConsumer(kafka.ConsumerInfo) (kafka.ConsumerMiddleware, kafka.ConsumerHooks) {
	return b.attempt, kafka.ConsumerHooks{Batches: b.batch}
}
