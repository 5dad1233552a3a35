// Package deadletter answers what a dead letter topic raises: why are the letters there, and how do they come back?
//
//	stats, err := deadletter.ReadStats(ctx, client, "dlq-orders", deadletter.Filter{})
//	for _, c := range stats.ByError {
//		fmt.Println(c.Letters, c.Value) // 2981 connect to db: timeout
//	}
//
//	result, err := deadletter.Redrive(ctx, client, "dlq-orders", deadletter.RedriveOptions{
//		Filter: deadletter.Filter{Classes: []string{"transient"}}, Rate: 100,
//	})
//
// [List] and [Peek] show letters, [ReadStats] counts them, [Redrive] sends them back to where they came from,
// [PlanPurge] and [Purge.Do] delete them. [Topics] finds the topics, [UnreadRetryTopics] retry topics that nobody
// reads. Letters are read by the headers of this library and Kafka's KIP-1191, of Spring Kafka, and of Kafka Connect.
//
// # Which letters are pending
//
// A dead letter topic is a log: what was sent back stays in it. A redrive notes what it has sent with marks, which are records in the
// dead letter topic itself, each behind the letters that it is about, in their partition, and in the same transaction as what it sends. So a letter is pending until a mark names it,
// for as long as there is the letter; redrives with filters leave the others pending, where any later call finds them. A mark has the
// header [HeaderRedriven]. Marks are no letters, and neither are the marks of consumers that park keys
// ([HeaderUnparked]): every function here passes over them, and so does this library's consumer.
//
// Other clients that read a dead letter topic get marks as records with an empty value. They should skip records that have one of the
// two headers and no value, before they decode anything. A mark can't say more in its value: a record with a value is never taken for a
// mark, so that no header makes a record with content disappear.
//
// # Seals
//
// Whoever may write to a dead letter topic can make letters and marks up. With [kafka.ClientConfig.ControlKey], only
// what is sealed with it counts: other marks are ignored, and other letters are listed as [Letter.Unsealed] and left by
// a redrive. That holds for letters of other tools, and for those of before there was a key; [RedriveOptions.Unsealed]
// takes these all the same.
//
// # Reads
//
// Every read ends: it goes up to the topic's end as it was when the read began, with what is committed of transactions. In memory are
// one fetch, and a bit for each letter from the first pending one on. What is after that is read twice, for the marks first. What
// can't be read as a letter, for want of headers, is a [Letter] with an Err; what can't be read at all ends the read with an error that
// names partition and offset.
package deadletter
