// Package kafka publishes and consumes typed messages on Kafka. A service writes a handler for one message; groups, retries,
// dead letters, commits, rebalances and shutdown are the package's. It is built on franz-go.
//
//	type Booking struct{ Seats int }
//
//	func run(ctx context.Context) error { // a context of signal.NotifyContext
//		cfg, err := kafka.NewConsumerConfigFromEnv("bookings", "bookings-service")
//		if err != nil {
//			return err
//		}
//		consumer, err := kafka.NewConsumer(cfg, func(ctx context.Context, msg kafka.Message[Booking]) error {
//			if msg.Value.Seats > 100 {
//				return kafka.NewPermanentError("save booking", errors.New("no room that large"))
//			}
//			return save(ctx, msg.GetMessageID(), msg.Value) // nil: done; an error: tried again, then dead-lettered
//		})
//		if err != nil {
//			return err
//		}
//		defer consumer.Close()
//		return consumer.Start(ctx) // nil when ctx has ended and what was in hand is finished and committed
//	}
//
//	producer, err := kafka.NewProducer[Booking](producerCfg)
//	msg := kafka.NewMessage[Booking]().WithKey("booking-12345").WithValue(Booking{Seats: 2}).Build()
//	err = producer.Publish(ctx, msg) // nil once all in-sync replicas have stored it
//
// # Guarantees
//
//   - At least once: an offset is committed only when every record before it in its partition is done, which is handled,
//     rejected by a business rule, or stored in the dead letter topic. A record may be handled twice, after a crash for
//     example: handlers must be idempotent.
//   - Order: the records of a partition, and so of a key, are handled one after another in offset order, retries included.
//     Partitions are handled side by side. With ConsumerConfig.Concurrency above 1 the keys of a partition are, too. A dead
//     letter is out of order, unless ConsumerConfig.ParkKeys has its key's later records follow it.
//   - A record that can't be handled is stored in the dead letter topic with its own bytes. While that fails, its
//     partition waits. Without a dead letter topic, [Consumer.Start] returns a [RecordError]. Nothing is skipped.
//   - What waits is bounded, in records and bytes, and a partition that stands still does not stop the others.
//   - Partitions that are handed over, at a rebalance or shutdown, finish what is in hand within
//     ConsumerConfig.DrainTimeout and commit. Then nothing is redelivered. A lost partition commits nothing.
//   - A published message is stored by all in-sync replicas when [Producer.Publish] returns nil.
//   - Mistakes show at the start: in a constructor's error, or in that of Start.
//   - Passwords print as "[redacted]". Keys and values are never logged; the texts of handlers' errors are.
//
// # Requests
//
// A [Requester] publishes a request and waits for its reply, with a deadline that travels along. [Respond] makes a function that
// answers a [Handler], and so what holds for records holds for requests.
//
// # Errors
//
// The error that a handler returns decides what becomes of its record, by its class:
//
//   - no class, or [NewTransientError]: tried again in place, after a backoff, ConsumerConfig.MaxRetries times; then
//     dead-lettered.
//   - [NewPermanentError], a [DecodeError], or a panic ([PanicError]): dead-lettered at once.
//   - [NewBusinessError]: done, as if it were nil. It is an outcome, not a failure.
//
// Wrapped and joined errors are seen through; [ClassOf] has the rules. Errors that the package returns are found with
// [errors.Is] ([ErrClosed] and the other variables) and [errors.As] ([ConnectError], [PublishError], [RecordError]).
package kafka
