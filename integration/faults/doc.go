// Package faults holds a test for each single thing that goes wrong around a consumer or a producer, on a real cluster of
// three brokers. Each works off a backlog meanwhile, and internal/ledger counts what became of it. docs/faults.md is the list:
// what goes wrong, what the library then does, and which test shows it.
//
// The tests skip without KAFKA_TEST_CLUSTER_BROKERS. Those that break brokers also need KAFKA_TEST_CLUSTER_CONTROL; see package
// integration. They run one at a time, before the others, which run side by side. KAFKA_TEST_FULL_QUEUE says how long the test
// of a full queue watches the memory, 20s by default.
package faults
