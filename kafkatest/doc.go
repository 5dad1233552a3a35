// Package kafkatest is for the tests of services that use package kafka: a broker of a test's own, what it publishes and what it waits
// for, and handlers without any broker.
//
//	func TestAnInvoiceFollowsAnOrder(t *testing.T) {
//		broker := kafkatest.Start(t, "orders", "invoices")
//		broker.Env(t)
//		kafkatest.RunFunc(t, run) // what main calls
//		kafkatest.Publish(t, broker, "orders", kafka.NewMessage[Order]().WithValue(Order{ID: "o-1"}).Build())
//		invoice := kafkatest.AwaitPublished[Invoice](t, broker, "invoices", 1)[0]
//		…
//	}
//
// What is started ends with the test. What is waited for is waited for as long as it takes, 30 s at most: nothing sleeps. When it does
// not come, the test fails and says what is there instead, values included.
//
// # Brokers
//
// [Start] has one in the test's own process. It is kfake, which answers in microseconds, and is more lenient than Kafka with the names
// and the settings of topics. [StartInBubble] has it in a bubble of testing/synctest. Package container, a module of its own, has the
// same [Broker] on real Kafka, in Docker; [Connect] on a cluster that runs already.
//
// # Dead letters
//
// A dead letter is a message of dlq-<topic>. Read it with the value's own type, or as []byte if it may be one that can't be decoded;
// [kafka.Message.DeadLetter] says why it is there:
//
//	letter, _ := kafkatest.AwaitPublished[[]byte](t, broker, "dlq-orders", 1)[0].DeadLetter()
//	if letter.Class != kafka.ClassPermanent { … }
//
// # Handlers alone
//
// [Handle] makes an attempt at one message, through the codec and back, and says what a consumer would make of the outcome.
//
// # Nothing happens
//
// That something is not published can't be waited for. Wait until the consumer is done, with [AwaitDone], and look then, with
// [Published].
package kafkatest
