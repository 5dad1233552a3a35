// Package chaos runs consumers as processes of their own against a cluster of three brokers, breaks both, and judges what
// came of it. Every run prints its seed; -seed replays its schedule, though not the timing of the machine.
//
//	go test ./chaos -v                    the short form, some minutes
//	go test ./chaos -v -timeout 2h -long  the long one: a million records
//
// It needs a cluster that may be broken, and skips without these:
//
//   - KAFKA_TEST_CLUSTER_BROKERS: the bootstrap list of three brokers.
//   - KAFKA_TEST_CLUSTER_CONTROL: a program that is called with a verb (kill, revive, freeze or thaw) and a broker's number,
//     which is its place in that list, from 0. It returns when the verb is done.
package chaos
