package kafka_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/skeji/kafka"
)

// Booking is what the examples' messages say.
type Booking struct {
	Phone string `json:"phone"`
	Seats int    `json:"seats"`
}

// startBroker runs a broker in this process, with one partition for each topic. Real code has an address instead.
func startBroker(topics ...string) (address string, stop func()) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
	if err != nil {
		log.Fatal(err)
	}
	return cluster.ListenAddrs()[0], cluster.Close
}

// quiet throws the library's own log lines away.
var quiet = slog.New(slog.DiscardHandler)

func Example() {
	broker, stopBroker := startBroker("orders", "dlq-orders")
	defer stopBroker()

	producer, err := kafka.NewProducer[Booking](kafka.NewProducerConfig("orders", broker))
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	msg := kafka.NewMessage[Booking]().WithKey("booking-12345").WithValue(Booking{"+15550100", 2}).WithCorrelationID("c-1").Build()
	if err := producer.Publish(context.Background(), msg); err != nil { // nil: the brokers have stored it
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background()) // or signal.NotifyContext
	cfg := kafka.NewConsumerConfig("orders", "bookings", broker)
	cfg.Logger = quiet
	consumer, err := kafka.NewConsumer(cfg, func(ctx context.Context, msg kafka.Message[Booking]) error {
		fmt.Printf("%s: %d seats, correlation id %s\n", msg.Key, msg.Value.Seats, msg.GetCorrelationID())
		stop() // this example has seen enough
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	fmt.Println("ended with", consumer.Start(ctx))
	// Output:
	// booking-12345: 2 seats, correlation id c-1
	// ended with <nil>
}

// An error's class decides what becomes of the record.
func ExampleHandler() {
	broker, stopBroker := startBroker("orders", "dlq-orders")
	defer stopBroker()
	publish(broker, "orders", Booking{"+15550100", 1}, Booking{"+15550100", 2}, Booking{"+15550100", 3}, Booking{"+15550100", 4})

	ctx, stop := context.WithCancel(context.Background())
	handle := func(ctx context.Context, msg kafka.Message[Booking]) error {
		fmt.Printf("%d seats, attempt %d\n", msg.Value.Seats, msg.Attempt)
		switch {
		case msg.Value.Seats == 1 && msg.Attempt == 1: // may go away: retried, then dead-lettered
			return kafka.NewTransientError("save booking", errors.New("connection reset")).WithRetryAfter(time.Millisecond)
		case msg.Value.Seats == 2: // never goes away: dead-lettered at once
			return kafka.NewPermanentError("save booking", errors.New("no table for two"))
		case msg.Value.Seats == 3: // an outcome that the rules foresee: done
			return kafka.NewBusinessError("charge", errors.New("card declined"))
		case msg.Value.Seats == 4:
			stop()
		}
		return nil
	}
	consume(ctx, broker, "orders", handle)
	printDeadLetters(broker, 1)
	// Output:
	// 1 seats, attempt 1
	// 1 seats, attempt 2
	// 2 seats, attempt 1
	// 3 seats, attempt 1
	// 4 seats, attempt 1
	// dead letter: orders-0 offset 1, permanent, 1 attempt(s): save booking: no table for two
}

// A topic may carry several event types, each with a handler of its own.
func ExampleRouter() {
	broker, stopBroker := startBroker("events", "dlq-events")
	defer stopBroker()
	publishEvent(broker, "booking.create", `{"phone": "+15550100", "seats": 2}`)
	publishEvent(broker, "booking.cancel", `{"id": "b-7", "reason": "rain"}`)
	publishEvent(broker, "booking.praise", `"what a place"`)

	ctx, stop := context.WithCancel(context.Background())
	router := kafka.NewRouter()
	kafka.On(router, "booking.create", func(ctx context.Context, msg kafka.Message[Booking]) error {
		fmt.Println("create", msg.Value)
		return nil
	})
	kafka.On(router, "booking.cancel", func(ctx context.Context, msg kafka.Message[struct{ ID, Reason string }]) error {
		fmt.Println("cancel", msg.Value.ID, "because of", msg.Value.Reason)
		return nil
	})
	router.Otherwise(func(ctx context.Context, msg kafka.Message[[]byte]) error {
		fmt.Println("not for us:", msg.GetEventType())
		stop()
		return nil
	})

	cfg := kafka.NewConsumerConfig("events", "bookings", broker)
	cfg.Logger = quiet
	consumer, err := kafka.NewConsumerWithCodec(cfg, kafka.Bytes(), router.Handle)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	if err := consumer.Start(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// create {+15550100 2}
	// cancel b-7 because of rain
	// not for us: booking.praise
}

// A request waits for its reply. The other side is a consumer whose handler is made by Respond.
func ExampleRequester() {
	broker, stopBroker := startBroker("bookings", "dlq-bookings", "bookings-replies")
	defer stopBroker()

	replies, err := kafka.NewProducer[string](kafka.NewProducerConfig("bookings-replies", broker))
	if err != nil {
		log.Fatal(err)
	}
	defer replies.Close()
	cfg := kafka.NewConsumerConfig("bookings", "bookings-service", broker)
	cfg.Logger = quiet
	consumer, err := kafka.NewConsumer(cfg, kafka.Respond(replies, func(ctx context.Context, msg kafka.Message[Booking]) (string, error) {
		if msg.Value.Seats > 100 {
			return "", kafka.NewBusinessError("no room that large", nil)
		}
		return fmt.Sprintf("%d seats are yours", msg.Value.Seats), nil
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	go func() { // ends with Close
		if err := consumer.Start(context.Background()); err != nil {
			log.Fatal(err)
		}
	}()

	requester, err := kafka.NewRequester[Booking, string](kafka.NewRequesterConfig("bookings", "bookings-replies", broker))
	if err != nil {
		log.Fatal(err)
	}
	defer requester.Close()
	for _, seats := range []int{2, 200} {
		msg := kafka.NewMessage[Booking]().WithKey("+15550100").WithValue(Booking{"+15550100", seats}).Build()
		reply, err := requester.Request(context.Background(), msg)
		var refused *kafka.RemoteError
		if errors.As(err, &refused) {
			fmt.Println("refused:", refused.Class, refused.Message)
			continue
		}
		fmt.Println(reply.Value, err)
	}
	// Output:
	// 2 seats are yours <nil>
	// refused: business no room that large
}

// What a Router does, by hand: take raw JSON, and decode what the event type says.
func ExampleMessage_DecodeValue() {
	broker, stopBroker := startBroker("events", "dlq-events")
	defer stopBroker()
	publishEvent(broker, "booking.create", `{"phone": "+15550100", "seats": 2}`)
	publishEvent(broker, "booking.cancel", `{"id": "b-7", "reason": "rain"}`)
	publishEvent(broker, "booking.praise", `"what a place"`)

	ctx, stop := context.WithCancel(context.Background())
	handle := func(ctx context.Context, msg kafka.Message[json.RawMessage]) error {
		switch msg.GetEventType() {
		case "booking.create":
			var booking Booking
			if err := msg.DecodeValue(&booking); err != nil {
				return err // permanent: to the dead letter topic
			}
			fmt.Println("create", booking)
		case "booking.cancel":
			var cancel struct{ ID, Reason string }
			if err := msg.DecodeValue(&cancel); err != nil {
				return err
			}
			fmt.Println("cancel", cancel.ID, "because of", cancel.Reason)
		default:
			fmt.Println("not for us:", msg.GetEventType())
			stop()
		}
		return nil
	}
	consume(ctx, broker, "events", handle)
	// Output:
	// create {+15550100 2}
	// cancel b-7 because of rain
	// not for us: booking.praise
}

// The first middleware is the outermost. A retry passes through all of it again.
func ExampleConsumer_Use() {
	broker, stopBroker := startBroker("orders", "dlq-orders")
	defer stopBroker()
	publish(broker, "orders", Booking{"+15550100", 2})
	ctx, stop := context.WithCancel(context.Background())
	cfg := kafka.NewConsumerConfig("orders", "bookings", broker)
	cfg.RetryBackoff, cfg.Logger = time.Millisecond, quiet
	consumer, err := kafka.NewConsumer(cfg, func(ctx context.Context, msg kafka.Message[Booking]) error {
		fmt.Println("  handler")
		if msg.Attempt == 1 {
			return errors.New("not yet")
		}
		stop()
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()

	named := func(name string) kafka.ConsumerMiddleware {
		return func(next kafka.HandlerFunc) kafka.HandlerFunc {
			return func(ctx context.Context, r *kafka.Record) error {
				fmt.Printf("%s: attempt %d\n", name, r.Attempt)
				err := next(ctx, r)
				fmt.Printf("%s: error %v\n", name, err)
				return err
			}
		}
	}
	consumer.Use(named("first"), named("second"))
	fmt.Println("ended with", consumer.Start(ctx))
	// Output:
	// first: attempt 1
	// second: attempt 1
	//   handler
	// second: error not yet
	// first: error not yet
	// first: attempt 2
	// second: attempt 2
	//   handler
	// second: error <nil>
	// first: error <nil>
	// ended with <nil>
}

// The first middleware is the outermost: it is the first to see a message, and the last to hear what became of it.
func ExampleProducer_Use() {
	broker, stopBroker := startBroker("orders")
	defer stopBroker()
	producer, err := kafka.NewProducer[Booking](kafka.NewProducerConfig("orders", broker))
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()

	named := func(name string) kafka.ProducerMiddleware {
		return func(next kafka.PublishFunc) kafka.PublishFunc {
			return func(ctx context.Context, r *kafka.Record, done func(error)) {
				fmt.Printf("%s: before\n", name)
				next(ctx, r, func(err error) {
					fmt.Printf("%s: stored at offset %d: %v\n", name, r.Offset, err)
					done(err)
				})
			}
		}
	}
	producer.Use(named("first"), named("second"))
	producer.Use(named("third"))
	msg := kafka.NewMessage[Booking]().WithKey("+15550100").WithValue(Booking{"+15550100", 2}).Build()
	fmt.Println("published:", producer.Publish(context.Background(), msg))
	// Output:
	// first: before
	// second: before
	// third: before
	// third: stored at offset 0: <nil>
	// second: stored at offset 0: <nil>
	// first: stored at offset 0: <nil>
	// published: <nil>
}

// A batch is published in order. Its error joins one for each message that was not stored.
func ExampleProducer_PublishBatch() {
	broker, stopBroker := startBroker("orders")
	defer stopBroker()
	producer, err := kafka.NewProducer[*Booking](kafka.NewProducerConfig("orders", broker))
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()

	var batch []kafka.Message[*Booking]
	for seats := 1; seats <= 3; seats++ {
		batch = append(batch, kafka.NewMessage[*Booking]().WithKey("+15550100").WithValue(&Booking{"+15550100", seats}).Build())
	}
	fmt.Println("three good ones:", producer.PublishBatch(context.Background(), batch...))

	batch[1].Value = nil // null is no value
	err = producer.PublishBatch(context.Background(), batch...)
	if failed, ok := errors.AsType[*kafka.PublishError](err); ok {
		fmt.Println("the second one failed:", failed.MessageID == batch[1].GetMessageID())
	}
	// Output:
	// three good ones: <nil>
	// the second one failed: true
}

// PublishAsync returns at once; the outcome comes later, message by message.
func ExampleProducer_PublishAsync() {
	broker, stopBroker := startBroker("orders")
	defer stopBroker()
	producer, err := kafka.NewProducer[Booking](kafka.NewProducerConfig("orders", broker))
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close() // flushes, too

	ctx := context.Background()
	for seats := 1; seats <= 3; seats++ {
		msg := kafka.NewMessage[Booking]().WithKey("+15550100").WithValue(Booking{"+15550100", seats}).Build()
		producer.PublishAsync(ctx, msg, func(msg kafka.Message[Booking], err error) { // must not block
			fmt.Printf("%d seats: %s-%d offset %d, error %v\n", msg.Value.Seats, msg.Topic, msg.Partition, msg.Offset, err)
		})
	}
	fmt.Println("flushed:", producer.Flush(ctx))
	// Output:
	// 1 seats: orders-0 offset 0, error <nil>
	// 2 seats: orders-0 offset 1, error <nil>
	// 3 seats: orders-0 offset 2, error <nil>
	// flushed: <nil>
}

// Producers of several types and topics can share one connection.
func ExampleClient() {
	broker, stopBroker := startBroker("orders", "invoices")
	defer stopBroker()
	client, err := kafka.NewClient(kafka.ClientConfig{Brokers: []string{broker}, ClientID: "gateway"})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	orders, err := kafka.NewProducer[Booking](kafka.ProducerConfig{Client: client, Topic: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer orders.Close() // the client stays open
	invoices, err := kafka.NewProducerWithCodec(kafka.ProducerConfig{Client: client, Topic: "invoices"}, kafka.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	defer invoices.Close()

	ctx := context.Background()
	fmt.Println("ping:", client.Ping(ctx))
	fmt.Println("order:", orders.Publish(ctx, kafka.Message[Booking]{Key: "b-7", Value: Booking{"+15550100", 2}}))
	fmt.Println("invoice:", invoices.Publish(ctx, kafka.Message[[]byte]{Key: "b-7", Value: []byte("%PDF-1.7")}))
	// Output:
	// ping: <nil>
	// order: <nil>
	// invoice: <nil>
}

// The outermost class wins, so that each layer can overrule the one below it.
func ExampleClassOf() {
	timeout := errors.New("timeout")
	fmt.Println("no class:", kafka.ClassOf(timeout))
	declined := kafka.NewBusinessError("charge", errors.New("card declined"))
	fmt.Println("wrapped:", kafka.ClassOf(fmt.Errorf("booking 7: %w", declined)))
	fmt.Println("overruled:", kafka.ClassOf(kafka.NewPermanentError("no more retries", kafka.NewTransientError("save", timeout))))
	fmt.Println("joined:", kafka.ClassOf(errors.Join(declined, kafka.NewTransientError("save", timeout))))
	fmt.Printf("nil: %q\n", kafka.ClassOf(nil))
	// Output:
	// no class: transient
	// wrapped: business
	// overruled: permanent
	// joined: transient
	// nil: ""
}

// publish stores bookings, in order.
func publish(broker, topic string, bookings ...Booking) {
	producer, err := kafka.NewProducer[Booking](kafka.NewProducerConfig(topic, broker))
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	for _, booking := range bookings {
		msg := kafka.NewMessage[Booking]().WithKey(booking.Phone).WithValue(booking).Build()
		if err := producer.Publish(context.Background(), msg); err != nil {
			log.Fatal(err)
		}
	}
}

func publishEvent(broker, eventType, value string) {
	producer, err := kafka.NewProducer[json.RawMessage](kafka.NewProducerConfig("events", broker))
	if err != nil {
		log.Fatal(err)
	}
	defer producer.Close()
	msg := kafka.NewMessage[json.RawMessage]().WithKey("b-7").WithValue(json.RawMessage(value)).WithEventType(eventType).Build()
	if err := producer.Publish(context.Background(), msg); err != nil {
		log.Fatal(err)
	}
}

// consume runs a consumer until ctx ends.
func consume[T any](ctx context.Context, broker, topic string, handle kafka.Handler[T]) {
	run(ctx, kafka.NewConsumerConfig(topic, "bookings", broker), handle)
}

func run[T any](ctx context.Context, cfg kafka.ConsumerConfig, handle kafka.Handler[T]) {
	cfg.Logger = quiet
	consumer, err := kafka.NewConsumer(cfg, handle)
	if err != nil {
		log.Fatal(err)
	}
	defer consumer.Close()
	if err := consumer.Start(ctx); err != nil {
		log.Fatal(err)
	}
}

// printDeadLetters prints the first n dead letters of orders.
func printDeadLetters(broker string, n int) {
	ctx, stop := context.WithCancel(context.Background())
	cfg := kafka.NewConsumerConfig("dlq-orders", "dead-letter-readers", broker)
	cfg.DisableDeadLetters = true // dead letters have none of their own
	run(ctx, cfg, func(ctx context.Context, msg kafka.Message[json.RawMessage]) error {
		if letter, ok := msg.DeadLetter(); ok {
			fmt.Printf("dead letter: %s-%d offset %d, %s, %d attempt(s): %s\n", letter.Topic, letter.Partition, letter.Offset,
				letter.Class, letter.Attempts, letter.Message)
		}
		if n--; n == 0 {
			stop()
		}
		return nil
	})
}
